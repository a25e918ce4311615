"""features -> emissions of an HMM's states, from Gaussian mixtures or from a network."""

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

    def check(self, place: str) -> None:
        """Raise InputError where the parameters make no mixture; `place` names their file."""
        if not (self.log_weights <= 0).all() or not (self.gmm.n_components > 0).all():
            raise InputError(f"{place}: log_weights has a state without weights; expected some")
        if not self.means.isfinite().all():
            raise InputError(f"{place}: means has values that are not finite")
        if not (self.variances.isfinite() & (self.variances > 0)).all():
            raise InputError(f"{place}: variances has values that are not finite and above 0")


class HybridEmissions(nn.Module):
    """Log p(state | features) - log p(state): log p(features | state) up to a constant.

    Args:
        n_features: values in a frame of features.
        n_pdfs: S.
        settings: of the network; it must give one output frame for each frame of features.

    Source: Bourlard and Morgan 1994, "Connectionist speech recognition: a hybrid approach".
    """

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

    def check(self, place: str) -> None:
        """Raise InputError where a prior is not a log-probability; `place` names its file."""
        if not (self.log_priors.isfinite() & (self.log_priors <= 0)).all():
            raise InputError(f"{place}: log_priors has values that are no log-probabilities")
