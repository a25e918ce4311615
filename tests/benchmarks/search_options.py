"""Error rates and times of two options of the search: `blank_skip` and `recombine`.

The same log-probabilities are searched with several values of `blank_skip`, without a language
model and with an n-gram model of words, at untuned weights; then with the n-gram model, several
beam widths, and prefixes recombined or not. The oracle is the best hypothesis of each list. Times
are CPU seconds.

Run: python tests/benchmarks/search_options.py --model exp/an4/ctc-seed1 --manifest
         data/an4/dev.jsonl --ngram exp/an4/ngram [--lexicon data/an4/lexicon.dic]
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asr.corpus.manifest import read_manifest
from asr.decoder import UNTUNED, Decoder, DecoderSettings
from asr.errors import reported
from asr.evaluation.log_probs import recognise_manifest
from asr.evaluation.provenance import machine
from asr.recognizer import load
from asr.search.rescore import hypothesis_errors
from asr.text.tokenizer import BLANK

SKIPS = (1.0, 0.9999, 0.999, 0.99, 0.95, 0.9, 0.5)
WIDTHS = (50, 200, 500)


def measure(recognised, decoder, **options):
    """Search with some options; return error rates and time as text."""
    decoder = decoder.weighted(
        replace(decoder.settings, beam=replace(decoder.settings.beam, **options))
    )
    started = time.process_time()
    nbests = decoder.nbests(recognised.log_probs)
    seconds = time.process_time() - started
    errors = hypothesis_errors(nbests, recognised.references)
    words = sum(len(text.split()) for text in recognised.references)
    first = sum(counts[0].errors for counts in errors)
    best = sum(min(one.errors for one in counts) for counts in errors)
    return f"WER {first / words:.2%}, {first} errors; oracle {best / words:.2%}; {seconds:.2f} s"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--ngram", required=True, help="model of words")
    parser.add_argument("--lexicon", default="", help="default: the n-gram's words")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with reported("search_options"):
        recognizer = load(arguments.model, "cpu", decoder="greedy")
        recognised = recognise_manifest(recognizer, read_manifest(arguments.manifest))
        blanks = np.concatenate([rows[:, BLANK] for rows in recognised.log_probs])
        print(f"{len(recognised.log_probs)} utterances, {len(blanks)} frames; {machine('cpu')}")
        weightless = replace(UNTUNED, lm_weight=0.0, word_bonus=0.0)
        kinds = {
            "no language model": DecoderSettings("beam", weightless),
            "n-gram of words": DecoderSettings(
                "beam", UNTUNED, lm=arguments.ngram, lexicon=arguments.lexicon
            ),
        }
        for kind, settings in kinds.items():
            print(kind)
            decoder = Decoder.load(settings, recognizer.model.tokenizer)
            decoder.nbests(recognised.log_probs[:1])  # the first search may compile
            for skip in SKIPS:
                skipped = np.mean(blanks >= math.log(skip)) if skip < 1 else 0.0
                found = measure(recognised, decoder, blank_skip=skip)
                print(f"  blank_skip {skip:6}: {skipped:4.0%} of frames, {found}", flush=True)
        for width in WIDTHS:
            for recombine in (False, True):
                beam = {"beam_width": width, "n_best": width, "recombine": recombine}
                how = "recombined" if recombine else "not recombined"
                found = measure(recognised, decoder, **beam)
                print(f"  {width:4} prefixes, {how}: {found}", flush=True)


if __name__ == "__main__":
    main()
