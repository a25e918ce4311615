"""Speed of our beam search compared with flashlight-text, on the same log-probabilities.

The limits, with a beam width of 50: without a language model at least 3 times flashlight-text's
speed; with a lexicon and an n-gram model of words at least the same speed; with a recurrent
language model of characters, an LSTM of 512 units, at least 20 utterances of 300 frames per second.

The two searches alternate, and the medians of wall time decide. Utterances per CPU second are shown
too, since they are more reliable if other programs are running. flashlight-text tries every token
in every frame and drops hypotheses 50 nats below the best, as in torchaudio. Speed must not cost
accuracy: error rates are shown, and for no utterance may our best text have a lower score than
flashlight-text's, both computed from exact log-probabilities. Without --rnn the recurrent model is
untrained, which does not change the speed.

Run: python tests/benchmarks/search_speed.py --model exp/an4/ctc-seed1 --manifest
         data/an4/test.jsonl --ngram DIR|FILE [--rnn DIR] [--cache DIR] [--runs 5]
"""

import argparse
import copy
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asr.audio.load import read_audio
from asr.corpus.manifest import read_manifest
from asr.decoder import UNTUNED, search_all, search_of
from asr.errors import reported
from asr.evaluation.provenance import machine
from asr.lm.load import load_language_model
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.recognizer import load
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.search.lexicon_tree import make_lexicon_tree
from asr.search.rescore import RescoreWeights, exact_log_probs, lm_log_probs, rescore
from asr.search.space import BeamSettings, SearchSpace

FRAMES = 300  # an utterance in figures of speed has this number of frames
TOLERANCE = 1e-3  # nats, for sums in float32


def read_log_probs(recognizer, utterances, cache):
    """Log-probabilities (T, C) of each utterance; with a cache, they are computed once."""
    if cache and cache.exists():
        return list(np.load(cache).values())
    log_probs = []
    for utterance in utterances:
        waveform = read_audio(utterance.audio, recognizer.sample_rate)
        log_probs.append(recognizer.log_probs(waveform).numpy())
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, *log_probs)
    return log_probs


def decoders(arguments, tokenizer):
    """Kind of search -> (search space, limit of its speed)."""
    ngram = load_language_model(arguments.ngram)
    words = [w for n, w in enumerate(ngram.vocabulary.symbols) if n not in (UNK, EOS)]
    if arguments.rnn:
        rnn = load_language_model(arguments.rnn)
    else:
        # symbols between letters, so that normalisation keeps blanks and apostrophes
        vocabulary = Vocabulary.from_texts(["a".join([*tokenizer.symbols, ""])], "char")
        torch.manual_seed(1)
        rnn = RNNLM(vocabulary, RNNLMSettings(hidden_size=512, n_layers=1)).eval()
    lexicon = make_lexicon_tree(words, tokenizer)
    return {
        "no language model": (SearchSpace(tokenizer, BeamSettings()), 3.0),
        "words, n-gram": (SearchSpace(tokenizer, UNTUNED, lexicon, ngram), 1.0),
        "characters, RNN": (SearchSpace(tokenizer, UNTUNED, lm=rnn), 20.0),
        "characters, RNN in bfloat16": (
            SearchSpace(tokenizer, UNTUNED, lm=copy.deepcopy(rnn).bfloat16()),
            20.0,
        ),
    }


def measure(log_probs, decoder, name):
    """The best hypotheses; utterances per wall second and per CPU second."""
    started, processor = time.perf_counter(), time.process_time()
    nbests = search_all(log_probs, decoder, torch.device("cpu"), search_of(name).run)
    seconds = time.perf_counter() - started, time.process_time() - processor
    utterances = sum(map(len, log_probs)) / FRAMES
    return [nbest[0] for nbest in nbests], utterances / seconds[0], utterances / seconds[1]


def exact_scores(log_probs, best, decoder):
    """The total score of one hypothesis for each utterance, without pruning."""
    if decoder.lexicon is not None:  # flashlight-text ends words with a separator of its own
        encode = decoder.tokenizer.encode
        best = [replace(one, tokens=encode(" ".join(one.words), "text")) for one in best]
    nbests = [exact_log_probs(rows, [one]) for rows, one in zip(log_probs, best, strict=True)]
    lms = [decoder.lm] if decoder.lm is not None else []
    settings = decoder.settings
    weights = RescoreWeights((settings.lm_weight,) * len(lms), settings.word_bonus)
    scores = lm_log_probs(nbests, lms)
    rescored = [rescore(n, s, weights) for n, s in zip(nbests, scores, strict=True)]
    return np.array([nbest[0].total for nbest in rescored])


def compare(log_probs, references, decoder, runs, alone):
    """Print a line for each search.

    Returns:
        speed: median ratio to flashlight-text's speed, or median speed if `alone`.
        lost: number of utterances for which our best score is lower than flashlight-text's.
    """
    names = ["beam"] if alone else ["beam", "flashlight"]
    speeds = {name: [] for name in names}
    scores = {}
    for run in range(-1, runs):
        for name in names:
            best, wall, processor = measure(log_probs, decoder, name)
            if run < 0:  # warm-up
                texts = [" ".join(hypothesis.words) for hypothesis in best]
                errors = sum(word_errors(references, texts), ErrorCounts())
                scores[name] = exact_scores(log_probs, best, decoder)
                print(f"  {name:12} WER {errors.rate:7.2%}", flush=True)
            else:
                speeds[name].append((wall, processor))
    for name, pairs in speeds.items():
        wall, processor = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"  {name:12} {wall:8.1f} utterances/s {processor:8.1f} utterances/cpu s")
    if alone:
        return statistics.median(wall for wall, _ in speeds["beam"]), 0
    ratios = [
        [mine / other for mine, other in zip(*both, strict=True)]
        for both in zip(speeds["beam"], speeds["flashlight"], strict=True)
    ]
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"  {'ratio':12} {wall:8.1f} {processor:23.1f}")
    gains = scores["beam"] - scores["flashlight"]
    lost, won = int((gains < -TOLERANCE).sum()), int((gains > TOLERANCE).sum())
    print(f"  best score of beam: lower in {lost}, higher in {won}, the same in the others")
    return wall, lost


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--ngram", required=True, help="n-gram model of words")
    parser.add_argument("--rnn", help="recurrent model of characters")
    parser.add_argument("--cache", type=Path, help="folder that keeps the log-probabilities")
    parser.add_argument("--utterances", type=int, default=130, help="largest number (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each search (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reached: dict[str, bool] = {}
    with reported("search_speed"):
        recognizer = load(arguments.model, "cpu")
        utterances = read_manifest(arguments.manifest)
        utterances = utterances[:: -(-len(utterances) // arguments.utterances)]
        name = "-".join(map(str, (*arguments.model.parts[-2:], arguments.manifest.stem)))
        cache = arguments.cache and arguments.cache / f"{name}-{len(utterances)}.npz"
        log_probs = read_log_probs(recognizer, utterances, cache)
        references = [utterance.text for utterance in utterances]
        frames = sum(map(len, log_probs))
        print(f"{len(log_probs)} utterances, {frames} frames; {machine('cpu')}")
        for kind, (decoder, bar) in decoders(arguments, recognizer.model.tokenizer).items():
            print(kind)
            alone = "RNN" in kind
            found, lost = compare(log_probs, references, decoder, arguments.runs, alone)
            print(f"  bar: {bar:g}{'' if alone else ' times'}")
            first = kind.split(",")[0]
            reached[first] = reached.get(first, False) or (found >= bar and not lost)
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    main()
