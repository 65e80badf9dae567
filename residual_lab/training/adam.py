"""Adam for stacks of networks, with a learning rate and a warm-up for each network, as a generator like `fit`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.text import IGNORED
from residual_lab.training.fit import Step, logits_of, place_of
from residual_lab.training.optimizers import Adam, StackedAdam

SCHEDULES = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}
"""The factor on the rate, given how much of the training is done."""


def fit_adam(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    lr: float | Tensor,
    schedule: str = "constant",
    warmup: int | Tensor = 0,
    betas: tuple[float, float] = (0.9, 0.98),
    precision: str = "float32",
) -> Iterator[Step]:
    """Train a stack of K networks by Adam on the cross-entropy, where the model's parameters are.

    Args:
        model: maps (K, B, …) to logits (K, B, …, classes).
        batches: inputs (K, B, …) and labels of the logits' shape without classes; labels `IGNORED` do not count.
        lr: one rate for all, or a tensor (K,) with a rate for each network.
        schedule: "cosine" or "linear" to zero over ``steps``, or "constant".
        warmup: steps in which the rate grows linearly to what the schedule gives; a number or a tensor (K,).
            Vaswani et al. 2017 (arXiv:1706.03762), §5.3, take β2 = 0.98 with it.
        precision: "float32" or "bfloat16", see `residual_lab.training.fit.logits_of`.
    Raises:
        ValueError: another ``schedule``.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule은 {', '.join(SCHEDULES)} 가운데 하나여야 합니다: {schedule!r}")
    own, place = isinstance(lr, Tensor) or isinstance(warmup, Tensor), place_of(model)
    optimizer = (StackedAdam if own else Adam)(model.parameters(), betas)
    model.train()
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.zero_grad()
        losses = cross_entropy(logits_of(model, x.to(place), precision), y.to(place))
        losses.sum().backward()
        optimizer.step(lr * SCHEDULES[schedule]((step - 1) / steps) * warmed(step, warmup))
        yield Step(step, losses.detach().cpu())


def warmed(step: int, warmup: int | Tensor) -> float | Tensor:
    """The warm-up's factor at a step (from 1): min(1, step / warmup), and 1 without warm-up."""
    if isinstance(warmup, Tensor):
        return (step / warmup.clamp(min=1)).clamp(max=1.0)
    return min(1.0, step / warmup) if warmup else 1.0


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network over its labels other than `IGNORED`: (K, …, classes) and (K, …) → (K,)."""
    y = y.flatten(1)
    losses = F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none", ignore_index=IGNORED).view(y.shape)
    return losses.sum(1) / (y != IGNORED).sum(1)
