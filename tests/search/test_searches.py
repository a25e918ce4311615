from typing import NamedTuple

import numpy as np
import pytest
import torch

from asr.hmm.topology import Topology
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import NgramModel
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.beam import CTC
from asr.search.hmm_beam import hmm_method
from asr.search.lexicon_tree import Trie
from asr.search.phrases import PhraseBoosts
from asr.search.prefixes import GROWING, OF_PREFIXES, allocate_tree
from asr.search.searches import Method, Searches, search_all
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer

CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))
SPELLED = {"a": [(2,)], "ab": [(2, 3)], "abb": [(2, 3, 3)], "eh": [(2,)], "ebb": [(3, 3)]}
SPOKEN = {"p": [(1,)], "pea": [(1,)], "pq": [(1, 2)], "q": [(2,), (2, 1)], "rr": [(3, 3)]}
WORDS = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *SPELLED))
LETTERS = Vocabulary("char", (UNK_SYMBOL, EOS_SYMBOL, " ", "a", "b"))


class TrigramLM:
    """A random model whose state is the last two units; it is called like any other model."""

    def __init__(self, vocabulary, seed=0):
        self.vocabulary = vocabulary
        V = len(vocabulary.symbols)
        probabilities = np.random.default_rng(seed).dirichlet(np.ones(V), size=(V, V))
        self.table = torch.from_numpy(np.log(probabilities))

    def start(self, rows):
        return torch.full((rows, 2), EOS)

    def score(self, state, units):
        after = torch.stack((state[:, 1], units), 1)
        return self.table[state[:, 0], state[:, 1], units], after

    def log_probs(self, state):
        return self.table[state[:, 0], state[:, 1]]


class Kind(NamedTuple):
    """A search space, the method of the search, and the number of columns of its frames."""

    space: SearchSpace
    method: Method
    n_columns: int

    def utterances(self, *lengths):
        generator = np.random.default_rng(sum(lengths))
        if self.method is CTC:
            return [np.log(generator.dirichlet(np.ones(4) / 2, size=T)) for T in lengths]
        return [generator.normal(-3.0, 2.0, (T, self.n_columns)) for T in lengths]

    def search(self, utterances):
        return search_all("frames", utterances, self.space, self.method)


def random_ngram(vocabulary):
    generator, V = np.random.default_rng(0), len(vocabulary.symbols)
    sentences = [tuple(generator.integers(2, V, size=n).tolist()) for n in range(2, 12)]
    return NgramModel(
        vocabulary, estimate(sentences, V, EstimateSettings(order=2, discount_fallback=True))
    )


def rnn(vocabulary):
    """A network in double precision: its results depend on the batch in the last digits only."""
    torch.manual_seed(0)
    return RNNLM(vocabulary, RNNLMSettings(hidden_size=8, embedding_size=4)).double().eval()


def kind_of(name):
    settings = BeamSettings(12, 12, -3.0, -12.0, lm_weight=0.6, word_bonus=0.2)
    trie, boosts = Trie.build(SPELLED, 1, 4), PhraseBoosts.build({(2,): 0.3, (2, 3): 0.7}, 1, 4)
    if name.startswith("hmm"):
        generator = np.random.default_rng(0)
        pdfs = torch.tensor([[-1, -1], [0, 1], [2, 3], [4, 5]])
        loops = torch.from_numpy(np.log(generator.uniform(0.2, 0.8, 7)))
        topology = Topology(pdfs, (6,), loops)
        settings = BeamSettings(12, 12, score_floor=-40.0, lm_weight=3.0, word_bonus=1.0)
        words = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *SPOKEN))
        lm = random_ngram(words) if name == "hmm" else TrigramLM(words)
        space = SearchSpace(PHONES, settings, Trie.build(SPOKEN, None, 4), lm)
        return Kind(space, hmm_method(topology, space), 7)
    match name:
        case "no lm":
            space = SearchSpace(CHARS, settings)
        case "n-gram of tokens":
            space = SearchSpace(CHARS, settings, lm=random_ngram(LETTERS))
        case "n-gram of words":
            space = SearchSpace(CHARS, settings, trie, random_ngram(WORDS), boosts)
        case "tokens":
            space = SearchSpace(CHARS, settings, lm=TrigramLM(LETTERS), boosts=boosts)
        case "words":
            space = SearchSpace(CHARS, settings, trie, TrigramLM(WORDS), boosts)
        case "network of tokens":
            apart = {word: spelled for word, spelled in SPELLED.items() if word != "eh"}
            space = SearchSpace(CHARS, settings, Trie.build(apart, 1, 4), rnn(LETTERS))
        case "network of words":
            space = SearchSpace(CHARS, settings, trie, rnn(WORDS), boosts)
    return Kind(space, CTC, 4)


KINDS = ["no lm", "n-gram of tokens", "n-gram of words", "hmm", "hmm with another lm"]
PYTHON_LMS = ["tokens", "words", "network of tokens", "network of words"]


def assert_same(found, expected):
    """Assert that n-best lists are the same, up to the last digits of their scores."""
    assert len(found) == len(expected)
    for nbest, there in zip(found, expected, strict=True):
        texts = [(h.tokens, h.words, h.frames) for h in nbest]
        assert texts == [(h.tokens, h.words, h.frames) for h in there]
        for name in ("log_prob", "lm_log_prob", "total"):
            values = [getattr(h, name) for h in nbest]
            np.testing.assert_allclose(values, [getattr(h, name) for h in there], rtol=1e-12)


def pieces(rows, generator):
    """The same frames in pieces, of which some are empty."""
    return np.split(rows, np.sort(generator.integers(0, len(rows) + 1, size=7)))


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_pieces_give_the_result_of_the_whole(name, looks):
    kind, generator = kind_of(name), np.random.default_rng(0)
    for T in (0, 1, 9, 40, 60):
        (rows,) = kind.utterances(T)
        searches = Searches(kind.space, kind.method)
        for piece in pieces(rows, generator):
            searches.feed([piece])
            if looks:  # a list on the way changes nothing
                assert len(searches.nbests(2)[0]) <= 2
        assert_same(searches.nbests(), kind.search([rows]))
        assert_same(searches.nbests(), kind.search([rows]))


@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_lists_on_the_way_are_those_of_the_frames_so_far(name):
    kind = kind_of(name)
    (rows,) = kind.utterances(20)
    searches = Searches(kind.space, kind.method)
    for T in range(20):
        searches.feed([rows[T : T + 1]])
        assert_same(searches.nbests(), kind.search([rows[: T + 1]]))


@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_several_utterances_take_pieces_at_once(name):
    kind, generator = kind_of(name), np.random.default_rng(0)
    utterances = kind.utterances(30, 3, 25)
    searches = Searches(kind.space, kind.method, N=3)
    for some in zip(*(pieces(rows, generator) for rows in utterances), strict=True):
        searches.feed(some)
    assert_same(searches.nbests(), kind.search(utterances))
    assert_same(searches.search_complete(utterances[:2]), kind.search(utterances[:2]))


@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_all_later_best_texts_begin_with_the_certain_tokens(name):
    kind = kind_of(name)
    grown = 0
    for T in (50, 60, 70):
        (rows,) = kind.utterances(T)
        searches, before = Searches(kind.space, kind.method), ()
        assert searches.certain() == ()
        for frame in rows:
            searches.feed([frame[None]])
            certain = searches.certain()
            assert certain[: len(before)] == before
            for hypothesis in searches.nbests(1)[0]:
                assert hypothesis.tokens[: len(certain)] == certain
            assert searches.certain() == certain
            before = certain
        grown += len(before)
    assert grown > 10


@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_the_number_of_threads_changes_nothing(name):
    kind = kind_of(name)
    utterances = kind.utterances(17, 0, 30, 1, 30, 5, 24, 40)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = kind.search(utterances)
        torch.set_num_threads(2)
        assert kind.search(utterances) == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def tiny_tree(tables, C, n_endings):
    """Arrays as short as a search can start with, so that every array fills up several times."""
    tree = allocate_tree(tables, C, n_endings)
    sizes = dict.fromkeys(GROWING, 1) | dict.fromkeys(OF_PREFIXES, 2)
    arrays = {name: getattr(tree, name)[:size].copy() for name, size in sizes.items()}
    return tree._replace(**arrays | {"sequences": tree.sequences[:, :1].copy()})


@pytest.mark.parametrize("name", KINDS + PYTHON_LMS)
def test_arrays_that_grow_change_nothing(name, monkeypatch):
    kind = kind_of(name)
    utterances = kind.utterances(40, 0, 1, 25, 60)
    expected = kind.search(utterances)
    monkeypatch.setattr("asr.search.searches.allocate_tree", tiny_tree)
    assert kind.search(utterances) == expected
    searches = Searches(kind.space, kind.method, N=5)
    searches.feed(utterances)
    for _ in range(3):  # lists add the last words to the tree
        assert_same(searches.nbests(), expected)


class UnigramLM(TrigramLM):
    """A model of words whose states have no values; the last word is impossible."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        V = len(vocabulary.symbols)
        self.table = torch.tensor([*[-np.log(V - 1)] * (V - 1), -np.inf], dtype=torch.float64)

    def start(self, rows):
        return torch.zeros((rows, 0), dtype=torch.int64)

    def score(self, state, units):
        return self.table[units], state

    def log_probs(self, state):
        return self.table.expand(len(state), -1)


@pytest.mark.parametrize("lm_weight", [0.0, 0.5])
def test_a_model_may_have_states_without_values_and_impossible_words(lm_weight):
    settings = BeamSettings(30, 30, -np.inf, -np.inf, lm_weight=lm_weight)
    lm = UnigramLM(WORDS)
    space = SearchSpace(CHARS, settings, Trie.build(SPELLED, 1, 4), lm)
    assert space.recombines
    utterances = [np.log(np.random.default_rng(n).dirichlet(np.ones(4), size=12)) for n in range(3)]
    impossible = 0
    for nbest in search_all("frames", utterances, space, CTC):
        assert len(nbest) > 5
        for hypothesis in nbest:
            units = [*WORDS.encode(" ".join(hypothesis.words)), EOS]
            assert hypothesis.lm_log_prob == pytest.approx(lm.table[units].sum().item(), rel=1e-12)
            assert np.isfinite(hypothesis.total)
            impossible += np.isinf(hypothesis.lm_log_prob)
    assert (impossible > 0) == (lm_weight == 0.0)


@pytest.fixture
def limited_answers(monkeypatch):
    """A search that needs the same answers again and again ends with an error."""
    answer, n_answers = Searches._answer, []

    def limited(self, trees):
        n_answers.append(len(trees))
        assert len(n_answers) < 2000
        answer(self, trees)

    monkeypatch.setattr(Searches, "_answer", limited)


@pytest.mark.usefixtures("limited_answers")
@pytest.mark.parametrize("n_bytes", [1, 300, 2000])
@pytest.mark.parametrize("name", [*PYTHON_LMS, "hmm with another lm"])
def test_states_that_are_dropped_change_nothing(name, n_bytes, monkeypatch):
    kind = kind_of(name)
    utterances = kind.utterances(40, 0, 1, 25, 60, 33)
    expected = kind.search(utterances)
    monkeypatch.setattr("asr.search.language_models.STATES_BYTES", n_bytes)
    assert_same(kind.search(utterances), expected)
    searches = Searches(kind.space, kind.method, N=6)
    for _ in range(2):
        assert_same(searches.search_complete(utterances), expected)
        assert_same(searches.nbests(), expected)


@pytest.mark.parametrize(
    ("name", "n_bytes", "lengths"),
    [("tokens", 219, (43, 26, 12)), ("network of tokens", 1738, (58, 57, 50))],
)
def test_states_are_dropped_with_fewer_utterances_than_before(name, n_bytes, lengths, monkeypatch):
    kind = kind_of(name)
    utterances = kind.utterances(*lengths)
    expected = kind.search(utterances)
    monkeypatch.setattr("asr.search.language_models.STATES_BYTES", n_bytes)
    monkeypatch.setattr("asr.search.searches.BATCH", 2)  # then one
    assert_same(kind.search(utterances), expected)


def test_without_utterances_there_are_no_lists():
    kind = kind_of("no lm")
    assert Searches(kind.space, kind.method, N=2).search_complete([]) == []
    assert kind.search([]) == []


def test_frames_of_wrong_shapes_or_numbers_are_refused():
    searches = Searches(kind_of("no lm").space, CTC, N=2)
    frame = np.log(np.full((1, 4), 0.25))
    for frames in ([frame], [frame] * 3):
        with pytest.raises(ValueError, match=rf"of {len(frames)} utterances?; expected 2"):
            searches.feed(frames)
    with pytest.raises(ValueError, match=r"frames has shape \(1, 5\); expected \(T, 4\)"):
        searches.feed([frame, np.zeros((1, 5))])
    with pytest.raises(ValueError, match="frames has NaN or inf"):
        searches.feed([frame, frame * np.nan])
