import pytest
import torch

from asr.search.threads import threads


def test_the_number_of_threads_is_set_and_restored():
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
