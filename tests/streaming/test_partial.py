from dataclasses import replace

import numpy as np
import pytest
import torch
from stream_models import recognizer_of

from asr.errors import InputError
from asr.streaming.partial import PartialText


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_the_text_is_that_of_the_frames_so_far(decoder):
    decoder = recognizer_of(decoder=decoder).decoder
    log_probs = np.random.default_rng(0).dirichlet(np.full(5, 0.2), size=60)
    rows = torch.from_numpy(np.log(log_probs + 1e-9)).float()
    partial = PartialText(decoder, None)
    assert partial.text() == ""
    for _ in range(2):
        for first in range(0, 60, 13):
            partial.feed(rows[first : first + 13])
            ((best, *_),) = decoder.nbests([rows[: first + 13]])
            assert partial.text() == best.text
        partial.restart()


def test_flashlight_is_refused_in_one_line():
    decoder = recognizer_of().decoder
    decoder = replace(decoder, settings=replace(decoder.settings, decoder="flashlight"))
    line = "^decoder is flashlight, which needs whole utterances; expected greedy or beam"
    with pytest.raises(InputError, match=line):
        PartialText(decoder, None)
