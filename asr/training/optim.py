"""gradients -> steps: the optimiser, its learning rate, and steps that are not to be taken."""

import math
from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from asr.errors import InputError


@dataclass(frozen=True)
class OptimSettings:
    """AdamW or SGD with linear warm-up, then decay along a cosine to 0 at the last step.

    Args:
        algorithm: "sgd" is without momentum.
        lr: the highest learning rate.
        weight_decay: of matrices, not of biases.
        warmup: share of all steps.
    """

    algorithm: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise InputError(f"optim.lr is {self.lr}; expected more than 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"optim.weight_decay is {self.weight_decay}; expected 0 or more")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"optim.warmup is {self.warmup}; expected from 0 to 1")


def scheduled_optimizer(task: pl.LightningModule, settings: OptimSettings) -> OptimizerLRScheduler:
    """The optimiser of all the task's weights with its schedule, as `configure_optimizers` wants.

    Raises:
        InputError: the trainer's settings give training no end.
    """
    matrices = [p for p in task.parameters() if p.ndim > 1]
    biases = [p for p in task.parameters() if p.ndim <= 1]
    kind = torch.optim.AdamW if settings.algorithm == "adamw" else torch.optim.SGD
    optimizer = kind(matrices, lr=settings.lr, weight_decay=settings.weight_decay)
    optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
    steps = task.trainer.estimated_stepping_batches
    if steps == math.inf:
        raise InputError("trainer.max_epochs is -1; expected a number: the learning rate's end")
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(step, int(steps), settings.warmup)
    )
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
    }


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The learning rate's share of its highest: up in a line, down along a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def clip_finite(
    task: pl.LightningModule,
    optimizer: torch.optim.Optimizer,
    value: float | None,
    algorithm: str | None,
) -> bool:
    """Clip the gradient and log its norm, or drop it where it is not finite.

    Without a gradient, the step leaves the weights and the optimiser as they are. AdamW's own
    count of steps stays too: it says how many gradients are in its means. The learning rate goes
    on, so that the schedule ends with the last batch.

    Args:
        task: whose gradient it is.
        optimizer: that is about to take a step.
        value: the largest norm, or largest value, as the trainer's settings have it; None or 0
            leaves the gradient as it is.
        algorithm: the trainer's.

    Returns:
        finite: whether it was; of several processes all are told the same, since they share it.
    """
    gradients = [p.grad for p in task.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not norm.isfinite():
        optimizer.zero_grad(set_to_none=True)
        return False
    task.log("gradient_norm", norm)
    if value:
        task.clip_gradients(optimizer, value, algorithm)
    return True
