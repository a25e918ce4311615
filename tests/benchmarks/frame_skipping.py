"""What it costs, and what it saves, not to try tokens in frames that are sure of blank.

The same log-probabilities are searched with several `blank_skip`, without anything to go by and
with a lexicon and an n-gram model of words, at untuned weights. Speed is by the processor's time.

Run: python tests/benchmarks/frame_skipping.py --model exp/an4/ctc-seed1 --manifest
         data/an4/dev.jsonl --lexicon data/an4/lexicon.dic --ngram exp/an4/ngram
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asr.decoding import UNTUNED, Decoding, DecodingSettings
from asr.errors import reported
from asr.evaluation import hear
from asr.manifest import read_manifest
from asr.recognizer import load
from asr.rescore import text_of
from asr.results import machine
from asr.tokenizer import BLANK
from asr.wer import ErrorCounts, word_errors

SKIPS = (1.0, 0.9999, 0.999, 0.99, 0.95, 0.9, 0.5)


def measure(heard, decoding, blank_skip):
    """Errors, and seconds of the processor's time that the search took."""
    beam = replace(decoding.settings.beam, blank_skip=blank_skip)
    decoding = decoding.weighted(replace(decoding.settings, beam=beam))
    started = time.process_time()
    nbests = decoding.nbests(heard.log_probs)
    seconds = time.process_time() - started
    texts = [text_of(nbest[0], decoding.tokenizer) for nbest in nbests]
    return sum(word_errors(heard.references, texts), ErrorCounts()), seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--lexicon", required=True)
    parser.add_argument("--ngram", required=True, help="model of words")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with reported("frame_skipping"):
        recognizer = load(arguments.model, "cpu", decoder="greedy")
        heard = hear(recognizer, read_manifest(arguments.manifest))
        blanks = np.concatenate([rows[:, BLANK] for rows in heard.log_probs])
        print(f"{len(heard.log_probs)} utterances, {len(blanks)} frames; {machine('cpu')}")
        weightless = replace(UNTUNED, lm_weight=0.0, word_bonus=0.0)
        kinds = {
            "nothing to go by": DecodingSettings("beam", weightless),
            "lexicon, n-gram": DecodingSettings(
                "beam", UNTUNED, lm=arguments.ngram, lexicon=arguments.lexicon
            ),
        }
        for kind, settings in kinds.items():
            print(kind)
            decoding = Decoding.load(settings, recognizer.model.tokenizer)
            for skip in SKIPS:
                errors, seconds = measure(heard, decoding, skip)
                skipped = np.mean(blanks >= math.log(skip)) if skip < 1 else 0.0
                print(
                    f"  blank_skip {skip:6}: {skipped:4.0%} of frames,"
                    f" WER {errors.rate:.2%}, {errors.errors} errors, {seconds:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
