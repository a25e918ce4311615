import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from asr.hmm.gmm import (
    MIN_VARIANCE,
    Gmm,
    Statistics,
    flat_start,
    maximise,
    share_out,
    split,
    statistics,
    variance_floor,
)

NO_FLOOR = torch.tensor(0.0)


def random_gmm(S=3, M=4, F=5, seed=0, n_components=None):
    """A random mixture in float64; states have M components, or `n_components`."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(S, M, generator=generator, dtype=torch.float64) + 0.1
    for state, number in enumerate(n_components or [M] * S):
        weights[state, number:] = 0
    means = torch.randn(S, M, F, generator=generator, dtype=torch.float64)
    variances = torch.rand(S, M, F, generator=generator, dtype=torch.float64) + 0.2
    return Gmm((weights / weights.sum(1, keepdim=True)).log(), means, variances)


def random_frames(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected_emissions(gmm, features):
    found = []
    for log_weights, means, variances in zip(
        gmm.log_weights, gmm.means, gmm.variances, strict=True
    ):
        there = log_weights > -math.inf
        normal = Independent(Normal(means[there], variances[there].sqrt()), 1)
        mixture = MixtureSameFamily(Categorical(logits=log_weights[there]), normal)
        found.append(mixture.log_prob(features))
    return torch.stack(found, -1)


def expected_statistics(gmm, features, occupancies):
    """The statistics, computed frame by frame, state by state, component by component."""
    S, M, F = gmm.means.shape
    counts, sums, squares = np.zeros((S, M)), np.zeros((S, M, F)), np.zeros((S, M, F))
    for x, occupancy in zip(features.numpy(), occupancies.numpy(), strict=True):
        for s in range(S):
            densities = [
                math.exp(gmm.log_weights[s, m])
                * np.prod(
                    np.exp(-0.5 * (x - gmm.means[s, m].numpy()) ** 2 / gmm.variances[s, m].numpy())
                    / np.sqrt(2 * np.pi * gmm.variances[s, m].numpy())
                )
                for m in range(M)
            ]
            for m in range(M):
                posterior = occupancy[s] * densities[m] / sum(densities)
                counts[s, m] += posterior
                sums[s, m] += posterior * x
                squares[s, m] += posterior * x**2
    return counts, sums, squares


def assert_statistics(found, expected, **tolerance):
    for one, other in zip((found.counts, found.sums, found.squares), expected, strict=True):
        np.testing.assert_allclose(one.numpy(), np.asarray(other), **tolerance)


@pytest.mark.parametrize("n_components", [None, [1, 4, 2]])
@pytest.mark.parametrize("shape", [(7,), (4, 2), ()])
def test_emissions_equal_those_of_torch_distributions(shape, n_components):
    gmm = random_gmm(n_components=n_components)
    features = random_frames(*shape, 5)
    found = gmm.emissions(features)
    assert found.shape == (*shape, 3)
    torch.testing.assert_close(found, expected_emissions(gmm, features), rtol=1e-12, atol=1e-12)


def test_emissions_are_accurate_for_features_far_from_0():
    gmm = random_gmm()
    gmm = Gmm(gmm.log_weights, gmm.means + 1000, gmm.variances)
    features = (random_frames(50, 5) + 1000).float()
    expected = expected_emissions(gmm, features.double())
    torch.testing.assert_close(gmm.emissions(features).double(), expected, rtol=0, atol=1e-4)
    assert gmm.emissions(features).dtype == torch.float32


def test_statistics_equal_those_computed_one_by_one():
    gmm, features = random_gmm(n_components=[4, 1, 3]), random_frames(20, 5)
    occupancies = random_frames(20, 3, seed=2).softmax(1)
    expected = expected_statistics(gmm, features, occupancies)
    assert_statistics(statistics(gmm, features, occupancies), expected, rtol=1e-10, atol=1e-12)
    parts = [statistics(gmm, features[a:b], occupancies[a:b]) for a, b in ((0, 7), (7, 20))]
    assert_statistics(parts[0] + parts[1], expected, rtol=1e-10, atol=1e-12)


def test_an_alignment_is_an_occupancy_of_0_or_1():
    gmm, features = random_gmm(), random_frames(20, 5)
    alignment = torch.arange(20) % 3
    soft = statistics(gmm, features, torch.nn.functional.one_hot(alignment, 3).double())
    hard = statistics(gmm, features, alignment)
    assert_statistics(hard, (soft.counts, soft.sums, soft.squares), rtol=0)
    assert hard.counts.sum(1).tolist() == pytest.approx([7, 7, 6], rel=1e-12)


def test_one_gaussian_a_state_gets_the_mean_and_variance_of_its_frames():
    """In single precision and far from 0, where plain sums of squares would lose the variance."""
    gmm, features = random_gmm(M=1), random_frames(600, 5).float() + 300
    features[:, 2] *= 0.01
    gmm = Gmm(gmm.log_weights, gmm.means + features.double().mean(0), gmm.variances)
    alignment = torch.arange(600) % 3
    found = maximise(gmm, statistics(gmm, features, alignment), NO_FLOOR).gmm
    for state in range(3):
        own = features[alignment == state].double().numpy()
        np.testing.assert_allclose(found.means[state, 0].numpy(), own.mean(0), rtol=1e-8)
        np.testing.assert_allclose(found.variances[state, 0].numpy(), own.var(0), rtol=1e-4)
    assert found.log_weights.tolist() == [[0.0]] * 3


def test_the_likelihood_of_mixtures_never_falls():
    gmm, features = random_gmm(), random_frames(300, 5)
    features[:100] += 3
    alignment = (torch.arange(300) % 3).clamp(max=1)  # state 2 has no frames
    before = -math.inf
    for _ in range(10):
        emissions = gmm.emissions(features).gather(1, alignment[:, None])
        assert emissions.sum() > before
        before = float(emissions.sum())
        update = maximise(gmm, statistics(gmm, features, alignment), torch.tensor(0.3), 0.0)
        gmm = update.gmm
        assert update.starved.tolist() == [False, False, True]
        assert gmm.variances.min() >= 0.2
        weights = gmm.log_weights.exp().sum(1)
        torch.testing.assert_close(weights, torch.ones_like(weights), rtol=1e-12, atol=0)


def test_too_little_data_keeps_states_and_removes_components():
    gmm = random_gmm(S=3, M=3, n_components=[3, 3, 2])
    counts = torch.tensor([[3.0, 40.0, 60.0], [4.0, 5.0, 0.0], [9.0, 8.0, 0.0]]).double()
    sums = counts[:, :, None] * torch.arange(1.0, 6)
    squares = counts[:, :, None] * (torch.arange(1.0, 6) ** 2 + 2)
    found = maximise(gmm, Statistics(counts, sums, squares), NO_FLOOR)

    assert found.starved.tolist() == [False, True, False]
    removed = [[True, False, False], [False, False, False], [False, True, False]]
    assert found.removed.tolist() == removed
    # state 0 keeps two components, which move to the front; state 1 stays; state 2 keeps one
    weights = found.gmm.log_weights.exp()
    assert weights[0].tolist() == pytest.approx([0.4, 0.6, 0.0])
    torch.testing.assert_close(weights[1], gmm.log_weights[1].exp())
    assert weights[2].tolist() == pytest.approx([1.0, 0.0, 0.0])
    torch.testing.assert_close(found.gmm.means[1], gmm.means[1], rtol=0, atol=0)
    torch.testing.assert_close(found.gmm.variances[1], gmm.variances[1], rtol=0, atol=0)
    for state, component in ((0, 0), (0, 1), (2, 0)):
        assert found.gmm.means[state, component].tolist() == pytest.approx([1, 2, 3, 4, 5])
        assert found.gmm.variances[state, component].tolist() == pytest.approx([2] * 5)
    assert found.gmm.n_components.tolist() == [2, 3, 1]
    assert found.gmm.emissions(random_frames(4, 5)).isfinite().all()


def test_variances_of_constant_features_are_the_floor():
    features = torch.full((50, 5), 7.0)
    gmm = split(flat_start([features], 2), torch.tensor([3, 1]))
    floor = variance_floor(gmm.variances[0, 0])
    assert floor.tolist() == [MIN_VARIANCE] * 5
    for _ in range(3):
        gmm = maximise(gmm, statistics(gmm, features, torch.ones(50, 2)), floor).gmm
        assert gmm.emissions(features).isfinite().all()
    there = gmm.log_weights > -math.inf
    assert (gmm.variances[there] == MIN_VARIANCE).all()
    # equal components share the frames equally, so the split components meet again
    torch.testing.assert_close(gmm.means[there], torch.full_like(gmm.means[there], 7.0))


def test_the_flat_start_has_the_moments_of_all_frames():
    features = random_frames(40, 5) * 3 + 100
    gmm = flat_start([features[:13].float(), features[13:].float()], 3)
    expected = features.float().double()
    for state in range(3):
        torch.testing.assert_close(gmm.means[state, 0], expected.mean(0), rtol=1e-12, atol=0)
        variance = expected.var(0, correction=0)
        torch.testing.assert_close(gmm.variances[state, 0], variance, rtol=1e-9, atol=0)
    assert variance_floor(gmm.variances[0, 0], 0.5).tolist() == pytest.approx(
        (gmm.variances[0, 0] / 2).tolist()
    )


def test_splitting_the_heaviest_component_keeps_weight_and_mean():
    gmm = random_gmm(S=3, M=2, n_components=[2, 1, 2])
    before = Gmm(gmm.log_weights.clone(), gmm.means.clone(), gmm.variances.clone())
    found = split(gmm, torch.tensor([3, 4, 1]))
    for one, other in zip(vars(gmm).values(), vars(before).values(), strict=False):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert found.n_components.tolist() == [3, 4, 2]

    def mean(one):
        return (one.log_weights.exp()[:, :, None] * one.means).sum(1)

    torch.testing.assert_close(mean(found), mean(gmm), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.log_weights.exp().sum(1), torch.ones(3).double())
    heavy = int(gmm.log_weights[0].argmax())
    step = 0.2 * gmm.variances[0, heavy].sqrt()
    torch.testing.assert_close(found.means[0, heavy], gmm.means[0, heavy] + step)
    torch.testing.assert_close(found.means[0, 2], gmm.means[0, heavy] - step)
    torch.testing.assert_close(found.variances[0, 2], gmm.variances[0, heavy])
    torch.testing.assert_close(found.means[0, 1 - heavy], gmm.means[0, 1 - heavy])
    assert found.log_weights[1].exp().tolist() == pytest.approx([0.25] * 4)


def test_components_are_distributed_by_the_amount_of_data():
    counts = torch.tensor([1000.0, 3000.0, 6000.0, 0.0])
    assert share_out(counts, 21, most=99, power=1.0).tolist() == [2, 6, 12, 1]
    assert share_out(counts, 10, most=99, power=0.0).tolist() == [3, 3, 3, 1]
    shares = share_out(counts, 100, most=99)
    assert shares.sum() == 100
    expected = counts[:3] ** 0.2 / (counts[:3] ** 0.2).sum() * 99
    assert (shares[:3] - expected).abs().max() <= 1
    assert share_out(counts, 100, most=5).tolist() == [5, 5, 5, 1]
    assert share_out(counts / 100, 100, most=99).tolist() == [1, 3, 6, 1]
    assert share_out(counts, 2, most=99).tolist() == [1, 1, 1, 1]


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    gmm, features = random_gmm(), random_frames(20, 5).float()
    alignment = torch.arange(20) % 3
    there = gmm.to("cuda")
    emissions = there.emissions(features.cuda()).cpu()
    torch.testing.assert_close(emissions, gmm.emissions(features), rtol=1e-5, atol=1e-5)
    found = statistics(there, features.cuda(), alignment.cuda())
    expected = statistics(gmm, features, alignment)
    parts = (expected.counts, expected.sums, expected.squares)
    found = Statistics(found.counts.cpu(), found.sums.cpu(), found.squares.cpu())
    assert_statistics(found, parts, rtol=1e-4, atol=1e-4)


def test_wrong_shapes_and_missing_data_are_refused():
    gmm = random_gmm()
    with pytest.raises(ValueError, match=r"log_weights has shape \(3,\), means \(3, 4, 5\)"):
        Gmm(gmm.log_weights[:, 0], gmm.means, gmm.variances)
    with pytest.raises(ValueError, match=r"variances has shape \(4, 5\); expected \(3, 4, 5\)"):
        Gmm(gmm.log_weights, gmm.means, gmm.variances[0])
    with pytest.raises(ValueError, match="frames has none; expected at least one"):
        flat_start([torch.zeros(0, 5)], 2)
