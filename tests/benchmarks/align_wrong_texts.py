"""Align a long recording with a text that has errors: do the confidences tell them?

The utterances of a manifest are joined into one recording. A share of the words is left out of the
text, the same share is replaced and the same share added, at random. Printed are the confidences of
the words that were said and of those that were not, and how far the errors move the words that were
said. With `--minutes` the recording is repeated up to this length, and time and memory are printed.

Run: python tests/benchmarks/align_wrong_texts.py --model exp/an4/ctc --manifest data/an4/test.jsonl
         [--minutes 60]
"""

import argparse
import math
import resource
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from asr.alignment.aligner import align_text
from asr.alignment.pieces import log_probs_in_pieces
from asr.corpus.manifest import read_manifest
from asr.corpus.recordings import load_utterance
from asr.errors import reported
from asr.evaluation.provenance import machine
from asr.model import load_model

SHARES = (0.05, 0.1, 0.2)
LOW = 0.05
"""A confidence below it shows a word that was probably not said."""

NEAR_S = 0.06


class WrongText(NamedTuple):
    """A text with errors."""

    words: list[str]
    origins: list[int]  # each word's place in the right text; -1 if it was not said there


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=0.0, help="repeat up to this length")
    options = parser.parse_args()
    model = load_model(options.model)
    sample_rate = model.features.settings.sample_rate
    utterances = read_manifest(options.manifest)
    parts = [load_utterance(utterance, sample_rate) for utterance in utterances]
    waveform = torch.from_numpy(np.concatenate(parts))
    right = [word for utterance in utterances for word in utterance.text.split()]
    repeats = max(1, math.ceil(60 * options.minutes * sample_rate / len(waveform)))
    waveform, right = waveform.repeat(repeats), right * repeats
    duration = len(waveform) / sample_rate
    seconds = [time.process_time()]
    log_probs = log_probs_in_pieces(model, waveform, str(options.manifest))
    seconds.append(time.process_time())
    found = align_text(model, log_probs, " ".join(right), duration).words
    seconds.append(time.process_time())
    network, alignment = np.diff(seconds)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{duration / 60:.1f} minutes, {len(right)} words; CPU: log_probs {network:.0f} s,"
        f" alignment {alignment:.1f} s; peak of the memory {peak_gb:.2f} GB; {machine('cpu')}"
    )
    if repeats == 1:
        starts = np.array([word.start for word in found])
        for share in SHARES:
            text = with_errors(right, share, np.random.default_rng(0))
            found = align_text(model, log_probs, " ".join(text.words), duration).words
            print_confidences(share, text, found, starts)


def with_errors(right, share, generator):
    vocabulary = sorted(set(right))
    words, origins = [], []
    for place, word in enumerate(right):
        chance = generator.random()
        if chance < share:
            continue
        other = vocabulary[generator.integers(len(vocabulary))]
        replaced = chance < 2 * share
        words.append(other if replaced else word)
        origins.append(place if words[-1] == word else -1)
        if not replaced and chance < 3 * share:
            words.append(other)
            origins.append(-1)
    return WrongText(words, origins)


def print_confidences(share, text, found, starts):
    confidences, origins = np.array([word.confidence for word in found]), np.array(text.origins)
    said = origins >= 0
    moved = np.abs(np.array([word.start for word in found])[said] - starts[origins[said]])
    print(
        f"{share:.0%}: {said.sum()} words said, {(~said).sum()} not said;"
        f" AUC {roc_auc_score(said, confidences):.3f};"
        f" below {LOW}: {(confidences[said] < LOW).mean():.1%} of those said,"
        f" {(confidences[~said] < LOW).mean():.1%} of those not said;"
        f" {(moved <= NEAR_S).mean():.1%} of those said start within {1000 * NEAR_S:.0f} ms of"
        f" their time with the right text, all within {moved.max():.1f} s"
    )


if __name__ == "__main__":
    with reported("align_wrong_texts"):
        main()
