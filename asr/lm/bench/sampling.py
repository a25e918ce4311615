"""language model -> random texts, sampled unit by unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asr.errors import InputError
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK


@dataclass(frozen=True)
class SamplingSettings:
    """Settings for sampling the next unit.

    They are applied in this order: `unknown`, `temperature`, `top_k`, `top_p`. Then the remaining
    probabilities are scaled to sum to 1.

    Args:
        temperature: divisor of the log-probabilities; below 1, probable units become more
            probable. At 0 the most probable unit is always taken; in a tie, the first.
        top_k: number of most probable units to sample from; in a tie, the first. None for all.
        top_p: sample from the smallest set of most probable units with at least this probability.
        unknown: whether `<unk>` may be sampled.

    Raises:
        InputError: a value is out of range.

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
    """A sampled text.

    Args:
        units: the units, without the prompt and the end.
        ended: whether the end was sampled; otherwise the text was cut after `max_units`.
        log_prob: natural log-probability of the units after the prompt, and of the end if it was
            sampled, under the model itself: without temperature, `top_k` and `top_p`.
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
    """Sample texts from a language model.

    Args:
        model: any language model.
        prompt: units that each text begins with.
        settings: settings for sampling units.
        n_samples: number of texts. A text does not depend on this number, up to rounding errors of
            the model.
        max_units: a text that has not ended after this number of units is cut.
        seed: seed of the random numbers; the same seed gives the same texts.

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
    going = list(range(n_samples))  # texts that have not ended, one for each row of the state
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
    """The probabilities with which the next unit is sampled.

    Args:
        log_probs: (rows, V), natural log-probabilities of all next units.
        settings: settings for sampling.

    Returns:
        probs: (rows, V), each row sums to 1.
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
        before = np.cumsum(kept, axis=1)[:, :-1]  # probability of all more probable units
        kept[:, 1:][before >= settings.top_p] = 0
    probs = np.empty_like(kept)
    np.put_along_axis(probs, order, kept / kept.sum(axis=1, keepdims=True), axis=1)
    return probs


def _as_sample(units: Sequence[int], log_prob: float) -> Sample:
    ended = units[-1] == EOS
    return Sample(tuple(units[:-1] if ended else units), ended, log_prob)
