"""The original (post-activation) bottleneck and the ResNets of He et al. 2015 (arXiv:1512.03385), Fig. 5 and table 1.

Shortcuts are option B: the identity, and a 1×1 convolution with BN where the shape changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.residual import ShortcutBlock, projection


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions with BN: relu(F(x) + shortcut(x)), He 2015, Fig. 5.

    The stride is in the 3×3 convolution, as in today's implementations ("v1.5"); the paper has it in the first 1×1.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, 4 · channels, H/stride, W/stride)."""
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        return F.relu(self.bn3(self.conv3(branch)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, stages of post-activation blocks, global average pooling, linear layer.

    Args:
        block, expansion: makes one block (in_channels, channels, stride) with ``expansion * channels`` outputs.
        units: blocks in each stage, four in the paper's ImageNet networks.
        imagenet: the stem of table 1, 7×7 with stride 2 and 3×3 max pooling with stride 2; otherwise one 3×3 convolution.
        width: channels of the stem, and inside the first stage's blocks; every stage doubles them.
    """

    def __init__(
        self, block, expansion: int, units: Sequence[int], *, classes: int, imagenet: bool, width: int = 64, in_channels: int = 3,
    ):
        super().__init__()
        conv = nn.Conv2d(in_channels, width, *((7, 2, 3) if imagenet else (3, 1, 1)), bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
        if imagenet:
            self.stem.append(nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.Sequential()
        c_in = width
        for stage, count in enumerate(units):
            blocks = nn.Sequential()
            for index in range(count):
                blocks.append(block(c_in, width * 2**stage, 2 if stage and not index else 1))
                c_in = expansion * width * 2**stage
            self.stages.append(blocks)
        self.head = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → logits (B, classes)."""
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def resnet18(classes: int = 10, *, imagenet: bool = False) -> ResNet:
    """11,173,962 parameters with ten classes; 11,689,512 with the ImageNet stem and a thousand."""
    return ResNet(partial(ShortcutBlock, option="B"), 1, (2, 2, 2, 2), classes=classes, imagenet=imagenet)


def resnet50(classes: int = 1000, *, imagenet: bool = True) -> ResNet:
    """25,557,032 parameters with the ImageNet stem and a thousand classes."""
    return ResNet(Bottleneck, Bottleneck.expansion, (3, 4, 6, 3), classes=classes, imagenet=imagenet)


def resnet_cifar_bottleneck(n: int, *, in_channels: int = 3) -> ResNet:
    """The 9n + 2 layer network of He et al. 2016 (arXiv:1603.05027), §4, in the original order: width 16, three stages; 1001 layers for n = 111."""
    return ResNet(Bottleneck, Bottleneck.expansion, (n, n, n), classes=10, imagenet=False, width=16, in_channels=in_channels)
