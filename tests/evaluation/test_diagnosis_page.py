import re

import numpy as np
import torch

from asr.evaluation.diagnosis import Diagnosis, Histogram, LayerDiagnosis
from asr.evaluation.diagnosis_page import diagnosis_page, diagnosis_rows, table_lines
from asr.networks.memory import MemoryCurve


def planted():
    """A network that remembers 4 frames of 10 ms before the output and 2 after it."""
    curve = MemoryCurve(10)
    norms = torch.tensor([0.01] * 6 + [0.1, 0.3, 0.5, 0.8, 1.0, 0.5, 0.1] + [0.01] * 8)
    curve.add(torch.tensor([10]), norms.square()[None])
    closed, cells = Histogram(0.0, 1.0), Histogram(-4.0, 4.0)
    closed.add(torch.tensor([0.01] * 3 + [0.99]))
    cells.add(torch.zeros(5))
    histograms = {"forget": closed, "cells": cells}
    layers = [
        LayerDiagnosis("layer 1 forward", 0.03, curve, histograms),
        LayerDiagnosis("layer 1 backward", 0.03, curve, {"outputs": cells}),
    ]
    return Diagnosis(2, 1.5, 0.01, curve, layers)


def test_the_table_has_reach_factor_and_saturation():
    assert diagnosis_rows(planted()) == [
        ("network", "40 ms before, 20 ms after", "", "", "", ""),
        ("layer 1 forward", "120 ms", f"{0.1**0.25:.3f}", "forget", "75.0 %", "25.0 %"),
        ("layer 1 backward", "120 ms", f"{0.1**0.25:.3f}", "", "", ""),
    ]


def test_columns_are_below_each_other():
    lines = table_lines(diagnosis_rows(planted()))
    assert lines[0].index("gate") == lines[2].index("forget")
    assert lines[0].split() == ["layer", "reach", "per", "frame", "gate", "closed", "open"]


def test_the_page_needs_no_other_file_and_escapes_its_title():
    page = diagnosis_page("<b>&exp", planted())
    assert "&lt;b&gt;&amp;exp" in page
    assert "<b>" not in page
    assert page.count("<svg") == 3  # the network and two layers
    links = re.findall(r"(?:src|href)=\"([^#][^\"]*)\"", page)
    assert links == []
    assert "2 recordings, 2 seconds" in page
    assert not re.search("@[A-Z]+@", page)


def test_the_page_is_the_same_each_time():
    pages = {re.sub(r"#?[mp][0-9a-f]{10}", "", diagnosis_page("a", planted())) for _ in range(2)}
    assert len(pages) == 1
    assert np.isfinite(len(pages.pop()))
