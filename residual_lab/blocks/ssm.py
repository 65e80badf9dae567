"""A block of a diagonal state space model, with its shortcut or without.

The recurrence is that of S4D with real eigenvalues (Gu et al. 2022, arXiv:2206.11893), one state a channel; the gate and
the order normalise, mix, add are those of Mamba's block (Gu & Dao 2023, arXiv:2312.00752), without its selectivity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DiagonalSSM(nn.Module):
    """(B, T, d) → the same shape: h_t = a h_{t−1} + (1 − a) u_t channel by channel, y_t = c h_t + D u_t, times a gate.

    u and the gate are linear in the input; a = sigmoid(logit) lies in (0, 1).
    """

    def __init__(self, width: int):
        super().__init__()
        self.read = nn.Linear(width, 2 * width)
        self.write = nn.Linear(width, width)
        self.logit = nn.Parameter(torch.linspace(-1.0, 3.0, width))
        self.c, self.direct = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def kernel(self, length: int) -> Tensor:
        """The recurrence as a matrix over time, (d, T, T): (1 − a) a^(t−s) for s ≤ t, and 0 above."""
        apart = torch.arange(length)[:, None] - torch.arange(length)
        powers = torch.exp(F.logsigmoid(self.logit)[:, None, None] * apart.clamp(min=0))
        return (1 - self.logit.sigmoid())[:, None, None] * powers * (apart >= 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) → the same shape; what stands at t has read no later place."""
        u, gate = self.read(x).chunk(2, -1)
        states = torch.einsum("dts,bsd->btd", self.kernel(x.shape[1]), u)
        return self.write((self.c * states + self.direct * u) * F.silu(gate))


class SSMLanguageModel(nn.Module):
    """Token ids (B, T) → logits (B, T, vocabulary): N blocks ``x ← skip · x + SSM(LN(x))``, a final LN, an output layer.

    Args:
        skip: False leaves the shortcuts out and changes nothing else.
    """

    def __init__(self, vocabulary: int, width: int, depth: int, skip: bool = True, *, seed: int):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.mixers = nn.ModuleList(DiagonalSSM(width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth + 1))
        self.unembedding = nn.Linear(width, vocabulary, bias=False)
        self.register_buffer("skip", torch.tensor(float(skip)))
        generator = torch.Generator().manual_seed(seed)
        self.tokens.weight.data.normal_(0.0, 1.0, generator=generator)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) → logits (B, T, vocabulary)."""
        x = self.tokens(tokens)
        for norm, mixer in zip(self.norms, self.mixers):
            x = self.skip * x + mixer(norm(x))
        return self.unembedding(self.norms[-1](x))
