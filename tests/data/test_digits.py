import importlib.util
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import read_manifest
from asr.errors import InputError

HOME = Path(__file__).parent.parent.parent / "data" / "digits"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def load(name):
    spec = importlib.util.spec_from_file_location(f"digits_{name}", HOME / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare = load("prepare").prepare
ROWS = load("prepare").read_transcripts(HOME / "transcripts.tsv")


def audio(home, id):
    return home / "audio" / ROWS[id].speaker / f"{id}.opus"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A corpus under tmp_path with the first two utterances of each speaker."""
    monkeypatch.delenv("ASR_DATA", raising=False)
    home = tmp_path / "digits"
    lines = (HOME / "transcripts.tsv").read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines if line.split("\t")[0].endswith(("-00", "-01"))]
    home.mkdir()
    (home / "transcripts.tsv").write_text("".join(kept))
    for line in kept[1:]:
        id = line.split("\t")[0]
        audio(home, id).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(audio(HOME, id), audio(home, id))
    return home


def test_no_voice_is_in_two_splits_with_any_accent():
    splits = defaultdict(set)
    for row in ROWS.values():
        engine, rest = row.speaker.split("-", 1)
        voice = rest.rsplit("-", 1)[-1] if engine == "espeak" else rest.split("-")[0]
        splits[engine, voice].add(row.split)
    assert {voice for voice, found in splits.items() if len(found) > 1} == set()
    assert Counter(next(iter(found)) for _, found in splits.items())["test"] == 10
    assert splits["flite", "slt"] == {"test"}
    assert splits["flite", "rms"] == {"dev"}


def test_every_speaker_says_each_digit_equally_often():
    digits, lengths = defaultdict(Counter), defaultdict(Counter)
    for row in ROWS.values():
        words = row.text.split()
        assert set(words) <= set(WORDS)
        digits[row.speaker].update(words)
        lengths[row.speaker][len(words)] += 1
    for speaker, counts in digits.items():
        assert len(counts) == 10
        assert max(counts.values()) - min(counts.values()) <= 1, speaker
    for speaker, counts in lengths.items():
        assert set(counts) == {2, 3, 4, 5, 6, 7}
        assert len(set(counts.values())) == 1, speaker


def test_the_audio_is_small_enough_for_the_repository():
    assert sum(path.stat().st_size for path in (HOME / "audio").rglob("*.opus")) < 5 << 20


def test_every_file_has_its_length_and_is_neither_silent_nor_clipped():
    for id, row in ROWS.items():
        waveform, sample_rate = soundfile.read(audio(HOME, id), dtype="float32")
        assert (sample_rate, waveform.shape) == (16_000, (row.samples,)), id
        assert 10 ** (-36 / 20) < np.sqrt(np.mean(waveform**2)) < 10 ** (-14 / 20), id
        assert np.mean(np.abs(waveform) > 0.99) < 1e-3, id
        assert 0.2 < row.samples / 16_000 / len(row.text.split()) < 1.5, id


def test_manifests_agree_with_the_transcripts(tmp_path, monkeypatch):
    monkeypatch.delenv("ASR_DATA", raising=False)
    prepare(None, tmp_path)
    seen = set()
    for split in ("train", "dev", "test"):
        for utterance in read_manifest(tmp_path / f"{split}.jsonl"):
            row = ROWS[utterance.id]
            assert (split, utterance.text) == (row.split, row.text)
            assert utterance.speaker == row.speaker
            assert utterance.duration == row.samples / 16_000
            assert Path(utterance.audio) == audio(HOME, utterance.id).resolve()
            seen.add(utterance.id)
    assert seen == set(ROWS)


def test_a_manifest_beside_the_audio_has_relative_paths(small):
    prepare(small.parent, small)
    first = json.loads((small / "dev.jsonl").read_text().splitlines()[0])
    assert first["audio"] == f"audio/{first['speaker']}/{first['id']}.opus"


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # Ogg's checksum of the last page fails, and the page is left out
    path.write_bytes(content)


def add_a_byte(path):
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (Path.unlink, r"digits: 1 problem, no manifest written: {id}: has no audio$"),
        (change_a_byte, r"digits: 1 problem, .*{id}\.opus: has \d+ samples; expected \d+$"),
        (add_a_byte, r"digits: 1 problem, .*{id}\.opus: .*differ"),
        (lambda path: path.write_bytes(b"Ogg?"), r"digits: 1 problem, .*{id}\.opus: Error opening"),
        (
            lambda path: shutil.copy(path, path.with_name("more.opus")),
            r"more\.opus: is not part of",
        ),
    ],
    ids=["missing", "a byte changed", "a byte more", "unreadable", "surplus"],
)
def test_a_faulty_file_is_named_and_nothing_is_written(small, harm, message):
    id = "flite-slt-01"
    harm(audio(small, id))
    with pytest.raises(InputError, match=message.format(id=id)):
        prepare(small.parent, small)
    assert not list(small.glob("*.jsonl"))


def test_an_invalid_line_of_the_transcripts_is_refused(small):
    table = small / "transcripts.tsv"
    table.write_text(table.read_text().replace("\ttest\t", "\teval\t", 1))
    with pytest.raises(InputError, match=r"transcripts\.tsv:\d+: is 'espeak-en-us-f2-00"):
        prepare(small.parent, small)


def test_the_seed_gives_the_same_strings():
    synthesise = load("synthesise")
    voices = [voice for split in ("train", "dev", "test") for voice in synthesise.voices(split, 1)]
    assert list(dict.fromkeys(row.speaker for row in ROWS.values())) == [v.speaker for v in voices]
