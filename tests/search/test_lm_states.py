import numpy as np
import pytest
import torch

from asr.search.lm_states import StatePool


def test_states_in_use_keep_their_numbers():
    generator = np.random.default_rng(0)
    pool = StatePool(torch.full((1, 3), -1.0), 40)
    held = {0: -1.0}  # number -> state
    for value in range(300):
        if len(pool) < 4:
            kept = generator.choice(sorted(held), size=min(len(held), 15), replace=False)
            held = {int(number): held[number] for number in kept}
            pool.keep([torch.tensor(kept[:7]), torch.tensor(kept[7:]).view(-1, 1)])
            assert len(pool) == 40 - len(held)
        numbers = pool.add(torch.full((4, 3), float(value)))
        assert not set(numbers.tolist()) & held.keys()
        held |= dict.fromkeys(numbers.tolist(), float(value))
        for number, expected in held.items():
            assert (pool.states[number] == expected).all()


def test_states_can_have_any_shape_and_type():
    pool = StatePool(torch.tensor([5]), 3)
    numbers = pool.add(torch.tensor([7, 8]))
    assert pool.states[numbers].tolist() == [7, 8]
    assert pool.states.dtype == torch.int64
    with pytest.raises(ValueError, match="states has 1; there is room for 0"):
        pool.add(torch.tensor([9]))
