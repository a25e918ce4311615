"""Speech scores of frames -> where a segment ends: in a pause, or before it is too long."""

from itertools import groupby

import numpy as np
from torch import Tensor

from asr.audio.segments import quietest
from asr.model import Model


def speech_scores(model: Model, rows: Tensor) -> np.ndarray:
    """A score for each frame, (T,), above 0 if it is rather a token than blank, space or silence.

    Args:
        model: a model of any kind.
        rows: (T, C), or an HMM's emissions, (T, S).
    """
    _, silent = model.columns[0]
    if model.tokenizer.separator is not None:
        silent = [*silent, model.tokenizer.separator]
    probabilities = model.acoustic.log_posteriors(rows).exp()[:, silent].sum(1)
    return (0.5 - probabilities).numpy(force=True)


def find_end(scores: np.ndarray, pause: float, longest: int) -> int:
    """Number of frames after which the segment ends; 0 if it goes on.

    It ends in its first pause of `pause` frames or more, half of `pause` before the pause's last
    frame so far; so the next segment begins with a short silence. Without such a pause, a segment
    of `longest` frames is cut in the longest pause of its second half; see
    `asr.audio.segments.quietest`.

    Args:
        scores: (T,), of the segment so far, from `speech_scores`.
        pause: number of frames, may be infinite.
        longest: number of frames.
    """
    now = 0
    for is_speech, run in groupby((scores > 0).tolist()):
        length = len(list(run))
        now += length
        if not is_speech and length >= max(pause, 1):
            return max(1, now - int(pause / 2))
    if len(scores) < longest:
        return 0
    half = longest // 2
    return max(1, half + quietest(scores[half:longest].tolist()))
