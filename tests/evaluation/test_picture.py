import numpy as np
from matplotlib.image import imread
from scipy.stats import binomtest

from asr.alignment.times import SILENT_UNIT, TimedLabel
from asr.evaluation.picture import (
    UnitCurves,
    _peaks,
    _wilson,
    draw_alignment,
    draw_reliability,
)


def test_each_stretch_of_a_unit_is_labelled_once_at_its_peak():
    probabilities = np.array([0.0, 0.4, 0.9, 0.5, 0.1, 0.29, 0.3, 0.0, 1.0])
    assert _peaks(probabilities) == [2, 6, 8]
    assert _peaks(np.zeros(5)) == []


def test_all_plots_share_one_time_axis(tmp_path):
    generator = np.random.default_rng(0)
    times = np.linspace(0, 1.2, 121)
    segments = [
        TimedLabel(SILENT_UNIT, 0.0, 0.3),
        TimedLabel("s", 0.3, 0.7),
        TimedLabel("ah", 0.7, 1.2),
    ]
    coarse = np.linspace(0, 1.2, 41)
    spikes = np.full((40, 3), 0.02)
    spikes[:, 0] = 1.0
    spikes[12], spikes[30] = [0.1, 0.9, 0.0], [0.05, 0.0, 0.95]
    smooth = generator.dirichlet([5, 1, 1], size=120)
    tracks = [
        UnitCurves("hybrid", times, smooth, [SILENT_UNIT, "s", "ah"]),
        UnitCurves("CTC", coarse, spikes, [SILENT_UNIT, "s", "ah"]),
    ]
    spectrogram = times, generator.normal(size=(120, 20))
    states = times, np.arange(120) // 20, segments
    draw_alignment(tmp_path / "new" / "picture.png", "so", spectrogram, states, tracks)
    picture = imread(tmp_path / "new" / "picture.png")
    assert picture.shape[0] > 800
    assert picture[..., :3].std() > 0.1


def test_intervals_of_shares_are_those_of_scipy():
    counts, right = np.array([1, 7, 40, 40]), np.array([1, 3, 0, 39])
    centres, halves = _wilson(right / counts, counts)
    for n, (low, high) in enumerate(zip(centres - halves, centres + halves, strict=True)):
        interval = binomtest(right[n], counts[n]).proportion_ci(method="wilson")
        np.testing.assert_allclose([low, high], interval, atol=1e-5)


def test_reliability_is_drawn(tmp_path):
    generator = np.random.default_rng(0)
    confidences = generator.uniform(size=500)
    right = generator.uniform(size=500) < confidences
    draw_reliability(tmp_path / "new" / "one.png", "beam", confidences, right)
    picture = imread(tmp_path / "new" / "one.png")
    assert picture.shape[0] > 600
    assert picture[..., :3].std() > 0.1
