"""Back-off models as plain dictionaries: a reference for the tests of n-gram models."""

import math


def parse(text):
    """Parse an ARPA file: {words: (log10 probability, log10 weight)}, with `<s>` and `</s>`."""
    grams = {}
    order = 0
    for line in text.split("\\data\\\n")[1].splitlines():
        if line.endswith("-grams:"):
            order = int(line[1:].split("-")[0])
        elif order and line and not line.startswith("\\"):
            log10, words, *weight = line.split("\t")
            assert len(words.split(" ")) == order
            grams[tuple(words.split(" "))] = float(log10), float(weight[0]) if weight else 0.0
    return grams


def log_prob(grams, context, word):
    """Natural log-probability of a word after the words of a context."""
    order = max(map(len, grams))
    context = tuple(context)[len(context) - order + 1 :] if len(context) >= order else context
    total = 0.0
    while (*context, word) not in grams:
        total += grams.get(tuple(context), (0.0, 0.0))[1]
        context = context[1:]
    return (total + grams[*context, word][0]) * math.log(10)


def sentence_log_probs(grams, words):
    """Natural log-probabilities of the words of a sentence and of its end."""
    words = ["<s>", *words, "</s>"]
    return [log_prob(grams, tuple(words[:n]), words[n]) for n in range(1, len(words))]


def random_arpa(order, n_words, generator, share=0.5):
    """An ARPA file of random probabilities, which do not sum to 1.

    The first n-1 words of each n-gram are an n-gram too, but the last n-1 words need not be.
    """
    words = ["<unk>", "</s>", "<s>", *(chr(ord("a") + n) for n in range(n_words - 2))]
    levels = [[(word,) for word in words]]
    for _ in range(order - 1):
        levels.append(
            [
                (*gram, word)
                for gram in levels[-1]
                for word in words
                if gram[-1] != "</s>" and word != "<s>" and generator.random() < share
            ]
        )
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1))]
    for n, level in enumerate(levels, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in (level[row] for row in generator.permutation(len(level))):
            numbers = f"{-5 * generator.random():.6f}", f"{1 - 3 * generator.random():.6f}"
            weight = "\t" + numbers[1] if n < order and generator.random() < 0.8 else ""
            lines.append(f"{numbers[0]}\t{' '.join(gram)}{weight}")
    return "\n".join([*lines, "", "\\end\\", ""])
