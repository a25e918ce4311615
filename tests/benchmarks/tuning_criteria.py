"""Compare criteria for tuning language-model weights on little development data.

Each model is decoded as in `recipes/evaluate.py` (search with an n-gram model, tuned weights,
n-best lists rescored with a recurrent language model, tuned weights), once for each criterion:

- `fewest`: the fewest errors; among equal points, the smallest weights;
- `smoothed`: the fewest errors after a Gaussian blur over the grid (in use until November 2026);
- `expected`: the fewest expected errors, where each list's errors are weighted by its posterior;
- `mean`: the mean of the grid, weighted by exp(-errors): `asr.search.tuning.Tuning`.

The test set is used for error rates only. Deviations are over models (seeds), or over `--draws`
random halves of the development data with one model.

Run: python tests/benchmarks/tuning_criteria.py --models exp/an4/ctc-mfcc-seed*
         --dev data/an4/dev.jsonl
         --test data/an4/test.jsonl --lexicon data/an4/lexicon.dic --ngram exp/an4/ngram
         --rescorer exp/an4/lm [--draws 5]
"""

import argparse
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from asr.corpus.manifest import read_manifest
from asr.decoder import UNTUNED_OF, DecoderSettings
from asr.errors import reported
from asr.evaluation.comparison import Comparison
from asr.evaluation.log_probs import recognise_manifest
from asr.evaluation.provenance import machine
from asr.recognizer import load
from asr.search.rescore import hypothesis_errors
from asr.search.tuning import Tuning

CRITERIA = ("fewest", "smoothed", "expected", "mean")


@dataclass(frozen=True, eq=False)
class Fewest(Tuning):
    """Chooses the point with the lowest `cost`, then fewest errors, then smallest weights.

    As in `Tuning`, the point may not have more errors than that of the smallest weights.
    """

    cost: np.ndarray  # same shape as errors

    @cached_property
    def chosen(self):
        size = np.abs(np.stack(np.meshgrid(*self.axes, indexing="ij"))).sum(axis=0).ravel()
        errors = self.errors.ravel()
        allowed = errors <= errors[size.argmin()]
        cost = np.where(allowed, self.cost.ravel().round(6), np.inf)
        best = np.lexsort((size, errors, cost))[0]
        return tuple(int(n) for n in np.unravel_index(best, self.errors.shape))


def smoothed(tuning):
    """The errors after a Gaussian blur; the standard deviation is a twentieth of each axis."""
    cost = tuning.errors.astype(float)
    for number, axis in enumerate(tuning.axes):
        values = np.array(axis)
        width = 0.05 * (values[-1] - values[0]) or 1.0
        kernel = np.exp(-0.5 * ((values[:, None] - values) / width) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        cost = np.moveaxis(np.tensordot(kernel, cost, axes=(1, number)), 0, number)
    return cost


def expected(tuning, nbests, scores, references):
    """The expected errors at every point: the sum of the lists' mean errors under the posterior."""
    counts = hypothesis_errors(nbests, references)
    cost = np.zeros(tuning.errors.shape)
    bonuses = np.array(tuning.word_bonuses)
    for nbest, language, found in zip(nbests, scores, counts, strict=True):
        acoustic = np.array([hypothesis.log_prob for hypothesis in nbest])
        n_words = np.array([len(hypothesis.words or ()) for hypothesis in nbest])
        errors = np.array([count.errors for count in found])
        for point in np.ndindex(cost.shape[:-1]):
            weights = np.array([tuning.lm_weights[n] for n in point])
            total = acoustic + language @ weights + bonuses[:, None] * n_words  # (bonuses, H)
            shares = np.exp(total - total.max(axis=1, keepdims=True))
            cost[point] += (shares @ errors) / shares.sum(axis=1)
    return cost


class OneCriterion(Comparison):
    """A comparison whose weights are chosen by one of the criteria."""

    criterion = "mean"

    def _tune(self, name, nbests, scores, dev):
        found = super()._tune(name, nbests, scores, dev)
        if self.criterion == "mean":
            return found
        if self.criterion == "smoothed":
            cost = smoothed(found)
        elif self.criterion == "expected":
            cost = expected(found, nbests, scores, dev.references)
        else:
            cost = found.errors
        return Fewest(found.lm_weights, found.word_bonuses, found.errors, found.words, cost)


def decoded(recognizer, dev, test, arguments, criterion):
    """WER in percent and weights of the search and of rescoring."""
    kind = recognizer.model.kind
    width = arguments.beam_width
    beam = replace(UNTUNED_OF[kind], beam_width=width, n_best=width)
    settings = DecoderSettings("beam", beam, lexicon=arguments.lexicon, lm=arguments.ngram)
    with tempfile.TemporaryDirectory() as folder:
        comparison = OneCriterion(recognizer, test, dev, Path(folder))
        comparison.criterion = criterion
        base = comparison.search("search", settings)
        last = comparison.rescore(base, [arguments.ngram, arguments.rescorer])
    found = base.settings.beam
    return {
        "search": (100 * base.result.wer, found.lm_weight, found.word_bonus),
        "rescored": (100 * last.result.wer, *last.settings.lm_weights, last.settings.word_bonus),
    }


def half(dev, draw):
    """A random half of the development data, the same for each criterion."""
    chosen = np.sort(np.random.default_rng(draw).permutation(len(dev.utterances))[::2])
    pick = [int(n) for n in chosen]
    return replace(
        dev,
        utterances=[dev.utterances[n] for n in pick],
        log_probs=[dev.log_probs[n] for n in pick],
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--ngram", required=True, help="n-gram model of words")
    parser.add_argument("--rescorer", required=True, help="recurrent language model")
    parser.add_argument("--lexicon", default="", help="default: the n-gram's words")
    parser.add_argument("--beam-width", type=int, default=50)
    parser.add_argument(
        "--draws", type=int, default=0, help="number of random halves of the development data"
    )
    parser.add_argument("--criteria", nargs="+", default=CRITERIA, choices=CRITERIA)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = defaultdict(list)
    with reported("tuning_criteria"):
        print(machine("cpu"))
        for model in arguments.models:
            recognizer = load(model, "cpu", decoder="greedy")
            dev, test = (
                recognise_manifest(recognizer, read_manifest(path))
                for path in (arguments.dev, arguments.test)
            )
            parts = [half(dev, draw) for draw in range(arguments.draws)] or [dev]
            for number, part in enumerate(parts):
                for criterion in arguments.criteria:
                    found = decoded(recognizer, part, test, arguments, criterion)
                    for system, figures in found.items():
                        rows[system, criterion].append(figures)
                        values = ", ".join(f"{value:g}" for value in np.round(figures, 2))
                        print(f"{model} {number} {system} {criterion}: {values}", flush=True)
    print("\n| decoding | criterion | test WER % | mean | deviation | weights: mean | deviation |")
    print("|---|---|---|---:|---:|---|---|")
    for (system, criterion), runs in sorted(rows.items()):
        figures = np.array(runs)
        deviation = figures.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(figures.shape[1])
        wers = ", ".join(f"{value:.2f}" for value in figures[:, 0])
        means = ", ".join(f"{value:.2f}" for value in figures[:, 1:].mean(axis=0))
        deviations = ", ".join(f"{value:.2f}" for value in deviation[1:])
        mean = f"{figures[:, 0].mean():.2f} | {deviation[0]:.2f}"
        print(f"| {system} | {criterion} | {wers} | {mean} | {means} | {deviations} |")


if __name__ == "__main__":
    main()
