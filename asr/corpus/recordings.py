"""Utterances -> their audio, as long as their manifest says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.load import load_audio, read_info
from asr.corpus.manifest import DURATION_SLACK_S, Utterance
from asr.errors import InputError, listed, one_line


def load_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """The waveform of an utterance: of its whole audio file, or of its part of it.

    Returns:
        waveform: (samples,), float32; shorter than the utterance's duration where the file ends
            before.

    Raises:
        InputError: the audio can't be used.
    """
    if utterance.offset is None:
        return load_audio(utterance.audio, sample_rate)
    return load_audio(
        utterance.audio, sample_rate, offset_s=utterance.offset, duration_s=utterance.duration
    )


def check_durations(path: str | Path, utterances: Sequence[Utterance]) -> None:
    """Raise InputError naming the utterances whose audio is not as long as their manifest says.

    Files are opened for what their headers say, 0.1 ms each; only those whose header says
    something else than the manifest are read. What a header hides comes out when audio is loaded.

    Args:
        path: of the manifest; begins the error's line.
        utterances: what `read_manifest` gave; their audio files are there.
    """
    found: dict[str, float] = {}
    wrong = []
    for utterance in utterances:
        try:
            said = _declared(utterance.audio, found)
            if not _fits(utterance, said):
                said = found[utterance.audio] = read_info(utterance.audio).duration
            if not _fits(utterance, said):
                wrong.append(f"{utterance.id} ({_difference(utterance, said)})")
        except (InputError, OSError) as error:
            wrong.append(f"{utterance.id} ({one_line(error)})")
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of {len(utterances)} utterances have other audio than their"
            f" duration says: {listed(wrong)}; `asr manifest` writes right durations"
        )


def _declared(audio: str, found: dict[str, float]) -> float:
    """Seconds that a file's header says, looked up once; 0 where it can't be read quickly."""
    if audio not in found:
        try:
            with soundfile.SoundFile(audio) as file:
                found[audio] = file.frames / file.samplerate
        except (OSError, ValueError, soundfile.SoundFileError):
            found[audio] = 0.0
    return found[audio]


def _fits(utterance: Utterance, audio_s: float) -> bool:
    if utterance.offset is None:
        return abs(audio_s - utterance.duration) <= DURATION_SLACK_S
    return utterance.offset + utterance.duration <= audio_s + DURATION_SLACK_S


def _difference(utterance: Utterance, audio_s: float) -> str:
    if utterance.offset is None:
        return f"{audio_s:.2f} s of audio, {utterance.duration:.2f} s in the manifest"
    end = utterance.offset + utterance.duration
    return f"{audio_s:.2f} s of audio, {end:.2f} s with offset and duration in the manifest"
