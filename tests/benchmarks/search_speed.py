"""Speed and accuracy of our CTC beam search and of other programs, on the same log-probabilities.

The others are ctc-beam-decoder and flashlight-text (C++ with KenLM), fast-ctc-decode (Rust, without
language models) and pyctcdecode (Python with KenLM; on every tenth utterance, because it is slow).
Those that are not installed are left out. All of them prune alike if they can: tokens below e^-8,
beams 15 nats below the best. flashlight-text tries every token in every frame and drops beams 50
nats below the best; fast-ctc-decode has no such limit for beams.

All searches run in one thread and end with texts. They alternate, and the medians of CPU time
count, which other programs on the machine disturb less than wall time. Speeds are in utterances of
300 frames per second. Scores of best texts are computed from exact log-probabilities, without
pruning; texts with a word that is not in the lexicon have none.

The bars, at every beam width: our best text at least 4 times as fast as that of ctc-beam-decoder
without a language model, and 2 times with an n-gram model of words; our whole n-best list as fast
as its best text; for no utterance a lower score than ctc-beam-decoder's or flashlight-text's best
text has; two threads at least 1.6 times as fast as one, in wall time. With a recurrent language
model of characters, an LSTM of 512 units, at least --rnn-bar utterances per second, in wall time.
Without --rnn it is untrained, which does not change the speed.

Run: python tests/benchmarks/search_speed.py --model exp/an4/ctc-seed1 --manifest
         data/an4/test.jsonl --ngram DIR|FILE [--rnn DIR] [--cache DIR] [--widths 50 500]
"""

import argparse
import copy
import importlib
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from asr.audio.load import read_audio
from asr.corpus.manifest import read_manifest
from asr.decoder import UNTUNED, Decoder, DecoderSettings, search_of
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.lm.load import load_language_model
from asr.lm.ngram import write_ngram
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.recognizer import load
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.search.lexicon_tree import make_lexicon_tree
from asr.search.nbest import Hypothesis
from asr.search.rescore import exact_log_probs, lm_log_probs
from asr.search.space import BeamSettings, SearchSpace

FRAMES = 300  # an utterance in figures of speed has this number of frames
TOLERANCE = 1e-3  # nats; the others compute in float32
LEAST_SECONDS = 0.3  # a run repeats short searches for at least this CPU time
UNKNOWN_WORD = -1000.0  # nats; so that others allow only the lexicon's words, as we do

BEST, LIST = "ours, best text", "ours, n-best list"
RIVAL, FLASHLIGHT = "ctc-beam-decoder", "flashlight-text"
BARS = {"no language model": 4.0, "words, n-gram": 2.0}


class System(NamedTuple):
    """A search, log_probs -> best texts, of every utterance or every tenth, in some threads."""

    search: Callable[[Sequence[np.ndarray]], list[str]]
    every: int = 1
    threads: int = 1


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


def make_spaces(ngram, tokenizer):
    """Kind of search -> search space."""
    words = [w for n, w in enumerate(ngram.vocabulary.symbols) if n not in (UNK, EOS)]
    lexicon = make_lexicon_tree(words, tokenizer)
    return {
        "no language model": SearchSpace(tokenizer, BeamSettings()),
        "words, n-gram": SearchSpace(tokenizer, UNTUNED, lexicon, ngram),
    }


def decoder_search(space, name="beam"):
    """Our search, or flashlight-text's, as `asr transcribe` runs it."""
    if name == "flashlight":
        importlib.import_module("flashlight.lib.text.decoder")
    settings = DecoderSettings(name, space.settings)
    device, search = torch.device("cpu"), search_of(name)
    decoder = Decoder(settings, space.tokenizer, device, space, search=search)
    return lambda log_probs: [nbest[0].text for nbest in decoder.nbests(log_probs)]


def like_pyctcdecode(module, space, arpa):
    """The search of pyctcdecode, or of ctc-beam-decoder, which is called in the same way."""
    options = {}
    if space.lm is not None:
        options = {
            "kenlm_model_path": str(arpa),
            "unigrams": [*space.lexicon.words],
            "alpha": space.settings.lm_weight,  # of natural logarithms, as ours
            "beta": space.settings.word_bonus,
            "unk_score_offset": UNKNOWN_WORD,
        }
        importlib.import_module("kenlm" if module == "pyctcdecode" else module)
    labels = ["", *space.tokenizer.symbols[1:]]
    decoder = importlib.import_module(module).build_ctcdecoder(labels, **options)
    pruning = {
        "beam_width": space.settings.beam_width,
        "beam_prune_logp": space.settings.score_floor,
        "token_min_logp": space.settings.token_floor,
    }
    return lambda log_probs: [decoder.decode(rows, **pruning) for rows in log_probs]


def fast_ctc_decode(space):
    """The search of fast-ctc-decode."""
    find = importlib.import_module("fast_ctc_decode").beam_search
    labels = ["", *space.tokenizer.symbols[1:]]
    width, floor = space.settings.beam_width, math.exp(space.settings.token_floor)
    return lambda log_probs: [find(np.exp(rows), labels, width, floor)[0] for rows in log_probs]


def make_systems(space, arpa):
    """Our searches and those of the others that are installed, by name."""
    best, whole = (
        replace(space, settings=replace(space.settings, n_best=n))
        for n in (1, space.settings.beam_width)
    )
    others = {
        RIVAL: lambda: System(like_pyctcdecode("ctc_beam_decoder", space, arpa)),
        FLASHLIGHT: lambda: System(decoder_search(best, "flashlight")),
        "fast-ctc-decode": lambda: System(fast_ctc_decode(space)),
        "pyctcdecode": lambda: System(like_pyctcdecode("pyctcdecode", space, arpa), every=10),
    }
    if space.lm is not None:
        del others["fast-ctc-decode"]
    systems = {BEST: System(decoder_search(best)), LIST: System(decoder_search(whole))}
    for name, make in others.items():
        try:
            systems[name] = make()
        except ImportError as error:
            print(f"  {name} is left out: {error}")
    return systems


def speed(search, log_probs):
    """Utterances per CPU second and per wall second."""
    processor, wall, n = time.process_time(), time.perf_counter(), 0
    while time.process_time() - processor < LEAST_SECONDS:
        search(log_probs)
        n += 1
    utterances = n * sum(map(len, log_probs)) / FRAMES
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return utterances / processor, utterances / wall


def median_speeds(systems, log_probs, runs):
    """Medians of what `speed` finds for each system; the runs of all systems alternate."""
    found = [[] for _ in systems]
    for _ in range(runs):
        for speeds, system in zip(found, systems, strict=True):
            torch.set_num_threads(system.threads)
            speeds.append(speed(system.search, log_probs[:: system.every]))
    torch.set_num_threads(1)
    return [[statistics.median(column) for column in zip(*some, strict=True)] for some in found]


def exact_scores(log_probs, texts, space):
    """The score of each text without pruning; NaN if a word is not in the lexicon."""
    scores, lms, settings = [], [space.lm] if space.lm else [], space.settings
    known = set(space.lexicon.words) if space.lexicon else None
    for rows, text in zip(log_probs, texts, strict=True):
        words = tuple(text.split())
        one = Hypothesis(space.tokenizer.encode(" ".join(words)), 0.0, words=words)
        score = exact_log_probs(rows.astype(np.float64), [one])[0].log_prob
        score += settings.lm_weight * lm_log_probs([[one]], lms)[0].sum()
        score += settings.word_bonus * len(words)
        scores.append(score if known is None or known.issuperset(words) else math.nan)
    return np.array(scores)


def compare(kind, space, log_probs, references, runs, arpa):
    """Measure all searches of a kind and print a line for each; whether each bar is reached."""
    systems = make_systems(space, arpa)
    texts = {name: one.search(log_probs[:: one.every]) for name, one in systems.items()}
    found = median_speeds([*systems.values()], log_probs, runs)
    speeds = {name: cpu for name, (cpu, _) in zip(systems, found, strict=True)}
    scores, lost = exact_scores(log_probs, texts[BEST], space), {}
    for name, (_, every, _) in systems.items():
        errors = sum(word_errors(references[::every], texts[name]), ErrorCounts())
        line = f"  {name:18} {speeds[name]:8.1f} utterances/cpu s   WER {errors.rate:7.2%}"
        if name not in (BEST, LIST):
            gains = scores[::every] - exact_scores(log_probs[::every], texts[name], space)
            lost[name], won = (gains < -TOLERANCE).sum(), (gains > TOLERANCE).sum()
            line += f"   our score lower in {lost[name]}, higher in {won} of {len(gains)}"
            line += f", unknown words in {np.isnan(gains).sum()}" if space.lexicon else ""
        print(line, flush=True)
    what = "utterances with a lower score than {}'s; the bar is 0"
    strong = [name for name in (RIVAL, FLASHLIGHT) if name in lost]
    reached = [check(lost[name] == 0, f"{lost[name]} {what.format(name)}") for name in strong]
    for name, bar in ((BEST, BARS[kind]), (LIST, 1.0)) if RIVAL in speeds else ():
        ratio = speeds[name] / speeds[RIVAL]
        reached.append(at_least(bar, ratio, f"times the speed of {RIVAL}: {name}"))
    pair = [systems[BEST]._replace(threads=threads) for threads in (1, 2)]
    (_, one), (_, two) = median_speeds(pair, log_probs, runs)
    return [*reached, at_least(1.6, two / one, f"times {one:.1f} utterances/s in two threads")]


def check(reached, what):
    """Print a result that has a bar, and return whether it is reached."""
    print(f"  {'PASS' if reached else 'FAIL'}: {what}", flush=True)
    return reached


def at_least(bar, found, what):
    """Check that a number reaches its bar."""
    return check(found >= bar, f"{found:.2f} {what}; the bar is {bar:g}")


def measure_rnn(arguments, tokenizer, log_probs, references):
    """Measure our search with a recurrent language model of characters; whether it is fast."""
    rnn = arguments.rnn and load_language_model(arguments.rnn)
    if not rnn:
        # symbols between letters, so that normalisation keeps blanks and apostrophes
        vocabulary = Vocabulary.from_texts(["a".join([*tokenizer.symbols, ""])], "char")
        torch.manual_seed(1)
        rnn = RNNLM(vocabulary, RNNLMSettings(hidden_size=512, n_layers=1)).eval()
    found = {}
    for precision, lm in (("float32", rnn), ("bfloat16", copy.deepcopy(rnn).bfloat16())):
        search = decoder_search(SearchSpace(tokenizer, UNTUNED, lm=lm))
        errors = sum(word_errors(references, search(log_probs)), ErrorCounts())
        system = System(search, threads=arguments.threads)
        ((cpu, found[precision]),) = median_speeds([system], log_probs, arguments.runs)
        speeds = f"{cpu:8.1f} utterances/cpu s {found[precision]:8.1f} utterances/s"
        print(f"  {precision:18} {speeds}   WER {errors.rate:7.2%}", flush=True)
    return at_least(arguments.rnn_bar, found["float32"], "utterances/s in float32")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="of characters")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--ngram", required=True, help="n-gram model of words")
    parser.add_argument("--rnn", help="recurrent model of characters")
    parser.add_argument("--rnn-bar", type=float, default=40, help="(%(default)s)")
    parser.add_argument("--widths", type=int, nargs="+", default=[50, 500], help="(%(default)s)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the log-probabilities")
    parser.add_argument("--utterances", type=int, default=130, help="largest number (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="with the RNN (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each search (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with reported("search_speed"):
        recognizer = load(arguments.model, "cpu", decoder="greedy")
        tokenizer = recognizer.model.tokenizer
        if tokenizer.kind != "char":
            raise InputError(f"{arguments.model}: tokens are {tokenizer.kind}; expected char")
        utterances = read_manifest(arguments.manifest)
        utterances = utterances[:: -(-len(utterances) // arguments.utterances)]
        name = "-".join(map(str, (*arguments.model.parts[-2:], arguments.manifest.stem)))
        cache = arguments.cache and arguments.cache / f"{name}-{len(utterances)}.npz"
        log_probs = read_log_probs(recognizer, utterances, cache)
        references = [utterance.text for utterance in utterances]
        ngram = load_language_model(arguments.ngram)
        print(f"{len(log_probs)} utterances, {sum(map(len, log_probs))} frames; {machine('cpu')}")
        reached = []
        with tempfile.TemporaryDirectory() as folder:
            arpa = Path(folder) / "lm.arpa"
            write_ngram(arpa, ngram)
            for kind, space in make_spaces(ngram, tokenizer).items():
                for width in arguments.widths:
                    print(f"{kind}, beam width {width}")
                    wide = replace(space, settings=replace(space.settings, beam_width=width))
                    reached += compare(kind, wide, log_probs, references, arguments.runs, arpa)
        print("characters, RNN")
        reached.append(measure_rnn(arguments, tokenizer, log_probs, references))
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
