from matplotlib.image import imread

from asr.evaluation.gradient_costs import GradientCost
from asr.evaluation.remember_report import Remembered, draw_remembered, remember_table
from asr.training.remember import CountingResult, RecallResult

RESULTS = Remembered(
    [CountingResult("bptt", 1.0000004, 0.99, 1.0)],
    [
        RecallResult("rnn", "bptt", 1, 1.0, 40, 1.0),
        RecallResult("rnn", "bptt", 16, 0.251, 500, 1.0),
        RecallResult("lstm", "rtrl", 16, 0.9996, 300, 1.0),
        RecallResult("lstm", "rtrl", 1, 1.0, 50, 1.0),
    ],
    [
        GradientCost("bptt", 8, 0.002, 2**20),
        GradientCost("rtrl", 8, 0.02, 2**21),
        GradientCost("bptt", 64, 0.016, 2**23),
        GradientCost("rtrl", 64, 0.15, 2**21),
    ],
)


def test_the_table_has_a_row_for_each_gradient():
    assert remember_table(RESULTS) == [
        "| counting: gradient | input weight | recurrent weight |",
        "|---|---:|---:|",
        "| BPTT | 1.000000 | 0.990000 |",
        "",
        "| recall: accuracy in % after so many distractors | 1 | 16 |",
        "|---|---:|---:|",
        "| tanh RNN, BPTT | 100.0 | 25.1 |",
        "| LSTM, RTRL | 100.0 | 100.0 |",
        "",
        "| relative time of a gradient of so many frames | 8 | 64 |",
        "|---|---:|---:|",
        "| BPTT | 1 | 8 |",
        "| RTRL | 10 | 75 |",
        "",
        "| memory in MiB of a gradient of so many frames | 8 | 64 |",
        "|---|---:|---:|",
        "| BPTT | 1 | 8 |",
        "| RTRL | 2 | 2 |",
    ]


def test_the_picture_is_drawn(tmp_path):
    draw_remembered(tmp_path / "new" / "picture.png", RESULTS)
    picture = imread(tmp_path / "new" / "picture.png")
    assert picture.shape[:2] == (770, 660)
    assert picture[:, :, :3].min() < 0.5
