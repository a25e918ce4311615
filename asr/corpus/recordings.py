"""Utterances -> waveforms; durations are checked against the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from asr.audio.load import read_audio, read_info
from asr.corpus.manifest import DURATION_SLACK_S, Utterance
from asr.errors import InputError, listed, one_line


def load_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """The waveform of an utterance: its whole audio file, or its part of the file.

    Args:
        utterance: of a manifest.
        sample_rate: in Hz, of the waveform.

    Returns:
        waveform: (samples,), float32; shorter than the utterance's duration if the file ends
            earlier.

    Raises:
        InputError: the audio can't be used.
    """
    if utterance.offset is None:
        return read_audio(utterance.audio, sample_rate)
    return read_audio(
        utterance.audio, sample_rate, offset_s=utterance.offset, duration_s=utterance.duration
    )


def check_durations(path: str | Path, utterances: Sequence[Utterance]) -> None:
    """Raise InputError naming the utterances with unusable audio or wrong durations.

    Only the headers of audio files are read, which takes 0.1 ms each; a file is decoded if its
    header does not match the manifest. A wrong header is found later, when audio is loaded.

    Args:
        path: of the manifest, for the error message.
        utterances: from `read_manifest`; their audio files must exist.
    """
    durations: dict[str, float] = {}
    unusable, wrong = [], []
    for utterance in utterances:
        try:
            audio_s = _declared_duration(utterance.audio, durations)
            if not _fits(utterance, audio_s):
                audio_s = durations[utterance.audio] = read_info(utterance.audio).duration
            if not _fits(utterance, audio_s):
                wrong.append(f"{utterance.id} ({_difference(utterance, audio_s)})")
        except (InputError, OSError) as error:
            unusable.append(f"{utterance.id} ({one_line(error)})")
    faults = []
    if unusable:
        faults.append(f"audio that can't be used: {listed(unusable)}")
    if wrong:
        faults.append(
            f"other audio than their duration says: {listed(wrong)}; `asr manifest` writes right"
            " durations"
        )
    if faults:
        n_faulty = len(unusable) + len(wrong)
        raise InputError(
            f"{path}: {n_faulty} of {len(utterances)} utterances have {'; and '.join(faults)}"
        )


def _declared_duration(audio: str, durations: dict[str, float]) -> float:
    """Seconds according to a file's header, kept in `durations`; 0 if soundfile can't read it."""
    if audio not in durations:
        try:
            with soundfile.SoundFile(audio) as file:
                durations[audio] = file.frames / file.samplerate
        except (OSError, ValueError, soundfile.SoundFileError):
            durations[audio] = 0.0
    return durations[audio]


def _fits(utterance: Utterance, audio_s: float) -> bool:
    if utterance.offset is None:
        return abs(audio_s - utterance.duration) <= DURATION_SLACK_S
    return utterance.offset + utterance.duration <= audio_s + DURATION_SLACK_S


def _difference(utterance: Utterance, audio_s: float) -> str:
    if utterance.offset is None:
        return f"{audio_s:.2f} s of audio, {utterance.duration:.2f} s in the manifest"
    end = utterance.offset + utterance.duration
    return f"{audio_s:.2f} s of audio, {end:.2f} s with offset and duration in the manifest"
