import pytest
import torch

from asr.search.threads import threads


def test_threads_are_as_many_as_asked_for_and_then_as_before():
    before = torch.get_num_threads()
    with threads(3):
        assert torch.get_num_threads() == 3
        with threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads(3):
        raise KeyError
    assert torch.get_num_threads() == before
