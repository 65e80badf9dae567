"""`StackedConvNet` with the unit of He et al. 2016, "Identity Mappings" (arXiv:1603.05027): its order and its shortcut as parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_lab.training.stacked import Condition, StackedConvNet

ORDERS = ("original", "bn_after", "relu_before", "relu_only", "full")
SHORTCUTS = ("identity", "half", "half_both", "gate", "exclusive", "conv", "dropout")


class StackedOrderNet(StackedConvNet):
    """K networks, one a seed, whose units put BN and ReLU in one of the five orders of Fig. 4 and table 2.

    The convolutions of a seed begin with the same weights in every order. Around the units stands what the paper's
    appendix says: the stem is followed by BN and ReLU before the first unit splits (so the first fully pre-activated unit
    has no BN–ReLU of its own), and the pre-activated orders end with BN–ReLU or ReLU after the last addition. Shortcuts are
    identities, option A where the shape changes.

    Args:
        last_bn: whether BN–ReLU stands after the last addition; None is what the paper does, for "full" only. The control
            that tells what this last BN does from what the order does.
    Raises:
        ValueError: another ``order``.
    """

    def __init__(
        self, order: str, seeds: Sequence[int], *, n: int, width: int, last_bn: bool | None = None, in_channels: int = 1,
    ):
        super().__init__([Condition(skip=True)], seeds, n=n, width=width, in_channels=in_channels)
        if order not in ORDERS:
            raise ValueError(f"순서는 {', '.join(ORDERS)} 가운데 하나여야 합니다: {order!r}")
        self.order = order
        if order == "full":
            for block in self.units():
                block["bn1"] = nn.BatchNorm2d(block["conv1"].in_channels)
            self.stages[0][0]["bn1"] = nn.Identity()
        wanted = order == "full" if last_bn is None else last_bn
        self.last_bn = nn.BatchNorm2d(self.units()[-1]["conv2"].out_channels) if wanted else nn.Identity()

    def units(self) -> list[nn.ModuleDict]:
        return [block for blocks in self.stages for block in blocks]

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, C, H, W) → logits (K, B, classes)."""
        return self.logits(self.stream(x)[-1])

    def stream(self, x: Tensor) -> list[Tensor]:
        """What flows along the shortcuts: the input of the first unit, then the output of every unit, channels of K networks."""
        states = [self.enter(x)]
        for block in self.units():
            states.append(self.unit(block, states[-1]))
        return states

    def unit(self, block: nn.ModuleDict, h: Tensor) -> Tensor:
        """One unit, its order read from left to right in Fig. 4."""
        conv1, bn1, conv2, bn2 = (block[name] for name in ("conv1", "bn1", "conv2", "bn2"))
        match self.order:
            case "original":
                return self._add_shortcut(bn2(conv2(bn1(conv1(h)).relu())), h).relu()
            case "bn_after":
                return bn2(self._add_shortcut(conv2(bn1(conv1(h)).relu()), h)).relu()
            case "relu_before":
                return self._add_shortcut(bn2(conv2(bn1(conv1(h)).relu())).relu(), h)
            case "relu_only":
                return self._add_shortcut(bn2(conv2(bn1(conv1(h.relu())).relu())), h)
            case "full":
                return self._add_shortcut(conv2(bn2(conv1(bn1(h).relu())).relu()), h)

    def logits(self, h: Tensor) -> Tensor:
        """From the last unit's output to (K, B, classes); the ReLU changes nothing where the stream is not negative anyway."""
        return self._classify(self.last_bn(h).relu())


class ShortcutOnlyNet(StackedOrderNet):
    """The same networks, whose branches pass no gradient on: what reaches a unit has come along the shortcuts alone."""

    def _add_shortcut(self, branch: Tensor, h: Tensor) -> Tensor:
        return super()._add_shortcut(branch.detach(), h)


class StackedShortcutKinds(StackedConvNet):
    """K networks of the original unit, one a seed, with one of the shortcuts of table 1 in every unit that keeps its shape.

    Kinds: "identity"; "half" (shortcut × 0.5), "half_both" (shortcut and branch × 0.5); "gate" (shortcut × (1 − g), the shortcut-only
    gate) and "exclusive" (branch × g as well, the Highway unit), g = sigmoid(1×1 convolution + bias); "conv" (1×1 convolution);
    "dropout" (ratio 0.5).

    Args:
        bias: initial bias of the gates.
    Raises:
        ValueError: another ``kind``.
    """

    def __init__(self, kind: str, seeds: Sequence[int], *, n: int, width: int, bias: float = -6.0):
        super().__init__([Condition(skip=True)], seeds, n=n, width=width)
        if kind not in SHORTCUTS:
            raise ValueError(f"지름길은 {', '.join(SHORTCUTS)} 가운데 하나여야 합니다: {kind!r}")
        self.kind = kind
        self.dropout = torch.Generator().manual_seed(700_000 + seeds[0])
        generators = [torch.Generator().manual_seed(600_000 + seed) for seed in seeds]
        for blocks in self.stages:
            for block in blocks:
                conv = block["conv1"]
                if kind in ("gate", "exclusive", "conv") and conv.in_channels == conv.out_channels:
                    block["one"] = _one_by_one(conv.in_channels // len(seeds), generators, bias if kind != "conv" else None)

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, 1, H, W) → logits (K, B, classes)."""
        h = self.enter(x)
        for blocks in self.stages:
            for block in blocks:
                branch = block["bn2"](block["conv2"](block["bn1"](block["conv1"](h)).relu()))
                h = (self._mixed(block, branch, h) if branch.shape == h.shape else self._add_shortcut(branch, h)).relu()
        return self._classify(h)

    def _mixed(self, block: nn.ModuleDict, branch: Tensor, h: Tensor) -> Tensor:
        match self.kind:
            case "identity":
                return branch + h
            case "half":
                return branch + 0.5 * h
            case "half_both":
                return 0.5 * branch + 0.5 * h
            case "gate":
                return branch + (1 - block["one"](h).sigmoid()) * h
            case "exclusive":
                g = block["one"](h).sigmoid()
                return g * branch + (1 - g) * h
            case "conv":
                return branch + block["one"](h)
            case "dropout":
                if not self.training:
                    return branch + h
                kept = torch.empty_like(h).bernoulli_(0.5, generator=self.dropout)
                return branch + 2 * kept * h


def _one_by_one(channels: int, generators: Sequence[torch.Generator], bias: float | None) -> nn.Conv2d:
    k = len(generators)
    conv = nn.Conv2d(k * channels, k * channels, 1, groups=k, bias=bias is not None)
    deviation = (2.0 / channels) ** 0.5
    drawn = [torch.empty(channels, channels, 1, 1).normal_(0.0, deviation, generator=g) for g in generators]
    with torch.no_grad():
        conv.weight.copy_(torch.cat(drawn))
        if bias is not None:
            conv.bias.fill_(bias)
    return conv.to(memory_format=torch.channels_last)
