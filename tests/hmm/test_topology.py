import math

import pytest
import torch

from asr.hmm.topology import Topology, left_to_right, pdf_names, update_self_loops


def test_every_state_has_a_pdf_of_its_own():
    topology = left_to_right(4, 2, 3, stay=0.75)
    assert topology.pdfs.tolist() == [[-1, -1], [0, 1], [2, 3], [4, 5]]
    assert topology.silence == (6, 7, 8)
    assert topology.self_loops.tolist() == [math.log(0.75)] * 9
    assert left_to_right(4, 2, 0).silence == ()


def test_pdfs_are_named_after_the_phone_and_state():
    topology = left_to_right(4, 2, 1)
    assert pdf_names(topology, ("<blank>", "a", "b", "c"))[-3:] == ["c[0]", "c[1]", "silence[0]"]
    pdfs = torch.tensor([[-1, -1], [0, 2], [1, 2], [3, 4], [1, 2], [5, 7]])
    tied = Topology(pdfs, (8,), torch.full((9,), -1.0))
    symbols = ("<blank>", "#-A+B", "#-A+C", "#-C+#", "C-A+#", "#-Z+#")
    names = ["A[0]", "A[0]2", "A[1]", "C[0]", "C[1]", "Z[0]", "unused", "Z[1]", "silence[0]"]
    assert pdf_names(tied, symbols) == names


def test_self_loops_are_relative_frequencies_within_bounds():
    before = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5]).log()
    stays = torch.tensor([30.0, 5.0, 0.0, 2000.0, 0.0])
    leaves = torch.tensor([10.0, 4.0, 50.0, 1.0, 0.0])
    found = update_self_loops(before, stays, leaves, lowest=0.02).exp()
    assert found.tolist() == pytest.approx([0.75, 0.5, 0.02, 0.98, 0.5], rel=1e-6)
    found = update_self_loops(before, stays, leaves, min_count=0, lowest=0.0).exp()
    assert found.tolist() == pytest.approx([0.75, 5 / 9, 0, 2000 / 2001, 0.5], rel=1e-6)


def test_invalid_topologies_are_refused():
    pdfs, loops = torch.tensor([[-1, -1], [0, 1]]), torch.tensor([-1.0, -1.0])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(2,\); expected \(C, J\)"):
        Topology(pdfs[1], (), loops)
    with pytest.raises(ValueError, match=r"pdfs\[0\] is \[0, 1\]; expected -1: the blank"):
        Topology(pdfs[1:], (), loops)
    with pytest.raises(ValueError, match="pdfs or silence has 2; expected from 0 to 1"):
        Topology(pdfs, (0, 2), loops)
    with pytest.raises(ValueError, match="pdfs or silence has -1; expected from 0 to 1"):
        Topology(pdfs[[0, 0]], (), loops)
