import pytest
import torch

from asr.evaluation.gradient_costs import gradient_costs, peak_bytes
from asr.training.remember_settings import CostSettings, RecallSettings, RememberSettings


def test_tensors_count_until_they_are_freed():
    before = torch.zeros(1000, dtype=torch.float64)

    def compute():
        first = before[:500] + 1  # 4000 bytes
        second = first * 2  # 8000 bytes
        del first
        third = second.view(50, 10).T + 1  # 8000 bytes, the view takes none
        del second
        return third + before[:500].view(50, 10).T  # 8000 bytes

    assert peak_bytes(compute) == 8000


def test_what_autograd_saves_counts():
    leaf = torch.ones(1000, dtype=torch.float64, requires_grad=True)

    def compute(n):
        values = leaf
        for _ in range(n):
            values = values.exp()  # saves its result
        return values

    assert peak_bytes(lambda: compute(5)) == 5 * 8000
    with torch.no_grad():
        assert peak_bytes(lambda: compute(5)) == 2 * 8000


@pytest.fixture(scope="module")
def costs():
    recall = RecallSettings(hidden_size=3, n_symbols=2, n_distractors=2, batch_size=4)
    settings = RememberSettings(
        recall=recall, chunk=4, costs=CostSettings(cell="lstm", lengths=(8, 16, 32))
    )
    return gradient_costs(settings)


def peaks(costs, gradient):
    return [cost.peak_bytes for cost in costs if cost.gradient == gradient]


def test_memory_of_backpropagation_grows_with_the_length(costs):
    first, second, third = peaks(costs, "bptt")
    assert second > 1.5 * first
    # a constant for each frame
    assert third - second == pytest.approx(2 * (second - first), rel=0.02)


@pytest.mark.parametrize("gradient", ["truncated", "rtrl"])
def test_memory_of_rtrl_and_chunks_does_not_grow(costs, gradient):
    first, *others = peaks(costs, gradient)
    assert others == [first, first]


def test_every_gradient_is_measured_at_every_length(costs):
    assert [(cost.length, cost.gradient) for cost in costs] == [
        (length, gradient) for length in (8, 16, 32) for gradient in ("bptt", "truncated", "rtrl")
    ]
    assert all(cost.seconds > 0 for cost in costs)
