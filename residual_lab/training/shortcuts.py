"""`StackedConvNet` with the shortcut options A, B and C of He et al. 2015 (arXiv:1512.03385), §4.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residual_lab.training.stacked import Condition, StackedConvNet


class StackedShortcutNet(StackedConvNet):
    """K = options × seeds ConvNets; an option says where the shortcut is a 1×1 convolution with BN.

    A projection is computed for every network of the stack and used by those whose option asks for it.

    Args:
        options: "A", "B", "C" as in the paper, or "plain" for no shortcut. All start from the branch weights of their seed.
    """

    def __init__(self, options: Sequence[str], seeds: Sequence[int], *, n: int, width: int):
        super().__init__([Condition(skip=option != "plain") for option in options], seeds, n=n, width=width)
        self.options, self.seeds = list(options), list(seeds)
        self.projections = nn.ModuleDict()
        generators = [torch.Generator().manual_seed(500_000 + seed) for _ in options for seed in seeds]
        channels = width
        for stage in range(3):
            for index in range(n):
                fan_out = width * 2**stage
                stride = 2 if fan_out != channels else 1
                using = [option == "C" or (option == "B" and stride == 2) for option in options]
                if any(using):
                    name = f"{stage}-{index}"
                    self.projections[name] = _projection(channels, fan_out, stride, generators)
                    uses = torch.tensor(using).repeat_interleave(len(seeds)).view(1, -1, 1, 1, 1)
                    self.register_buffer(f"uses-{name}", uses)
                channels = fan_out

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, 1, H, W) → logits (K, B, classes)."""
        h = self.enter(x)
        for stage, blocks in enumerate(self.stages):
            for index, block in enumerate(blocks):
                branch = block["bn1"](block["conv1"](h)).relu()
                branch = block["bn2"](block["conv2"](branch))
                h = self._with_shortcut(f"{stage}-{index}", branch, h).relu()
        return self._classify(h)

    def _with_shortcut(self, name: str, branch: Tensor, h: Tensor) -> Tensor:
        padded = self._add_shortcut(branch, h)
        if name not in self.projections:
            return padded
        k = len(self.members)
        projected = (branch + self.projections[name](h)).unflatten(1, (k, -1))
        return torch.where(self.get_buffer(f"uses-{name}"), projected, padded.unflatten(1, (k, -1))).flatten(1, 2)

    def shortcut_parameters(self, option: str) -> int:
        """How many parameters the shortcuts of one network of this option use."""
        first = self.options.index(option) * len(self.seeds)
        used = [p for name, p in self.projections.items() if self.get_buffer(f"uses-{name}").flatten()[first]]
        return sum(p.numel() for projection in used for p in projection.parameters()) // len(self.members)


def _projection(fan_in: int, fan_out: int, stride: int, generators: Sequence[torch.Generator]) -> nn.Sequential:
    k = len(generators)
    conv = nn.Conv2d(k * fan_in, k * fan_out, 1, stride, groups=k, bias=False)
    drawn = [torch.empty(fan_out, fan_in, 1, 1).normal_(0.0, (2.0 / fan_out) ** 0.5, generator=g) for g in generators]
    with torch.no_grad():
        conv.weight.copy_(torch.cat(drawn))
    return nn.Sequential(conv.to(memory_format=torch.channels_last), nn.BatchNorm2d(k * fan_out))
