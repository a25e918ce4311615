"""Frames of a waveform -> probabilities of speech, by the network of silero-vad."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.errors import InputError

FRAME_LENGTH = 512
"""Samples in a frame."""

SAMPLE_RATE = 16000
"""Sample rate of the frames, in Hz."""

_THRESHOLD = 0.5  # of the probability
_CONTEXT = 64  # samples before each frame that the network also takes
_N_BINS = 129  # frequencies of its spectrum


def has_silero() -> bool:
    """Whether silero-vad, of the extra [vad], is installed."""
    return find_spec("silero_vad") is not None


class SileroDetector:
    """silero-vad's network; it remembers the frames before.

    Only the weights are taken from the installed package. The package is not imported, because
    that sets torch to one thread. Its own code computes one frame at a time; here the convolutions
    take all frames at once, which gives the same probabilities in a fraction of the time.

    Raises:
        InputError: silero-vad is not installed, or its release has other weights.
    """

    def __init__(self) -> None:
        self._network = _load_network()
        self._context = torch.zeros(_CONTEXT)
        self._state = torch.zeros(1, 1, 128), torch.zeros(1, 1, 128)

    @torch.no_grad()
    def add(self, frames: np.ndarray) -> np.ndarray:
        """Probabilities of the next frames, less the threshold of 0.5.

        Args:
            frames: (T, FRAME_LENGTH), float32, without overlap.

        Returns:
            scores: (T,), above 0 where speech is more probable than not.
        """
        if not len(frames):
            return np.zeros(0, np.float32)
        waveform = torch.cat([self._context, torch.from_numpy(frames).flatten()])
        self._context = waveform[-_CONTEXT:].clone()
        windows = waveform.unfold(0, _CONTEXT + FRAME_LENGTH, FRAME_LENGTH)
        probabilities, self._state = self._network(windows, self._state)
        return (probabilities - _THRESHOLD).numpy()

    def finish(self) -> np.ndarray:
        """Scores of frames that `add` has not returned: there are none."""
        return np.zeros(0, np.float32)


class _Network(nn.Module):
    """Magnitudes of four spectra in each frame, four convolutions over them, and an LSTM.

    Source: https://github.com/snakers4/silero-vad, version 6, `tinygrad_model.py`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 2 * _N_BINS, 256, stride=128, bias=False)
        self.encoder = nn.Sequential(
            *(nn.Conv1d(_N_BINS, 128, 3, padding=1), nn.ReLU()),
            *(nn.Conv1d(128, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv1d(64, 128, 3, padding=1), nn.ReLU()),
        )
        self.lstm = nn.LSTM(128, 128)
        self.output = nn.Linear(128, 1)

    def forward(
        self, windows: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Probabilities, (T,), and the new state; `windows`: (T, _CONTEXT + FRAME_LENGTH)."""
        parts = self.stft(functional.pad(windows[:, None], (0, 64), "reflect"))
        magnitudes = (parts[:, :_N_BINS] ** 2 + parts[:, _N_BINS:] ** 2).sqrt()  # (T, bins, 4)
        outputs, state = self.lstm(self.encoder(magnitudes).transpose(1, 2), state)  # (T, 1, 128)
        return self.output(outputs.relu()).sigmoid()[:, 0, 0], state


def _load_network() -> _Network:
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise InputError("silero-vad is not installed; expected it: pip install 'silero-vad>=6,<7'")
    path = Path(spec.origin).parent / "data" / "silero_vad.jit"
    with warnings.catch_warnings():  # torch.jit.load is deprecated, but nothing else reads the file
        warnings.simplefilter("ignore", DeprecationWarning)
        found = torch.jit.load(path, "cpu").state_dict()
    weights = {"stft.weight": found["_model.stft.forward_basis_buffer"]}
    for name in ("weight", "bias"):
        for n in range(4):
            conv = found[f"_model.encoder.{n}.reparam_conv.{name}"]
            weights[f"encoder.{2 * n}.{name}"] = conv
        for side in ("ih", "hh"):
            weights[f"lstm.{name}_{side}_l0"] = found[f"_model.decoder.rnn.{name}_{side}"]
    weights["output.weight"] = found["_model.decoder.decoder.2.weight"][:, :, 0]
    weights["output.bias"] = found["_model.decoder.decoder.2.bias"]
    network = _Network().eval()
    network.load_state_dict(weights)
    return network
