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
    settings: ClassVar[None] = None  # of the network that it has not
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
        """Of each Gaussian a weight, and for each feature a mean and a variance.

        The weights of a state add up to 1, so that one of them follows from the others.
        """
        S, _, F = self.means.shape
        return int(self.gmm.n_components.sum()) * (2 * F + 1) - S

    @property
    def sizes(self) -> dict[str, Any]:
        """What `model.json` says of it, as plain values."""
        return {"max_components": self.log_weights.shape[1]}

    def log_posteriors(self, emissions: Tensor) -> Tensor:
        """(..., S): log-probabilities of the states, as if each were equally frequent."""
        return emissions.log_softmax(-1)

    def summary(self, hop_ms: float) -> tuple[str, str]:
        """What it is made of: a title and a line."""
        return "Gaussians", f"{int(self.gmm.n_components.sum()):,}"

    def check(self, place: str) -> None:
        """Raise InputError where the parameters make no mixture; `place` names their file."""
        if not (self.log_weights <= 0).all() or not (self.gmm.n_components > 0).all():
            raise InputError(f"{place}: log_weights has a state without weights; expected some")
        if not (self.variances > 0).all():
            raise InputError(f"{place}: variances has values that are not above 0")


class HybridEmissions(nn.Module):
    """Log p(state | features) - log p(state): log p(features | state) up to a constant.

    Args:
        n_features: values in a frame of features.
        n_pdfs: S.
        settings: of the network; it must give one output frame for each frame of features.

    Source: Bourlard and Morgan 1994, "Connectionist speech recognition: a hybrid approach".
    """

    kind: ClassVar = "hybrid"
    log_priors: Tensor

    def __init__(self, n_features: int, n_pdfs: int, settings: AcousticSettings) -> None:
        super().__init__()
        if settings.time_reduction != 1:
            raise InputError(
                f"model.time_reduction is {settings.time_reduction}; expected 1: an HMM needs"
                " an output for every frame"
            )
        self.network = AcousticModel(n_features, n_pdfs, settings)
        self.register_buffer("log_priors", torch.zeros(n_pdfs))

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Emissions (T, N, S) of features (T, N, F), and the unchanged lengths (N,)."""
        log_probs, input_lengths = self.network(features, input_lengths)
        return log_probs - self.log_priors, input_lengths

    @property
    def settings(self) -> AcousticSettings:
        """Of the network."""
        return self.network.settings

    @property
    def n_parameters(self) -> int:
        """Of the network."""
        return self.network.n_parameters

    @property
    def sizes(self) -> dict[str, Any]:
        """What `model.json` says of it, as plain values."""
        return self.network.sizes

    def log_posteriors(self, emissions: Tensor) -> Tensor:
        """(..., S): log-probabilities of the states, as the network gives them."""
        return emissions + self.log_priors

    def summary(self, hop_ms: float) -> tuple[str, str]:
        """What the network is made of: a title and a line."""
        return self.network.summary(hop_ms)

    def check(self, place: str) -> None:
        """Raise InputError where a prior is not a log-probability; `place` names its file."""
        if not (self.log_priors <= 0).all():
            raise InputError(f"{place}: log_priors has values that are no log-probabilities")
