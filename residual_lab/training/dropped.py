"""Stacks whose residual blocks are dropped at random while they train: every network has masks of its own.

Stochastic depth, Huang et al. 2016 (arXiv:1603.09382), §3. A dropped block is not computed: each block gathers the networks
that keep it, runs them as one smaller stack, and leaves the others as their shortcut made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.training.stacked import Condition, Layer, StackedConvNet, StackedMLP, affine


class Masks:
    """The Bernoulli masks of K = schedules × seeds networks.

    A seed draws the same uniform numbers for each of its schedules, so that these differ in nothing but their survival
    probabilities.

    Args:
        schedules: survival probabilities p_1 … p_L, a list a condition.
        row: draw for every sample on its own, which leaves no block uncomputed.

    Attributes:
        survival: (K, L).
        executed: how many blocks each network has computed in training steps so far, (K,).
        steps: how many steps that were.
    Raises:
        ValueError: schedules of different lengths.
    """

    def __init__(self, schedules: Sequence[Sequence[float]], seeds: Sequence[int], *, row: bool = False):
        if len({len(schedule) for schedule in schedules}) != 1:
            raise ValueError("모든 조건의 블록 수가 같아야 합니다.")
        self.survival = torch.tensor([list(schedule) for schedule in schedules for _ in seeds])
        self.generators = [torch.Generator().manual_seed(2_000_003 + seed) for seed in seeds]
        self.conditions, self.row, self.steps = len(schedules), row, 0
        self.executed = torch.zeros(len(self.survival), dtype=torch.int64)

    def draw(self, batch: int) -> Tensor:
        """What the next step keeps: booleans (K, L, 1), or (K, L, batch) where every sample has its own."""
        shape = self.survival.shape[1], batch if self.row else 1
        uniform = torch.stack([torch.rand(shape, generator=g) for g in self.generators])
        kept = uniform.repeat(self.conditions, 1, 1) < self.survival[..., None]
        self.executed += shape[0] if self.row else kept.sum((1, 2))
        self.steps += 1
        return kept


def unused(parameters: Iterable[Tensor]) -> None:
    """Give parameters that no network uses in this step a zero gradient, so that the optimiser treats them as everywhere else.

    A dropped block is thus not frozen: momentum and weight decay still move it.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


class DroppedMLP(StackedMLP):
    """Residual MLPs with stochastic depth: relu(b·F(h) + h) in training, relu(factor·F(h) + h) in evaluation.

    Args:
        schedules: survival probabilities of the ``depth / 2`` blocks, a list a condition.

    Attributes:
        factors: what evaluation multiplies the branches with, (K, L). They begin as the survival probabilities (Huang 2016,
            Eq. (5)); 1 leaves out the rescaling, 0 removes a block.
    """

    def __init__(self, schedules, seeds, *, depth: int, sizes: tuple[int, int, int], row: bool = False):
        super().__init__([Condition(skip=True, init="zero")] * len(schedules), seeds, depth=depth, sizes=sizes)
        self.masks = Masks(schedules, seeds, row=row)
        self.factors = self.masks.survival.clone()

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, inputs) → logits (K, B, classes)."""
        first, *inner, last = self.layers
        h = affine(x, first).relu()
        kept = self.masks.draw(x.shape[1]) if self.training else None
        for index, pair in enumerate(zip(inner[0::2], inner[1::2])):
            if kept is None:
                h = self._whole(pair, h, self.factors[:, index].view(-1, 1, 1))
            elif self.masks.row:
                h = self._whole(pair, h, kept[:, index].unsqueeze(2).to(h.dtype))
            else:
                h = self._kept(pair, h, kept[:, index, 0].nonzero().squeeze(1))
        if kept is not None and not kept.any():
            unused([self.inner])
        return affine(h, last)

    def _whole(self, pair: tuple[Layer, Layer], h: Tensor, factor: Tensor) -> Tensor:
        first, second = pair
        return torch.addcmul(h, affine(affine(h, first).relu(), second), factor).relu()

    def _kept(self, pair: tuple[Layer, Layer], h: Tensor, who: Tensor) -> Tensor:
        """The block of the networks ``who`` alone. The others stay as they are: h ≥ 0, and so relu(h) = h."""
        if len(who) == len(h):
            return self.block(h, *pair)
        if not len(who):
            return h
        part = h[who]
        first, second = ((weight[who], bias[who]) for weight, bias in pair)
        return h.index_copy(0, who, (affine(affine(part, first).relu(), second) + part).relu())


class DroppedConvNet(StackedConvNet):
    """The ConvNets of `StackedConvNet` with stochastic depth in all their L = 3n blocks; ``factors`` as in `DroppedMLP`.

    A dropped block where the stage changes is its shortcut, option A. BN sees, and counts in its running statistics, only the
    steps that keep its block.
    """

    def __init__(self, schedules, seeds, *, n: int, width: int, classes: int = 10, row: bool = False):
        super().__init__([Condition(skip=True)] * len(schedules), seeds, n=n, width=width, classes=classes)
        self.masks = Masks(schedules, seeds, row=row)
        self.factors = self.masks.survival.clone()

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, 1, H, W) → logits (K, B, classes)."""
        h = self.enter(x)
        kept = self.masks.draw(x.shape[1]) if self.training else None
        for index, block in enumerate(block for stage in self.stages for block in stage):
            if kept is None:
                h = self._whole(block, h, self.factors[:, index].view(1, -1, 1, 1, 1))
            elif self.masks.row:
                h = self._whole(block, h, kept[:, index].T.view(x.shape[1], -1, 1, 1, 1).to(h.dtype))
            else:
                h = self._kept(block, h, kept[:, index, 0].nonzero().squeeze(1))
        return self._classify(h)

    def _whole(self, block: nn.ModuleDict, h: Tensor, factor: Tensor) -> Tensor:
        k = len(self.members)
        branch = block["bn1"](block["conv1"](h)).relu()
        branch = block["bn2"](block["conv2"](branch)).unflatten(1, (k, -1))
        return torch.addcmul(self._shortcut(block, h.unflatten(1, (k, -1))), branch, factor).relu().flatten(1, 2)

    def _kept(self, block: nn.ModuleDict, h: Tensor, who: Tensor) -> Tensor:
        stacked = h.unflatten(1, (len(self.members), -1))
        shortcut = self._shortcut(block, stacked)
        if not len(who):
            unused(block.parameters())
            return shortcut.flatten(1, 2)
        branch = self._layer_of(block, 1, stacked[:, who].flatten(1, 2), who).relu()
        branch = self._layer_of(block, 2, branch, who).unflatten(1, (len(who), -1))
        return shortcut.index_copy(1, who, (branch + shortcut[:, who]).relu()).flatten(1, 2)

    def _shortcut(self, block: nn.ModuleDict, h: Tensor) -> Tensor:
        """Option A for (B, K, C, H, W)."""
        if block["conv1"].stride[0] == 1:
            return h
        return F.pad(h[..., ::2, ::2], (0, 0, 0, 0, 0, h.shape[2]))

    def _layer_of(self, block: nn.ModuleDict, which: int, h: Tensor, who: Tensor) -> Tensor:
        """Convolution and training-mode BN of the networks ``who``: (B, len(who)·C, H, W) → likewise."""
        conv, bn = block[f"conv{which}"], block[f"bn{which}"]
        k = len(self.members)
        weight, scale, shift = (p.unflatten(0, (k, -1))[who].flatten(0, 1) for p in (conv.weight, bn.weight, bn.bias))
        running = [statistic.view(k, -1) for statistic in (bn.running_mean, bn.running_var)]
        mean, var = (statistic[who].flatten() for statistic in running)
        h = F.conv2d(h, weight, None, conv.stride, 1, groups=len(who))
        h = F.batch_norm(h, mean, var, scale, shift, True, bn.momentum, bn.eps)
        for statistic, new in zip(running, (mean, var)):
            statistic[who] = new.view(len(who), -1)
        return h
