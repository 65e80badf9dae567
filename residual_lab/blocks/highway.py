"""The gated layer of Srivastava, Greff and Schmidhuber 2015, "Highway Networks" (arXiv:1505.00387), Eq. (3)."""

from __future__ import annotations

from torch import Tensor, nn


class HighwayLayer(nn.Module):
    """y = T(x) · H(x) + (1 − T(x)) · x, with H = relu(W x + b) and the transform gate T = sigmoid(W_T x + b_T).

    Args:
        bias: initial b_T; negative, so that the layer begins by carrying x.
    """

    def __init__(self, features: int, *, bias: float = -2.0):
        super().__init__()
        self.transform = nn.Linear(features, features)
        self.gate = nn.Linear(features, features)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, features) → (…, features)."""
        t = self.gate(x).sigmoid()
        return t * self.transform(x).relu() + (1 - t) * x
