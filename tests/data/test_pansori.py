from pathlib import Path

import pytest
from corpora import ASR_DATA, characters, load, needs_corpora, read_all, sizes, write_noise

from asr.corpus.official import read_facts
from asr.errors import InputError
from asr.text.tokenizer import CharTokenizer, JamoTokenizer

TEXTS = ["저는 나가", "나는  가", "가나 "]
TALKS = [f"{number:02}-video" for number in range(1, 11)]


def begin(talk):
    return f"speaker{talk[:2]}-{talk}"


def folder_of(root, talk):
    return root / "pansori-tedxkr" / "data" / f"speaker{talk[:2]}" / talk


def write_talk(root, talk, texts=TEXTS):
    """A talk; each recording is 0.1 s long."""
    folder = folder_of(root, talk)
    lines = []
    for number, text in enumerate(texts):
        write_noise(folder / f"{begin(talk)}-{number:04}.flac")
        lines.append(f"{begin(talk)}-{number:04} {text}\n")
    (folder / f"{begin(talk)}.trans.txt").write_text("".join(lines))


@pytest.fixture
def pansori(tmp_path, monkeypatch):
    """The module with the facts of ten tiny talks, and these in `tmp_path`."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("pansori")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    for talk in TALKS:
        write_talk(tmp_path, talk)
    module.prepare(tmp_path, tmp_path / "first", update_facts=True)
    return module


def test_the_third_talk_of_ten_is_dev_and_the_eighth_test(pansori, tmp_path):
    pansori.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert {item.speaker for item in splits["dev"]} == {"speaker03"}
    assert {item.speaker for item in splits["test"]} == {"speaker08"}
    assert len(splits["train"]) == 8 * len(TEXTS)
    assert [item.text for item in splits["test"]] == ["저는 나가", "나는 가", "가나"]
    assert splits["dev"][1].id == "speaker03-03-video-0001"
    assert {item.duration for item in splits["dev"]} == {0.1}
    many = pansori.split_of_talks([f"{number:02}" for number in range(41)])
    assert [talk for talk, split in many.items() if split == "dev"] == ["02", "12", "22", "32"]
    assert [talk for talk, split in many.items() if split == "test"] == ["07", "17", "27", "37"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3년 동안", "text '3년 동안' has '3'; expected letters only"),
        ("나는 UST에", "text '나는 ust에' has 'u'; expected Hangul only"),
        ("♪ 나는", "text '♪ 나는' has '♪'; expected letters only"),
        ("나는 ㅋㅋ", "text '나는 ㅋㅋ' has 'ㅋ'; expected Hangul only"),
        ("…", "text has no word"),
    ],
)
def test_texts_of_more_than_hangul_are_left_out_by_name(text, found, pansori, tmp_path, capsys):
    write_talk(tmp_path, TALKS[0], [*TEXTS[:2], text])
    capsys.readouterr()
    pansori.prepare(tmp_path, tmp_path / "out")
    left_out = "Pansori TEDxKR: speaker01-01-video-0002 is left out: its "
    assert f"{left_out}{found}\n" in capsys.readouterr().err
    assert len(read_all(tmp_path / "out")["train"]) == 8 * len(TEXTS) - 1


def test_punctuation_is_removed_and_syllables_are_composed(pansori, tmp_path):
    write_talk(tmp_path, TALKS[0], ["나는”고, 가.", "\u1100\u1161", "가"])
    pansori.prepare(tmp_path, tmp_path / "out")
    texts = [item.text for item in read_all(tmp_path / "out")["train"]]
    assert texts[:3] == ["나는 고 가", "가", "가"]


def test_syllables_that_train_lacks_are_left_out_of_dev_alone(pansori, tmp_path, capsys):
    for talk in (TALKS[2], TALKS[7]):
        write_talk(tmp_path, talk, ["뷁 나는 쀍", *TEXTS[1:]])
    capsys.readouterr()
    pansori.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [len(items) for items in splits.values()] == [24, 2, 3]
    line = "left out of dev: its text '뷁 나는 쀍' has 뷁, 쀍, which no text of train has\n"
    assert line in capsys.readouterr().err


def test_the_known_recordings_without_a_text_are_left_out(pansori, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pansori, "WITHOUT_TEXT", (f"{begin(TALKS[0])}-0000",))
    path = folder_of(tmp_path, TALKS[0]) / f"{begin(TALKS[0])}.trans.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    facts = pansori.FACTS.read_text().splitlines(keepends=True)
    pansori.FACTS.write_text("".join([facts[0], *facts[2:]]))
    pansori.prepare(tmp_path, tmp_path / "out")
    line = "speaker01-01-video-0000 is left out: the corpus has no text of it\n"
    assert line in capsys.readouterr().err


def test_every_problem_is_one_line(pansori, tmp_path, capsys):
    first = folder_of(tmp_path, TALKS[0])
    (first / f"{begin(TALKS[0])}-0000.flac").unlink()
    write_noise(first / f"{begin(TALKS[0])}-0001.flac", samples=400)
    write_noise(first / f"{begin(TALKS[0])}-0007.flac")
    with pytest.raises(InputError, match="Pansori TEDxKR: 3 problems, no manifest written"):
        pansori.prepare(tmp_path, tmp_path / "out")
    err = capsys.readouterr().err
    for line in (
        "speaker01-01-video-0000: has no audio\n",
        "speaker01-01-video-0001.flac: has 0.03 s of audio; expected 0.10 s\n",
        "speaker01-01-video-0007.flac: has no transcript\n",
    ):
        assert line in err


@pytest.mark.parametrize("line", ["speaker01-01-video-0001", "other-0001 가", "", "FIRST 가"])
def test_lines_of_another_form_are_refused(line, pansori, tmp_path):
    first = f"{begin(TALKS[0])}-0000"
    path = folder_of(tmp_path, TALKS[0]) / f"{begin(TALKS[0])}.trans.txt"
    path.write_text(f"{first} 가\n{line.replace('FIRST', first)}\n")
    with pytest.raises(
        InputError, match=r"trans\.txt:2: is .*; expected speaker01-01-video-NUMBER"
    ):
        pansori.prepare(tmp_path, tmp_path / "out")


def test_a_folder_without_transcripts_is_refused(pansori, tmp_path):
    (tmp_path / "other" / "pansori-tedxkr" / "data").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no SPEAKER/VIDEO/\*\.trans\.txt; expected those"):
        pansori.prepare(tmp_path / "other", tmp_path / "out")


def test_the_facts_are_of_all_recordings_with_a_text():
    module = load("pansori")
    facts = read_facts(module.FACTS)
    assert len(facts) == 2987
    assert not facts.keys() & set(module.WITHOUT_TEXT)
    assert len(set(map(module.talk, facts))) == 41


@needs_corpora
def test_the_real_corpus_has_its_known_sizes(tmp_path):
    load("pansori").prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (2213, 11129, 33, 1.90),
        "dev": (206, 1293, 4, 0.22),
        "test": (309, 1680, 4, 0.27),
    }
    assert all("가" <= each <= "힣" or each == " " for each in characters(splits))
    speakers = [{item.speaker for item in items} for items in splits.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 41
    train, dev = ([item.text for item in splits[split]] for split in ("train", "dev"))
    assert len(CharTokenizer.from_texts(train).symbols) == 1 + 834
    assert len(JamoTokenizer.from_texts(train).symbols) == 1 + 63
    for kind in (CharTokenizer, JamoTokenizer):
        tokenizer = kind.from_texts(train)
        assert [tokenizer.decode(tokenizer.encode(text)) for text in dev] == dev
