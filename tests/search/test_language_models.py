import numpy as np
import pytest
import torch
from numba import njit
from table_model import random_model

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.load import with_words
from asr.lm.ngram import NgramModel
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK, UNK_SYMBOL, Vocabulary
from asr.search.language_models import (
    NGRAM,
    NO_LM,
    PYTHON_LM,
    STATES_BYTES,
    UNREAD,
    LMStates,
    make_lm_tables,
    ngram_score,
)

VOCABULARY = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *"abcdef"))
V = len(VOCABULARY.symbols)


@njit(_nrt=False)
def read_sentence(ngram, state, units, log_probs, states):
    for n in range(len(units)):
        log_probs[n], state = ngram_score(ngram, state, units[n])
        states[n] = state


def random_ngram(seed):
    generator = np.random.default_rng(seed)
    frequent = generator.dirichlet(np.ones(V - 2))
    sentences = [
        tuple(generator.choice(np.arange(2, V), size=n, p=frequent).tolist()) for n in range(1, 14)
    ]
    settings = EstimateSettings(order=1 + seed % 4, discount_fallback=True)
    return NgramModel(VOCABULARY, estimate(sentences, V, settings))


def read(lm, units):
    """Log-probabilities and states of the units after the start, from the tables of a model."""
    tables = make_lm_tables(lm, True, 1.0, np.arange(V))
    units = np.array(units, np.int64)
    log_probs, states = np.empty(len(units)), np.empty(len(units), np.int64)
    read_sentence(tables.ngram, tables.first_state, units, log_probs, states)
    return log_probs, states


@pytest.mark.parametrize("seed", range(12))
def test_compiled_ngrams_equal_the_model(seed):
    lm, generator = random_ngram(seed), np.random.default_rng(seed)
    assert lm.order == 1 + seed % 4
    for length in range(12):
        sentence = generator.integers(0, V, size=length)  # most n-grams of it are not in the model
        units = np.array([*sentence, EOS])
        log_probs, states = read(lm, units)
        expected = lm.sentence_log_probs([sentence.tolist()])[0]
        np.testing.assert_allclose(log_probs, expected, rtol=1e-5)
        state = lm.start(1)
        for unit, after in zip(units, states, strict=True):
            _, state = lm.score(state, torch.tensor([unit]))
            assert state.item() == after


@pytest.mark.parametrize("seed", range(4))
def test_compiled_ngrams_sum_to_one_after_any_context(seed):
    lm, generator = random_ngram(seed), np.random.default_rng(seed)
    for length in range(5):
        context = generator.integers(2, V, size=length).tolist()
        after = [read(lm, [*context, unit])[0][-1] for unit in range(V)]
        assert np.exp(after).sum() == pytest.approx(1.0, abs=1e-5)


def test_tables_tell_the_kinds_of_models_apart():
    every = np.arange(V)
    assert make_lm_tables(None, False, 0.5, every).kind == NO_LM
    assert make_lm_tables(random_ngram(1), True, 0.5, every).kind == NGRAM
    assert make_lm_tables(random_model(VOCABULARY, 0), True, 0.5, every).kind == PYTHON_LM
    wide = with_words(random_model(VOCABULARY, 0), ["x"])
    assert make_lm_tables(wide, True, 0.5, np.arange(V + 1)).kind == PYTHON_LM


@pytest.mark.parametrize("n_new", [1, 5])
def test_additional_words_share_the_probability_of_unk(n_new):
    lm = random_ngram(2)
    wide = with_words(lm, [f"new{n}" for n in range(n_new)])
    units = np.arange(V + n_new)
    tables = make_lm_tables(wide, True, 1.0, units)
    assert tables.kind == NGRAM
    log_probs, states = np.empty(1), np.empty(1, np.int64)
    for unit in units:
        item = tables.items[unit]
        own = np.array([item["unit"]])
        read_sentence(tables.ngram, tables.first_state, own, log_probs, states)
        expected, state = wide.score(wide.start(1), torch.tensor([unit]))
        assert log_probs[0] + item["unk_share"] == pytest.approx(expected.item(), rel=1e-6)
        assert states[0] == state.item()
    assert tables.items["unit"].tolist() == [*range(V), *[UNK] * n_new]
    np.testing.assert_allclose(tables.items["unk_share"], [0.0] * V + [-np.log(n_new)] * n_new)


class BigramLM:
    """A random model whose state is the last unit, alone or with zeros after it."""

    def __init__(self, dtype=torch.int64, width=()):
        self.vocabulary, self.dtype, self.width = VOCABULARY, dtype, width
        probabilities = np.random.default_rng(0).dirichlet(np.ones(V), size=V)
        self.table = torch.from_numpy(np.log(probabilities))

    def start(self, rows):
        return self._states(torch.full((rows,), EOS))

    def score(self, state, units):
        return self.log_probs(state).gather(1, units[:, None])[:, 0], self._states(units)

    def log_probs(self, state):
        return self.table[state.reshape(len(state), -1)[:, 0].long()]

    def _states(self, units):
        states = torch.zeros(len(units), *self.width, dtype=self.dtype)
        states.view(len(units), -1)[:, 0] = units.to(self.dtype)
        return states


KINDS = [(torch.int64, ()), (torch.int64, (2,)), (torch.float32, (2, 3)), (torch.float64, ())]


@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("of_words", [True, False])
@pytest.mark.parametrize("n_bytes", [2**16, 1])  # with one byte, the memory must grow
def test_states_are_read_by_number(dtype, width, of_words, n_bytes, monkeypatch):
    monkeypatch.setattr("asr.search.language_models.STATES_BYTES", n_bytes)
    lm, generator = BigramLM(dtype, width), np.random.default_rng(0)
    states, lasts = LMStates(lm, of_words), np.array([EOS])
    for n in (1, 3, 2, 40):
        numbers = generator.integers(0, len(lasts), size=n)
        units = generator.integers(0, V, size=n)
        log_probs, after = states.read(numbers, units)
        np.testing.assert_array_equal(log_probs, lm.table.numpy()[lasts[numbers], units])
        lasts = np.append(lasts, np.zeros(max(0, states.n - len(lasts)), np.int64))
        lasts[after] = units
        expected = lm._states(torch.from_numpy(lasts))
        torch.testing.assert_close(states.states[: states.n], expected, rtol=0, atol=0)
        if not of_words:
            np.testing.assert_array_equal(states.rows[: states.n], lm.table.numpy()[lasts])
    assert states.n == (V if dtype is torch.int64 else 47)  # equal integers have one number


@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("of_words", [True, False])
def test_kept_states_get_new_numbers(dtype, width, of_words):
    lm = BigramLM(dtype, width)
    states = LMStates(lm, of_words)
    units = np.array([2, 3, 4, 5, 6])
    _, numbers = states.read(np.zeros(5, np.int64), units)
    used = np.zeros(states.n, dtype=bool)
    used[[0, *numbers[[1, 3]]]] = True
    new = states.keep(used)
    assert new.tolist() == [0, UNREAD, 1, UNREAD, 2, UNREAD]
    assert states.n == 3
    expected = lm._states(torch.tensor([EOS, 3, 5]))
    torch.testing.assert_close(states.states[:3], expected, rtol=0, atol=0)
    log_probs, after = states.read(new[numbers[[1, 3]]], np.array([3, 4]))
    np.testing.assert_array_equal(log_probs, lm.table.numpy()[[3, 5], [3, 4]])
    # 3 is known, 4 was dropped
    assert after.tolist() == ([1, 3] if dtype is torch.int64 else [3, 4])
    if not of_words:
        last = lm.table.numpy()[[EOS, 3, 5, 4] if dtype is torch.int64 else [EOS, 3, 5, 3, 4]]
        np.testing.assert_array_equal(states.rows[: states.n], last)


def test_room_ends_where_the_memory_ends(monkeypatch):
    monkeypatch.setattr("asr.search.language_models.STATES_BYTES", 10 * 8)
    states = LMStates(BigramLM(), True)
    assert states.has_room(9)
    assert not states.has_room(10)


def test_rows_of_large_vocabularies_fit_into_the_memory():
    symbols = (UNK_SYMBOL, EOS_SYMBOL, *map(chr, range(0x4E00, 0x4E00 + 298)))
    lm = random_model(Vocabulary("char", symbols), 0)
    states = LMStates(lm, False)
    assert states.has_room(100)
    assert states.states.nbytes + states.rows.nbytes <= 2 * STATES_BYTES


def test_states_of_a_network_are_its_own():
    torch.manual_seed(0)
    lm = RNNLM(VOCABULARY, RNNLMSettings(hidden_size=8, embedding_size=4)).double().eval()
    states = LMStates(lm, False)
    numbers, total, sentence = np.array([0]), 0.0, [2, 5, 5, 3]
    for unit in sentence:
        log_probs, numbers = states.read(numbers, np.array([unit]))
        total += log_probs[0]
    total += states.rows[numbers[0], EOS]
    assert total == pytest.approx(lm.sentence_log_probs([sentence])[0].sum(), rel=1e-6)
