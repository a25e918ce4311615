"""A corpus of tones for tests of training and decoding, and a model trained on it."""

import importlib.util
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from asr.corpus.manifest import Utterance, write_manifest

ROOT = Path(__file__).parent.parent
SAMPLE_RATE = 8000
PITCH_HZ = {"a": 500.0, "b": 1700.0}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose marks say that they need what this machine lacks."""
    lacks = {
        "gpu": not torch.cuda.is_available(),
        "bfloat16": not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }
    reasons = {"gpu": "needs a GPU", "bfloat16": "needs a processor that computes in bfloat16"}
    for item in items:
        for mark, reason in reasons.items():
            if lacks[mark] and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True)
class Tones:
    """A folder with train.jsonl, dev.jsonl, their audio, and settings for tiny models."""

    folder: Path

    @property
    def options(self) -> list[str]:
        """Options of `train_ctc`, all except `--out`."""
        return self._options("ctc.yaml")

    @property
    def hmm_options(self) -> list[str]:
        """Options of `train_hmm`, all except `--out`."""
        return self._options("hmm.yaml")

    def _options(self, config: str) -> list[str]:
        data = [f"--data.{part}={self.folder / part}.jsonl" for part in ("train", "dev")]
        return ["--config", str(self.folder / config), *data]


SETTINGS = """
data:
  batch_s: 1.6
features:
  sample_rate: 8000
  kind: log_mel
  n_mels: 12
model:
  time_reduction: 2
  hidden_size: 8
  n_layers: 1
  dropout: 0.2
augment:
  speeds: [0.9, 1.0, 1.1]
  n_time_masks: 1
  time_mask_frames: 4
optim:
  lr: 0.02
averaging:
  n_epochs: 2
trainer:
  max_epochs: 3
  accelerator: cpu
  log_every_n_steps: 1
"""
HMM_SETTINGS = """
data:
  batch_s: 1.6
features:
  sample_rate: 8000
  n_mels: 12
  n_mfcc: 6
  n_deltas: 1
model:
  n_states: 2
  n_silence_states: 1
  n_components: 14
  min_count: 5
schedule:
  grow_until: 3
trainer:
  max_epochs: 5
  accelerator: cpu
"""


def spoken(text: str, seed: int) -> np.ndarray:
    """Tones of 90 ms for each letter, with 60 ms of near-silence before, between and after them."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(0.09 * SAMPLE_RATE)) / SAMPLE_RATE
    gap = np.zeros(round(0.06 * SAMPLE_RATE))
    parts = [gap]
    for letter in text.replace(" ", ""):
        parts += [0.3 * np.sin(2 * np.pi * PITCH_HZ[letter] * time), gap]
    waveform = np.concatenate(parts)
    return (waveform + generator.normal(0, 0.003, len(waveform))).astype(np.float32)


def write_tones(folder: Path, sizes: dict[str, int], seed: int) -> None:
    """Write a manifest `part`.jsonl for each size, of utterances of two to five letters."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part, size in sizes.items():
        utterances = []
        for number in range(size):
            text = " ".join(generator.choice(["a", "b"], size=2 + number % 4))
            waveform = spoken(text, seed=number)
            path = folder / f"{part}{number:02d}.wav"
            soundfile.write(path, waveform, SAMPLE_RATE)
            duration = len(waveform) / SAMPLE_RATE
            utterances.append(Utterance(path.stem, str(path), duration, text))
        write_manifest(folder / f"{part}.jsonl", utterances)
    (folder / "ctc.yaml").write_text(SETTINGS)
    (folder / "hmm.yaml").write_text(HMM_SETTINGS)


def load_script(path: str) -> ModuleType:
    """Import a script of the repository as a module, so that tests need no separate process."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(path: str, *arguments: str | Path) -> None:
    """Run a recipe's `main` with a command line, in this process."""
    before = sys.argv
    sys.argv = [path, *map(str, arguments)]
    try:
        load_script(path).main()
    finally:
        sys.argv = before


def assert_same_model(one: Path, other: Path) -> None:
    """Assert that two folders have the same model, except for the training's commit and time."""
    assert description_of(one) == description_of(other)
    found = [load_file(folder / "weights.safetensors") for folder in (one, other)]
    torch.testing.assert_close(*found, rtol=0, atol=0)


def description_of(folder: Path) -> dict[str, Any]:
    """The description of a model, without the training's commit and time."""
    values = json.loads((folder / "model.json").read_text())
    for name in ("minutes", "commit"):
        del values["trained_on"][name]
    return values


@pytest.fixture
def tones(tmp_path: Path) -> Tones:
    """Twelve training and four development utterances, in a folder for one test."""
    write_tones(tmp_path / "tones", {"train": 12, "dev": 4}, seed=0)
    return Tones(tmp_path / "tones")


@pytest.fixture(scope="session")
def tone_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model trained on the tones; the corpus is next to it, in `tones`."""
    folder = tmp_path_factory.mktemp("trained")
    write_tones(folder / "tones", {"train": 24, "dev": 8}, seed=1)
    options = Tones(folder / "tones").options
    options += ["--trainer.max_epochs=40", "--model.dropout=0", "--augment.speeds=[1.0]"]
    run_script("recipes/train_ctc.py", *options, "--out", folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def compiled_alignment() -> None:
    """The alignment, compiled: the first time it says so on stderr."""
    from asr.alignment.trellis import ctc_states, most_probable_path

    most_probable_path(ctc_states([1]), np.zeros((2, 2), dtype=np.float32))


def signal_at(monkeypatch, training, step, hook="training_step", number=signal.SIGINT):
    """Send this process a signal in a hook of a training after a number of steps."""
    original = getattr(training, hook)
    sent = []

    def signalling(self, batch, batch_idx):
        if self.trainer.global_step == step and not sent:
            sent.append(True)
            os.kill(os.getpid(), number)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(training, hook, signalling)
