from pathlib import Path

import pytest
import soundfile
from corpora import ASR_DATA, LETTERS, characters, load, needs_corpora, read_all, sizes, write_noise

from asr.errors import InputError

FIRST_COLUMNS = "filename,text,up_votes,down_votes,age,gender,accent,duration"
COLUMNS = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment"


@pytest.fixture
def commonvoice(monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)
    return load("commonvoice")


@pytest.fixture
def first(tmp_path, commonvoice, monkeypatch):
    """The first release with our own split, two clips a list."""
    home = tmp_path / "cv_corpus_v1"
    for number, split in enumerate(("train", "dev", "test")):
        lines = [FIRST_COLUMNS]
        for n in (2 * number, 2 * number + 1):
            write_noise(home / "cv-valid-dev" / f"sample-00000{n}.flac")
            name = f"cv-valid-dev/sample-00000{n}.mp3"
            lines.append(f'{name},"don\'t move, mr {"abcdef"[n]}",2,0,,,us,0.1')
        (home / f"cv-valid-dev-{split}.csv").write_text("\n".join(lines) + "\n")
    own = dict.fromkeys(commonvoice.FIRST_SIZES, 2)
    monkeypatch.setattr(commonvoice, "FIRST_SIZES", own)
    return home


def make_release(root, version="17.0-2024-03-15", language="en"):
    """A release since 2019: two clips a list, and one each of validated and other."""
    home = root / f"cv-corpus-{version}" / language
    texts = {
        "train": ['He said "no".', "It’s late"],
        "dev": ["In 1984.", "It's late!"],
        "test": ["Yes.", "…"],
    }
    durations = ["clip\tduration[ms]"]
    lists = {}
    for split, sentences in texts.items():
        for n, sentence in enumerate(sentences):
            name = f"common_voice_{language}_{split}{n}.mp3"
            write_noise(home / "clips" / name, sample_rate=32000, samples=16000)
            line = f"{split}-speaker\t{name}\t{sentence}\t2\t0\t\t\t\t{language}\t"
            lists.setdefault(split, [COLUMNS]).append(line)
            durations.append(f"{name}\t504")
    for name in ("validated", "other"):
        write_noise(home / "clips" / f"{name}.mp3", sample_rate=32000, samples=16000)
        lists[name] = [COLUMNS, f"x\t{name}.mp3\tMaybe.\t2\t0\t\t\t\t{language}\t"]
    for name, lines in lists.items():
        (home / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (home / "clip_durations.tsv").write_text("\n".join(durations) + "\n")
    return home


# the first release


def test_our_split_of_the_first_release_finds_clips_in_any_format(first, commonvoice, tmp_path):
    commonvoice.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [item.id for item in splits["dev"]] == [
        "cv-valid-dev-sample-000002",
        "cv-valid-dev-sample-000003",
    ]
    assert splits["train"][1].text == "don't move mister b"
    assert splits["train"][1].speaker == ""
    assert splits["test"][0].audio == str(first / "cv-valid-dev" / "sample-000004.flac")
    assert splits["test"][0].duration == 0.1


def test_official_lists_go_before_our_own_and_may_lack_durations(first, commonvoice, tmp_path):
    for split in ("train", "dev", "test"):
        for n in range(2):  # the names are the same in every folder
            write_noise(first / f"cv-valid-{split}" / f"sample-00000{n}.mp3", samples=8000)
        lines = [f"cv-valid-{split}/sample-00000{n}.mp3,{split} text,1,1,,,," for n in range(2)]
        (first / f"cv-valid-{split}.csv").write_text("\n".join([FIRST_COLUMNS, *lines]))
    for n in range(2, 6):
        (first / "cv-valid-dev" / f"sample-00000{n}.flac").unlink()
    commonvoice.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [item.id for item in splits["train"]] == [
        "cv-valid-train-sample-000000",
        "cv-valid-train-sample-000001",
    ]
    assert splits["test"][0].text == "test text"


def test_every_problem_of_the_first_release_is_one_line(first, commonvoice, tmp_path, capsys):
    clips = first / "cv-valid-dev"
    (clips / "sample-000000.flac").unlink()
    (clips / "sample-000001.flac").write_bytes(b"no audio")
    write_noise(clips / "sample-000002.flac", samples=6000)
    write_noise(clips / "sample-000009.flac")
    path = first / "cv-valid-dev-test.csv"
    path.write_text(path.read_text() + "cv-valid-dev/sample-000003.mp3,no,1,0,,,,0.1\n")
    with pytest.raises(InputError, match="Common Voice: 6 problems, no manifest written"):
        commonvoice.prepare(tmp_path, tmp_path / "out")
    lines = capsys.readouterr().err
    for line in (
        "cv-valid-dev-sample-000000: has no audio\n",
        f"{clips / 'sample-000001.flac'}: ",
        f"{clips / 'sample-000002.flac'}: has 0.38 s of audio; expected 0.10 s\n",
        f"{clips / 'sample-000009.flac'}: has no transcript\n",
        "cv-valid-dev-sample-000003: is in dev and in test\n",
        f"{path}: has 3 clips; expected 2\n",
    ):
        assert line in lines
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,sentence\n", r":1: has no column 'text'; expected filename, text, duration"),
        (f"{FIRST_COLUMNS}\ncv-valid-dev/a.mp3,b\n", r":2: has another number of columns than"),
        (f"{FIRST_COLUMNS}\ncv-valid-dev/a.mp3,b,1,0,,,,long\n", r":2: duration is 'long'; exp"),
        (f"{FIRST_COLUMNS}\na/a.mp3,b,1,0,,,,\na/a.wav,b,1,0,,,,\n", ":3: a-a was on an earlier"),
    ],
)
def test_lists_of_another_form_are_refused(text, message, first, commonvoice, tmp_path):
    (first / "cv-valid-dev-dev.csv").write_text(text)
    with pytest.raises(InputError, match=rf"cv-valid-dev-dev\.csv{message}"):
        commonvoice.prepare(tmp_path, tmp_path / "out")


# releases since 2019


def test_a_release_has_speakers_and_only_texts_of_letters(commonvoice, tmp_path, capsys):
    home = make_release(tmp_path)
    commonvoice.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [item.text for item in splits["train"]] == ["he said no", "it's late"]
    assert [item.id for item in splits["dev"]] == ["common_voice_en_dev1"]
    assert [item.text for item in splits["test"]] == ["yes"]
    assert splits["test"][0].speaker == "test-speaker"
    assert splits["test"][0].audio == str(home / "clips" / "common_voice_en_test0.mp3")
    assert splits["test"][0].duration == pytest.approx(0.5, abs=0.06)
    err = capsys.readouterr().err
    assert "common_voice_en_dev0 is left out: its text 'in 1984' has '1'; expected letters" in err
    assert "common_voice_en_test1 is left out: its text has no word" in err
    assert "dev: 1 of 1 texts are in train too\ntest: 0 of 1 texts are in train too" in err


def test_the_newest_release_of_a_language_is_taken(first, commonvoice, tmp_path):
    make_release(tmp_path, "9.0-2022-04-27")
    make_release(tmp_path, "10.0-2022-07-04")
    make_release(tmp_path, "11.0-2022-09-21", "sw")
    assert commonvoice.find_release(tmp_path, "en").parent.name == "cv-corpus-10.0-2022-07-04"
    assert commonvoice.find_release(tmp_path, "sw").parent.name == "cv-corpus-11.0-2022-09-21"


def test_clips_of_no_list_and_of_another_length_are_named(commonvoice, tmp_path):
    clips = make_release(tmp_path) / "clips"
    write_noise(clips / "common_voice_en_train0.mp3", sample_rate=32000, samples=8000)
    write_noise(clips / "common_voice_en_99.mp3", sample_rate=32000, samples=8000)
    with pytest.raises(
        InputError, match=r"2 problems.*_99\.mp3: has no transcript; .*_train0\.mp3: has 0\.2\d s"
    ):
        commonvoice.prepare(tmp_path, tmp_path / "out")


def test_a_release_without_durations_is_taken_as_it_is(commonvoice, tmp_path):
    home = make_release(tmp_path)
    (home / "clip_durations.tsv").unlink()
    soundfile.write(home / "clips" / "common_voice_en_test0.wav", [0.1] * 4800, 48000)
    commonvoice.prepare(tmp_path, tmp_path / "out")
    assert read_all(tmp_path / "out")["test"][0].duration == 0.1


@pytest.mark.parametrize(
    ("language", "expected"), [("en", "VERSION/en or cv_corpus_v1"), ("sw", "VERSION/sw")]
)
def test_the_error_says_where_common_voice_is(language, expected, commonvoice, tmp_path):
    with pytest.raises(InputError, match=f"{expected} under .*https://commonvoice.mozilla.org"):
        commonvoice.prepare(tmp_path, tmp_path / "out", language)


# the real corpus


@needs_corpora
def test_the_real_corpus_has_its_known_sizes(tmp_path):
    load("commonvoice").prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (2711, 25264, 1, 3.31),
        "dev": (338, 3044, 1, 0.39),
        "test": (309, 2708, 1, 0.37),
    }
    assert characters(splits) <= LETTERS
    texts = [{item.text for item in items} for items in splits.values()]
    assert [len(one) for one in texts] == [1736, 203, 199]
    assert len(set.union(*texts)) == 1736 + 203 + 199
