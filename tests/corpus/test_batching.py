from itertools import chain, pairwise

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from asr.corpus.batching import BucketSampler, UtteranceDraw, batches_by_length, bucket_sizes


def random_lengths(n=100, seed=0):
    return np.random.default_rng(seed).lognormal(1, 0.6, n).round(2).tolist()


def sampler_of(lengths=None, **options):
    return BucketSampler(lengths or random_lengths(), max_total=20, **options)


def indices(batches):
    return [draw.index for draw in chain.from_iterable(batches)]


# --- batch sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("max_total", [5, 20, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_batches_are_as_large_as_the_bound_allows(max_total, seed):
    lengths = sorted(random_lengths(seed=seed))
    sizes = bucket_sizes(lengths[::-1], max_total)
    assert sum(sizes) == len(lengths)
    end = 0
    for size in sizes:
        end += size
        assert size * lengths[end - 1] <= max_total or size == 1
        assert end == len(lengths) or (size + 1) * lengths[end] > max_total


def test_an_utterance_longer_than_the_bound_is_a_batch_of_its_own():
    assert bucket_sizes([30, 2, 50, 1, 3], max_total=6) == [2, 1, 1, 1]
    assert bucket_sizes([], max_total=6) == []


def test_batches_have_each_utterance_once_from_the_shortest_to_the_longest():
    lengths = random_lengths()
    batches = batches_by_length(lengths, max_total=20)
    assert [len(batch) for batch in batches] == bucket_sizes(lengths, 20)
    assert [lengths[n] for n in chain.from_iterable(batches)] == sorted(lengths)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert batches_by_length([], max_total=20) == []


# --- epochs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_utterance_is_in_an_epoch_exactly_once(shuffle):
    sampler = sampler_of(shuffle=shuffle)
    for epoch in range(3):
        batches = list(sampler)
        assert sorted(indices(batches)) == list(range(100))
        assert {draw.epoch for draw in chain.from_iterable(batches)} == {epoch}
        assert len(batches) == len(sampler)


def test_batches_have_similar_lengths_and_a_total_near_the_bound():
    lengths = np.linspace(20, 120, 1000)
    for batch in BucketSampler(lengths, max_total=500):
        found = [lengths[draw.index] for draw in batch]
        assert max(found) < 1.3 * min(found)
        assert len(found) * max(found) < 1.11 * 500  # lengths are varied by 5 %


def test_a_seed_fixes_the_batches_and_epochs_differ():
    first, again, other = sampler_of(seed=1), sampler_of(seed=1), sampler_of(seed=2)
    epochs = [list(first) for _ in range(3)]
    assert epochs == [list(again) for _ in range(3)]
    groups = [{frozenset(indices([batch])) for batch in epoch} for epoch in epochs]
    assert groups[0] != groups[1] != groups[2] != groups[0]  # the batches differ, not only order
    assert epochs[0] != list(other)


def test_without_shuffling_every_epoch_is_sorted_by_length():
    lengths = random_lengths()
    sampler = sampler_of(lengths, shuffle=False)
    order = indices(sampler)
    assert [lengths[index] for index in order] == sorted(lengths)
    assert indices(sampler) == order


def test_batches_use_the_lengths_of_their_epoch():
    # the same utterances are long in one epoch and short in the next
    def length_in_epoch(draw):
        return 10.0 if (draw.index + draw.epoch) % 2 else 1.0

    sampler = BucketSampler([1.0] * 8 + [10.0] * 8, 16, length_in_epoch=length_in_epoch)
    for _ in range(2):
        for batch in sampler:
            assert len({length_in_epoch(draw) for draw in batch}) == 1


# --- resuming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [0, 1, 7, -1])
def test_a_resumed_sampler_gives_exactly_the_remaining_batches(taken):
    whole = sampler_of()
    epochs = [list(whole) for _ in range(3)]
    taken %= len(whole)
    stopped = sampler_of()
    list(stopped)
    iterator = iter(stopped)
    for _ in range(taken):
        next(iterator)
    resumed = sampler_of()
    resumed.load_state_dict(stopped.state_dict())
    if taken:
        assert list(resumed) == epochs[1][taken:]
    else:  # the next epoch was not started: the state is the end of the first
        assert list(resumed) == epochs[1]
    assert list(resumed) == epochs[2]


class Echo(Dataset):
    def __getitem__(self, draw):
        return draw


def loader_of(sampler):
    return DataLoader(Echo(), batch_sampler=sampler, collate_fn=list)


def test_a_resumed_loader_gives_exactly_the_remaining_batches():
    whole = loader_of(sampler_of())
    epochs = [list(whole) for _ in range(3)]
    stopped = sampler_of()
    for n, _ in enumerate(loader_of(stopped), 1):
        if n == 5:
            break
    resumed = sampler_of()
    resumed.load_state_dict(stopped.state_dict())
    loader = loader_of(resumed)
    assert [list(loader) for _ in range(3)] == [epochs[0][5:], epochs[1], epochs[2]]


def test_a_state_saved_after_the_last_batch_resumes_with_the_next_epoch():
    whole = sampler_of()
    epochs = [list(whole) for _ in range(2)]
    stopped = sampler_of()
    iterator = iter(stopped)
    for _ in range(len(stopped)):  # so that nothing is requested after the last batch
        next(iterator)
    resumed = sampler_of()
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed) == epochs[1]


# --- several processes ------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 50])
def test_processes_share_the_batches(world_size):
    whole = sorted(sampler_of().batches(0), key=mean_length)
    ranks = [list(sampler_of(rank=rank, world_size=world_size)) for rank in range(world_size)]
    n_each = len(sampler_of(world_size=world_size))
    assert [len(batches) for batches in ranks] == [n_each] * world_size
    steps = sorted(zip(*ranks, strict=True), key=lambda step: mean_length(step[0]))
    dealt = list(chain.from_iterable(steps))
    # those of one step are neighbours in length
    assert sorted(dealt[: len(whole)], key=mean_length) == whole
    for first, second in pairwise(steps):
        assert max(map(mean_length, first)) <= max(map(mean_length, second))
    # the shortest batches again, so that all processes take the same number of steps
    surplus = dealt[len(whole) :]
    assert len(surplus) < world_size
    assert surplus == (whole * world_size)[: len(surplus)]


def test_steps_of_several_processes_come_in_random_order():
    lengths = [mean_length(batch) for batch in sampler_of(rank=0, world_size=2)]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))
    assert sampler_of(rank=1, world_size=2).batches(0) != sampler_of(rank=1, world_size=2).batches(
        1
    )


def mean_length(batch):
    lengths = random_lengths()
    return sum(lengths[draw.index] for draw in batch) / len(batch)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": []}, "lengths is empty; expected at least one utterance"),
        ({"max_total": 0}, "max_total is 0; expected above 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2; expected from 0 to below world_size, 2"),
    ],
)
def test_invalid_sampler_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BucketSampler(**{"lengths": [1.0], "max_total": 5, **options})


def test_the_state_of_other_utterances_is_refused():
    with pytest.raises(ValueError, match="state has taken 9 batches; an epoch has 1"):
        BucketSampler([1.0], 5).load_state_dict({"epoch": 0, "taken": 9})


def test_equal_draws_compare_equal():
    assert UtteranceDraw(1, 2) == UtteranceDraw(index=1, epoch=2)
    assert len({UtteranceDraw(1, 2), UtteranceDraw(1, 2), UtteranceDraw(2, 1)}) == 2
