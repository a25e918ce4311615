"""gradients -> steps: the optimiser, the learning rate schedule, and skipped steps."""

import math
from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from asr.errors import InputError


@dataclass(frozen=True)
class OptimSettings:
    """AdamW or SGD with linear warm-up, then cosine decay to 0 at the last step.

    Args:
        algorithm: "sgd" has no momentum.
        lr: the highest learning rate.
        weight_decay: of matrices, not of biases.
        warmup: length of the warm-up as a share of all steps.
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
    """The optimiser of all the task's weights and its schedule, for `configure_optimizers`.

    Raises:
        InputError: the trainer's settings do not limit the number of epochs or steps.
    """
    matrices = [p for p in task.parameters() if p.ndim > 1]
    biases = [p for p in task.parameters() if p.ndim <= 1]
    kind = torch.optim.AdamW if settings.algorithm == "adamw" else torch.optim.SGD
    optimizer = kind(matrices, lr=settings.lr, weight_decay=settings.weight_decay)
    optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
    steps = task.trainer.estimated_stepping_batches
    if steps == math.inf:
        raise InputError(
            "trainer.max_epochs is -1; expected 1 or more, since the learning rate falls to 0 until"
            " the last epoch"
        )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(step, int(steps), settings.warmup)
    )
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
    }


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The learning rate as a share of the highest: linear warm-up, then cosine decay to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def clip_finite(
    task: pl.LightningModule,
    optimizer: torch.optim.Optimizer,
    value: float | None,
    algorithm: str | None,
) -> float:
    """Clip the gradient, or drop it if it is not finite, and log what was done.

    It logs `gradient_norm`, before clipping. Where the norm is clipped, it also logs the epoch's
    means of `clipped`, the share of steps whose gradient was too large, and `clip/scale`, the
    factor by which gradients were multiplied, 1 for those that were not too large.

    Without a gradient, the step changes neither the weights nor the optimiser. AdamW's own count of
    steps stays too, since it is the number of gradients in its moving averages. The learning rate
    schedule continues, so that it ends with the last batch.

    Args:
        task: the module with the gradient.
        optimizer: that is about to take a step.
        value: largest norm or largest value, from the trainer's settings; None or 0 for no
            clipping.
        algorithm: the trainer's `gradient_clip_algorithm`.

    Returns:
        norm: of the gradient before clipping, which may not be finite; the same in all processes,
            which share it.
    """
    gradients = [p.grad for p in task.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not norm.isfinite():
        optimizer.zero_grad(set_to_none=True)
        return norm.item()
    task.log("gradient_norm", norm)
    if value:
        task.clip_gradients(optimizer, value, algorithm)
        if algorithm in (None, "norm"):
            scale = (value / norm).clamp(max=1.0)
            for name, part in (("clipped", (scale < 1).float()), ("clip/scale", scale)):
                task.log(name, part, on_step=False, on_epoch=True, batch_size=1)
    return norm.item()
