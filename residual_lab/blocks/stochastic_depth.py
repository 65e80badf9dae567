"""Stochastic depth of Huang et al. 2016 (arXiv:1603.09382), and the form that today's libraries give it.

Two conventions, and they are each other's complement: the paper speaks of the probability p_l that block l *survives* and
multiplies its branch with p_l in evaluation; torchvision and timm speak of the probability that it is *dropped* and divide by 1 − that
probability in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.resnet import BasicBlock, ResNetCIFAR

MODES = ("batch", "row")


def linear_decay(blocks: int, last: float) -> list[float]:
    """Survival probabilities p_l = 1 − l/L (1 − p_L) for l = 1 … L: Eq. (4). The input, l = 0, always survives."""
    _probability(last)
    return [1 - l / blocks * (1 - last) for l in range(1, blocks + 1)]


def drop_rates(blocks: int, most: float, library: str) -> list[float]:
    """Drop probabilities as libraries set them from one number.

    Args:
        library: "timm" grows from 0 at the first block to ``most`` at the last (so does torchvision's ConvNeXt),
            "efficientnet" (torchvision) stops one step before ``most``.
    """
    _probability(most)
    steps = {"timm": max(blocks - 1, 1), "efficientnet": blocks}[library]
    return [most * l / steps for l in range(blocks)]


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"확률은 0과 1 사이여야 합니다: {p}")


def poisson_binomial(p: Sequence[float]) -> list[float]:
    """The distribution of the number of successes of independent trials with probabilities p: P(0), …, P(L).

    With survival probabilities it is the distribution of the depth of the network that one mini-batch trains.
    """
    chances = [1.0]
    for p_l in p:
        kept, lost = [0.0, *(p_l * c for c in chances)], [*((1 - p_l) * c for c in chances), 0.0]
        chances = [a + b for a, b in zip(kept, lost)]
    return chances


class StochasticDepthBlock(BasicBlock):
    """relu(b·F(x) + shortcut(x)) with b ~ Bernoulli(survival) drawn for each mini-batch, Eq. (2); b = survival in evaluation, Eq. (5).

    Where b = 0 nothing of F is computed, and so nothing of it is in the backward pass: that is where the time is saved.

    Attributes:
        executed: how often the branch was computed in training.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, survival: float = 1.0):
        super().__init__(in_channels, channels, stride)
        _probability(survival)
        self.survival, self.executed = survival, 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, channels, H/stride, W/stride)."""
        if self.training and torch.rand(()) >= self.survival:
            return F.relu(self.shortcut(x))
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.training:
            self.executed += 1
        else:
            branch = self.survival * branch
        return F.relu(branch + self.shortcut(x))


def stochastic_depth(
    branch: Tensor, p: float, mode: str, training: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """The branch, zeroed with probability p and divided by 1 − p otherwise; as it is in evaluation.

    The signature and the meaning are those of ``torchvision.ops.stochastic_depth``. It gets the branch already computed, so
    it saves no time in either mode.

    Args:
        branch: (B, …).
        mode: "batch" draws once for all samples, "row" once for each (timm's ``drop_path``).
    Raises:
        ValueError: another ``mode``.
    """
    _probability(p)
    if mode not in MODES:
        raise ValueError(f"mode는 {', '.join(MODES)} 가운데 하나여야 합니다: {mode!r}")
    if not training or p == 0:
        return branch
    draws = len(branch) if mode == "row" else 1
    kept = torch.rand(draws, dtype=branch.dtype, device=branch.device, generator=generator) >= p
    scale = kept.to(branch.dtype) / (1 - p) if p < 1 else kept.to(branch.dtype)
    return branch * scale.view(-1, *[1] * (branch.ndim - 1))


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a module that follows ``train()`` and ``eval()``."""

    def __init__(self, p: float, mode: str):
        super().__init__()
        stochastic_depth(torch.empty(0), p, mode, training=False)
        self.p, self.mode = p, mode

    def forward(self, branch: Tensor) -> Tensor:
        """(B, …) → the same shape."""
        return stochastic_depth(branch, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class DropPathBlock(BasicBlock):
    """relu(StochasticDepth(F(x)) + shortcut(x)): the libraries' form, which computes every branch."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, survival: float = 1.0, mode: str = "row"):
        super().__init__(in_channels, channels, stride)
        self.drop = StochasticDepth(1 - survival, mode)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, channels, H/stride, W/stride)."""
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.drop(branch) + self.shortcut(x))


class StochasticDepthResNet(ResNetCIFAR):
    """The 6n + 2 layer ResNet of He et al. 2015 with L = 3n droppable blocks and linear decay; no parameter more or less.

    Args:
        last: survival probability p_L of the last block.
        form: "paper" (`StochasticDepthBlock`), or "batch" or "row" (`DropPathBlock` in that mode).
    """

    def __init__(self, n: int, *, last: float = 0.5, form: str = "paper", width: int = 16, in_channels: int = 3, classes: int = 10):
        super().__init__(n, width=width, in_channels=in_channels, classes=classes)
        survival = iter(linear_decay(3 * n, last))
        for stage in self.stages:
            for i, block in enumerate(stage):
                shape = block.conv1.in_channels, block.conv1.out_channels, block.stride
                if form == "paper":
                    stage[i] = StochasticDepthBlock(*shape, survival=next(survival))
                else:
                    stage[i] = DropPathBlock(*shape, survival=next(survival), mode=form)

    def executed(self) -> int:
        """How many blocks training steps have computed so far; only in the paper's form."""
        return sum(block.executed for stage in self.stages for block in stage)
