import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import Tones, run_script, write_tones

from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """The tones, with an HMM of their letters in `hmm`."""
    tones = Tones(tmp_path_factory.mktemp("trained") / "tones")
    write_tones(tones.folder, {"train": 12, "dev": 4}, seed=0)
    options = [*tones.hmm_options, "--trainer.max_epochs=12"]
    run_script("recipes/train_hmm.py", *options, "--out", tones.folder / "hmm")
    return tones


@pytest.fixture
def dev(tones):
    return read_manifest(tones.folder / "dev.jsonl")


def align(tones, utterances, folder):
    """The output of `align.py` for these utterances."""
    write_manifest(folder / "given.jsonl", utterances)
    arguments = ["--model", tones.folder / "hmm", "--manifest", folder / "given.jsonl"]
    run_script("recipes/align.py", *arguments, "--out", folder / "times.jsonl", "--device", "cpu")
    return read_manifest(folder / "times.jsonl")


def planted(utterance):
    """The true times of the letters: 90 ms, with 60 ms before each."""
    letters = enumerate(utterance.text.split())
    return tuple((letter, 0.06 + 0.15 * n, 0.15 + 0.15 * n) for n, letter in letters)


@pytest.mark.usefixtures("compiled_alignment")
def test_tones_are_aligned_and_boundary_errors_are_printed(tones, dev, tmp_path, capsys):
    known = [replace(u, phones=planted(u)) for u in dev[:3]]
    other = replace(dev[3], phones=(("x", 0.0, 0.1),))
    found = align(tones, [*known, other], tmp_path)
    errors = []
    for utterance, times in zip(dev, found, strict=True):
        assert replace(times, words=(), phones=()) == utterance
        assert times.words == times.phones  # words of one phone
        assert [label for label, *_ in times.phones] == utterance.text.split()
        pairs = zip(times.phones, planted(utterance), strict=True)
        errors.append([a - b for one, due in pairs for a, b in zip(one[1:], due[1:], strict=True)])
    late = np.concatenate(errors[:3])
    assert abs(late).max() < 0.03
    off = 1000 * abs(late).mean()
    side = "late" if late.mean() > 0 else "early"
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'times.jsonl'}\n"
    assert printed.err.splitlines() == [
        f"phones: {len(late)} boundaries, {(abs(late) <= 0.02).mean():.1%} within 20 ms, 100.0%"
        f" within 50 ms; off by {off:.0f} ms in the mean, {1000 * abs(late.mean()):.0f} ms too"
        f" {side}",
        "phones: 3 of 4 utterances have the same labels",
    ]


def test_all_utterances_that_can_not_be_aligned_are_named(tones, dev, tmp_path):
    dev[0] = replace(dev[0], text="a zed")
    dev[2] = replace(dev[2], text="a " * 200)
    dev[3] = replace(dev[3], duration=9.0)
    named = (
        r"given.jsonl: dev00: no pronunciation in the model's lexicon for zed; dev02: has \d+"
        r" frames; the text needs 400; dev03: has about 0.\d\d s of audio; its duration is given"
        r" as 9.00 s"
    )
    with pytest.raises(InputError, match=named):
        align(tones, dev, tmp_path)
    assert not (tmp_path / "times.jsonl").exists()


def test_an_existing_file_is_not_overwritten(tones, dev, tmp_path):
    (tmp_path / "times.jsonl").write_text("mine")
    line = f"{tmp_path / 'times.jsonl'}: already exists; expected a new file"
    with pytest.raises(InputError, match=re.escape(line)):
        align(tones, dev, tmp_path)
    assert (tmp_path / "times.jsonl").read_text() == "mine"


def test_texts_in_another_case_than_the_model_writes_are_told(tones, dev, tmp_path):
    capitals = [replace(u, text=u.text.upper()) for u in dev[:1]]
    fault = "its texts are in capitals, those of the model in small letters; the model can write"
    with pytest.raises(InputError, match=rf"given.jsonl: {fault} none .*; expected the model's"):
        align(tones, capitals, tmp_path)
