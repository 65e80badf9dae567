"""Plain and residual ConvNets of He et al. 2015, "Deep Residual Learning" (arXiv:1512.03385)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with BN: relu(F(x) + shortcut(x)), He 2015, Eq. (1) and Fig. 2.

    Args:
        in_channels, channels: where they differ, the shortcut is option A (§3.3): every ``stride``-th pixel, and zeros
            for the new channels. It has no parameters.
        skip: False gives the plain block relu(F(x)).
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, skip: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.new_channels, self.skip = stride, channels - in_channels, skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, channels, H/stride, W/stride)."""
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(branch + self.shortcut(x) if self.skip else branch)

    def shortcut(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResNetCIFAR(nn.Module):
    """The 6n + 2 layer network of §4.2: 3×3 stem, three stages of n blocks, global average pooling, linear layer.

    Args:
        n: blocks a stage (3, 5, 7, 9, 18 for 20, 32, 44, 56, 110 layers).
        width: channels of the first stage; 16 in the paper.
        skip: False gives the plain network of the same depth with the same parameters.
    """

    def __init__(self, n: int, *, width: int = 16, skip: bool = True, in_channels: int = 3, classes: int = 10):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(width)
        channels = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.stages = nn.Sequential(*(
            nn.Sequential(BasicBlock(c_in, c_out, stride, skip=skip), *(BasicBlock(c_out, c_out, skip=skip) for _ in range(n - 1)))
            for c_in, c_out, stride in channels
        ))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → logits (B, classes)."""
        h = self.stages(F.relu(self.stem_bn(self.stem(x))))
        return self.head(h.mean((2, 3)))
