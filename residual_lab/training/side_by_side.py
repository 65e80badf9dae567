"""Networks that are too large to stack: K of them behind the interface of a stack, run one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """K networks of any kind, one a seed: inputs (K, B, …) → logits (K, B, classes).

    Args:
        build: makes one network; its weights are drawn anew by `draw`.
    """

    def __init__(self, build: Callable[[], nn.Module], seeds: Sequence[int]):
        super().__init__()
        self.networks = nn.ModuleList(draw(build(), seed) for seed in seeds)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(inputs) for network, inputs in zip(self.networks, x, strict=True)])


@torch.no_grad()
def draw(network: nn.Module, seed: int) -> nn.Module:
    """Draw a ConvNet's weights as `StackedConvNet` does: convolutions N(0, 2 / (k² · outputs)) (He et al. 2015,
    arXiv:1502.01852, the backward form), the linear layer uniform in ±1/√inputs with a bias of zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            module.weight.uniform_(-bound, bound, generator=generator)
            module.bias.zero_()
    return network
