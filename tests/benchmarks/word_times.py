"""Times of words against times made by hand: errors of starts and ends, and drift over an hour.

Utterances with known times, such as those of data/timit, are aligned with their text, and
recognised without it. A recognised word counts if it is right: if the alignment of the recognised
text with the reference pairs it with the same word. The limits for starts and for ends: a median
of the absolute errors of at most 40 ms, and 90 % of the errors within 100 ms.

The utterances are then joined to one recording, with faint noise of 0.1 to 0.8 s between them,
over and over until it is long enough, and the same is measured there. The drift is the slope of
the utterances' median errors over time, by Theil and Sen, with its 95 % interval.

Recordings with noise at full level, as damaged files have it, are named and left out. So are
utterances that can't be aligned, as a model of phones lacks words in its lexicon.

Run: python tests/benchmarks/word_times.py --model DIR [--manifest FILE ...] [--minutes 60]
Without manifests, all utterances of data/timit, which must be prepared.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import theilslopes

import asr
from asr.alignment.aligner import align_text
from asr.alignment.pieces import log_probs_in_pieces
from asr.alignment.times import Word
from asr.corpus.manifest import TimedLabel, read_manifest
from asr.corpus.recordings import load_utterance
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.scoring.error_rates import align_words
from asr.text.spelling import spellable_words

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFESTS = [ROOT / "data" / "timit" / f"{part}.jsonl" for part in ("train", "dev", "test")]
MEDIAN_BAR_S = 0.04
NEAR_S = 0.1
NEAR_BAR = 0.9
NOISE_LEVEL = 0.25
"""RMS of 50 ms of noise at full level, at least; that of clean speech in TIMIT is below 0.12."""


class Recording(NamedTuple):
    """A waveform with the times of its words."""

    id: str
    waveform: np.ndarray  # (samples,), float32
    words: list[TimedLabel]  # spelled as the model does


class Errors(NamedTuple):
    """Errors of the times of words that were found; above 0 if late."""

    positions: np.ndarray  # (words,), seconds from the start of the recording
    starts: np.ndarray  # (words,), seconds
    ends: np.ndarray  # (words,), seconds


def has_full_noise(waveform, sample_rate):
    """Whether 50 ms are as loud as noise at full level."""
    length = sample_rate // 20
    blocks = waveform[: len(waveform) // length * length].reshape(-1, length)
    return bool((np.sqrt((blocks**2).mean(axis=1)) >= NOISE_LEVEL).any())


def read_recordings(recognizer, manifests):
    """The recordings of the manifests; those with noise at full level are named and left out."""
    recordings, noisy, refused = [], [], []
    for utterance in (u for path in manifests for u in read_manifest(path)):
        waveform = load_utterance(utterance, recognizer.sample_rate)
        if not utterance.words:
            raise InputError(f"{utterance.id}: has no times of words; expected them as words")
        if has_full_noise(waveform, recognizer.sample_rate):
            noisy.append(utterance.id)
            continue
        try:
            words = [spelled(label, recognizer.tokenizer) for label in utterance.words]
        except InputError as error:
            refused.append(f"{utterance.id}: {error}")
            continue
        recordings.append(Recording(utterance.id, waveform, words))
    if noisy:
        print(f"noise at full level in {len(noisy)} recordings, left out: {', '.join(noisy)}")
    return recordings, refused


def spelled(label, tokenizer):
    """A word with its times, spelled as the model does."""
    words = spellable_words(label.label, tokenizer)
    if len(words) > 1:
        raise InputError(f"text: has {label.label!r}, which the model spells as {len(words)} words")
    return label._replace(label=words[0])


def find_errors(due: Sequence[TimedLabel], found: Sequence[Word]) -> Errors:
    """Errors of the words found that the reference has too."""
    texts = [[label.label for label in due], [word.text for word in found]]
    (alignment,) = align_words([" ".join(texts[0])], [" ".join(texts[1])])
    rows, n_due, n_found = [], 0, 0
    for said, heard in alignment:
        if said and said == heard:
            label, word = due[n_due], found[n_found]
            rows.append((label.start, word.start - label.start, word.end - label.end))
        n_due += bool(said)
        n_found += bool(heard)
    return Errors(*np.array(rows).reshape(-1, 3).T)


def aligned(recognizer, recording):
    """The words of the text, with times as in `asr align`."""
    waveform = torch.from_numpy(recording.waveform)
    log_probs = log_probs_in_pieces(recognizer.model, waveform, recording.id)
    text = " ".join(label.label for label in recording.words)
    duration = len(waveform) / recognizer.sample_rate
    return align_text(recognizer.model, log_probs, text, duration).words


def recognised(recognizer, recording):
    """The recognised words, with times as in `asr transcribe`."""
    return recognizer.transcribe(recording.waveform, sample_rate=recognizer.sample_rate).words


def joined(recordings, minutes, sample_rate):
    """One recording of so many minutes, and the start of each part in seconds."""
    generator = np.random.default_rng(1)
    parts, words, starts, n_samples = [], [], [], 0
    for one in cycle(recordings):
        if n_samples >= 60 * minutes * sample_rate:
            break
        start = n_samples / sample_rate
        starts.append(start)
        words += [TimedLabel(w.label, start + w.start, start + w.end) for w in one.words]
        pause = generator.normal(0, 2e-4, int(generator.uniform(0.1, 0.8) * sample_rate))
        parts += [one.waveform, pause.astype(np.float32)]
        n_samples += len(one.waveform) + len(pause)
    return Recording("joined", np.concatenate(parts), words), np.array(starts)


def print_errors(name, errors, n_words):
    """Print a line for the starts and one for the ends; return whether the limits are kept."""
    kept = []
    for side, seconds in (("starts", errors.starts), ("ends", errors.ends)):
        absolute = np.abs(seconds)
        median, near = np.median(absolute), (absolute <= NEAR_S).mean()
        low, high = np.percentile(seconds, [5, 95])
        print(f"{name:>18} {side:6}{len(seconds):7} of {n_words:5} words", end="")
        print(f"{1000 * median:8.0f} ms{near:10.1%}{1000 * seconds.mean():+10.0f} ms", end="")
        print(f"{1000 * np.median(seconds):+8.0f} ms{1000 * low:+8.0f} ...{1000 * high:+5.0f} ms")
        kept.append(median <= MEDIAN_BAR_S and near >= NEAR_BAR)
    return all(kept)


def print_drift(name, errors, starts):
    """Print the slope of the utterances' median errors over time."""
    numbers = np.searchsorted(starts, errors.positions, side="right")
    groups = [numbers == number for number in np.unique(numbers)]
    hours = np.array([errors.positions[group].mean() for group in groups]) / 3600
    for side, seconds in (("starts", errors.starts), ("ends", errors.ends)):
        medians = np.array([np.median(seconds[group]) for group in groups])
        slope, _, low, high = 1000 * np.array(theilslopes(medians, hours))
        print(f"{name:>18} {side:6} drift {slope:+.1f} ms an hour ({low:+.1f} to {high:+.1f})")


def measure(arguments):
    """Print the measures, and return whether all limits are kept."""
    recognizer = asr.load(arguments.model, device="cpu")
    manifests = arguments.manifest or MANIFESTS
    recordings, refused = read_recordings(recognizer, manifests)
    for line in refused:
        print(f"can't be aligned, left out: {line}")
    if not recordings:
        raise InputError("no recording is left; expected one or more to measure")
    print(f"{len(recordings)} recordings; {machine('cpu')}")
    print(f"{'':18}{'':7}{'':21}  median{'within':>13}{'mean':>12}{'median':>10}{'5 to 95 %':>20}")
    kept = True
    for name, find in (("aligned", aligned), ("recognised", recognised)):
        errors = [find_errors(one.words, find(recognizer, one)) for one in recordings]
        together = Errors(*map(np.concatenate, zip(*errors, strict=True)))
        kept &= print_errors(name, together, sum(len(one.words) for one in recordings))
    if arguments.minutes:
        long, starts = joined(recordings, arguments.minutes, recognizer.sample_rate)
        for name, find in (("aligned", aligned), ("recognised", recognised)):
            name = f"{name}, joined"
            errors = find_errors(long.words, find(recognizer, long))
            kept &= print_errors(name, errors, len(long.words))
            print_drift(name, errors, starts)
    print(f"at most: median {1000 * MEDIAN_BAR_S:.0f} ms; at least: {NEAR_BAR:.0%} within 100 ms")
    return kept


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0, help="length of the joined recording")
    with reported("word_times"):
        kept = measure(parser.parse_args())
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
