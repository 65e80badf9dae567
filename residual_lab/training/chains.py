"""Chains of two-layer blocks that learn a vector-valued function, many at once, trained by Adam on the squared error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from residual_lab.training.fit import Step
from residual_lab.training.optimizers import Adam
from residual_lab.training.stacked import Condition, members


class StackedChain(nn.Module):
    """K chains of blocks ``h ← skip · h + W2 relu(W1 h + b1) + b2``, nothing after the addition.

    Args:
        conditions, seeds: the stack holds every condition with every seed; init "zero" puts the last layer of every
            block at zero, "identity" makes every branch relu(h) − relu(−h) = h, and "he" is He et al. 2015
            (arXiv:1502.01852), everywhere.
        blocks: number of blocks.
        sizes: (width of the chain, hidden width of a block).
    """

    def __init__(self, conditions: Sequence[Condition], seeds: Sequence[int], *, blocks: int, sizes: tuple[int, int]):
        super().__init__()
        networks = members(conditions, seeds, inits=("he", "zero", "identity"))
        width, hidden = sizes
        drawn = []
        for condition, seed in networks:
            generator = torch.Generator().manual_seed(seed)
            w1 = torch.randn(blocks, width, hidden, generator=generator) * (2 / width) ** 0.5
            w2 = torch.randn(blocks, hidden, width, generator=generator) * (2 / hidden) ** 0.5
            if condition.init == "identity":
                eye = torch.eye(width)
                w1 = torch.cat([eye, -eye, torch.zeros(width, hidden - 2 * width)], dim=1).repeat(blocks, 1, 1)
                w2 = w1.transpose(1, 2)
            drawn.append((w1, w2 * (condition.init != "zero")))
        k = len(networks)
        self.w1, self.w2 = (nn.ParameterList(w.contiguous() for w in torch.stack(stack, dim=1)) for stack in zip(*drawn))
        self.b1, self.b2 = (nn.ParameterList(torch.zeros(k, 1, n) for _ in range(blocks)) for n in (hidden, width))
        skips = torch.tensor([float(condition.skip) for condition, _ in networks])
        self.register_buffer("skip", skips.view(-1, 1, 1))

    def forward(self, h: Tensor) -> Tensor:
        """(K, B, width) → the same shape."""
        for w1, b1, w2, b2 in zip(self.w1, self.b1, self.w2, self.b2):
            branch = torch.baddbmm(b2, torch.baddbmm(b1, h, w1).relu(), w2)
            h = torch.addcmul(branch, h, self.skip)
        return h


def fit_squares(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, steps: int, lr: float) -> Iterator[Step]:
    """Train a stack of K chains by Adam with a linear decay to zero; losses are mean squared errors (before the update).

    Adam scales every parameter on its own, so the chains of a stack do not disturb one another.
    """
    optimizer = Adam(model.parameters())
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.zero_grad()
        losses = (model(x) - y).square().mean((1, 2))
        losses.sum().backward()
        optimizer.step(lr * (1 - (step - 1) / steps))
        yield Step(step, losses.detach())
