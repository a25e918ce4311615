from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpora import ASR_DATA, LETTERS, characters, load, needs_corpora, read_all, sizes

from asr.corpus import letter_to_sound
from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.text.lexicon import parse_lexicon, read_lexicon
from asr.text.normalisation import normalise

SPARSE = "all is well that ends"
# corpus -> split -> (speaker, text)
TINY = {
    "librispeech": {
        "train": [("1", "the boys' tales of the sea"), ("1", "and so it ended there")],
        "dev": [("2", "he came home very late")],
        "test": [("3", "she had never seen it")],
    },
    "commonvoice": {
        "train": [("", "he came home very late"), ("", SPARSE)],
        "dev": [("", "nobody knew what to say")],
        "test": [("", "and so it ended there")],
    },
    "an4": {
        "train": [("fa", "yes"), ("fa", "r u b o u t"), ("fa", "p i t t")],
        "dev": [("fb", "yes"), ("fb", "p i t t")],
        "test": [("fc", "yes"), ("fc", "p i t t")],
    },
    "arctic": {
        "train": [("bdl", "god bless them every one")],
        "dev": [("bdl", "she had never seen it")],
        "test": [("bdl", "we will have to watch")],
    },
    "ljspeech": {"train": [], "dev": [("lj", "printing in the only sense")], "test": []},
    "african-storybook": {"train": [("darshan-soni", "look fire")], "dev": [], "test": []},
}


@pytest.fixture(autouse=True)
def small_dictionary(monkeypatch):
    """In place of the CMU dictionary, whose letters take half a minute to learn."""
    words = [
        "boys B OY Z",
        "tales T EY L Z",
        *(f"{letter} {letter.upper()}" for letter in sorted(LETTERS - {" ", "'"})),
        "'s S",
    ]
    monkeypatch.setattr(
        letter_to_sound, "cmudict_lexicon", lambda: parse_lexicon(words, "a dictionary")
    )


@pytest.fixture
def en_small(monkeypatch):
    """The module, reading `TINY`; utterances take 2 s, but those with the text `SPARSE` 20 s."""

    def read_corpus(corpus, data_root, librispeech):
        return {
            split: [
                Utterance(
                    f"{split}-{n}",
                    f"/{corpus}/{split}-{n}.wav",
                    20.0 if text == SPARSE else 2.0,
                    text,
                    speaker,
                )
                for n, (speaker, text) in enumerate(members)
            ]
            for split, members in TINY[corpus].items()
        }

    module = load("en-small")
    monkeypatch.setattr(module, "read_corpus", read_corpus)
    monkeypatch.setattr(module, "read_novels", lambda _: ["It was she", "she had never seen it"])
    return module


def texts_of(items, corpus):
    return [item.text for item in items if item.id.startswith(corpus)]


def test_ids_and_speakers_begin_with_the_corpus(en_small, tmp_path):
    en_small.prepare(None, tmp_path)
    splits = read_all(tmp_path)
    first = splits["train"][0]
    assert (first.id, first.speaker) == ("librispeech-train-0", "librispeech-1")
    assert first.text == "the boys tales of the sea"
    assert en_small.corpus_of(splits["train"][-1]) == "african-storybook"
    assert splits["train"][-1].speaker == "african-storybook-darshan-soni"
    assert {item.speaker for item in splits["dev"]} == {"librispeech-2", "", "an4-fb"}


def test_the_lexicon_has_the_words_of_train_and_dev(en_small, tmp_path):
    en_small.prepare(None, tmp_path)
    splits, lexicon = read_all(tmp_path), read_lexicon(tmp_path / "lexicon.dic")
    for split in ("train", "dev"):
        assert not lexicon.missing(word for item in splits[split] for word in item.text.split())
    assert lexicon.pronunciations["boys"] == (("B", "OY", "Z"),)


def test_the_lexicon_has_the_frequent_words_of_the_novels(en_small, tmp_path, monkeypatch):
    sentences = ["his grace zorbled", "zorbled í", "zorbled í", "í xyzzled"]
    monkeypatch.setattr(en_small, "read_novels", lambda _: sentences)
    en_small.prepare(None, tmp_path)
    lexicon = read_lexicon(tmp_path / "lexicon.dic")
    assert not lexicon.missing(["zorbled"])
    assert lexicon.missing(["í", "xyzzled"]) == ["xyzzled", "í"]


def test_the_text_has_the_novels_without_held_out_texts_and_train(en_small, tmp_path, capsys):
    en_small.prepare(None, tmp_path)
    lines = (tmp_path / "text.txt").read_text().splitlines()
    texts = [item.text for item in read_all(tmp_path)["train"]]
    assert lines == ["It was she", *texts * en_small.REPEATS]
    assert "text.txt: 1 sentences left out, as in dev or test\n" in capsys.readouterr().out
    parts = {
        name: (tmp_path / f"text-{name}.txt").read_text().splitlines()
        for name in ("novels", "an4", "commonvoice", "reading")
    }
    assert parts.pop("novels") == ["It was she"]
    assert parts["an4"] == texts_of(read_all(tmp_path)["train"], "an4")
    assert sorted(chain(*parts.values())) == sorted(texts)


def test_corpora_of_few_speakers_are_all_in_train(en_small, tmp_path):
    en_small.prepare(None, tmp_path)
    splits = read_all(tmp_path)
    assert texts_of(splits["train"], "arctic") == [
        "god bless them every one",
        "we will have to watch",
    ]
    assert texts_of(splits["train"], "ljspeech") == ["printing in the only sense"]
    held_out = {en_small.corpus_of(item) for split in ("dev", "test") for item in splits[split]}
    assert held_out == {"librispeech", "commonvoice", "an4"}


def test_longer_texts_are_in_one_split_and_those_left_out_are_counted(en_small, tmp_path, capsys):
    en_small.prepare(None, tmp_path)
    splits = read_all(tmp_path)
    assert texts_of(splits["train"], "an4") == ["yes", "r u b o u t"]
    assert texts_of(splits["dev"], "an4") == ["yes"]
    assert texts_of(splits["test"], "an4") == ["yes", "p i t t"]
    assert texts_of(splits["train"], "librispeech") == ["the boys tales of the sea"]
    assert texts_of(splits["dev"], "librispeech") == ["he came home very late"]
    assert capsys.readouterr().out.splitlines()[:2] == [
        "dev: 1 left out, whose text is in test, 1 of an4",
        "train: 4 left out, whose text is in dev or test, 1 of librispeech, 1 of commonvoice,"
        " 1 of an4, 1 of arctic",
    ]


def test_long_recordings_of_little_text_are_left_out_of_train_and_listed(
    en_small, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(TINY["librispeech"], "dev", [("2", "home"), ("2", SPARSE + " well")])
    en_small.prepare(None, tmp_path)
    assert texts_of(read_all(tmp_path)["train"], "commonvoice") == ["he came home very late"]
    monkeypatch.setitem(TINY["librispeech"], "dev", [("2", SPARSE)])
    en_small.prepare(None, tmp_path)
    assert texts_of(read_all(tmp_path)["dev"], "librispeech") == [SPARSE]
    out = capsys.readouterr().out
    assert "train: 1 left out, over 10 s with less than 3 characters a second\n" in out
    assert f"  commonvoice-train-1: 20.0 s for '{SPARSE}'\n" in out


def test_shares_are_of_the_hours_of_each_split(en_small, tmp_path, capsys):
    en_small.prepare(None, tmp_path)
    lines = capsys.readouterr().out.splitlines()[-9:]
    assert (tmp_path / "hours.md").read_text().splitlines() == lines
    rows = [line.strip("| ").split(" | ") for line in lines]
    shares = {row[0]: (row[1], row[3], row[4], row[6]) for row in rows if len(row) > 6}
    assert shares["librispeech"] == ("1", "14.3%", "1", "33.3%")
    assert shares["an4"] == ("2", "28.6%", "1", "33.3%")
    assert shares["ljspeech"] == ("1", "14.3%", "0", "0.0%")
    assert shares["all"] == ("7", "100.0%", "3", "100.0%")


def test_a_speaker_in_two_splits_is_refused(en_small, tmp_path, monkeypatch):
    monkeypatch.setitem(TINY["librispeech"], "dev", [("3", "he came home very late")])
    with pytest.raises(InputError, match="speaker librispeech-3 is in dev and in test"):
        en_small.prepare(None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_each_corpus_is_read_with_its_own_folder_of_downloads(tmp_path, monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("en-small")

    def read_splits(*args, **options):
        return args, options

    monkeypatch.setattr(module, "load", lambda corpus: SimpleNamespace(read_splits=read_splits))
    downloads = module.DATA / "an4" / "download"
    assert module.read_corpus("an4", tmp_path) == ((tmp_path, downloads), {})
    assert module.read_corpus("commonvoice", tmp_path) == ((tmp_path,), {})
    assert module.read_corpus("librispeech", tmp_path)[1] == {}
    five_hours = {"train": ("train-5h",), "dev": ("dev-5h",), "test": ("test-5h",)}
    (tmp_path / "LibriSpeech" / "train-5h").mkdir(parents=True)
    assert module.read_corpus("librispeech", tmp_path)[1] == five_hours
    given = {"train": ["train-clean-100", "train-other-500"]}
    assert module.read_corpus("librispeech", tmp_path, given["train"])[1] == given
    (tmp_path / "LibriSpeech" / "train-clean-100").mkdir()
    five_hours["train"] = ("train-5h", "train-clean-100")
    assert module.read_corpus("librispeech", tmp_path)[1] == five_hours


@needs_corpora
def test_the_real_corpora_share_no_speaker_and_no_sentence(tmp_path, monkeypatch, capsys):
    module = load("en-small")
    monkeypatch.setattr(module, "read_novels", lambda _: [])  # they take half a minute
    monkeypatch.setattr(module, "write_english_lexicon", lambda *_: None)  # and so does it
    module.prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (9686, 120405, 102, 13.25),
        "dev": (666, 8731, 13, 1.0),
        "test": (777, 9085, 15, 1.0),
    }
    assert characters(splits) <= LETTERS
    assert all(normalise(item.text) == item.text for items in splits.values() for item in items)
    for part in (
        lambda item: item.speaker,
        lambda item: item.text if len(item.text.split()) > module.SHORT else "",
    ):
        found = [{part(item) for item in items} - {""} for items in splits.values()]
        assert sum(map(len, found)) == len(set.union(*found))
    assert (
        "train: 77 left out, whose text is in dev or test, 77 of an4\n" in capsys.readouterr().out
    )
