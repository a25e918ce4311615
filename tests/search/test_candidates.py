import numpy as np
import pytest
import torch

from asr.search.candidates import find_events


def random_batch(seed, lengths, C=5):
    generator = np.random.default_rng(seed)
    T = max(lengths) + 2
    probabilities = generator.dirichlet(np.ones(C) / 3, (T, len(lengths)))
    log_probs = torch.from_numpy(np.log(probabilities))
    for n, length in enumerate(lengths):
        log_probs[length:, n] = torch.nan
    return log_probs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("token_floor", "blank_skip"), [(-1.0, 1.0), (-3.0, 1.0), (-np.inf, 1.0), (-3.0, 0.4)]
)
def test_events_are_the_frames_with_something_to_try(seed, token_floor, blank_skip):
    lengths = [9, 0, 14, 1, 14]
    log_probs = random_batch(seed, lengths)
    events = find_events(log_probs, torch.tensor(lengths), token_floor, blank_skip)
    order = events.order.tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    counts = []
    for row, n in enumerate(order):
        quiet, blank_is_over, count = 0.0, False, 0
        for t in range(lengths[n]):
            frame = log_probs[t, n].tolist()
            tried = [c for c in range(1, 5) if frame[c] >= min(token_floor, frame[0])]
            if not tried or (blank_skip < 1 and np.exp(frame[0]) >= blank_skip):
                quiet, blank_is_over = quiet + frame[0], True
                continue
            event = events.at(count)
            assert event.frames[row].tolist() == [t]
            assert event.rows[row].tolist() == [n]
            assert event.tokens[row, : len(tried)].tolist() == tried
            assert event.token_log_probs[row, : len(tried)].tolist() == [frame[c] for c in tried]
            assert (event.token_log_probs[row, len(tried) :] == -np.inf).all()
            assert event.blank[row].tolist() == [frame[0]]
            if blank_is_over:
                assert event.quiet[row].item() == pytest.approx(quiet, rel=1e-12)
                assert event.blank_is_over[row].item() == -np.inf
            elif event.quiet is not None:
                assert (event.quiet[row].item(), event.blank_is_over[row].item()) == (0, 0)
            quiet, blank_is_over, count = 0.0, False, count + 1
        assert events.tail[row].item() == pytest.approx(quiet, rel=1e-12)
        counts.append(count)
    assert counts == sorted(counts, reverse=True)
    assert events.n_active == [sum(c > e for c in counts) for e in range(max(counts))]


def test_without_a_floor_all_tokens_are_tried_in_all_frames():
    log_probs = random_batch(0, [6, 3])
    events = find_events(log_probs, torch.tensor([6, 3]), -np.inf, 1.0)
    assert events.n_active == [2, 2, 2, 1, 1, 1]
    assert events.n_tokens == [4] * 6
    assert not any(events.has_quiet)
