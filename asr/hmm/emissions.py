"""features -> emissions of an HMM's states, from Gaussian mixtures or from a network."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from asr.errors import InputError
from asr.hmm.gmm import Gmm
from asr.networks.acoustic import AcousticModel, AcousticSettings


class GmmEmissions(nn.Module):
    """Log p(features | state), from a mixture of Gaussians for each state.

    Args:
        gmm: the mixtures; stored in float32.
    """

    kind: ClassVar = "hmm"
    settings: ClassVar[None] = None  # there is no network to have settings
    log_weights: Tensor
    means: Tensor
    variances: Tensor

    def __init__(self, gmm: Gmm) -> None:
        super().__init__()
        for name in ("log_weights", "means", "variances"):
            self.register_buffer(name, getattr(gmm, name).float())

    @property
    def gmm(self) -> Gmm:
        """The mixtures."""
        return Gmm(self.log_weights, self.means, self.variances)

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Emissions (T, N, S) of features (T, N, F), and the unchanged lengths (N,)."""
        return self.gmm.emissions(features), input_lengths

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: weights, means and variances of all Gaussians.

        The weights of a state sum to 1, so one weight of each state is not counted.
        """
        S, _, F = self.means.shape
        return int(self.gmm.n_components.sum()) * (2 * F + 1) - S

    @property
    def sizes(self) -> dict[str, Any]:
        """The sizes of the mixtures as plain values, for `model.json`."""
        return {"max_components": self.log_weights.shape[1]}

    def log_posteriors(self, emissions: Tensor) -> Tensor:
        """(..., S): log-probabilities of the states, with equal priors for all states."""
        return emissions.log_softmax(-1)

    def summary(self, hop_ms: float) -> tuple[str, str]:
        """A title and a line that describe the mixtures."""
        return "Gaussians", f"{int(self.gmm.n_components.sum()):,}"

    def check(self, place: str) -> None:
        """Raise InputError if the parameters are not valid mixtures; `place` names their file."""
        if not (self.log_weights <= 0).all() or not (self.gmm.n_components > 0).all():
            raise InputError(f"{place}: log_weights has a state without weights; expected some")
        if not (self.variances > 0).all():
            raise InputError(f"{place}: variances has values that are not above 0")


class HybridEmissions(nn.Module):
    """Log p(state | features) - log p(state): log p(features | state) up to a constant.

    Args:
        n_features: number of values in a frame of features.
        n_pdfs: S, number of the HMM's pdfs.
        settings: settings of the network, which must give an output for each frame of features.

    Source: Bourlard and Morgan 1994, "Connectionist speech recognition: a hybrid approach".
    """

    kind: ClassVar = "hybrid"
    log_priors: Tensor

    def __init__(self, n_features: int, n_pdfs: int, settings: AcousticSettings) -> None:
        super().__init__()
        needs = "expected 1: an HMM needs an output for every frame"
        if settings.time_reduction != 1:
            raise InputError(f"model.time_reduction is {settings.time_reduction}; {needs}")
        if settings.pooling:
            raise InputError("model.pooling is True; expected False: an HMM needs every frame")
        if settings.frames_per_output != 1:
            raise InputError(f"model.pyramid is {settings.pyramid}; {needs}")
        self.network = AcousticModel(n_features, n_pdfs, settings)
        self.register_buffer("log_priors", torch.zeros(n_pdfs))

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Emissions (T, N, S) of features (T, N, F), and the unchanged lengths (N,)."""
        log_probs, input_lengths = self.network(features, input_lengths)
        return log_probs - self.log_priors, input_lengths

    @property
    def settings(self) -> AcousticSettings:
        """The network's settings."""
        return self.network.settings

    @property
    def n_parameters(self) -> int:
        """The network's number of trained parameters."""
        return self.network.n_parameters

    @property
    def sizes(self) -> dict[str, Any]:
        """The network's settings as plain values, for `model.json`."""
        return self.network.sizes

    def log_posteriors(self, emissions: Tensor) -> Tensor:
        """(..., S): log-probabilities of the states given the features: the network's output."""
        return emissions + self.log_priors

    def summary(self, hop_ms: float) -> tuple[str, str]:
        """A title and a line that describe the network."""
        return self.network.summary(hop_ms)

    def check(self, place: str) -> None:
        """Raise InputError if a prior is not a log-probability; `place` names the file."""
        if not (self.log_priors <= 0).all():
            raise InputError(f"{place}: log_priors has values that are no log-probabilities")
