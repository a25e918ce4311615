"""batches of features and graphs -> a trained HMM: EM as a Lightning module."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from asr.errors import InputError, listed
from asr.hmm.em import (
    Expected,
    expect,
    flat_hmm,
    floored,
    grown,
    improve,
    n_components_after,
    starved_line,
)
from asr.hmm.gmm import Gmm, Statistics
from asr.hmm.paths import log_likelihoods
from asr.hmm.topology import Topology, pdf_names
from asr.training.graphs import refuse_impossible
from asr.training.hmm_data import HmmBatch, HmmData
from asr.training.hmm_settings import HmmSettings

STATISTICS = ("counts", "sums", "squares", "stays", "leaves", "log_likelihood", "n_frames")
"""Buffers that are summed during a pass, in each process."""

LIGHTNING = {
    "precision": "32-true",
    "max_steps": -1,
    "overfit_batches": 0.0,
    "limit_train_batches": 1.0,
}
"""Lightning's settings that must have these values, since each pass goes over all data."""


class HmmTraining(pl.LightningModule):
    """Expectation maximisation: an epoch is a pass over all data with an M-step at its end.

    A monophone HMM has a flat start: all states get the variance and the mean of all frames, but
    silence the mean of the quiet frames. Every division of an utterance's frames among its other
    states is then equally probable, so the first pass gives them about equally many frames.

    It logs, in nats per frame, `train_log_likelihood` of the model before the M-step and
    `dev_log_likelihood` of the model after it and after splitting Gaussians. The likelihood of the
    development set sums over all paths; that of the training set does so with "baum_welch", and is
    that of the best path with "viterbi".

    States and Gaussians with too little data are named on stderr; see `asr.hmm.gmm.maximise`.

    Args:
        settings: of the run.
        topology: states of the tokens.
        symbols: (C,), names of the tokens.
        initial: mixtures to start from instead of a flat start; unused if training resumes from a
            checkpoint.

    Raises:
        InputError: `model.n_components` is smaller than the number of states, or larger than
            `model.max_components` for each of them.
    """

    log_weights: Tensor
    means: Tensor
    variances: Tensor
    self_loops: Tensor
    floor: Tensor
    counts: Tensor
    sums: Tensor
    squares: Tensor
    stays: Tensor
    leaves: Tensor
    log_likelihood: Tensor
    n_frames: Tensor

    def __init__(
        self,
        settings: HmmSettings,
        topology: Topology,
        symbols: Sequence[str],
        initial: Gmm | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = settings
        self._initial = initial
        self.topology = topology
        self._names = pdf_names(topology, symbols)
        S, M = len(self._names), settings.model.max_components
        F = settings.features.n_features
        if not S <= settings.model.n_components <= S * M:
            raise InputError(
                f"model.n_components is {settings.model.n_components}; expected from {S}, the"
                f" states, to {S * M}, model.max_components in each"
            )
        shapes = {"log_weights": (S, M), "means": (S, M, F), "variances": (S, M, F), "floor": (F,)}
        shapes |= {"counts": (S, M), "sums": (S, M, F), "squares": (S, M, F)}
        shapes |= {"stays": (S,), "leaves": (S,), "log_likelihood": (), "n_frames": ()}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("self_loops", topology.self_loops.double())
        # each process sums its own; DDP would copy those of the first to all when a run resumes
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, STATISTICS)
        # Lightning counts the steps of an optimiser, and names checkpoints by their number
        self._nothing = nn.Parameter(torch.zeros(()))
        self._starved = ""  # the last line about states with too little data
        self._dev = torch.zeros(2, dtype=torch.float64)  # log-likelihood and frames

    @property
    def gmm(self) -> Gmm:
        """The current mixtures, padded to the largest number of Gaussians of a state."""
        M = int((self.log_weights > -torch.inf).sum(1).max())
        return Gmm(self.log_weights[:, :M], self.means[:, :M], self.variances[:, :M])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self._nothing], "name": "steps"}], lr=0.0)

    def on_fit_start(self) -> None:
        epochs, until = self.trainer.max_epochs, self.settings.schedule.grow_until
        if epochs is None or epochs <= until:
            raise InputError(
                f"trainer.max_epochs is {epochs}; expected more than schedule.grow_until, {until}"
            )
        for name, expected in LIGHTNING.items():
            if (found := getattr(self.trainer, name)) != expected:
                raise InputError(f"trainer.{name} is {found}; expected {expected} for EM")
        if not self.trainer.ckpt_path:
            data: HmmData = self.trainer.datamodule  # type: ignore[attr-defined]
            quiet = None if self._initial else data.quiet_frames()
            share = self.settings.model.variance_floor
            flat, floor = flat_hmm(data.frames(), quiet, self.topology, share)
            self.floor.copy_(floor)
            self._set_gmm(floored(self._initial or flat, floor).to(self.device))

    def training_step(self, batch: HmmBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.step()
        if batch.counted:
            self._expect(batch)
        if self.trainer.is_last_batch:
            self._maximise()

    def validation_step(self, batch: HmmBatch, batch_idx: int) -> None:
        emissions = self.gmm.emissions(batch.features)
        found = log_likelihoods(emissions, batch.input_lengths, batch.graphs, self.self_loops)
        refuse_impossible(batch.ids, found.isfinite())
        self._dev += torch.stack([found.sum(), batch.input_lengths.sum()]).cpu()

    def on_validation_epoch_end(self) -> None:
        log_likelihood, n_frames = self._dev.tolist()
        self.log("dev_log_likelihood", log_likelihood / n_frames, prog_bar=True, sync_dist=True)
        self._dev.zero_()

    # a checkpoint has the sums over all processes; when training resumes, the first process takes
    # them, and the others start from 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in STATISTICS:
            checkpoint["state_dict"][name] = self._of_all_processes(name)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self.trainer.is_global_zero:
            for name in STATISTICS:
                checkpoint["state_dict"][name].zero_()

    @torch.no_grad()
    def _expect(self, batch: HmmBatch) -> None:
        """The E-step of one batch."""
        states_are_equal = self.current_epoch == 0 and not self.settings.data.start
        best = self.settings.schedule.algorithm == "viterbi" and not states_are_equal
        utterances = batch.features, batch.input_lengths, batch.graphs
        found = expect(self.gmm, self.self_loops, *utterances, best)
        refuse_impossible(batch.ids, found.log_likelihoods.isfinite())
        M = found.statistics.counts.shape[1]
        self.counts[:, :M] += found.statistics.counts
        self.sums[:, :M] += found.statistics.sums
        self.squares[:, :M] += found.statistics.squares
        self.stays += found.stays
        self.leaves += found.leaves
        self.log_likelihood += found.log_likelihoods.sum()
        self.n_frames += batch.input_lengths.sum()

    @torch.no_grad()
    def _maximise(self) -> None:
        """The M-step, then the splitting of Gaussians."""
        model, until = self.settings.model, self.settings.schedule.grow_until
        of_all = {name: self._of_all_processes(name) for name in STATISTICS}
        gmm = self.gmm
        M = gmm.log_weights.shape[1]
        counted = Statistics(*(of_all[name][:, :M] for name in ("counts", "sums", "squares")))
        found = Expected(counted, of_all["stays"], of_all["leaves"], of_all["log_likelihood"])
        improved = improve(gmm, self.self_loops, found, self.floor, model.min_count)
        gmm = improved.gmm
        S, passes = len(self._names), self.current_epoch + 1
        if passes <= until:
            total = n_components_after(passes, S, model.n_components, until)
            frames = counted.counts.sum(1)
            gmm = grown(gmm, frames, total, model.max_components, model.min_count)
        self._set_gmm(gmm)
        self.self_loops.copy_(improved.self_loops)
        self._report(improved.starved, improved.removed)
        mean = float(of_all["log_likelihood"] / of_all["n_frames"])
        n_components = float(gmm.n_components.sum())
        logged = {"train_log_likelihood": mean, "n_components": n_components}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        for name in STATISTICS:
            getattr(self, name).zero_()

    def _set_gmm(self, gmm: Gmm) -> None:
        M = gmm.log_weights.shape[1]
        self.log_weights.fill_(-torch.inf)
        self.variances.fill_(1.0)
        self.log_weights[:, :M] = gmm.log_weights
        self.means[:, :M] = gmm.means
        self.variances[:, :M] = gmm.variances

    def _of_all_processes(self, name: str) -> Tensor:
        value = getattr(self, name).clone()
        return self.trainer.strategy.reduce(value, reduce_op="sum")

    def _report(self, starved: Tensor, removed: Tensor) -> None:
        if not self.trainer.is_global_zero:
            return
        min_count = self.settings.model.min_count
        line = starved_line(starved, self._names, min_count)
        if line and line != self._starved:  # the same states are named once
            print(f"epoch {self.current_epoch + 1}: {line}", file=sys.stderr)
        self._starved = line
        n_removed = removed.sum(1).tolist()
        if any(n_removed):
            parts = [f"{n} of {name}" for n, name in zip(n_removed, self._names, strict=True) if n]
            note = f"Gaussians with fewer than {min_count:g} frames are removed: {listed(parts)}"
            print(f"epoch {self.current_epoch + 1}: {note}", file=sys.stderr)


def trained_parts(task: HmmTraining) -> tuple[Gmm, Topology]:
    """The trained mixtures and topology, on the CPU."""
    self_loops = task.self_loops.cpu()
    return task.gmm.to("cpu"), replace(task.topology, self_loops=self_loops)
