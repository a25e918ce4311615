from pathlib import Path

import pytest
from corpora import ASR_DATA, LETTERS, characters, load, needs_corpora, read_all, sizes, write_noise

from asr.corpus.official import read_facts
from asr.errors import InputError

PROMPTS = {
    "arctic_a0001": "Author of the danger trail, Philip Steels, etc.",
    "arctic_a0004": "Lord, but I'm glad to see you again, Phil.",
    "arctic_a0009": "We'll have to watch our chances.",
    "arctic_b0014": "Mr. Hall; -- it was she.",
    "arctic_b0020": "He's going.",
}


def make_speaker(folder, prompts=PROMPTS, suffix=".wav"):
    for name in prompts:
        write_noise(folder / "wav" / f"{name}{suffix}")
    write_noise(folder / "orig" / "arctic_a0001.wav")  # not the recordings for use
    (folder / "etc").mkdir()
    lines = [f'( {name} "{text}" )\n' for name, text in prompts.items()]
    (folder / "etc" / "txt.done.data").write_text("".join(lines))


def make_kathleen(folder, prompts=PROMPTS, suffix=".wav"):
    for name, text in prompts.items():
        write_noise(folder / f"{name}{suffix}", sample_rate=48000, samples=4800)
        (folder / f"{name}.txt").write_text(text + "\n")
    (folder / "README.md").write_text("# Kathleen")


@pytest.fixture
def arctic(tmp_path, monkeypatch):
    """The module with the facts of two tiny speakers, and the two in `tmp_path`."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("arctic")
    monkeypatch.setattr(module, "FACTS", tmp_path / "facts.tsv")
    monkeypatch.setattr(module, "N_PROMPTS", {"bdl": 5, "kathleen": 5})
    make_speaker(tmp_path / "arctic" / "cmu_us_bdl_arctic")
    make_speaker(tmp_path / "cmu_us_awb_arctic", suffix=".flac")
    module.prepare(tmp_path, tmp_path / "first", update_facts=True)
    make_kathleen(tmp_path / "kathleen")
    return module


def test_prompts_of_all_speakers_are_split_by_their_number(arctic, tmp_path):
    arctic.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    ids = {split: [item.id for item in items] for split, items in splits.items()}
    speakers = ("awb", "bdl", "kathleen")
    assert ids["dev"] == [f"{who}-arctic_{n}" for who in speakers for n in ("a0004", "b0014")]
    assert ids["test"] == [f"{who}-arctic_a0009" for who in speakers]
    assert ids["train"] == [f"{who}-arctic_{n}" for who in speakers for n in ("a0001", "b0020")]
    assert splits["train"][0].text == "author of the danger trail philip steels et cetera"
    assert splits["dev"][1].text == "mister hall it was she"
    assert [item.speaker for item in splits["test"]] == list(speakers)
    assert [item.duration for item in splits["test"]] == [0.1, 0.1, 0.1]  # at 16 and 48 kHz


def test_words_of_another_prompt_are_in_the_split_of_that_prompt(arctic, tmp_path):
    text = PROMPTS["arctic_a0009"].upper()  # of the test
    (tmp_path / "kathleen" / "arctic_b0020.txt").write_text(text)
    (tmp_path / "kathleen" / "arctic_a0004.txt").write_text("Other words for this.")
    arctic.prepare(tmp_path, tmp_path / "out")
    splits = read_all(tmp_path / "out")
    assert [item.id for item in splits["test"]][2:] == [
        "kathleen-arctic_a0009",
        "kathleen-arctic_b0020",
    ]
    assert "kathleen-arctic_a0004" in [item.id for item in splits["dev"]]
    texts = [{item.text for item in items} for items in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))


def test_several_takes_of_a_prompt_stay_together(arctic, tmp_path):
    folder = tmp_path / "kathleen"
    for suffix in (".wav", ".txt"):
        source = folder / f"arctic_a0004{suffix}"
        for take in (1592708614, 1592708620):
            source.with_stem(f"arctic_a0004_{take}").write_bytes(source.read_bytes())
        source.unlink()
    arctic.prepare(tmp_path, tmp_path / "out")
    kathleen = [item.id for item in read_all(tmp_path / "out")["dev"] if item.speaker == "kathleen"]
    assert kathleen == [
        "kathleen-arctic_a0004_1592708614",
        "kathleen-arctic_a0004_1592708620",
        "kathleen-arctic_b0014",
    ]


def test_every_problem_of_every_speaker_is_one_line(arctic, tmp_path, capsys):
    bdl, awb = tmp_path / "arctic" / "cmu_us_bdl_arctic", tmp_path / "cmu_us_awb_arctic"
    (bdl / "wav" / "arctic_a0001.wav").unlink()
    write_noise(bdl / "wav" / "arctic_a0004.wav", samples=400)
    write_noise(awb / "wav" / "arctic_b0539.flac")
    (awb / "wav" / "arctic_b0020.flac").write_bytes(b"")
    (tmp_path / "kathleen" / "arctic_a0009.txt").unlink()
    with pytest.raises(InputError, match="CMU ARCTIC: 6 problems, no manifest written"):
        arctic.prepare(tmp_path, tmp_path / "out")
    err = capsys.readouterr().err
    for line in (
        "bdl-arctic_a0001: has no audio\n",
        "bdl_arctic/wav/arctic_a0004.wav: has 0.03 s of audio; expected 0.10 s\n",
        "awb_arctic/wav/arctic_b0539.flac: has no transcript\n",
        "awb_arctic/wav/arctic_b0020.flac: ",
        "kathleen/arctic_a0009.wav: has no transcript\n",
        "kathleen: has 4 different prompts; expected 5\n",
    ):
        assert line in err


@pytest.mark.parametrize(
    "line",
    ['( arctic_a0001 "Again." )', "( arctic_a0002 Author )", '( arctic_c0001 "Author" )', ""],
)
def test_prompts_of_another_form_are_refused(line, arctic, tmp_path):
    path = tmp_path / "cmu_us_awb_arctic" / "etc" / "txt.done.data"
    path.write_text(f'( arctic_a0001 "Author" )\n{line}\n( arctic_a0003 "For" )\n')
    with pytest.raises(InputError, match=r"txt\.done\.data:2: is .*; expected \( arctic_a0001"):
        arctic.prepare(tmp_path, tmp_path / "out")


def test_two_speakers_are_downloaded_if_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)
    module = load("arctic")
    asked = []
    monkeypatch.setattr(module, "obtain", lambda source, *_: asked.append(source.url))
    (tmp_path / "empty").mkdir()
    assert list(module.speakers(tmp_path / "empty", tmp_path)) == ["bdl", "slt"]
    assert asked[0] == "http://festvox.org/cmu_arctic/packed/cmu_us_bdl_arctic.tar.bz2"


def test_the_facts_are_of_three_speakers_with_all_prompts():
    speakers = [id.split("-")[0] for id in read_facts(load("arctic").FACTS)]
    assert {who: speakers.count(who) for who in speakers} == load("arctic").N_PROMPTS


@needs_corpora
def test_the_real_corpus_has_its_known_sizes(tmp_path):
    load("arctic").prepare(Path(ASR_DATA), tmp_path)
    splits = read_all(tmp_path)
    assert sizes(splits) == {
        "train": (2718, 24135, 3, 2.20),
        "dev": (339, 3048, 3, 0.28),
        "test": (339, 2973, 3, 0.27),
    }
    assert characters(splits) <= LETTERS
    texts = [{item.text for item in items} for items in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))
