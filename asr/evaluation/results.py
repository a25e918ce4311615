"""References and hypotheses -> the figures of a system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asr.evaluation.provenance import peak_memory_mb
from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.error_rates import ErrorCounts, character_errors, word_errors


@dataclass(frozen=True)
class SystemResult:
    """How one way of decoding did on one manifest.

    Args:
        name: of the way of decoding.
        wer: pooled over all words; a fraction, infinite where there are errors but no words.
        wer_low: lower end of the 95 % bootstrap interval over utterances.
        wer_high: its upper end.
        cer: likewise of characters, the blanks between words included.
        substitutions: of words; so are the next two.
        deletions: words not recognised.
        insertions: words not said.
        words: of the references.
        utterances: how many.
        wrong_utterances: with an error in them.
        audio_s: seconds of audio.
        real_time_factor: seconds of work for a second of audio, reading it included.
        peak_memory_mb: of the process, in MiB.
        decoding: settings of the search and the rescoring, plain values; None where there are none.
        over: name of the system, measured in the same place, that this one is compared with.
        gain: how much lower the WER is than that one's, a fraction; None without such a system,
            as are the next three.
        gain_low: lower end of its 95 % bootstrap interval.
        gain_high: its upper end.
        p: how probable so large a difference is by chance.
    """

    name: str
    wer: float
    wer_low: float
    wer_high: float
    cer: float
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


def system_result(
    name: str,
    references: Sequence[str],
    hypotheses: Sequence[str],
    audio_s: float,
    seconds: float,
    decoding: Mapping[str, Any] | None = None,
) -> SystemResult:
    """The figures of one way of decoding.

    Args:
        name: of the way of decoding.
        references: what was said.
        hypotheses: what was recognised, one for each reference.
        audio_s: seconds of audio.
        seconds: of work, reading the audio included.
        decoding: settings of the search and the rescoring, plain values.

    Raises:
        ValueError: there are no references, or not as many hypotheses, or no audio.
    """
    if not audio_s > 0:
        raise ValueError(f"audio_s is {audio_s}; expected some audio")
    counts = word_errors(references, hypotheses)
    low, high = bootstrap_interval(counts)
    pooled = sum(counts, ErrorCounts())
    return SystemResult(
        name=name,
        wer=pooled.rate,
        wer_low=low,
        wer_high=high,
        cer=sum(character_errors(references, hypotheses), ErrorCounts()).rate,
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
    """The figures of a system with its gain over another one.

    Args:
        result: from `system_result` with the same references and hypotheses.
        references: what was said.
        hypotheses: what the system recognised, one for each reference.
        over: name of the other system.
        others: what that one recognised, one for each reference.

    Raises:
        ValueError: there are no references, or not as many hypotheses or others.
    """
    found = paired_gain(word_errors(references, hypotheses), word_errors(references, others))
    return replace(
        result, over=over, gain=found.gain, gain_low=found.low, gain_high=found.high, p=found.p
    )
