import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_speech import joined_digits

from asr.audio import silero
from asr.audio.silero import FRAME_LENGTH, SAMPLE_RATE, SileroDetector, has_silero
from asr.errors import InputError

needs_silero = pytest.mark.skipif(
    not has_silero(), reason="silero-vad, of the extra [vad], is not installed"
)


def frames_of_digits():
    waveform = joined_digits(n_recordings=3, pauses_s=(1.0,))[0]
    return waveform[: len(waveform) // FRAME_LENGTH * FRAME_LENGTH].reshape(-1, FRAME_LENGTH)


@needs_silero
def test_scores_equal_those_of_the_package_frame_by_frame():
    frames = frames_of_digits()
    path = Path(find_spec("silero_vad").origin).parent / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = torch.jit.load(path)
    with torch.no_grad():
        expected = [theirs(torch.from_numpy(frame), SAMPLE_RATE).item() for frame in frames]
    found = SileroDetector().add(frames) + 0.5
    assert max(expected) > 0.9 > 0.1 > min(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@needs_silero
def test_frames_in_several_calls_have_the_same_scores():
    frames = frames_of_digits()
    detector = SileroDetector()
    parts = [detector.add(part) for part in np.split(frames, [1, 1, 40])]
    assert not len(detector.finish())
    expected = SileroDetector().add(frames)
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=1e-5)


@needs_silero
def test_the_package_is_not_imported():
    SileroDetector()
    assert "silero_vad" not in sys.modules


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    assert not has_silero()
    with pytest.raises(InputError, match=r"silero-vad is not installed; .*pip install 'silero-vad"):
        SileroDetector()
