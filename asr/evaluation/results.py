"""references and hypotheses -> error rates and other figures of a system."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asr.evaluation.calibration import calibration_error, normalised_cross_entropy
from asr.evaluation.provenance import peak_memory_mb
from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.error_rates import ErrorCounts, cer, character_errors, word_errors


@dataclass(frozen=True)
class SystemResult:
    """Results of one way of decoding on one manifest.

    Args:
        name: name of the way of decoding.
        wer: word error rate, pooled over all words; a fraction, infinite if there are errors but
            no reference words.
        wer_low: lower end of the 95 % bootstrap interval over utterances.
        wer_high: upper end of this interval.
        cer: character error rate, with the spaces between words; pooled like `wer`.
        cer_low: lower end of its 95 % bootstrap interval over utterances.
        cer_high: upper end of this interval.
        cer_no_spaces: character error rate of the texts without their spaces.
        substitutions: number of substituted words.
        deletions: number of deleted words.
        insertions: number of inserted words.
        words: number of words of the references.
        utterances: number of utterances.
        wrong_utterances: number of utterances with an error.
        audio_s: total duration of the audio, in seconds.
        real_time_factor: seconds of computing time per second of audio, including its reading.
        peak_memory_mb: peak memory of the process, in MiB.
        decoding: settings of the search and the rescoring as plain values; None for greedy search
            and for oracles.
        over: name of the system that this one is compared with, on the same manifest.
        gain: WER of that system minus `wer`, a fraction. `gain` and the fields below are None
            without such a system.
        gain_low: lower end of the gain's 95 % bootstrap interval.
        gain_high: upper end of this interval.
        p: probability of so large a difference by chance.
        ece: expected calibration error of the words' confidences, from 0 to 1; None if no word was
            recognised, or for oracles. See `asr.evaluation.calibration`.
        nce: normalised cross entropy of the confidences, 1 at most; None if `ece` is None, or if
            all words are right, or all wrong.
        latency_s: seconds from a sound to the first result with it at most, without computing;
            None for whole utterances.
    """

    name: str
    wer: float
    wer_low: float
    wer_high: float
    cer: float
    cer_low: float
    cer_high: float
    cer_no_spaces: float
    substitutions: int
    deletions: int
    insertions: int
    words: int
    utterances: int
    wrong_utterances: int
    audio_s: float
    real_time_factor: float
    peak_memory_mb: float
    decoding: Mapping[str, Any] | None = None
    over: str | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p: float | None = None
    ece: float | None = None
    nce: float | None = None
    latency_s: float | None = None


def system_result(
    name: str,
    references: Sequence[str],
    hypotheses: Sequence[str],
    audio_s: float,
    seconds: float,
    decoding: Mapping[str, Any] | None = None,
) -> SystemResult:
    """Compute the results of one way of decoding.

    Args:
        name: name of the way of decoding.
        references: the reference texts.
        hypotheses: the recognised texts, one for each reference.
        audio_s: total duration of the audio, in seconds.
        seconds: computing time in seconds, including the reading of audio.
        decoding: settings of the search and the rescoring, as plain values.

    Raises:
        ValueError: there are no references, the number of hypotheses differs, or `audio_s` is 0.
    """
    if not audio_s > 0:
        raise ValueError(f"audio_s is {audio_s}; expected some audio")
    counts = word_errors(references, hypotheses)
    low, high = bootstrap_interval(counts)
    pooled = sum(counts, ErrorCounts())
    characters = character_errors(references, hypotheses)
    cer_low, cer_high = bootstrap_interval(characters)
    return SystemResult(
        name=name,
        wer=pooled.rate,
        wer_low=low,
        wer_high=high,
        cer=sum(characters, ErrorCounts()).rate,
        cer_low=cer_low,
        cer_high=cer_high,
        cer_no_spaces=cer(references, hypotheses, spaces=False).rate,
        substitutions=pooled.substitutions,
        deletions=pooled.deletions,
        insertions=pooled.insertions,
        words=pooled.words,
        utterances=len(counts),
        wrong_utterances=sum(count.errors > 0 for count in counts),
        audio_s=round(audio_s, 2),
        real_time_factor=round(seconds / audio_s, 5),
        peak_memory_mb=round(peak_memory_mb(), 1),
        decoding=decoding,
    )


def compared(
    result: SystemResult,
    references: Sequence[str],
    hypotheses: Sequence[str],
    over: str,
    others: Sequence[str],
) -> SystemResult:
    """Add the gain over another system to the results of a system.

    Args:
        result: result of `system_result` with the same references and hypotheses.
        references: the reference texts.
        hypotheses: the system's recognised texts, one for each reference.
        over: name of the other system.
        others: the other system's recognised texts, one for each reference.

    Raises:
        ValueError: there are no references, or the number of hypotheses or others differs.
    """
    found = paired_gain(word_errors(references, hypotheses), word_errors(references, others))
    return replace(
        result, over=over, gain=found.gain, gain_low=found.low, gain_high=found.high, p=found.p
    )


def with_calibration(
    result: SystemResult, confidences: np.ndarray, right: np.ndarray
) -> SystemResult:
    """Add the calibration of confidences to the results of a system.

    Args:
        result: results of the system.
        confidences: (words,), confidences of all recognised words, from 0 to 1.
        right: (words,), bool, whether these words are right.

    Raises:
        ValueError: the numbers of words differ, or a confidence is not from 0 to 1.
    """
    if not len(confidences) and not len(right):
        return result
    nce = normalised_cross_entropy(confidences, right)
    return replace(
        result,
        ece=calibration_error(confidences, right),
        nce=None if math.isnan(nce) else nce,
    )


def table(results: Sequence[SystemResult]) -> list[str]:
    """Lines that compare the systems of one manifest, for people to read."""
    width = max(len(result.name) for result in results)
    lines = []
    for r in results:
        line = (
            f"{r.name:{width}}  WER {r.wer:7.2%} ({r.wer_low:.2%} to {r.wer_high:.2%}),"
            f" CER {r.cer:6.2%} ({r.cer_low:.2%} to {r.cer_high:.2%});"
            f" {r.substitutions} substitutions, {r.deletions} deletions,"
            f" {r.insertions} insertions in {r.words} words;"
            f" real-time factor {r.real_time_factor:.4f}, {r.peak_memory_mb:.0f} MiB"
        )
        if r.gain is not None:
            line += f"; {_gain(r.gain, r.gain_low, r.gain_high)} {r.over}, p {r.p:.4f}"
        if r.ece is not None:
            line += f"; confidences: ECE {r.ece:.4f}"
            line += f", NCE {r.nce:.3f}" if r.nce is not None else ""
        if r.latency_s is not None:
            line += f"; latency {r.latency_s:g} s"
        lines.append(line)
    return lines


def _gain(gain: float, low: float | None, high: float | None) -> str:
    """The gain in words, such as "1.20% (0.80% to 1.60%) below"."""
    assert low is not None
    assert high is not None
    if gain < 0:
        return f"{-gain:.2%} ({-high:.2%} to {-low:.2%}) above"
    return f"{gain:.2%} ({low:.2%} to {high:.2%}) below"
