import itertools
from dataclasses import replace

import numpy as np
import pytest

from asr.errors import InputError
from asr.hmm.tree_growth import StateStatistics, TreeSettings, grow_trees, question_sets
from asr.hmm.trees import EDGE

FREE = TreeSettings(n_leaves=1000, min_gain=0, min_count=0, merge=False)
PHONES = "abcdef"


def statistics_of(samples):
    """The statistics of {(unit, state): (n, F) frames}."""
    units, states = zip(*samples, strict=True)
    return StateStatistics(
        units,
        states,
        np.array([len(frames) for frames in samples.values()], dtype=float),
        np.stack([frames.sum(0) for frames in samples.values()]),
        np.stack([(frames**2).sum(0) for frames in samples.values()]),
    )


def random_samples(seed, n_units=14, n_states=2, F=3, middles="ab"):
    """Frames of randomly drawn triphones; each of their states has a mean of its own."""
    generator = np.random.default_rng(seed)
    contexts = list(itertools.product(PHONES + EDGE, middles, PHONES + EDGE))
    samples = {}
    for n in generator.choice(len(contexts), n_units, replace=False):
        left, phone, right = contexts[n]
        for state in range(n_states):
            mean, n_frames = generator.normal(size=F), generator.integers(1, 9)
            samples[f"{left}-{phone}+{right}", state] = generator.normal(mean, 0.5, (n_frames, F))
    return samples


def log_likelihood(frames, samples, share=0.01):
    """Log-likelihood of raw frames, one by one, under the Gaussian estimated from them."""
    frames = np.concatenate(frames)
    floor = share * np.concatenate(list(samples.values())).var(axis=0)
    mean, variance = frames.mean(axis=0), np.maximum(frames.var(axis=0), floor)
    density = np.exp(-((frames - mean) ** 2) / variance / 2) / np.sqrt(2 * np.pi * variance)
    return np.log(density).sum()


def neighbour(unit, side):
    return unit[0] if side == "left" else unit[4]  # names of phones are single characters here


def naive_growth(samples, questions, n_leaves):
    """Leaves (sets of units) by phone and state, and each split's gain, by exhaustive search."""
    leaves = {}
    for unit, state in samples:
        leaves.setdefault((unit[2], state), [set()])[0].add(unit)
    gains = []

    def score(units, state):
        return log_likelihood([samples[unit, state] for unit in sorted(units)], samples)

    while sum(map(len, leaves.values())) < n_leaves:
        best = (0.0, None)
        for key, groups in leaves.items():
            for group, side, question in itertools.product(groups, ("left", "right"), questions):
                yes = {unit for unit in group if neighbour(unit, side) in question}
                if yes and group - yes:
                    gain = score(yes, key[1]) + score(group - yes, key[1]) - score(group, key[1])
                    if gain > best[0] * (1 + 1e-9):
                        best = (gain, (key, group, yes))
        if best[1] is None:
            break
        key, group, yes = best[1]
        leaves[key].remove(group)
        leaves[key] += [yes, group - yes]
        gains.append(best[0])
    return leaves, gains


def naive_merges(leaves, samples, max_loss):
    """The leaves after repeatedly joining the two whose merge loses least."""

    def score(units, state):
        return log_likelihood([samples[unit, state] for unit in sorted(units)], samples)

    for (_, state), groups in leaves.items():
        while len(groups) > 1:
            losses = {
                (a, b): score(groups[a], state)
                + score(groups[b], state)
                - score(groups[a] | groups[b], state)
                for a, b in itertools.combinations(range(len(groups)), 2)
            }
            a, b = min(losses, key=losses.get)
            if not losses[a, b] < max_loss:
                break
            groups[a] |= groups.pop(b)
    return leaves


def parts(trees, samples):
    """The seen units that share a pdf, in the form of `naive_growth`."""
    found = {}
    for unit, state in samples:
        groups = found.setdefault((unit[2], state), {})
        groups.setdefault(trees.pdfs(unit)[state], set()).add(unit)
    return {key: sorted(map(sorted, groups.values())) for key, groups in found.items()}


def sorted_parts(leaves):
    return {key: sorted(map(sorted, groups)) for key, groups in leaves.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_leaves", [4, 5, 9, 1000])
def test_growth_equals_an_exhaustive_search_over_raw_frames(seed, n_leaves):
    samples = random_samples(seed)
    statistics = statistics_of(samples)
    questions = question_sets(statistics) + [(phone,) for phone in PHONES]
    trees = grow_trees(statistics, questions, replace(FREE, n_leaves=n_leaves))
    expected, _ = naive_growth(samples, questions, n_leaves)
    assert parts(trees, samples) == sorted_parts(expected)
    assert trees.n_pdfs == sum(map(len, expected.values()))
    assert n_leaves == 1000 or trees.n_pdfs == n_leaves


@pytest.mark.parametrize("seed", range(3))
def test_merging_equals_an_exhaustive_search_over_raw_frames(seed):
    samples = random_samples(seed, n_units=16, n_states=1)
    statistics = statistics_of(samples)
    questions = [(phone,) for phone in PHONES + EDGE]
    expected, gains = naive_growth(samples, questions, n_leaves=9)
    naive_merges(expected, samples, gains[-1])
    trees = grow_trees(statistics, questions, replace(FREE, n_leaves=9, merge=True))
    assert parts(trees, samples) == sorted_parts(expected)
    assert trees.n_pdfs == sum(map(len, expected.values())) < 9


@pytest.mark.parametrize("seed", range(3))
def test_min_gain_is_the_gain_in_log_likelihood(seed):
    samples = random_samples(seed, n_states=1, middles="a")
    statistics = statistics_of(samples)
    questions = [(phone,) for phone in PHONES + EDGE]
    _, (gain,) = naive_growth(samples, questions, n_leaves=2)
    for min_gain, expected in ((gain * (1 - 1e-9), 2), (gain * (1 + 1e-9), 1)):
        settings = replace(FREE, n_leaves=2, min_gain=min_gain)
        assert grow_trees(statistics, questions, settings).n_pdfs == expected


def test_planted_classes_are_found_and_hold_for_unseen_contexts():
    # the left neighbour's class shifts the mean of state 0 of every phone, the right neighbour's
    # class that of state 1; the classes are a b c, d e f, and the word boundary
    generator = np.random.default_rng(0)
    classes = dict.fromkeys("abc", 0) | dict.fromkeys("def", 1) | {EDGE: 2}
    shift = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    contexts = list(itertools.product(PHONES + EDGE, PHONES, PHONES + EDGE))
    seen = [contexts[n] for n in generator.choice(len(contexts), 150, replace=False)]
    samples = {}
    for left, phone, right in seen:
        for state, side in enumerate((left, right)):
            mean = shift[classes[side]] + [0.0, 0.0, 20.0 * classes[phone] + ord(phone) - 97]
            frames = generator.normal(mean, 0.5, (20, 3))
            samples[f"{left}-{phone}+{right}", state] = frames
    statistics = statistics_of(samples)
    questions = question_sets(statistics)
    trees = grow_trees(statistics, questions, TreeSettings(min_gain=50, min_count=20))
    assert trees.n_pdfs == 6 * 2 * 3
    pdf = {}
    for left, phone, right in contexts:
        found = trees.pdfs(f"{left}-{phone}+{right}")
        for state, side in enumerate((left, right)):
            assert pdf.setdefault((phone, state, classes[side]), found[state]) == found[state]
    assert sorted(pdf.values()) == list(range(36))


def naive_clusters(samples):
    """All clusters that arise while joining the two that lose least, computed from raw frames."""
    clusters = [{phone} for phone in sorted({unit[2] for unit, _ in samples})]
    found = list(clusters)

    def score(phones):
        return log_likelihood([f for (u, _), f in samples.items() if u[2] in phones], samples)

    while len(clusters) > 1:
        a, b = min(
            itertools.combinations(clusters, 2),
            key=lambda pair: score(pair[0]) + score(pair[1]) - score(pair[0] | pair[1]),
        )
        clusters = [cluster for cluster in clusters if cluster not in (a, b)] + [a | b]
        found.append(a | b)
    return {frozenset(cluster) for cluster in found}


@pytest.mark.parametrize("seed", range(3))
def test_questions_equal_the_clusters_of_an_exhaustive_search(seed):
    samples = random_samples(seed, n_units=40, middles=PHONES)
    samples["SIL", 0] = samples["SIL", 1] = np.ones((4, 3))  # nobody's neighbour
    questions = question_sets(statistics_of(samples))
    assert questions[0] == (EDGE,)
    del samples["SIL", 0], samples["SIL", 1]
    found = [frozenset(question) for question in questions[1:]]
    assert len(found) == len(set(found)) == 2 * len(PHONES) - 1
    assert all(EDGE not in question for question in found)
    assert {frozenset(phone) for phone in PHONES} < set(found)
    for one, other in itertools.combinations(found, 2):
        assert one < other or other < one or not one & other
    # silence matters for the variance floor only, and no variance here is near it
    assert set(found) == naive_clusters(samples)


def test_leaves_are_never_shared_between_phones_or_states():
    samples = random_samples(seed=0, n_units=30) | {("SIL", n): np.ones((5, 3)) for n in range(5)}
    statistics = statistics_of(samples)
    trees = grow_trees(statistics, question_sets(statistics), FREE)
    owner = {}
    for left, phone, right in itertools.product([*PHONES, "zh", EDGE], "ab", [*PHONES, "zh", EDGE]):
        found = trees.pdfs(f"{left}-{phone}+{right}")
        assert len(found) == 2
        for state, pdf in enumerate(found):
            assert owner.setdefault(pdf, (phone, state)) == (phone, state)
    for state, pdf in enumerate(trees.pdfs("SIL")):
        assert owner.setdefault(pdf, ("SIL", state)) == ("SIL", state)
    assert sorted(owner) == list(range(trees.n_pdfs))


def test_the_order_of_the_statistics_does_not_matter():
    samples = random_samples(seed=0, n_units=30)
    keys = list(samples)
    np.random.default_rng(0).shuffle(keys)
    shuffled = {(str(unit), int(state)): samples[unit, int(state)] for unit, state in keys}
    assert list(shuffled) != list(samples)
    grown = []
    for some in (samples, shuffled):
        statistics = statistics_of(some)
        grown.append(grow_trees(statistics, question_sets(statistics), FREE).to_dict())
    assert grown[0] == grown[1]


def test_no_leaf_has_fewer_frames_than_min_count():
    samples = random_samples(seed=0, n_units=30)
    statistics = statistics_of(samples)
    settings = replace(FREE, min_count=12)
    trees = grow_trees(statistics, question_sets(statistics), settings)
    counts = np.zeros(trees.n_pdfs)
    for (unit, state), frames in samples.items():
        counts[trees.pdfs(unit)[state]] += len(frames)
    assert counts.min() >= 12
    assert 4 < trees.n_pdfs < grow_trees(statistics, question_sets(statistics), FREE).n_pdfs


def test_the_variance_floor_bounds_the_likelihood_of_single_frames():
    # a single frame has variance 0 and would be infinitely likely
    generator = np.random.default_rng(0)
    samples = {(f"{left}-a+b", 0): generator.normal(size=(1, 2)) for left in PHONES}
    statistics = statistics_of(samples)
    questions = [(phone,) for phone in PHONES]
    _, gains = naive_growth(samples, questions, n_leaves=6)
    assert np.isfinite(gains).all()
    assert grow_trees(statistics, questions, FREE).n_pdfs == 6
    for min_gain, expected in ((gains[0] * (1 - 1e-9), 2), (gains[0] * (1 + 1e-9), 1)):
        settings = replace(FREE, n_leaves=2, min_gain=min_gain)
        assert grow_trees(statistics, questions, settings).n_pdfs == expected


@pytest.mark.parametrize("value", [0.1, -1234.5])
def test_a_constant_feature_changes_nothing(value):
    samples = random_samples(seed=0, n_units=30)
    constant = {key: np.insert(frames, 1, value, axis=1) for key, frames in samples.items()}
    grown = []
    for some in (samples, constant):
        statistics = statistics_of(some)
        grown.append(grow_trees(statistics, question_sets(statistics), FREE).to_dict())
    assert grown[0] == grown[1]
    silent = statistics_of({key: np.full_like(frames, value) for key, frames in samples.items()})
    trees = grow_trees(silent, question_sets(silent), replace(FREE, min_gain=1.0))
    assert trees.n_pdfs == 4  # nothing is gained by any split


def test_without_questions_each_state_of_a_phone_has_one_pdf():
    samples = random_samples(seed=0)
    trees = grow_trees(statistics_of(samples), [], replace(FREE, n_leaves=4))
    assert trees.to_dict() == {"a": [0, 1], "b": [2, 3]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": [0]}, r"states and counts have shapes 1 and \(2,\); expected \(2,\)"),
        ({"counts": np.ones((2, 1))}, r"shapes 2 and \(2, 1\); expected \(2,\), of the units"),
        ({"sums": np.ones(2)}, r"sums and squares have shapes \(2,\) and \(2, 3\); expected \(2 "),
        ({"squares": np.ones((2, 4))}, r"have shapes \(2, 3\) and \(2, 4\); expected \(2 above"),
        ({"units": ["a-b+c"] * 2, "states": [1, 1]}, "a pair twice; expected each once"),
        ({"counts": np.array([1.0, 0.0])}, "counts has 0.0; expected more than 0 frames"),
        ({"sums": np.full((2, 3), np.nan)}, "has a number that is not finite"),
    ],
)
def test_invalid_statistics_are_refused(changes, message):
    good = {"units": ["a-b+c", "a-b+d"], "states": [0, 0], "counts": np.ones(2)}
    good |= {"sums": np.ones((2, 3)), "squares": np.ones((2, 3))}
    StateStatistics(**good)
    with pytest.raises(ValueError, match=message):
        StateStatistics(**(good | changes))


def test_invalid_arguments_of_grow_trees_are_refused():
    samples = random_samples(seed=0)
    statistics = statistics_of(samples)
    with pytest.raises(InputError, match="n_leaves is 3; expected 4 or more, one for each"):
        grow_trees(statistics, [("a",)], replace(FREE, n_leaves=3))
    for question in ((), ("a", EDGE)):
        with pytest.raises(ValueError, match=r"questions has .*; expected phones, or # alone"):
            grow_trees(statistics, [question], FREE)
    gap = statistics_of({(unit, 2 * state): frames for (unit, state), frames in samples.items()})
    with pytest.raises(ValueError, match="phone 'a' has state 2, and not 1"):
        grow_trees(gap, [], FREE)
    with pytest.raises(ValueError, match="statistics has no triphone"):
        question_sets(statistics_of({("SIL", 0): np.eye(3)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_leaves", 0), ("min_gain", -1.0), ("min_count", float("nan")), ("variance_floor", 0.0)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"trees.{name} is {value}; expected"):
        TreeSettings(**{name: value})
