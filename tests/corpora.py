"""What the tests of `data/<corpus>/prepare.py` share."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import read_manifest

ROOT = Path(__file__).parent.parent
ASR_DATA = os.environ.get("ASR_DATA")
needs_corpora = pytest.mark.skipif(not ASR_DATA, reason="ASR_DATA is not set: no real corpora")
SPLITS = ("train", "dev", "test")
LETTERS = set("abcdefghijklmnopqrstuvwxyz' ")


def load(corpus):
    """`data/<corpus>/prepare.py` as a fresh module."""
    spec = importlib.util.spec_from_file_location(corpus, ROOT / "data" / corpus / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_all(out, form=""):
    return {split: read_manifest(out / f"{split}{form}.jsonl") for split in SPLITS}


def write_noise(path, sample_rate=16000, samples=1600, **options):
    """A recording that differs for each file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.stem.encode())
    noise = np.random.default_rng(seed).integers(-9000, 9000, samples, np.int16)
    soundfile.write(path, noise, sample_rate, **options)


def sizes(splits):
    """Utterances, words, speakers and hours of each split."""
    return {
        split: (
            len(items),
            sum(len(item.text.split()) for item in items),
            len({item.speaker for item in items}),
            round(sum(item.duration for item in items) / 3600, 2),
        )
        for split, items in splits.items()
    }


def characters(splits):
    return {character for items in splits.values() for item in items for character in item.text}
