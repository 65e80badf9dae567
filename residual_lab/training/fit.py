"""The training loop of the whole course: a generator that can be stopped between any two steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.training.optimizers import SGD
from residual_lab.training.stacked import memory_format


class Step(NamedTuple):
    """One step of a stack: ``losses`` are the K mini-batch losses (before the update), on the CPU."""

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
    precision: str = "float32",
) -> Iterator[Step]:
    """Train a stack of K networks by SGD with momentum and a cosine schedule to zero, where the model's parameters are.

    Args:
        model: maps (K, B, …) to logits (K, B, classes).
        batches: inputs (K, B, …) and labels (K, B).
        lr: one rate for all, or a tensor (K,) with a rate for each network. Rates of their own are factors on the
            losses, which for SGD without weight decay is the same thing.
        precision: "float32" or "bfloat16", see `logits_of`.
    Raises:
        ValueError: a learning rate for each network together with weight decay.
    """
    place = place_of(model)
    factors = lr.to(place) if isinstance(lr, Tensor) else None
    if factors is not None and weight_decay:
        raise ValueError("망마다 다른 학습률은 가중치 감쇠와 함께 쓸 수 없습니다.")
    peak = 1.0 if factors is not None else lr
    optimizer = SGD(model.parameters(), momentum=momentum, weight_decay=weight_decay)
    model.train()
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.zero_grad()
        losses = cross_entropy(logits_of(model, x.to(place), precision), y.to(place))
        losses.backward(torch.ones_like(losses) if factors is None else factors)
        optimizer.step(peak * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)))
        yield Step(step, losses.detach().cpu())


def place_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, which was made on the CPU, on a device."""
    return model if device.type == "cpu" else model.to(device, memory_format=memory_format(device))


def logits_of(model: nn.Module, x: Tensor, precision: str) -> Tensor:
    """What the model makes of x in float32, or by mixed precision in "bfloat16" (Kalamkar et al. 2019, arXiv:1905.12322).

    There the products and convolutions and what follows them directly are in bfloat16; weights, sums with the shortcut, LayerNorm
    and softmax stay in float32, and so does the loss: the logits come back in float32. bfloat16 has float32's range, so that
    the loss needs no scale.
    """
    if precision == "float32":
        return model(x)
    with torch.autocast(x.device.type, getattr(torch, precision)):
        return model(x).float()


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network: (K, B, classes) and (K, B) → (K,)."""
    return F.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(1)


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, *, networks: int, batch: int = 512) -> tuple[Tensor, Tensor]:
    """Loss and error of every network of a stack on one data set, in evaluation mode.

    Returns:
        Cross-entropy (K,) and error in percent (K,), on the CPU.
    """
    place = place_of(model)
    was_training = model.training
    model.eval()
    loss, wrong = torch.zeros(networks, device=place), torch.zeros(networks, device=place)
    for xs, ys in zip(x.to(place).split(batch), y.to(place).split(batch)):
        logits = model(xs.expand(networks, *xs.shape))
        labels = ys.expand(networks, -1)
        loss += cross_entropy(logits, labels) * len(ys)
        wrong += (logits.argmax(-1) != labels).sum(1)
    model.train(was_training)
    return loss.cpu() / len(x), 100 * wrong.cpu() / len(x)
