"""The residual block y = shortcut(x) + F(x) and the shortcut options A, B and C of He et al. 2015 (arXiv:1512.03385), §3.3, §4.1.

A pads new channels with zeros and has no parameters, B projects only where the shape changes, C projects everywhere.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.resnet import BasicBlock, ResNetCIFAR

OPTIONS = ("A", "B", "C")


def same_shape(x: Tensor, f: Tensor) -> None:
    """Refuse to add what only broadcasting would make fit."""
    if x.shape != f.shape:
        raise ValueError(f"지름길 {tuple(x.shape)}와 잔차 가지 {tuple(f.shape)}의 모양이 다릅니다.")


def known(option: str) -> None:
    """Refuse a shortcut option that is not one of `OPTIONS`."""
    if option not in OPTIONS:
        raise ValueError(f"지름길의 종류는 {', '.join(OPTIONS)} 가운데 하나여야 합니다: {option!r}")


class MLPBlock(nn.Module):
    """y = shortcut(x) + W2 relu(W1 x + b1) + b2, with nothing after the addition.

    Args:
        in_features, out_features: where they differ, option "A" pads x with zeros (or drops its last features), "B" projects it.
        option: "C" projects even where the shape stays.
        zero: put the last layer at zero, so that the block begins as its shortcut.
    """

    def __init__(self, in_features: int, out_features: int, hidden: int, *, option: str = "A", zero: bool = False):
        super().__init__()
        known(option)
        self.first = nn.Linear(in_features, hidden)
        self.last = nn.Linear(hidden, out_features)
        self.new = out_features - in_features
        project = option == "C" or (option == "B" and self.new != 0)
        self.projection = nn.Linear(in_features, out_features, bias=False) if project else None
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in_features) → (…, out_features)."""
        shortcut = F.pad(x, (0, self.new)) if self.projection is None else self.projection(x)
        branch = self.last(F.relu(self.first(x)))
        same_shape(shortcut, branch)
        return shortcut + branch


def projection(in_channels: int, channels: int, stride: int = 1) -> nn.Sequential:
    """The projection shortcut: a 1×1 convolution with the branch's stride, and BN."""
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class ShortcutBlock(BasicBlock):
    """The `BasicBlock` of `resnet` with any of the three shortcut options."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, option: str = "A"):
        super().__init__(in_channels, channels, stride)
        known(option)
        changes = stride != 1 or in_channels != channels
        if option == "C" or (option == "B" and changes):
            self.projection = projection(in_channels, channels, stride)

    def shortcut(self, x: Tensor) -> Tensor:
        return self.projection(x) if hasattr(self, "projection") else super().shortcut(x)


class ShortcutResNet(ResNetCIFAR):
    """The 6n + 2 layer network of §4.2 with shortcut option A (the paper's for CIFAR-10), B or C."""

    def __init__(self, n: int, *, option: str = "A", width: int = 16, in_channels: int = 3, classes: int = 10):
        super().__init__(n, width=width, in_channels=in_channels, classes=classes)
        for stage in self.stages:
            for i, block in enumerate(stage):
                channels = block.conv1
                stage[i] = ShortcutBlock(channels.in_channels, channels.out_channels, block.stride, option=option)
