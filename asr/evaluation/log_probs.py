"""recogniser and manifest -> log_probs of its utterances."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from asr.corpus.batching import batches_by_length
from asr.corpus.manifest import Utterance, check_duration
from asr.corpus.recordings import load_utterance
from asr.errors import InputError
from asr.model import check_log_probs
from asr.recognizer import Recognizer

BATCH_S = 120.0
"""Maximum length of a batch in seconds of audio, padding included."""


@dataclass(frozen=True)
class Recognised:
    """The acoustic model's output for the utterances of a manifest.

    Args:
        utterances: the utterances, in the manifest's order.
        log_probs: one tensor for each utterance, (T, C), float32.
        audio_s: total duration of the audio, in seconds.
        seconds: computing time in seconds, including the reading of audio.
    """

    utterances: Sequence[Utterance]
    log_probs: list[Tensor]
    audio_s: float
    seconds: float

    @property
    def references(self) -> list[str]:
        """The reference texts of the utterances."""
        return [utterance.text for utterance in self.utterances]


def recognise_manifest(recognizer: Recognizer, utterances: Sequence[Utterance]) -> Recognised:
    """Compute the log-probabilities of a manifest's utterances.

    Args:
        recognizer: recogniser of the acoustic model.
        utterances: the utterances of the manifest.

    Returns:
        recognised: the log-probabilities, in the order of `utterances`.

    Raises:
        InputError: there is no utterance, an audio file can't be used or is not as long as the
            manifest says, or the model gives NaN for an utterance.
    """
    if not utterances:
        raise InputError("the manifest has no utterance; expected at least one")
    started = time.perf_counter()
    found: dict[int, Tensor] = {}
    samples = 0
    durations = [utterance.duration for utterance in utterances]
    for indices in batches_by_length(durations, BATCH_S):
        bucket = [utterances[index] for index in indices]
        waveforms = [load_utterance(utterance, recognizer.sample_rate) for utterance in bucket]
        for utterance, waveform in zip(bucket, waveforms, strict=True):
            recognizer.check_length(waveform, utterance.audio)
            check_duration(utterance, len(waveform) / recognizer.sample_rate)
        samples += sum(map(len, waveforms))
        rows = recognizer.log_probs(waveforms)
        for utterance, log_probs in zip(bucket, rows, strict=True):
            check_log_probs(log_probs, utterance.audio)
        # copied, because a row of a batch would keep the whole batch in memory
        found |= {i: log_probs.clone() for i, log_probs in zip(indices, rows, strict=True)}
    return Recognised(
        utterances,
        [found[index] for index in range(len(utterances))],
        samples / recognizer.sample_rate,
        time.perf_counter() - started,
    )
