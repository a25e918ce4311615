from pathlib import Path

import pytest
from corpora import ASR_DATA, LETTERS, characters, load, needs_corpora, read_all, sizes, write_noise

from asr.corpus.official import FACTS_RATE, read_facts
from asr.errors import InputError

METADATA = {
    "LJ001-0001": "Printing, in the only sense, was known to Mr. Neild;",
    "LJ003-0049": "The Hon. H. G. Bennet came at nine a.m.,",
    "LJ003-0050": "and so did No. two of Smith & Co. He said No. Then he left.",
    "LJ003-0345": "Messrs. Longman, the 'St. James' firm.",
    "LJ050-0278": "The end.",
}


@pytest.fixture
def ljspeech(tmp_path, monkeypatch):
    """The module with the facts of a tiny LJSpeech in `tmp_path`."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("ljspeech")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    monkeypatch.setattr(module, "SIZES", {5: 0.5})
    home = tmp_path / "LJSpeech-1.1"
    for id in METADATA:
        write_noise(home / "wavs" / f"{id}.flac")
    lines = [f"{id}|{text} (17)|{text}\n" for id, text in METADATA.items()]
    (home / "metadata.csv").write_text("".join(lines))
    (home / "README").write_text("as in the official archive")
    module.prepare(tmp_path, tmp_path / "first", update_facts=True)
    return module


def test_the_third_chapter_is_held_out(ljspeech, tmp_path):
    ljspeech.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    ids = {split: [item.id for item in items] for split, items in splits.items()}
    assert ids == {
        "train": ["LJ001-0001", "LJ050-0278"],
        "dev": ["LJ003-0049"],
        "test": ["LJ003-0345"],  # LJ003-0050 has a symbol
    }
    assert splits["dev"][0].speaker == "lj"
    assert splits["dev"][0].duration == 0.1


def test_texts_are_the_normalised_ones_with_abbreviations_as_words(ljspeech, tmp_path, capsys):
    ljspeech.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert splits["train"][0].text == "printing in the only sense was known to mister neild"
    assert splits["dev"][0].text == "the honorable h g bennet came at nine a m"
    assert splits["test"][0].text == "messieurs longman the saint james firm"
    left_out = "'and so did number two of smith & company he said no then he left' has '&'"
    assert f"LJ003-0050 is left out: its text {left_out}" in capsys.readouterr().err


def test_recordings_at_the_official_rate_have_the_same_lengths(ljspeech, tmp_path):
    wavs = tmp_path / "LJSpeech-1.1" / "wavs"
    for path in wavs.glob("*.flac"):
        write_noise(path.with_suffix(".wav"), sample_rate=22050, samples=2205)
        path.unlink()
    ljspeech.prepare(tmp_path, tmp_path / "out")
    assert read_all(tmp_path / "out")["test"][0].duration == 0.1


def test_every_problem_is_one_line(ljspeech, tmp_path, capsys):
    wavs = tmp_path / "LJSpeech-1.1" / "wavs"
    (wavs / "LJ001-0001.flac").unlink()
    (wavs / "LJ003-0049.flac").write_bytes(b"no audio")
    write_noise(wavs / "LJ003-0345.flac", samples=400)
    write_noise(wavs / "LJ003-0346.flac")
    with pytest.raises(InputError, match="LJSpeech: 4 problems, no manifest written"):
        ljspeech.prepare(tmp_path, tmp_path / "out")
    err = capsys.readouterr().err
    for line in (
        "LJ001-0001: has no audio\n",
        "LJ003-0049.flac: ",
        "LJ003-0345.flac: has 0.03 s of audio; expected 0.10 s\n",
        "LJ003-0346.flac: has no transcript\n",
    ):
        assert line in err
    assert not (tmp_path / "out").exists()


def test_another_number_of_utterances_or_another_length_is_refused(ljspeech, tmp_path, monkeypatch):
    monkeypatch.setattr(ljspeech, "SIZES", {13_100: 86_117, 451: 3_059})
    with pytest.raises(InputError, match=r"has 5 utterances; expected 13,100 or 451"):
        ljspeech.prepare(tmp_path, tmp_path / "out")
    monkeypatch.setattr(ljspeech, "SIZES", {5: 86_117})
    with pytest.raises(InputError, match=r"has 0 s of audio; expected 86,117 s"):
        ljspeech.prepare(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("line", ["LJ001-0001|a|a", "LJ001-0002|a", "LJ001-0002|a|", "X|a|a"])
def test_lines_of_another_form_are_refused(line, ljspeech, tmp_path):
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text(f"LJ001-0001|a|a\n{line}\n")
    with pytest.raises(InputError, match=r"metadata\.csv:2: is 'L?.*'; expected LJ001-0001"):
        ljspeech.prepare(tmp_path, tmp_path / "out")


def test_the_facts_are_of_the_known_part():
    module = load("ljspeech")
    facts = read_facts(module.FACTS)
    seconds = sum(samples for samples, _ in facts.values()) / FACTS_RATE
    assert seconds == pytest.approx(module.SIZES[len(facts)], abs=1)


@needs_corpora
def test_the_real_corpus_has_its_known_sizes(tmp_path, capsys):
    load("ljspeech").prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (353, 5963, 1, 0.63),
        "dev": (49, 857, 1, 0.11),
        "test": (49, 859, 1, 0.11),
    }
    assert characters(splits) <= LETTERS
    assert "left out" not in capsys.readouterr().err
