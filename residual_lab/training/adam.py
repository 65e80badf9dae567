"""Adam for stacks of networks, with a learning rate and a warm-up for each network, as a generator like `fit`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.text import IGNORED
from residual_lab.training.fit import Step

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
) -> Iterator[Step]:
    """Train a stack of K networks by Adam (Kingma & Ba 2015, arXiv:1412.6980) on the cross-entropy.

    Args:
        model: maps (K, B, …) to logits (K, B, …, classes).
        batches: inputs (K, B, …) and labels of the logits' shape without classes; labels `IGNORED` do not count.
        lr: one rate for all, or a tensor (K,) with a rate for each network.
        schedule: "cosine" or "linear" to zero over ``steps``, or "constant".
        warmup: steps in which the rate grows linearly to what the schedule gives; a number or a tensor (K,).
            Vaswani et al. 2017 (arXiv:1706.03762), §5.3, take β2 = 0.98 with it.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule은 {', '.join(SCHEDULES)} 가운데 하나여야 합니다: {schedule!r}")
    own = isinstance(lr, Tensor) or isinstance(warmup, Tensor)
    optimizer = StackedAdam(model.parameters(), betas) if own else torch.optim.Adam(model.parameters(), betas=betas, fused=True)
    model.train()
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = lr * SCHEDULES[schedule]((step - 1) / steps) * warmed(step, warmup)
        optimizer.zero_grad(set_to_none=True)
        losses = cross_entropy(model(x), y)
        losses.sum().backward()
        optimizer.step()
        yield Step(step, losses.detach())


def warmed(step: int, warmup: int | Tensor) -> float | Tensor:
    """The warm-up's factor at a step (from 1): min(1, step / warmup), and 1 without warm-up."""
    if isinstance(warmup, Tensor):
        return (step / warmup.clamp(min=1)).clamp(max=1.0)
    return min(1.0, step / warmup) if warmup else 1.0


class StackedAdam:
    """Adam (Kingma & Ba 2015, Algorithm 1) with a learning rate for each network of a stack.

    Adam scales every number on its own, so the networks of a stack do not disturb one another.

    Args:
        parameters: their first axis is that of the networks. The rates, (K,), are ``param_groups[0]["lr"]``.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        self.parameters = list(parameters)
        self.param_groups = [{"lr": None}]
        self.betas, self.eps, self.steps = betas, eps, 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        (beta1, beta2), rates = self.betas, self.param_groups[0]["lr"]
        corrected1, corrected2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for parameter, (first, second) in zip(self.parameters, self.moments):
            gradient = parameter.grad
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            update = (second / corrected2).sqrt_().add_(self.eps).reciprocal_().mul_(first)
            parameter.addcmul_(update, rates.view(-1, *[1] * (update.dim() - 1)), value=-1 / corrected1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network over its labels other than `IGNORED`: (K, …, classes) and (K, …) → (K,)."""
    y = y.flatten(1)
    losses = F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none", ignore_index=IGNORED).view(y.shape)
    return losses.sum(1) / (y != IGNORED).sum(1)
