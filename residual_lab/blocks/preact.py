"""Pre-activated units and ResNets of He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv:1603.05027), Fig. 4(e) and appendix.

`preact_resnet18` and `preact_resnet50` have the layout in wide use for CIFAR (stem of one 3×3 convolution, four stages);
`preact_cifar_bottleneck` has the paper's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class PreActBasicBlock(nn.Module):
    """BN–ReLU–3×3 conv twice, and nothing after the addition: x + F(x).

    Args:
        channels: output channels.
        stride: of the first convolution.
        before_split: the shortcut too takes the activated input, as in the first unit after the stem (appendix).
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, before_split: bool = False):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.projection = projection(in_channels, channels, stride)
        self.before_split = before_split

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, channels, H/stride, W/stride)."""
        activated = F.relu(self.bn1(x))
        branch = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return branch + shortcut(self, x, activated)


class PreActBottleneck(nn.Module):
    """BN–ReLU–conv three times, 1×1, 3×3 and 1×1; the last widens to ``4 * channels``. The stride is in the 3×3 convolution.

    Args:
        channels: channels inside the bottleneck.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, before_split: bool = False):
        super().__init__()
        out_channels = self.expansion * channels
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.projection = projection(in_channels, out_channels, stride)
        self.before_split = before_split

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, 4 · channels, H/stride, W/stride)."""
        activated = F.relu(self.bn1(x))
        branch = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        branch = self.conv3(F.relu(self.bn3(branch)))
        return branch + shortcut(self, x, activated)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d | None:
    """A 1×1 convolution where the shape changes. It has no BN: its input has just been through one."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def shortcut(block: nn.Module, x: Tensor, activated: Tensor) -> Tensor:
    """The identity, or the projection of the **activated** input (He 2016, appendix)."""
    if block.projection is not None:
        return block.projection(activated)
    return activated if block.before_split else x


class PreActResNet(nn.Module):
    """Stem, stages of pre-activated units, BN–ReLU after the last addition, global average pooling, linear layer.

    Args:
        block: `PreActBasicBlock` or `PreActBottleneck`.
        units: units in each stage.
    """

    def __init__(self, block: type[nn.Module], units: Sequence[int], *, classes: int = 10, width: int = 64, in_channels: int = 3):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stages = nn.Sequential()
        c_in = width
        for stage, count in enumerate(units):
            channels = width * 2**stage
            blocks = nn.Sequential()
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(block(c_in, channels, stride, before_split=not stage and not index))
                c_in = channels * block.expansion
            self.stages.append(blocks)
        self.last_bn = nn.BatchNorm2d(c_in)
        self.head = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → logits (B, classes)."""
        h = F.relu(self.last_bn(self.stages(self.stem(x))))
        return self.head(h.mean((2, 3)))


def preact_resnet18(classes: int = 10) -> PreActResNet:
    """11,172,170 parameters with ten classes."""
    return PreActResNet(PreActBasicBlock, (2, 2, 2, 2), classes=classes)


def preact_resnet50(classes: int = 1000) -> PreActResNet:
    """25,541,672 parameters with a thousand classes."""
    return PreActResNet(PreActBottleneck, (3, 4, 6, 3), classes=classes)


def preact_cifar_bottleneck(n: int, *, in_channels: int = 3) -> PreActResNet:
    """The 9n + 2 layer network of §4: width 16, three stages; 1001 layers and 10.3 million parameters for n = 111."""
    return PreActResNet(PreActBottleneck, (n, n, n), width=16, in_channels=in_channels)
