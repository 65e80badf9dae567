"""DenseNet and DenseNet-BC of Huang et al. 2017, "Densely Connected Convolutional Networks" (arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class DenseLayer(nn.Module):
    """H of Huang 2017, §3: BN, ReLU, 3×3 convolution to ``growth_rate`` channels."""

    def __init__(self, in_channels: int, growth_rate: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth_rate, 3, padding=1, bias=False)

    def forward(self, *features: Tensor) -> Tensor:
        """Feature maps (B, c_i, H, W) whose c_i sum to ``in_channels`` → (B, growth_rate, H, W)."""
        return self.conv(F.relu(self.bn(torch.cat(features, 1))))


class BottleneckLayer(nn.Module):
    """H of DenseNet-B, §3: BN, ReLU, 1×1 convolution to ``4 · growth_rate`` channels; then BN, ReLU, 3×3 convolution."""

    def __init__(self, in_channels: int, growth_rate: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, *features: Tensor) -> Tensor:
        """As `DenseLayer.forward`."""
        narrow = self.conv1(F.relu(self.bn1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.bn2(narrow)))


class DenseBlock(nn.Module):
    """x_l = H_l([x_0, …, x_{l−1}]), Huang 2017, Eq. (2). The output is all of them concatenated.

    Args:
        checkpointed: store each layer's inputs only, and run the layer again for the backward pass. The numbers stay.
    """

    def __init__(self, layers: int, in_channels: int, growth_rate: int, *, bottleneck: bool = False, checkpointed: bool = False):
        super().__init__()
        layer = BottleneckLayer if bottleneck else DenseLayer
        self.layers = nn.ModuleList(layer(in_channels + i * growth_rate, growth_rate) for i in range(layers))
        self.out_channels = in_channels + layers * growth_rate
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, H, W)."""
        features = [x]
        for layer in self.layers:
            features.append(run_again_later(layer, *features) if self.checkpointed else layer(*features))
        return torch.cat(features, 1)


def run_again_later(layer: nn.Module, *features: Tensor) -> Tensor:
    """A layer's output, of which nothing but ``features`` is stored: see Pleiss et al. 2017 (arXiv:1707.06990).

    The concatenation has to happen inside the layer: one made before would be an input, and stored.
    """
    return checkpoint(layer, *features, use_reentrant=False, context_fn=lambda: (nullcontext(), _frozen_statistics(layer)))


@contextmanager
def _frozen_statistics(layer: nn.Module) -> Iterator[None]:
    """BN's running statistics move once a step, although the layer runs twice."""
    norms = [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


class Transition(nn.Sequential):
    """Between two blocks: BN, ReLU, 1×1 convolution, 2×2 average pooling. With fewer channels out it compresses (θ < 1)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.AvgPool2d(2))


class DenseNet(nn.Module):
    """Dense blocks with transitions between them, then BN, ReLU, global average pooling and a linear layer.

    Args:
        stem: what comes before the first block; it gives ``channels`` channels.
        layers: dense layers of each block.
        compression: θ; a transition keeps ⌊θ·m⌋ of m channels.
    """

    def __init__(
        self, stem: nn.Module, channels: int, layers: Sequence[int], growth_rate: int, *,
        bottleneck: bool = True, compression: float = 0.5, classes: int = 10, checkpointed: bool = False,
    ):
        super().__init__()
        self.stem, self.body = stem, nn.Sequential()
        for index, count in enumerate(layers):
            if index:
                self.body.append(Transition(channels, int(channels * compression)))
                channels = int(channels * compression)
            self.body.append(DenseBlock(count, channels, growth_rate, bottleneck=bottleneck, checkpointed=checkpointed))
            channels += count * growth_rate
        self.bn = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → logits (B, classes)."""
        return self.head(F.relu(self.bn(self.body(self.stem(x)))).mean((2, 3)))

    @classmethod
    def cifar(cls, depth: int, growth_rate: int, *, bc: bool = True, in_channels: int = 3, **more) -> DenseNet:
        """DenseNet(L, k) or DenseNet-BC(L, k) of §3 "Implementation Details": three blocks of equally many layers.

        Raises:
            ValueError: a depth that three blocks of whole layers cannot have.
        """
        per_layer = 2 if bc else 1
        count, rest = divmod(depth - 4, 3 * per_layer)
        if rest or count < 1:
            raise ValueError(f"깊이에서 4를 뺀 수가 {3 * per_layer}의 배수여야 합니다: {depth}")
        channels = 2 * growth_rate if bc else 16
        stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        return cls(stem, channels, [count] * 3, growth_rate, bottleneck=bc, compression=0.5 if bc else 1.0, **more)

    @classmethod
    def imagenet(cls, depth: int, **more) -> DenseNet:
        """DenseNet-121, -169, -201 or -264 of Table 1 (all of them BC with k = 32).

        Raises:
            ValueError: a depth that is not in Table 1.
        """
        layers = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}
        if depth not in layers:
            raise ValueError(f"표 1의 깊이는 {', '.join(map(str, layers))}입니다: {depth}")
        stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        return cls(stem, 64, layers[depth], 32, classes=1000, **more)
