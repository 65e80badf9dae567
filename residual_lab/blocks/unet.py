"""A small one-dimensional U-Net, whose long skips are concatenated, added or left out (Ronneberger et al. 2015, arXiv:1505.04597)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SKIPS = ("concat", "add", "none")


class UNet1d(nn.Module):
    """Signals (B, T) → the same shape. At every level T is halved, at the bottom it passes one convolution, then it grows again.

    The decoder's convolutions read 2c channels: c from below and c from the encoder's level (Fig. 1 of the paper). What
    the skip does is two numbers, so that all three kinds have the same parameters and the same first weights:

        concat  [up, h]       as in the paper
        add     [up + h, 0]   as in a residual network
        none    [up, 0]

    Args:
        levels: how many times T is halved; T must be divisible by 2^levels.
    Raises:
        ValueError: another ``skip``.
    """

    def __init__(self, levels: int = 3, channels: int = 8, skip: str = "concat", *, seed: int):
        super().__init__()
        if skip not in SKIPS:
            raise ValueError(f"skip은 {', '.join(SKIPS)} 가운데 하나여야 합니다: {skip!r}")
        self.encoder = nn.ModuleList(nn.Conv1d(channels if level else 1, channels, 3, padding=1) for level in range(levels))
        self.bottom = nn.Conv1d(channels, channels, 3, padding=1)
        self.decoder = nn.ModuleList(nn.Conv1d(2 * channels, channels, 3, padding=1) for _ in range(levels))
        self.head = nn.Conv1d(channels, 1, 1)
        self.register_buffer("beside", torch.tensor(float(skip == "concat")))
        self.register_buffer("onto", torch.tensor(float(skip == "add")))
        generator = torch.Generator().manual_seed(seed)
        for conv in self.modules():
            if isinstance(conv, nn.Conv1d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) → the same shape.

        Raises:
            ValueError: T is not a multiple of 2 ** levels.
        """
        if x.shape[-1] % 2 ** len(self.encoder):
            raise ValueError(f"신호의 길이 {x.shape[-1]}은(는) {2 ** len(self.encoder)}로 나누어떨어져야 합니다.")
        h, levels = x.unsqueeze(1), []
        for conv in self.encoder:
            levels.append(conv(h).relu())
            h = F.avg_pool1d(levels[-1], 2)
        h = self.bottom(h).relu()
        for conv, level in zip(self.decoder, reversed(levels)):
            up = h.repeat_interleave(2, dim=-1)
            h = conv(torch.cat([up + self.onto * level, self.beside * level], 1)).relu()
        return self.head(h).squeeze(1)
