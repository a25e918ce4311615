import itertools

import arpa_dictionary
import numpy as np
import pytest
import torch

from asr.lm.arpa import read_arpa


def random_model(folder, order, seed):
    """The words of a random model, its trie, and its n-grams as a dictionary."""
    text = arpa_dictionary.random_arpa(order, 4, np.random.default_rng(seed))
    (folder / "a.arpa").write_text(text)
    words, trie = read_arpa(folder / "a.arpa")
    return words, trie, arpa_dictionary.parse(text)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_every_unit_after_every_history_costs_what_a_dictionary_says(tmp_path, order):
    words, trie, grams = random_model(tmp_path, order, seed=order)
    units = torch.arange(len(words))
    histories, states = [("<s>",)], trie.start(1)
    for _ in range(4):
        rows = torch.arange(len(histories)).repeat_interleave(len(units))
        scores, states = trie.score(states[rows], units.repeat(len(histories)))
        pairs = list(itertools.product(histories, words))
        expected = [arpa_dictionary.log_prob(grams, history, word) for history, word in pairs]
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-5)
        assert scores.dtype == torch.float32
        histories = [(*history, word) for history, word in pairs]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_distribution_is_every_units_score(tmp_path, order):
    words, trie, _ = random_model(tmp_path, order, seed=10 + order)
    states = torch.arange(len(trie.backoffs)).repeat(2)  # any node may be a state
    found = trie.distribution(states)
    assert found.shape == (len(states), len(words))
    for unit in range(len(words)):
        expected, _ = trie.score(states, torch.full_like(states, unit))
        torch.testing.assert_close(found[:, unit], expected, rtol=1e-6, atol=1e-5)


def test_histories_that_the_model_cannot_tell_apart_share_a_state(tmp_path):
    lines = ["\\data\\", "ngram 1=5", "ngram 2=2", "ngram 3=1", "", "\\1-grams:"]
    lines += ["-1\t<unk>", "-1\t</s>", "-9\t<s>\t-0.5", "-1\ta\t-0.2", "-1\tb", "", "\\2-grams:"]
    lines += ["-0.3\t<s> a\t-0.1", "-0.4\ta b", "", "\\3-grams:", "-0.5\t<s> a b", "", "\\end\\"]
    (tmp_path / "a.arpa").write_text("\n".join(lines))
    words, trie = read_arpa(tmp_path / "a.arpa")
    a, b = (torch.tensor([words.index(word)]) for word in "ab")
    start = trie.start(1)
    _, after_a = trie.score(start, a)
    _, after_aa = trie.score(after_a, a)
    _, after_ab = trie.score(after_a, b)
    _, after_b = trie.score(start, b)
    assert len({int(state) for state in (start, after_a, after_aa, after_ab)}) == 4
    assert after_ab == after_b == 0  # nothing follows b, nor is anything paid to leave it


def test_no_row_gives_no_score(tmp_path):
    words, trie, _ = random_model(tmp_path, 3, seed=0)
    nothing = torch.zeros(0, dtype=torch.int64)
    scores, states = trie.score(nothing, nothing)
    assert scores.shape == states.shape == (0,)
    assert trie.distribution(nothing).shape == (0, len(words))


@pytest.mark.gpu
def test_a_gpu_gives_the_same(tmp_path):
    words, trie, _ = random_model(tmp_path, 4, seed=0)
    there = trie.to("cuda")
    states = torch.arange(len(trie.backoffs))
    units = states % len(words)
    scores, after = there.score(states.cuda(), units.cuda())
    expected, expected_after = trie.score(states, units)
    torch.testing.assert_close(scores.cpu(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(after.cpu(), expected_after)
    found = there.distribution(states.cuda()).cpu()
    torch.testing.assert_close(found, trie.distribution(states), rtol=1e-6, atol=1e-6)
