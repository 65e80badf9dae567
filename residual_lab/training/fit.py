"""The training loop of the whole course: a generator that can be stopped between any two steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.data import IGNORED


class Step(NamedTuple):
    """One step of a stack: ``losses`` are the K mini-batch losses (before the update)."""

    step: int
    losses: Tensor


def fit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    lr: float | Tensor,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    optimizer: str = "sgd",
    schedule: str = "cosine",
    warmup: int | Tensor = 0,
    betas: tuple[float, float] = (0.9, 0.98),
) -> Iterator[Step]:
    """Train a stack of K networks by SGD with momentum or by Adam.

    Args:
        model: maps (K, B, …) to logits (K, B, …, classes).
        batches: inputs (K, B, …) and labels of the logits' shape without classes; `IGNORED` labels do not count.
        lr: one rate for all, or a tensor (K,) with a rate for each network. In SGD, rates of their own are factors on the
            losses, which without weight decay is the same thing; in Adam they are factors on the update (`StackedAdam`).
        optimizer: "sgd", or "adam" (Kingma & Ba 2015, arXiv:1412.6980), where ``momentum`` and ``weight_decay`` have no place.
        schedule: "cosine" or "linear" to zero, or "constant".
        warmup: steps in which the rate grows linearly to what the schedule gives; a tensor (K,) only with Adam.
    """
    if optimizer not in ("sgd", "adam") or schedule not in SCHEDULES:
        raise ValueError(f"optimizer는 sgd나 adam, schedule은 {', '.join(SCHEDULES)} 가운데 하나여야 합니다.")
    factors = lr if isinstance(lr, Tensor) else None
    if optimizer == "adam":
        if weight_decay:
            raise ValueError("Adam에는 가중치 감쇠를 쓰지 않습니다.")
        own = factors is not None or isinstance(warmup, Tensor)
        rule = StackedAdam(model.parameters(), betas) if own else torch.optim.Adam(model.parameters(), betas=betas, fused=True)
    else:
        if factors is not None and weight_decay:
            raise ValueError("망마다 다른 학습률은 가중치 감쇠와 함께 쓸 수 없습니다.")
        if isinstance(warmup, Tensor):
            raise ValueError("망마다 다른 워밍업은 Adam에서만 쓸 수 있습니다.")
        own = False
        lr = 1.0 if factors is not None else lr
        rule = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    weighted = optimizer == "sgd" and factors is not None
    model.train()
    for step, (x, y) in enumerate(batches, start=1):
        rate = lr * SCHEDULES[schedule]((step - 1) / steps) * warmed(step, warmup)
        rule.param_groups[0]["lr"] = rate
        rule.zero_grad(set_to_none=True)
        losses = cross_entropy(model(x), y)
        (losses * factors if weighted else losses).sum().backward()
        rule.step()
        yield Step(step, losses.detach())


SCHEDULES = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}
"""The factor on the rate, given how much of the training is done."""


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
    losses = F.cross_entropy(logits.flatten(1, -2).transpose(1, 2), y, reduction="none")
    return losses.sum(1) / (y != IGNORED).sum(1)


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, *, networks: int, batch: int = 512) -> tuple[Tensor, Tensor]:
    """Loss and error of every network of a stack on one data set, in evaluation mode.

    Returns:
        Cross-entropy (K,) and error in percent (K,).
    """
    was_training = model.training
    model.eval()
    loss, wrong = torch.zeros(networks), torch.zeros(networks)
    for xs, ys in zip(x.split(batch), y.split(batch)):
        logits = model(xs.expand(networks, *xs.shape))
        labels = ys.expand(networks, -1)
        loss += cross_entropy(logits, labels) * len(ys)
        wrong += (logits.argmax(-1) != labels).sum(1)
    model.train(was_training)
    return loss / len(x), 100 * wrong / len(x)
