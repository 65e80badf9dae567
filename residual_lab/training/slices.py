"""A plane through the loss surface of trained MLPs (Li et al. 2018, arXiv:1712.09913, §4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from residual_lab.training.fit import cross_entropy
from residual_lab.training.stacked import StackedMLP


def directions(model: StackedMLP, seeds: Sequence[int], *, steps: str) -> list[list[Tensor]]:
    """Two random directions for every layer's weights; biases stay where they are.

    Args:
        seeds: one for each network of the stack.
        steps: "filter" makes the part of every neuron as long as its trained incoming weights (the paper's filter
            normalisation); "equal" makes it √2 long in every network, the length of He-initialised weights.
    """
    generators = [torch.Generator().manual_seed(900_000 + seed) for seed in seeds]
    drawn = []
    for _ in range(2):
        layers = []
        for weight in model.weights:
            direction = torch.stack([torch.randn(weight.shape[1:], generator=g) for g in generators])
            length = weight.detach().norm(dim=1, keepdim=True) if steps == "filter" else 2**0.5
            layers.append(direction / direction.norm(dim=1, keepdim=True) * length)
        drawn.append(layers)
    return drawn


@torch.no_grad()
def plane(model: StackedMLP, x: Tensor, y: Tensor, drawn: list[list[Tensor]], places: Sequence[float]) -> Iterator[Tensor]:
    """The loss of every network over the square ``places`` × ``places``, a row of shape (K, len(places)) at a time."""
    trained = [weight.detach().clone() for weight in model.weights]
    k = len(trained[0])
    xs, ys = x.expand(k, *x.shape), y.expand(k, -1)
    first, second = drawn
    for b in places:
        row = []
        for a in places:
            for weight, centre, one, two in zip(model.weights, trained, first, second):
                weight.copy_(centre + a * one + b * two)
            row.append(cross_entropy(model(xs), ys))
        for weight, centre in zip(model.weights, trained):
            weight.copy_(centre)
        yield torch.stack(row, dim=1)
