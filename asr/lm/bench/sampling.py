"""language model -> texts that it draws, unit by unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asr.errors import InputError
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK


@dataclass(frozen=True)
class SamplingSettings:
    """From which units the next one is drawn, and how boldly.

    First `<unk>` is left out, then comes the temperature, then `top_k`, then `top_p`; what is left
    has its probabilities raised to a sum of 1.

    Args:
        temperature: log-probabilities are divided by it: below 1 the probable becomes more so. At 0
            the most probable unit is always taken, of equals the first.
        top_k: only the most probable units, so many; of equals the first ones. None: all.
        top_p: only the most probable units, as few as have this probability together; at least 1.
        unknown: `<unk>` may be drawn too.

    Raises:
        InputError: a value is out of its range.

    Source: `top_p` is the nucleus of Holtzman et al. 2020, arXiv:1904.09751, section 3.1.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    unknown: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise InputError(f"temperature is {self.temperature}; expected 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}; expected 1 or more")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; expected above 0 and at most 1")


DEFAULT = SamplingSettings()


@dataclass(frozen=True)
class Sample:
    """What was drawn.

    Args:
        units: without the prompt and the end.
        ended: the end was drawn; otherwise there were as many units as allowed.
        log_prob: natural logarithm of the probability that the model itself, without temperature
            and the like, gives the units after the prompt, and the end where it was drawn.
    """

    units: tuple[int, ...]
    ended: bool
    log_prob: float


def sample(
    model: LanguageModel,
    prompt: Sequence[int] = (),
    settings: SamplingSettings = DEFAULT,
    n_samples: int = 1,
    max_units: int = 100,
    seed: int = 0,
) -> list[Sample]:
    """Texts that a language model draws.

    Args:
        model: any language model.
        prompt: units that each text begins with.
        settings: from which units is drawn.
        n_samples: how many texts. A text does not depend on how many are drawn beside it, as far
            as the model's arithmetic does not.
        max_units: a text that has not ended after so many is cut.
        seed: of the draws; the same seed draws the same texts.

    Raises:
        ValueError: `n_samples` or `max_units` is below 1.
    """
    for name, value in {"n_samples": n_samples, "max_units": max_units}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; expected 1 or more")
    generators = [np.random.default_rng([seed, number]) for number in range(n_samples)]
    drawn: list[list[int]] = [[] for _ in range(n_samples)]
    log_probs = np.zeros(n_samples)
    state = model.start(n_samples)
    for unit in prompt:
        _, state = model.score(state, torch.full((n_samples,), unit))
    going = list(range(n_samples))  # the texts that have not ended, one a row of the state
    for _ in range(max_units):
        rows = model.log_probs(state).double().cpu().numpy()
        units = [
            int(generators[number].choice(len(row), p=row))
            for number, row in zip(going, next_probs(rows, settings), strict=True)
        ]
        for number, unit, row in zip(going, units, rows, strict=True):
            drawn[number].append(unit)
            log_probs[number] += row[unit]
        left = [row for row, unit in enumerate(units) if unit != EOS]
        if not left:
            break
        going = [going[row] for row in left]
        _, state = model.score(state[left], torch.tensor([units[row] for row in left]))
    return [_as_sample(units, float(score)) for units, score in zip(drawn, log_probs, strict=True)]


def next_probs(log_probs: np.ndarray, settings: SamplingSettings) -> np.ndarray:
    """The probabilities that the next unit is drawn by.

    Args:
        log_probs: (rows, V), natural logarithms, of every next unit.
        settings: what is changed in them.

    Returns:
        probs: (rows, V), each row adds up to 1.
    """
    log_probs = np.array(log_probs, dtype=np.float64)
    if not settings.unknown:
        log_probs[:, UNK] = -np.inf
    order = np.argsort(-log_probs, axis=1, kind="stable")  # most probable first
    ordered = np.take_along_axis(log_probs, order, axis=1)
    if settings.temperature > 0:
        kept = np.exp((ordered - ordered[:, :1]) / settings.temperature)
    else:
        kept = np.zeros_like(ordered)
        kept[:, 0] = 1
    if settings.top_k is not None:
        kept[:, settings.top_k :] = 0
    if settings.top_p < 1:
        kept /= kept.sum(axis=1, keepdims=True)
        before = np.cumsum(kept, axis=1)[:, :-1]  # the probability of those in front
        kept[:, 1:][before >= settings.top_p] = 0
    probs = np.empty_like(kept)
    np.put_along_axis(probs, order, kept / kept.sum(axis=1, keepdims=True), axis=1)
    return probs


def _as_sample(units: Sequence[int], log_prob: float) -> Sample:
    ended = units[-1] == EOS
    return Sample(tuple(units[:-1] if ended else units), ended, log_prob)
