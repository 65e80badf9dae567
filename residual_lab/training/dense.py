"""Many DenseNets (Huang et al. 2017, arXiv:1608.06993) of one shape trained at once: see `stacked`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StackedDenseNet(nn.Module):
    """K DenseNets, one a seed: 3×3 stem, three dense blocks with transitions, BN, ReLU, linear layer.

    Every convolution has K groups. Between layers, feature maps have the shape (B, H, W, K, channels): a concatenation
    is then one of each network's own channels, and convolutions see the memory format in which they are fastest.

    Args:
        layers: dense layers a block.
        growth: k.
        channels: k_0, what the stem gives.
        compression: θ; a transition keeps ⌊θ·m⌋ of m channels.
    """

    def __init__(
        self, seeds: Sequence[int], *, layers: int, growth: int, channels: int, compression: float = 0.5, classes: int = 10,
    ):
        super().__init__()
        self.seeds = list(seeds)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        k = len(self.seeds)
        self.stem = self._conv(1, channels, 3)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for block in range(3):
            if block:
                self.transitions.append(self._layer(channels, int(compression * channels), 1))
                channels = int(compression * channels)
            self.blocks.append(nn.ModuleList(self._layer(channels + i * growth, growth, 3) for i in range(layers)))
            channels += layers * growth
        self.bn = nn.BatchNorm2d(k * channels)
        bound = channels**-0.5
        head = [torch.empty(channels, classes).uniform_(-bound, bound, generator=g) for g in self.generators]
        self.head = nn.Parameter(torch.stack(head))
        self.head_bias = nn.Parameter(torch.zeros(k, 1, classes))
        del self.generators

    def _layer(self, fan_in: int, fan_out: int, size: int) -> nn.Sequential:
        return nn.Sequential(nn.BatchNorm2d(len(self.seeds) * fan_in), nn.ReLU(), self._conv(fan_in, fan_out, size))

    def _conv(self, fan_in: int, fan_out: int, size: int) -> nn.Conv2d:
        k = len(self.seeds)
        conv = nn.Conv2d(k * fan_in, k * fan_out, size, padding=size // 2, groups=k, bias=False)
        deviation = (2.0 / (size**2 * fan_in)) ** 0.5
        drawn = [torch.empty(fan_out, fan_in, size, size).normal_(0.0, deviation, generator=g) for g in self.generators]
        with torch.no_grad():
            conv.weight.copy_(torch.cat(drawn))
        return conv

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, 1, H, W) → logits (K, B, classes)."""
        h = self._apply_to(self.stem, x.permute(1, 3, 4, 0, 2))
        for index in range(3):
            if index:
                h = self.transition(h, index)
            h = self.block(h, index)
        pooled = self.bn(_as_images(h)).relu().mean((2, 3)).unflatten(1, (len(self.seeds), -1)).transpose(0, 1)
        return torch.baddbmm(self.head_bias, pooled, self.head)

    def block(self, h: Tensor, index: int) -> Tensor:
        """(B, H, W, K, channels) → the same with the new channels of every layer after them."""
        for layer in self.blocks[index]:
            h = torch.cat([h, self._apply_to(layer, h)], 4)
        return h

    def transition(self, h: Tensor, index: int) -> Tensor:
        """What comes before block ``index`` (1 or 2): half the height and width."""
        pooled = F.avg_pool2d(self.transitions[index - 1](_as_images(h)), 2)
        return pooled.permute(0, 2, 3, 1).unflatten(3, (len(self.seeds), -1))

    def _apply_to(self, layer: nn.Module, h: Tensor) -> Tensor:
        return layer(_as_images(h)).permute(0, 2, 3, 1).unflatten(3, (len(self.seeds), -1))


def _as_images(h: Tensor) -> Tensor:
    """(B, H, W, K, channels) → (B, K · channels, H, W), without copying where ``h`` is contiguous."""
    return h.flatten(3).permute(0, 3, 1, 2)


@contextmanager
def ablated(layer: nn.Sequential, channels: slice, *, networks: int, way: str) -> Iterator[None]:
    """While it lasts, a layer of the stack cannot read some of each network's channels.

    Args:
        channels: which of the channels that the layer reads.
        way: after BN and ReLU they are "zero", or constant at their "mean" over images and pixels.
    """
    def hide(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        h = inputs[0].unflatten(1, (networks, -1)).clone()
        h[:, :, channels] = 0.0 if way == "zero" else h[:, :, channels].mean((0, 3, 4), keepdim=True)
        return h.flatten(1, 2)

    handle = layer[-1].register_forward_pre_hook(hide)
    try:
        yield
    finally:
        handle.remove()
