import itertools
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import arpa_dictionary
import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.bench.perplexity import perplexity
from asr.lm.estimate import (
    FALLBACK,
    EstimateSettings,
    estimate,
    prune_by_entropy,
    train_ngram,
    unit_frequencies,
)
from asr.lm.vocabulary import EOS, UNK, Vocabulary

DATA = Path(__file__).parent / "lmplz"
N_UNITS = 7


def random_sentences(seed, n=60):
    """Sentences of seven units; the last never occurs, `UNK` does."""
    generator = np.random.default_rng(seed)
    units = [UNK, 2, 3, 4, 5]
    return [
        list(generator.choice(units, generator.integers(0, 7), p=[0.1, 0.4, 0.3, 0.15, 0.05]))
        for _ in range(n)
    ]


def by_gram(trie, names):
    """{words: (natural log-probability, weight)} of every n-gram of a trie."""
    grams = {}
    for level in trie.levels:
        for node in range(level.start, level.stop):
            gram, at = (), node
            while at:
                at, unit = divmod(int(trie.keys[at]), len(names))
                gram = (names[unit], *gram)
            weight = float(trie.backoffs[node]) if node < len(trie.backoffs) else 0.0
            grams[gram] = float(trie.log_probs[node]), weight
    return grams


def discounts_of(counts):
    """The paper's discounts, or the fixed ones where its formulas give none in range."""
    n = Counter(counts)
    if n[1] and n[2] and n[3]:
        y = n[1] / (n[1] + 2 * n[2])
        found = 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]
        if min(found) > 0:
            return (0, *found)
    return (0, *FALLBACK)


def plain_kneser_ney(sentences, order):
    """Chen and Goodman's formulas, word for word: p(context, unit) of any context, by recursion."""
    counts = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        units = ["<s>", *sentence, EOS]
        for k in range(1, order + 1):
            counts[k].update(tuple(units[i : i + k]) for i in range(len(units) - k + 1))
    del counts[1]["<s>",]
    adjusted = [None] * (order + 1)
    for k in range(1, order + 1):
        before = defaultdict(set)
        for gram in counts[k + 1] if k < order else ():
            before[gram[1:]].add(gram[0])
        adjusted[k] = {
            gram: count if k == order or gram[0] == "<s>" else len(before[gram])
            for gram, count in counts[k].items()
        }
    discounts = [discounts_of(level.values()) for level in adjusted[1:]]

    def p(context, unit):
        if len(context) == order:
            context = context[1:]
        level = adjusted[len(context) + 1]
        followers = {gram[-1]: count for gram, count in level.items() if gram[:-1] == context}
        lower = p(context[1:], unit) if context else 1 / N_UNITS
        if not followers:
            return lower
        d = discounts[len(context)]
        total = sum(followers.values())
        count = followers.get(unit, 0)
        freed = sum(d[min(count, 3)] for count in followers.values())
        return (count - d[min(count, 3)]) / total + freed / total * lower

    return p


# --- against plain formulas and against lmplz -------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_equal_the_plain_formulas(order):
    sentences = random_sentences(seed=order)
    trie = estimate(sentences, N_UNITS, EstimateSettings(order, discount_fallback=True))
    p = plain_kneser_ney(sentences, order)
    units = [unit for unit in range(N_UNITS) if unit != EOS]
    for length in range(4):
        for history in itertools.product(units, repeat=length):
            state = trie.start(1)
            for unit in history:
                _, state = trie.score(state, torch.tensor([unit]))
            expected = [p(("<s>", *history)[-order:], unit) for unit in range(N_UNITS)]
            found = trie.distribution(state)[0].exp()
            np.testing.assert_allclose(found, expected, rtol=2e-6)
        if length == 2:
            units = [UNK, 2, 5]


def encoded(text):
    """A vocabulary of all words, and the sentences as its units."""
    lines = text.read_text().splitlines()
    vocabulary = Vocabulary.from_texts(lines)
    return vocabulary, [vocabulary.encode(line) for line in lines]


def assert_same_as(arpa, trie, vocabulary):
    """Every number of an ARPA file is within 1e-5 of the trie's, as logarithms to base 10."""
    expected = arpa_dictionary.parse(arpa.read_text())
    found = by_gram(trie, ["<unk>", "</s>", *vocabulary.symbols[2:], "<s>"])
    assert found.keys() == expected.keys()
    numbers = np.array([found[gram] for gram in expected]) / np.log(10)
    np.testing.assert_allclose(numbers, list(expected.values()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "prune"), [("trigram", (0,)), ("trigram-pruned", (0, 1))])
def test_lmplz_gave_the_same_model(name, prune):
    vocabulary, sentences = encoded(DATA / "text.txt")
    trie = estimate(sentences, len(vocabulary.symbols), EstimateSettings(3, prune))
    assert_same_as(DATA / f"{name}.arpa", trie, vocabulary)


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="lmplz is not on PATH")
@pytest.mark.parametrize(
    ("order", "prune"), [(2, (0,)), (3, (0, 0, 1)), (4, (0,)), (5, (0, 1, 1, 2)), (5, (0,))]
)
def test_lmplz_gives_the_same_model_now(tmp_path, order, prune):
    generator = np.random.default_rng(order)
    words = [f"w{n}" for n in range(300)]
    share = 1 / np.arange(2, 302)
    lines = [
        " ".join(generator.choice(words, generator.integers(1, 12), p=share / share.sum()))
        for _ in range(2000)
    ]
    # lmplz counts n-grams that end in the last new word differently; occurring once, it has none
    (tmp_path / "text.txt").write_text("\n".join([*lines, *lines[:700], "last"]) + "\n")
    command = ["lmplz", "-S", "100M", "-T", tmp_path, "-o", str(order), "--discount_fallback"]
    command += ["--text", tmp_path / "text.txt", "--arpa", tmp_path / "lmplz.arpa"]
    subprocess.run([*command, "--prune", *map(str, prune)], check=True, capture_output=True)
    vocabulary, sentences = encoded(tmp_path / "text.txt")
    settings = EstimateSettings(order, prune, discount_fallback=True)
    trie = estimate(sentences, len(vocabulary.symbols), settings)
    assert_same_as(tmp_path / "lmplz.arpa", trie, vocabulary)


# --- properties -------------------------------------------------------------------------------


@pytest.mark.parametrize("prune", [(0,), (0, 0, 1), (0, 1, 2)])
def test_probabilities_add_up_to_one_in_every_context(prune):
    sentences = random_sentences(seed=0, n=200)
    trie = estimate(sentences, N_UNITS, EstimateSettings(4, prune, discount_fallback=True))
    sums = trie.distribution(torch.arange(len(trie.backoffs))).double().exp().sum(1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_the_order_of_the_sentences_does_not_matter():
    sentences = random_sentences(seed=1)
    settings = EstimateSettings(3, (0, 0, 1), discount_fallback=True)
    trie = estimate(sentences, N_UNITS, settings)
    other = estimate(sentences[::-1], N_UNITS, settings)
    assert torch.equal(trie.keys, other.keys)
    assert torch.equal(trie.log_probs, other.log_probs)


def test_sentences_are_read_once_and_one_by_one():
    sentences = random_sentences(seed=2)
    settings = EstimateSettings(2, discount_fallback=True)
    streamed = estimate((tuple(sentence) for sentence in sentences), N_UNITS, settings)
    assert torch.equal(streamed.log_probs, estimate(sentences, N_UNITS, settings).log_probs)


def test_pruning_keeps_n_grams_above_the_count():
    vocabulary, sentences = encoded(DATA / "text.txt")
    trie = estimate(sentences, len(vocabulary.symbols), EstimateSettings(3, (0, 1, 2), True))
    names = [*range(len(vocabulary.symbols)), "<s>"]
    counts = Counter()
    for sentence in sentences:
        units = ["<s>", *sentence, EOS]
        for k, least in ((2, 2), (3, 3)):
            counts.update((tuple(units[i : i + k]), least) for i in range(len(units) - k + 1))
    expected = {gram for (gram, least), count in counts.items() if count >= least}
    assert {gram for gram in by_gram(trie, names) if len(gram) > 1} == expected


# --- refusals ---------------------------------------------------------------------------------


def test_orders_longer_than_every_sentence_change_nothing():
    sentences = [[2], [3, 2], [2, 3, 4]]  # with both ends at most five units
    settings = [EstimateSettings(order, discount_fallback=True) for order in (5, 7)]
    reached, longer = (estimate(sentences, N_UNITS, each) for each in settings)
    assert longer.sizes == (*reached.sizes, 0, 0)
    assert torch.equal(longer.keys, reached.keys)
    assert torch.equal(longer.log_probs, reached.log_probs)
    states = torch.arange(len(reached.backoffs))
    assert torch.equal(longer.distribution(states), reached.distribution(states))


def test_counts_without_discounts_need_the_fallback():
    sentences = [[2, 3], [2, 3], [3, 2]]
    complaint = r"the 1-grams give no discounts, since none has the count 1; expected more"
    with pytest.raises(InputError, match=complaint):
        estimate(sentences, 4, EstimateSettings(2))
    assert estimate(sentences, 4, EstimateSettings(2, discount_fallback=True)).order == 2


@pytest.mark.parametrize("unit", ["word", "char"])
def test_marks_around_a_sentence_are_no_units(unit):
    plain = train_ngram(["go left", "stop now"], order=2, unit=unit)
    marked = train_ngram(["<s> go left </s>", " <S>stop now</S>\n"], order=2, unit=unit)
    assert marked.vocabulary == plain.vocabulary
    assert marked.log_prob("<s> go left </s>") == plain.log_prob("go left")
    assert perplexity(marked, ["<s> go left </s>"]) == perplexity(plain, ["go left"])


def test_marks_among_the_words_are_refused():
    lm = train_ngram(["go left"])
    among = " has <s> among its words; expected <s> and </s> only at the beginning and the end"
    with pytest.raises(InputError, match=rf"texts\[1\]:{among}"):
        train_ngram(["go left", "go <s> left"])
    with pytest.raises(InputError, match=f"the text: sentence 1:{among}"):
        perplexity(lm, "go <s> left")
    with pytest.raises(InputError, match=f"text:{among}"):
        lm.log_prob("go <s> left")


def test_discounts_out_of_range_are_refused():
    # 1 unigram occurs once, 1 twice, 4 three times: the discount of the count 2 would be negative
    counts = {2: 1, 3: 2, 4: 3, 5: 3, 6: 3}
    sentences = [[unit] * count for unit, count in counts.items()]
    complaint = r"the 1-grams give the discounts 0\.333, -\d\.\d+, 3\.000; expected more text"
    with pytest.raises(InputError, match=complaint):
        estimate(sentences, N_UNITS, EstimateSettings(1))


@pytest.mark.parametrize("texts", [{"go left": "stop"}, {"go left"}, None, 5])
def test_only_a_list_of_texts_has_an_order(texts):
    lm = train_ngram(["go left"])
    with pytest.raises(
        ValueError, match=r"texts is (of type dict|of type set|None|of type int); expected a list"
    ):
        train_ngram(texts)
    with pytest.raises(
        ValueError, match=r"texts is (of type dict|of type set|None|of type int); expected a list"
    ):
        perplexity(lm, texts)
    with pytest.raises(ValueError, match=r"texts\[1\] is 3; expected a text"):
        train_ngram(["go left", 3])


def test_a_corpus_without_a_sentence_is_refused():
    with pytest.raises(InputError, match="there is no sentence to estimate from"):
        estimate([], 4, EstimateSettings(2))


@pytest.mark.parametrize(
    ("sentence", "complaint"),
    [
        ([2, 4, 3], "sentences have an end or a beginning inside"),
        ([2, 5], "sentences have the unit 5; expected 0 to 3"),
        ([-1, 2], "sentences have the unit -1; expected 0 to 3"),
        ([2, EOS], "sentences have an end or a beginning inside"),
    ],
)
def test_units_out_of_range_are_refused(sentence, complaint):
    with pytest.raises(ValueError, match=complaint):
        estimate([[2, 3], sentence], 4, EstimateSettings(2))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"order": 0}, "order is 0; expected 1 or more"),
        ({"prune": ()}, "prune has 0 counts; expected 1 to 3"),
        ({"prune": (0, 0, 0, 1)}, "prune has 4 counts; expected 1 to 3"),
        ({"prune": (1,)}, r"prune is \[1\]; expected 0 and counts that don't fall"),
        ({"prune": (0, 2, 1)}, r"prune is \[0, 2, 1\]; expected 0 and counts that don't fall"),
    ],
)
def test_invalid_settings_are_refused(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        EstimateSettings(**settings)


# --- pruning ----------------------------------------------------------------------------------

N_PRUNED = 6


@pytest.fixture(scope="module")
def summing():
    """A trigram model of random sentences."""
    generator = np.random.default_rng(0)
    units = [2, 3, 4, 5]
    sentences = [
        generator.choice(units, generator.integers(0, 8), p=[0.5, 0.3, 0.15, 0.05])
        for _ in range(40)
    ]
    return estimate(sentences, N_PRUNED, EstimateSettings(3, discount_fallback=True))


def as_grams(summing):
    """{units: (probability, weight)} of all n-grams; 6 is a sentence's beginning."""
    grams = {}
    for node in range(1, len(summing.keys)):
        gram, at = (), node
        while at:
            at, unit = divmod(int(summing.keys[at]), N_PRUNED + 1)
            gram = (unit, *gram)
        weight = float(summing.backoffs[node]) if node < len(summing.backoffs) else 0.0
        grams[gram] = np.exp(float(summing.log_probs[node])), np.exp(weight)
    return grams


def probability(grams, context, unit):
    if (*context, unit) in grams:
        return grams[*context, unit][0]
    return grams.get(context, (1, 1))[1] * probability(grams, context[1:], unit)


def normalised(grams):
    """The same probabilities, with weights that make every context add up to 1."""
    grams = dict(grams)
    for context in sorted(grams, key=len):
        known = [gram[-1] for gram in grams if gram[:-1] == context and len(gram) > 1]
        left = 1 - sum(grams[*context, unit][0] for unit in known)
        shorter = 1 - sum(probability(grams, context[1:], unit) for unit in known)
        grams[context] = grams[context][0], left / shorter if known else 1.0
    return grams


def frequencies(grams):
    """The share of each unit: the eigenvector of the bigrams, in which an end begins a sentence."""
    units = [unit for unit in range(N_PRUNED + 1) if unit != EOS]
    steps = [
        [probability(grams, (unit,), EOS if after == N_PRUNED else after) for after in units]
        for unit in units
    ]
    values, vectors = np.linalg.eig(np.transpose(steps))
    shares = np.real(vectors[:, np.argmax(np.real(values))])
    return dict(zip(units, shares / shares.sum(), strict=True))


def context_probability(grams, context):
    result = frequencies(grams)[context[0]] if context else 1.0
    for n in range(1, len(context)):
        result *= probability(grams, context[:n], context[n])
    return result


def test_frequencies_of_units_are_the_stationary_shares_of_bigrams(summing):
    found = unit_frequencies(summing)
    assert found[:N_PRUNED].sum() == pytest.approx(1, abs=1e-9)
    assert found[N_PRUNED] == found[EOS]
    expected = frequencies(as_grams(summing))
    for unit, share in expected.items():
        assert found[unit] == pytest.approx(share, rel=1e-5)
    assert found[N_PRUNED - 1] < found[2]


def rise(grams, gram):
    """Of the perplexity, by adding up over all units after the n-gram's context without it."""
    context = gram[:-1]
    without = {other: numbers for other, numbers in grams.items() if other != gram}
    known = [other[-1] for other in without if other[:-1] == context]
    left = 1 - sum(without[*context, unit][0] for unit in known)
    shorter = 1 - sum(probability(without, context[1:], unit) for unit in known)
    without[context] = without[context][0], left / shorter
    divergence = 0.0
    for unit in range(N_PRUNED):
        p = probability(grams, context, unit)
        divergence += p * np.log(p / probability(without, context, unit))
    return np.expm1(context_probability(grams, context) * divergence)


@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 3e-3])
def test_n_grams_go_whose_absence_raises_perplexity_by_less_than_the_threshold(summing, threshold):
    grams = as_grams(summing)
    expected = set(grams)
    for order in (3, 2):
        for gram in [gram for gram in grams if len(gram) == order]:
            continued = any(len(other) == order + 1 and other[:-1] == gram for other in expected)
            if not continued and rise(grams, gram) < threshold:
                expected.remove(gram)
    found = as_grams(prune_by_entropy(summing, threshold))
    assert found.keys() == expected
    assert len(expected) < len(grams)
    for gram, numbers in normalised({gram: grams[gram] for gram in expected}).items():
        np.testing.assert_allclose(found[gram], numbers, rtol=1e-4)


@pytest.mark.parametrize("threshold", [1e-5, 1e-3, 1.0])
def test_probabilities_still_add_up_to_one_in_every_context(summing, threshold):
    smaller = prune_by_entropy(summing, threshold)
    sums = smaller.distribution(torch.arange(len(smaller.backoffs))).double().exp().sum(1)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_a_tiny_threshold_leaves_all_and_a_huge_one_the_units_alone(summing):
    everything = prune_by_entropy(summing, 1e-30)
    assert torch.equal(everything.keys, summing.keys)
    torch.testing.assert_close(everything.backoffs, summing.backoffs, rtol=0, atol=1e-4)
    assert prune_by_entropy(summing, 1e9).sizes == (N_PRUNED + 1, 0, 0)


def test_of_a_model_of_single_units_nothing_can_go():
    sentences = [(2, 3, 2), (4,)]
    unigrams = estimate(sentences, N_PRUNED, EstimateSettings(1, discount_fallback=True))
    same = prune_by_entropy(unigrams, 1.0)
    assert same.sizes == unigrams.sizes
    assert torch.equal(same.log_probs, unigrams.log_probs)


def test_the_larger_the_threshold_the_fewer_n_grams_and_the_worse_the_model(summing):
    states = [(6,), *itertools.product((2, 3, 4, 5), repeat=2)]
    grams = as_grams(summing)
    sizes, losses = [], []
    for threshold in (1e-30, 1e-4, 1e-3, 1e-2):
        smaller = as_grams(prune_by_entropy(summing, threshold))
        sizes.append(len(smaller))
        losses.append(
            sum(
                context_probability(grams, context)
                * -probability(grams, context, unit)
                * np.log(probability(smaller, context, unit))
                for context in states
                for unit in range(N_PRUNED)
            )
        )
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert losses == sorted(losses)


@pytest.mark.parametrize("threshold", [0.0, -1e-8, float("nan")])
def test_a_threshold_not_above_0_is_a_mistake(summing, threshold):
    with pytest.raises(ValueError, match=f"threshold is {threshold}; expected above 0"):
        prune_by_entropy(summing, threshold)
