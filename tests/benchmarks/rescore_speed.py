"""Speed of rescoring with recurrent language models: at least 40 lists of 50 hypotheses per second.

The lists are made from sentences of the English novels of about 60 characters. As in a search,
words are confused with others of the same first letter at random costs, and the 50 cheapest texts
are kept. Speed does not depend on training, so the models are untrained: LSTMs of 512 units, one
layer, over characters and over 20,000 words. float32 is compared with bfloat16 (with
`torch.autocast`), for which the mean and largest errors of a sentence's log-probability are shown.
Wall time decides; lists per CPU second are shown too, since they are more reliable if other
programs are running.

Run: ASR_DATA=... python tests/benchmarks/rescore_speed.py [--lists 200] [--threads 2]
"""

import argparse
import lzma
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary

BAR = 40  # lists a second
N_BEST = 50
LENGTHS = range(50, 71)  # characters of a sentence


def read_novels():
    """The first 200,000 paragraphs of the novels, in lower case."""
    path = Path(os.environ.get("ASR_DATA", "")) / "text" / "english_novels.txt.xz"
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected the English novels under $ASR_DATA")
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [line.lower() for line in islice(lines, 200_000)]


def lists_of(paragraphs, common, n_lists):
    """Random n-best lists, each with 50 texts (tuples of words) similar to one sentence."""
    generator = random.Random(1)
    by_first_letter = defaultdict(list)
    for word in common:
        by_first_letter[word[0]].append(word)
    sentences = [s for p in paragraphs for s in re.split(r"[.!?;:]", p)]
    sentences = [re.findall("[a-z']+", sentence) for sentence in sentences]
    sentences = [words for words in sentences if len(" ".join(words)) in LENGTHS]
    lists = []
    while len(lists) < n_lists:
        words = generator.choice(sentences)
        nbest = [(0.0, ())]
        for word in words:
            n_others = generator.choice([0, 1, 1, 2])
            others = generator.choices(by_first_letter[word[0]], k=n_others)
            costs = [(0.0, word), *((generator.expovariate(0.3), other) for other in others)]
            grown = {(*text, w): cost + more for cost, text in nbest for more, w in costs}
            nbest = sorted((cost, text) for text, cost in grown.items())[:N_BEST]
        if len(nbest) == N_BEST:
            lists.append([text for _, text in nbest])
    return lists


def measure(model, sentences, autocast):
    """Log-probability of each sentence; wall and CPU seconds."""
    started, processor = time.perf_counter(), time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = model.sentence_log_probs(sentences)
    seconds = time.perf_counter() - started, time.process_time() - processor
    return np.array([rows.sum() for rows in found]), *seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lists", type=int, default=200, help="number of lists (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with reported("rescore_speed"):
        paragraphs = read_novels()
    counts = Counter(word for text in paragraphs for word in re.findall("[a-z']+", text))
    common = [word for word, _ in counts.most_common(20_000)]
    lists = lists_of(paragraphs, common, arguments.lists)
    texts = [" ".join(words) for nbest in lists for words in nbest]
    print(f"{len(lists)} lists, {len(texts)} texts; {machine('cpu')}, {arguments.threads} threads")
    heads = ("units/text", "distinct", "precision", "lists/s", "units/s", "lists/cpu s")
    print(f"{'model':16}" + "".join(f"{head:>12}" for head in (*heads, "error", "largest")))
    slowest = np.inf
    for unit, softmax in (("char", "full"), ("word", "full"), ("word", "adaptive")):
        symbols = common if unit == "word" else texts
        vocabulary = Vocabulary.from_texts(symbols, unit)
        torch.manual_seed(1)
        model = RNNLM(vocabulary, RNNLMSettings(softmax=softmax)).eval()
        sentences = [vocabulary.encode(text) for text in texts]
        beginnings = {s[:length] for s in sentences for length in range(len(s) + 1)}
        units = sum(len(s) + 1 for s in sentences)
        for precision in ("float32", "bfloat16"):
            log_probs, seconds, processor = measure(model, sentences, precision == "bfloat16")
            if precision == "float32":
                exact, speed = log_probs, 0.0
            speed = max(speed, len(lists) / seconds)
            error = abs(log_probs - exact)
            print(
                f"{unit + ' ' + softmax:16}{units / len(texts):12.1f}"
                f"{len(beginnings) / units:12.2f}{precision:>12}{len(lists) / seconds:12.1f}"
                f"{units / seconds:12.0f}{len(lists) / processor:12.1f}"
                f"{error.mean():12.5f}{error.max():12.5f}"
            )
        slowest = min(slowest, speed)
    print(f"at least {BAR} lists/s in one of the precisions")
    sys.exit(0 if slowest >= BAR else 1)


if __name__ == "__main__":
    main()
