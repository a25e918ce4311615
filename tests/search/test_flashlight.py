import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import NgramModel, write_ngram
from asr.lm.vocabulary import UNK, Vocabulary
from asr.networks.ctc import log_probability
from asr.search.beam import ctc_beam_search
from asr.search.flashlight import flashlight_search
from asr.search.lexicon_tree import Trie
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer, spellings

TEXTS = [
    "the cat sat on the mat",
    "a cat and a hat",
    "the hat is on the cat",
    "she sat and he ate",
    "tea and a hat at the sea",
    "he is at sea",
] * 3
CHARS = CharTokenizer.from_texts(TEXTS)
PHONES = UnitTokenizer((BLANK_SYMBOL, *"ptkaiu"))
SPOKEN = {"tea": [(2, 5)], "tee": [(2, 5)], "cat": [(3, 4, 2)], "a": [(4,)], "tack": [(2, 4, 3)]}

REASON = "flashlight-text, of the extra [flashlight], is not installed"


def said(tokens, C, seed, sure=0.7):
    """Log-probabilities, (T, C), in which the given tokens have at least the probability `sure`."""
    generator = np.random.default_rng(seed)
    alignment = [place for token in tokens for place in (token, *[0] * generator.integers(1, 4))]
    probabilities = generator.dirichlet(np.full(C, 0.3), len(alignment)) * (1 - sure)
    probabilities[range(len(alignment)), alignment] += sure
    return torch.from_numpy(np.log(probabilities + 1e-12)).float()


def batch(tokenizer, sequences):
    return [said(s, len(tokenizer.symbols), seed) for seed, s in enumerate(sequences)]


def ngram(texts, unit, order):
    vocabulary = Vocabulary.from_texts(texts, unit)
    settings = EstimateSettings(order, discount_fallback=True)
    encoded = [vocabulary.encode(text) for text in texts]
    return NgramModel(vocabulary, estimate(encoded, len(vocabulary.symbols), settings))


def decoders():
    settings = BeamSettings(30, 10, token_floor=-12.0, lm_weight=0.8)
    words = ngram(TEXTS, "word", 3)
    trie = Trie.build(
        spellings(words.vocabulary.symbols[2:], CHARS), CHARS.separator, len(CHARS.symbols)
    )
    spoken = ngram(["tea a cat", "a tack", "tee a tea"], "word", 2)
    sounds = Trie.build(SPOKEN, None, len(PHONES.symbols))
    chars = batch(CHARS, [CHARS.encode(text) for text in TEXTS[:6]])
    phones = batch(PHONES, [(2, 5, 4, 3, 4, 2), (4, 2, 4, 3), (3, 4, 2)])
    bonus = BeamSettings(30, 10, token_floor=-12.0, lm_weight=0.8, word_bonus=0.4)
    return {
        "nothing": (SearchSpace(CHARS, BeamSettings(30, 10, token_floor=-12.0)), chars),
        "characters": (SearchSpace(CHARS, settings, lm=ngram(TEXTS, "char", 4)), chars),
        "lexicon": (SearchSpace(CHARS, BeamSettings(30, 10, token_floor=-12.0), trie), chars),
        "words": (SearchSpace(CHARS, bonus, trie, words), chars),
        "phones": (SearchSpace(PHONES, bonus, sounds, spoken), phones),
    }


def score_of(hypothesis, rows, space):
    """The score of a hypothesis's text under our own model."""
    tokens, lm = hypothesis.tokens, space.lm
    if space.tokenizer.separator is not None and hypothesis.words is not None:
        tokens = space.tokenizer.encode(" ".join(hypothesis.words))
    score = log_probability(rows.double(), tokens)
    if hypothesis.words is not None:
        score += space.settings.word_bonus * len(hypothesis.words)
    if lm is not None:
        symbols = lm.vocabulary.symbols
        if hypothesis.words is None:
            said = [space.tokenizer.symbols[token] for token in tokens]
        else:
            said = hypothesis.words
        units = [symbols.index(symbol) if symbol in symbols else UNK for symbol in said]
        score += space.settings.lm_weight * float(lm.sentence_log_probs([units])[0].sum())
    return score


@pytest.mark.parametrize("name", ["nothing", "characters", "lexicon", "words", "phones"])
def test_our_best_hypothesis_is_at_least_as_good_as_flashlights(name):
    pytest.importorskip("flashlight.lib.text.decoder", reason=REASON)
    space, log_probs = decoders()[name]
    ours = ctc_beam_search(log_probs, space)
    theirs = flashlight_search(log_probs, space)
    same = 0
    for n, rows in enumerate(log_probs):
        best = score_of(ours[n][0], rows, space)
        assert ours[n][0].total <= best + 1e-3
        assert best >= score_of(theirs[n][0], rows, space) - 1e-6
        same += (ours[n][0].tokens, ours[n][0].words) == (theirs[n][0].tokens, theirs[n][0].words)
    assert same >= len(log_probs) - 1


def test_its_best_hypotheses_equal_ours():
    pytest.importorskip("flashlight.lib.text.decoder", reason=REASON)
    space, log_probs = decoders()["words"]
    ours = ctc_beam_search(log_probs, space)
    theirs = flashlight_search(log_probs, space)
    for n, text in enumerate(TEXTS[:6]):
        mine, other = ours[n][0], theirs[n][0]
        assert " ".join(mine.words) == " ".join(other.words) == text
        assert other.tokens == CHARS.encode(text)
        assert other.frames == mine.frames
        assert other.lm_log_prob == pytest.approx(mine.lm_log_prob, abs=1e-3)
        assert other.log_prob <= mine.log_prob + 1e-3
        assert len(theirs[n]) <= 10
        assert len({(h.tokens, h.words) for h in theirs[n]}) == len(theirs[n])


def test_a_kenlm_file_can_be_used(tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder", reason=REASON)
    pytest.importorskip("kenlm", reason="kenlm-ex, of the extra [kenlm], is not installed")
    from asr.lm.kenlm import KenlmModel

    space, log_probs = decoders()["words"]
    write_ngram(tmp_path / "lm.arpa", space.lm)
    kenlm = KenlmModel(tmp_path / "lm.arpa", space.lexicon.words)
    same = SearchSpace(CHARS, space.settings, space.lexicon, kenlm)
    for one, other in zip(
        flashlight_search(log_probs, space),
        flashlight_search(log_probs, same),
        strict=True,
    ):
        assert [h.words for h in one] == [h.words for h in other]
        assert [h.total for h in one] == pytest.approx([h.total for h in other], abs=1e-4)


def test_a_missing_flashlight_text_is_reported_with_the_fix(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flashlight.lib.text", None)
    with pytest.raises(InputError, match="pip install flashlight-text"):
        flashlight_search([torch.zeros(3, 7)], SearchSpace(PHONES))


def test_a_flashlight_text_without_kenlm_is_reported_with_the_fix(monkeypatch):
    pytest.importorskip("flashlight.lib.text.decoder", reason=REASON)
    monkeypatch.setitem(__import__("sys").modules, "flashlight.lib.text.decoder.kenlm", None)
    space, log_probs = decoders()["words"]
    with pytest.raises(InputError, match="pip install --force-reinstall flashlight-text"):
        flashlight_search(log_probs, space)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settings": BeamSettings(word_bonus=1.0)}, "supports no word_bonus without a lexicon"),
        ({"boosts": PhraseBoosts.build({(2,): 1.0}, None, 7)}, "supports no phrases"),
    ],
)
def test_unsupported_searches_are_refused(given, message):
    pytest.importorskip("flashlight.lib.text.decoder", reason=REASON)
    with pytest.raises(InputError, match=f"which {message}; expected decoder beam"):
        flashlight_search([torch.zeros(3, 7)], SearchSpace(PHONES, **given))
