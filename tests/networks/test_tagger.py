import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from asr.errors import InputError
from asr.networks import tagger
from asr.networks.tagger import Tagger, TaggerSettings, TagLogProbs, decided, windows
from asr.text.punctuation import CASES, MARKS, Tag, with_capitals

SMALL = TaggerSettings(embedding_size=6, n_buckets=50, hidden_size=8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Tagger(["he", "came", "late"], SMALL).eval()


def random_words(n, seed=0):
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list("abcdeh"), size=3)) for _ in range(n)]


def test_log_probs_are_normalised(model):
    found = model.log_probs(random_words(20))
    assert found.marks.shape == (20, len(MARKS))
    assert found.cases.shape == (20, len(CASES))
    for part in found:
        torch.testing.assert_close(part.exp().sum(1), torch.ones(20))


def test_company_in_a_batch_changes_nothing(model):
    texts = [random_words(length, seed=length) for length in (7, 12, 3)]
    inputs = pad_sequence([model.inputs(words) for words in texts])
    together = model(inputs, torch.tensor([7, 12, 3]))
    for n, words in enumerate(texts):
        alone = model.log_probs(words)
        torch.testing.assert_close(together.marks[: len(words), n], alone.marks)
        torch.testing.assert_close(together.cases[: len(words), n], alone.cases)


def test_rare_words_differ_by_their_letters(model):
    one, same, other = model.inputs(["walked", "walked", "talked"])
    assert one[0] == other[0] == 0  # neither is in the list
    assert torch.equal(one, same)
    n_common = int((one == other).sum())
    assert n_common >= 5  # the list's number, and the endings of up to four letters
    assert n_common < len(one)
    assert model.inputs(["late"])[0, 0] == 3
    assert model.inputs([]).shape == (0, len(one))


@pytest.mark.parametrize("n_words", [0, 1, 20, 21, 35, 100, 101, 1000])
def test_windows_keep_every_word_once_with_its_neighbours(monkeypatch, n_words):
    monkeypatch.setattr(tagger, "WINDOW", 20)
    monkeypatch.setattr(tagger, "MARGIN", 4)
    kept = []
    for begin, end, first, last in windows(n_words):
        assert end - begin <= 20
        assert begin <= first < last <= end
        assert begin == 0 or first - begin == 4
        assert end == n_words or end - last == 4
        kept += range(first, last)
    assert kept == list(range(n_words))


def test_long_texts_have_the_tags_of_one_window(model, monkeypatch):
    words = random_words(500)
    whole = model.log_probs(words)
    monkeypatch.setattr(tagger, "WINDOW", 100)
    monkeypatch.setattr(tagger, "MARGIN", 40)
    parts = model.log_probs(words)
    # a recurrent network forgets: words more than 40 away change little
    torch.testing.assert_close(parts.marks, whole.marks, atol=1e-3, rtol=0)
    torch.testing.assert_close(parts.cases, whole.cases, atol=1e-3, rtol=0)
    assert model.tags([]) == []


def test_sentence_ends_count_together():
    # no mark is likelier than each of . ? ! but less likely than these together
    marks = torch.tensor(
        [[0.4, 0.0, 0.3, 0.1, 0.2], [0.5, 0.3, 0.1, 0.1, 0.0], [0.2, 0.6, 0, 0, 0.2]]
    )
    cases = torch.tensor([[0.2, 0.5, 0.3], [0.5, 0.5, 0], [0, 0, 1.0]])
    log_probs = TagLogProbs(marks.log(), cases.log())
    found = decided(log_probs, torch.tensor([0.5, 0.5, 0.55]))
    assert [MARKS[n] for n in found[0]] == [".", "", ","]
    assert [CASES[n] for n in found[1]] == ["capital", "lower", "upper"]
    found = decided(log_probs, torch.tensor([0.15, 0.3, 0.5]))
    assert [MARKS[n] for n in found[0]] == [".", ".", "?"]
    assert [CASES[n] for n in found[1]] == ["capital", "capital", "upper"]


def test_tags_that_are_planted_are_learned(model):
    """A question mark after "late" if "is" is before it; a capital for words in -ab."""
    words = [
        "he",
        "came",
        "late",
        "is",
        "he",
        "late",
        "xab",
        "he",
        "came",
        "late",
        "is",
        "xab",
        "late",
    ]
    tags = [
        Tag("?" if word == "late" and "is" in words[max(0, n - 2) : n] else "", "lower")
        if not word.endswith("ab")
        else Tag("", "capital")
        for n, word in enumerate(words)
    ]
    marks = torch.tensor([MARKS.index(mark) for mark, _ in tags])
    cases = torch.tensor([CASES.index(case) for _, case in tags])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    inputs = model.inputs(words)[:, None]
    for _ in range(60):
        optimizer.zero_grad()
        found = model(inputs, torch.tensor([len(words)]))
        loss = -found.marks[range(len(words)), 0, marks].mean()
        loss = loss - found.cases[range(len(words)), 0, cases].mean()
        loss.backward()
        optimizer.step()
    assert model.tags(words) == with_capitals(tags)


def test_sizes_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"model\.hidden_size is 0; expected 1 or more"):
        TaggerSettings(hidden_size=0)
    with pytest.raises(InputError, match=r"number of embedding weights is \d+; expected at most"):
        Tagger([], TaggerSettings(embedding_size=2**16, n_buckets=2**24))
    with pytest.raises(InputError, match=r"model\.dropout is 1\.5; expected from 0 to below 1"):
        TaggerSettings(dropout=1.5)
