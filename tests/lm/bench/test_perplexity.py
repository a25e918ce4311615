import importlib.util
import math

import numpy as np
import pytest
import torch
from table_model import TableModel, random_model, uniform_model

from asr.errors import InputError
from asr.lm.bench.perplexity import Total, perplexity
from asr.lm.vocabulary import Vocabulary
from asr.text.normalisation import TextSettings

TEXTS = ["the cat sat", "a cat", "the dog sat on the mat"]


def by_hand(model, texts):
    """The text's log-probability, unit by unit, using only `start` and `score`."""
    total = 0.0
    for text in texts:
        state = model.start(1)
        for unit in (*model.vocabulary.encode(text), 1):
            log_prob, state = model.score(state, torch.tensor([unit]))
            total += log_prob.item()
    return total


@pytest.mark.parametrize("unit", ["word", "char", "jamo"])
def test_the_perplexity_of_a_uniform_model_is_its_vocabulary_size(unit):
    vocabulary = Vocabulary.from_texts(TEXTS, unit)
    found = perplexity(uniform_model(vocabulary), TEXTS)
    V = len(vocabulary.symbols)
    assert found.whole.per_unit == pytest.approx(V, rel=1e-12)
    n_units = {"word": 11 + 3, "char": 38 + 3, "jamo": 38 + 3}[unit]
    assert found.whole == Total(pytest.approx(-n_units * math.log(V)), n_units, 14, 41)
    assert found.whole.bits_per_character == pytest.approx(n_units * math.log2(V) / 41, rel=1e-12)
    assert found.whole.per_character == pytest.approx(2**found.whole.bits_per_character, rel=1e-12)
    assert found.whole.per_word == pytest.approx(V ** (n_units / 14), rel=1e-12)
    assert found.known == found.spelled == found.whole
    assert (found.sentences, found.empty, found.oov, found.oov_rate) == (3, 0, (), 0)


def test_a_planted_table_gives_the_perplexity_computed_by_hand():
    vocabulary = Vocabulary("word", ("<unk>", "<eos>", "a", "b"))
    table = np.array(
        [[0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.5, 0.3], [0, 0.5, 0.25, 0.25], [0, 1, 0, 0]]
    )
    found = perplexity(TableModel(vocabulary, table), ["a b", "A x, a!", " ", "b"])
    # a b </s>, then a <unk> a </s>: P(<unk> | a) = 0, so `whole` is impossible, but `known` is not
    assert (found.sentences, found.empty, found.oov) == (3, 1, ("x",))
    assert found.oov_rate == pytest.approx(1 / 6)
    assert found.whole == Total(-math.inf, 9, 9, 3 + 5 + 1 + 3)
    assert found.whole.per_word == found.spelled.per_word == math.inf
    known = math.log(0.5 * 0.25 * 1.0) + math.log(0.5 * 0.3 * 0.5) + math.log(0.3 * 1.0)
    assert found.known == Total(pytest.approx(known), 8, 8, 12 - 2)
    assert found.known.per_word == pytest.approx(math.exp(-known / 8))


@pytest.mark.parametrize("unit", ["word", "char", "jamo"])
@pytest.mark.parametrize("seed", range(3))
def test_the_sum_over_words_equals_the_sum_over_units(unit, seed):
    texts = ["the cat sät", "한국 말", "x"]
    model = random_model(Vocabulary.from_texts([*TEXTS, "한국"], unit), seed)
    found = perplexity(model, texts)
    assert found.whole.log_prob == pytest.approx(by_hand(model, texts), rel=1e-12)
    assert found.whole.words == 6 + 3
    assert found.whole.characters == 11 + 4 + 1 + 3
    # decomposed, sät has an a and a combining diaeresis, and each syllable has three letters
    assert found.whole.units == {"word": 9, "char": 19, "jamo": 19 + 1 + 2 * 3}[unit]


def test_oov_words_are_left_out_with_the_space_before_them():
    model = random_model(Vocabulary.from_texts(["ab ba", "b"], "char"), seed=0)
    texts = ["ab xb a", "x", "xa b"]
    found = perplexity(model, texts)
    assert found.oov == ("xb", "x", "xa")
    scores = model.sentence_log_probs([model.vocabulary.encode(text) for text in texts])
    kept = [*scores[0][[0, 1, 5, 6, 7]], scores[1][1], *scores[2][2:]]
    assert found.known == Total(pytest.approx(sum(kept)), 9, 6, 9)
    spelling = 3 * math.log(3 + 1)  # a, b, x and an end
    assert found.alphabet == 4
    assert found.spelled == Total(
        pytest.approx(found.whole.log_prob - spelling), found.whole.units, 9, 15
    )


def test_a_spelled_word_costs_its_letters_and_an_end():
    model = uniform_model(Vocabulary.from_texts(["ab ba"], "word"))
    found = perplexity(model, ["ab abc ba"])
    assert found.oov == ("abc",)
    expected = -4 * math.log(4) - 4 * math.log(
        4
    )  # four units of V = 4; abc and end of a, b, c, end
    assert found.spelled.log_prob == pytest.approx(expected, rel=1e-12)
    assert found.known == Total(pytest.approx(-3 * math.log(4)), 3, 3, 6)


def test_unknown_letters_of_subwords_are_spelled():
    model = uniform_model(Vocabulary.from_texts(["ab ba"], "bpe", max_size=6))
    found = perplexity(model, ["ab xyz ba"])
    V, letters = 6, 5 + 1  # a, b, x, y, z and an end
    assert found.oov == ("xyz",)
    spelling = 3 * math.log(letters)
    assert found.whole.units == found.known.units + 4  # the word-start sign, x, y, z
    assert found.whole.log_prob == pytest.approx(-found.whole.units * math.log(V))
    assert found.spelled.log_prob == pytest.approx(found.whole.log_prob - spelling)


def test_a_smaller_vocabulary_looks_better_until_its_unknown_words_are_spelled():
    texts = ["aa bb cc dd ee ff gg hh"] * 5
    large = Vocabulary.from_texts(texts, "word")
    small = Vocabulary.from_texts(texts, "word", max_size=4)
    results = [perplexity(uniform_model(vocabulary), texts) for vocabulary in (large, small)]
    assert results[1].whole.per_word < results[0].whole.per_word
    assert results[1].spelled.per_word > results[0].spelled.per_word


def test_texts_are_normalised_as_the_vocabulary_says():
    kept = Vocabulary.from_texts(["Ah , b"], "word", text=TextSettings("keep", "keep"))
    assert perplexity(uniform_model(kept), ["Ah , b"]).oov == ()
    assert perplexity(uniform_model(kept), ["ah , b"]).oov == ("ah",)
    assert perplexity(uniform_model(Vocabulary.from_texts(["ah b"])), ["Ah, b!"]).oov == ()


def test_a_text_without_a_word_is_refused():
    with pytest.raises(InputError, match=r"dev\.txt: has no word; expected at least one"):
        perplexity(uniform_model(Vocabulary.from_texts(["a"])), ["", "!?"], "dev.txt")


ARPA = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.3
-0.7\t</s>
-0.5\tthe\t-0.2
-0.9\tcat\t-0.4
-1.1\tsat\t-0.1

\\2-grams:
-0.2\t<s> the
-0.3\tthe cat
-0.6\tcat sat
-0.25\tsat </s>
-0.8\tcat </s>

\\end\\
"""


@pytest.mark.skipif(importlib.util.find_spec("kenlm") is None, reason="kenlm-ex is not installed")
def test_perplexity_of_an_arpa_file_equals_kenlms(tmp_path):
    import kenlm

    from asr.lm.ngram import read_ngram

    (tmp_path / "x.arpa").write_text(ARPA)
    theirs = kenlm.Model(str(tmp_path / "x.arpa"))
    ours = read_ngram(tmp_path / "x.arpa")
    for text in ("the cat sat", "the the sat cat", "cat", "the hound sat"):
        found = perplexity(ours, [text])
        assert found.whole.per_word == pytest.approx(theirs.perplexity(text), rel=1e-5)
        rows = list(theirs.full_scores(text))
        known = [score for score, _, unknown in rows if not unknown]
        assert found.known.log_prob == pytest.approx(sum(known) * math.log(10), rel=1e-5)
        assert len(found.oov) == sum(unknown for _, _, unknown in rows)
