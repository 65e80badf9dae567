"""A network that is too large to stack, behind the interface of a stack."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StackOfOne(nn.Module):
    """One network as a stack with K = 1: inputs (1, B, …) → logits (1, B, classes). Its weights are drawn anew by `draw`."""

    def __init__(self, network: nn.Module, seed: int):
        super().__init__()
        self.network = draw(network, seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.squeeze(0)).unsqueeze(0)


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
