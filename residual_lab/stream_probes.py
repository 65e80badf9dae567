"""What can be read off the stream of a stack of Transformers: how alike its positions are, how large it grows, what each
block is worth, and how far one step of training moves the output."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from residual_lab.training.adam import cross_entropy
from residual_lab.training.stacked_transformer import StackedTransformer


def cosines(x: Tensor) -> Tensor:
    """Cosine between every two positions, mean over the sequences: (K, B, T, d) → (K, T, T)."""
    unit = F.normalize(x, dim=-1)
    return (unit @ unit.mT).mean(1)


def uniformity(x: Tensor) -> Tensor:
    """Mean cosine between two different positions, (K, B, T, d) → (K,): 1 where all tokens have become one direction."""
    t = x.shape[2]
    return (cosines(x).sum((1, 2)) - t) / (t * (t - 1))


def rms(x: Tensor) -> Tensor:
    """Root mean square of everything but the first axis: (K, …) → (K,)."""
    return x.flatten(1).square().mean(1).sqrt()


@torch.no_grad()
def lesions(model: StackedTransformer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each network, (K,), and what it grows by when one block is left out, (K, N)."""
    depth = model.sizes.depth
    whole = cross_entropy(model(x), y)
    without = [cross_entropy(model(x, [float(block != cut) for block in range(depth)]), y) for cut in range(depth)]
    return whole, torch.stack(without, dim=1) - whole[:, None]


def backward(model: StackedTransformer, x: Tensor, y: Tensor) -> Tensor:
    """Leave the gradients of the loss in the parameters; returns the losses (K,)."""
    model.zero_grad(set_to_none=True)
    losses = cross_entropy(model(x), y)
    losses.sum().backward()
    return losses.detach()


@torch.no_grad()
def step_response(model: StackedTransformer, x: Tensor, lr: float) -> Tensor:
    """How far Adam's first step would move the logits, relative to their size: (K,). Needs `backward` first.

    Adam's first step is lr · sign(gradient) whatever the gradient's size (Kingma & Ba 2015, Algorithm 1 at t = 1, without ε).
    The parameters are put back.
    """
    before = model(x)
    moved = [(p, lr * p.grad.sign()) for p in model.parameters()]
    for parameter, step in moved:
        parameter.sub_(step)
    after = model(x)
    for parameter, step in moved:
        parameter.add_(step)
    return rms(after - before) / rms(before)
