"""Many networks of one shape trained at once: K = conditions × seeds.

Error bars cost little when the networks of several seeds and conditions are one module: stacked weights and
`baddbmm` for MLPs, grouped convolution for ConvNets. What tells a plain network from a residual one is a 0/1 factor on
its shortcut. The numbers are those of training one network at a time (``tests/test_training.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@dataclass(frozen=True)
class Condition:
    """What distinguishes the networks of one stack.

    Attributes:
        skip: True for residual blocks, False for plain ones.
        init: "he" (He et al. 2015, arXiv:1502.01852), "orthogonal" (times √2; MLPs only), or "zero":
            He with the last layer of every residual branch at zero.
    """

    skip: bool
    init: str = "he"


def _members(conditions: Sequence[Condition], seeds: Sequence[int]) -> list[tuple[Condition, int]]:
    """The networks of a stack in order: all seeds of the first condition, then of the second, …"""
    return [(condition, seed) for condition in conditions for seed in seeds]


class StackedMLP(nn.Module):
    """K ReLU MLPs: an input layer, ``depth / 2`` blocks of two layers, an output layer.

    A block is He et al. 2015 (arXiv:1512.03385), Eq. (1), with the ReLU after the addition:
    ``h ← relu(W2 relu(W1 h + b1) + b2 + skip · h)``; skip is 0 in a plain network.

    Args:
        conditions, seeds: the stack holds every condition with every seed.
        depth: number of layers inside blocks; even.
        sizes: (inputs, width, classes).
    """

    def __init__(self, conditions: Sequence[Condition], seeds: Sequence[int], *, depth: int, sizes: tuple[int, int, int]):
        super().__init__()
        if depth % 2:
            raise ValueError(f"블록 하나가 두 층이므로 깊이는 짝수여야 합니다: {depth}")
        self.members = _members(conditions, seeds)
        inputs, width, classes = sizes
        shapes = [(inputs, width)] + [(width, width)] * depth + [(width, classes)]
        drawn = [_mlp_weights(shapes, condition, seed) for condition, seed in self.members]
        self.weights = nn.ParameterList(torch.stack(layer) for layer in zip(*drawn))
        self.biases = nn.ParameterList(torch.zeros(len(self.members), 1, fan_out) for _, fan_out in shapes)
        skips = torch.tensor([float(condition.skip) for condition, _ in self.members])
        self.register_buffer("skip", skips.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, inputs) → logits (K, B, classes)."""
        if torch.is_grad_enabled() and type(self).block is StackedMLP.block:
            return _AllLayers.apply(x, self.skip, *self.weights.parameters(), *self.biases.parameters())
        return self.layer_by_layer(x)

    def layer_by_layer(self, x: Tensor) -> Tensor:
        """What ``forward`` computes, one layer after the other; without gradients it keeps no hidden state longer than it needs it."""
        h = self._layer(0, x).relu_()
        for first in range(1, len(self.weights) - 1, 2):
            h = self.block(h, first)
        return self._layer(-1, h)

    def block(self, h: Tensor, first: int) -> Tensor:
        """The block whose first layer has index ``first``: (K, B, width) → the same shape."""
        branch = self._layer(first + 1, self._layer(first, h).relu_())
        return branch.addcmul_(h, self.skip).relu_()

    def _layer(self, index: int, h: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[index], h, self.weights[index])

    def with_identity_layers(self, extra: int) -> StackedMLP:
        """A plain stack that is ``extra`` layers deeper and computes the same function, to the bit.

        The new layers stand before the output layer, where h ≥ 0, so that relu(I h) = h (He 2015, §1).
        """
        if self.skip.any() or len({condition for condition, _ in self.members}) > 1:
            raise ValueError("항등 층은 한 조건의 플레인 망에만 끼울 수 있습니다.")
        width, classes = self.weights[-1].shape[1:]
        sizes = (self.weights[0].shape[1], width, classes)
        conditions, seeds = self.members[0][:1], [seed for _, seed in self.members]
        deeper = StackedMLP(conditions, seeds, depth=len(self.weights) - 2 + extra, sizes=sizes)
        identity = torch.eye(width).expand(len(seeds), width, width)
        weights = [*self.weights[:-1], *[identity] * extra, self.weights[-1]]
        biases = [*self.biases[:-1], *[torch.zeros(len(seeds), 1, width)] * extra, self.biases[-1]]
        with torch.no_grad():
            for new, old in zip([*deeper.weights, *deeper.biases], [*weights, *biases]):
                new.copy_(old)
        return deeper

    def layer_gradients(self) -> Tensor:
        """Root mean square of each layer's weight gradient, shape (K, layers)."""
        return torch.stack([w.grad.square().mean((1, 2)).sqrt() for w in self.weights], dim=1)


class _AllLayers(torch.autograd.Function):
    """`StackedMLP.layer_by_layer` as one operation of autograd, for training: the same numbers, to the bit.

    Layers this small cost less in their products than around them: a node of autograd for every operation, a pass over memory
    for every sum. Here autograd sees one node, and a gradient meets that of its shortcut inside a product. The hidden states
    are one tensor, so that glibc keeps their memory from step to step: to get it from the system anew costs more than the
    product that fills it.
    """

    @staticmethod
    def forward(ctx, x: Tensor, skip: Tensor, *parameters: Tensor) -> Tensor:
        layers = len(parameters) // 2
        weights, biases = parameters[:layers], parameters[layers:]
        states = x.new_empty(layers - 1, *x.shape[:2], weights[0].shape[2])
        hidden = states.unbind()  # hidden[i] is the output of layer i, after its ReLU
        h = x
        for i, z in enumerate(hidden):
            torch.baddbmm(biases[i], h, weights[i], out=z)
            if i and i % 2 == 0:  # the second layer of a block
                z.addcmul_(hidden[i - 2], skip)
            h = z.relu_()
        ctx.save_for_backward(x, skip, states, *weights)
        return torch.baddbmm(biases[-1], h, weights[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:
        """``g`` is the gradient at the output of the layer at hand, before its ReLU."""
        x, skip, states, *weights = ctx.saved_tensors
        received = [x, *states.unbind()]
        of_weights, of_biases = [], []
        for i in reversed(range(len(weights))):
            of_weights.append(torch.bmm(received[i].mT, g))
            of_biases.append(g.sum(1, keepdim=True))
            if i == 0:
                break
            if i % 2 and i < len(weights) - 1:  # what the first layer of a block receives goes into the shortcut, too
                g = at_block.mul_(skip).baddbmm_(g, weights[i].mT)
            else:
                g = torch.bmm(g, weights[i].mT)
            g = torch.ops.aten.threshold_backward(g, received[i], 0)
            if i % 2:
                at_block = g  # received[i] is the output of the block before
        of_x = torch.bmm(g, weights[0].mT) if ctx.needs_input_grad[0] else None
        return of_x, None, *reversed(of_weights), *reversed(of_biases)


def _mlp_weights(shapes: Sequence[tuple[int, int]], condition: Condition, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for index, (fan_in, fan_out) in enumerate(shapes):
        weight = torch.empty(fan_in, fan_out)
        if condition.init == "orthogonal":
            nn.init.orthogonal_(weight, gain=2**0.5, generator=generator)
        else:
            weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
        last_of_branch = index > 0 and index % 2 == 0
        if condition.init == "zero" and condition.skip and last_of_branch:
            weight.zero_()
        weights.append(weight)
    return weights


class StackedConvNet(nn.Module):
    """K ConvNets of He et al. 2015 (arXiv:1512.03385), §4.2: 6n + 2 layers, three stages, BN, shortcut option A.

    Channels of all networks lie side by side, network by network; every convolution has K groups. In memory the channels of a
    pixel come together ("channels last"): on a CPU, with few channels a network, such convolutions are more than twice as fast.

    Args:
        conditions, seeds: the stack holds every condition with every seed.
        n: blocks a stage; the depth is 6n + 2.
        width: channels of the first stage; the next stages have twice and four times as many.
        in_channels: of the images; 1 for grey ones, 3 for coloured ones.
    """

    def __init__(self, conditions: Sequence[Condition], seeds: Sequence[int], *, n: int, width: int, classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.members = _members(conditions, seeds)
        self.n, self.width, self.classes = n, width, classes
        k = len(self.members)
        self.generators = [torch.Generator().manual_seed(seed) for _, seed in self.members]
        skips = torch.tensor([float(condition.skip) for condition, _ in self.members])
        self.register_buffer("skip", skips.view(1, k, 1, 1, 1))
        self.stem = self._conv(in_channels, width)
        self.stem_bn = nn.BatchNorm2d(k * width)
        self.stages = nn.ModuleList()
        channels = width
        for stage in range(3):
            blocks = nn.ModuleList()
            for index in range(n):
                fan_in, stride = (channels // 2, 2) if stage and not index else (channels, 1)
                blocks.append(nn.ModuleDict({
                    "conv1": self._conv(fan_in, channels, stride), "bn1": nn.BatchNorm2d(k * channels),
                    "conv2": self._conv(channels, channels), "bn2": nn.BatchNorm2d(k * channels),
                }))
            self.stages.append(blocks)
            channels *= 2
        features = channels // 2
        bound = features**-0.5
        head = [torch.empty(features, classes).uniform_(-bound, bound, generator=g) for g in self.generators]
        self.head = nn.Parameter(torch.stack(head))
        self.head_bias = nn.Parameter(torch.zeros(k, 1, classes))
        del self.generators

    def _conv(self, fan_in: int, fan_out: int, stride: int = 1) -> nn.Conv2d:
        k = len(self.members)
        conv = nn.Conv2d(k * fan_in, k * fan_out, 3, stride, padding=1, groups=k, bias=False)
        deviation = (2.0 / (9 * fan_out)) ** 0.5
        drawn = [torch.empty(fan_out, fan_in, 3, 3).normal_(0.0, deviation, generator=g) for g in self.generators]
        with torch.no_grad():
            conv.weight.copy_(torch.cat(drawn))
        return conv.to(memory_format=torch.channels_last)

    def enter(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, C, H, W) → what the first block receives, (B, K·width, H, W)."""
        images = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last if x.device.type == "cpu" else torch.contiguous_format)
        return self.stem_bn(self.stem(images)).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, C, H, W) → logits (K, B, classes)."""
        h = self.enter(x)
        for blocks in self.stages:
            for block in blocks:
                branch = block["bn1"](block["conv1"](h)).relu()
                branch = block["bn2"](block["conv2"](branch))
                h = self._add_shortcut(branch, h).relu()
        return self._classify(h)

    def _add_shortcut(self, branch: Tensor, h: Tensor) -> Tensor:
        """Option A: identity, or every second pixel and zeros for the new channels."""
        k = len(self.members)
        if branch.shape[-1] != h.shape[-1]:
            h = h.unflatten(1, (k, -1))[..., ::2, ::2]
            h = F.pad(h, (0, 0, 0, 0, 0, h.shape[2])).flatten(1, 2)
        skip = self.skip.expand(-1, -1, branch.shape[1] // k, -1, -1).flatten(1, 2)
        return torch.addcmul(branch, h, skip)

    def _classify(self, h: Tensor) -> Tensor:
        pooled = h.mean((2, 3)).unflatten(1, (len(self.members), -1)).transpose(0, 1)
        return torch.baddbmm(self.head_bias, pooled, self.head)

    def layer_gradients(self) -> Tensor:
        """Root mean square of each convolution's weight gradient, shape (K, layers)."""
        convs = [module.weight for module in self.modules() if isinstance(module, nn.Conv2d)]
        k = len(self.members)
        return torch.stack([w.grad.unflatten(0, (k, -1)).square().mean((1, 2, 3, 4)).sqrt() for w in convs], dim=1)


def stacked_batches(
    x: Tensor, y: Tensor, *, conditions: int, seeds: Sequence[int], batch: int, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Mini-batches for a stack: each seed has its own order, which all its conditions share.

    Yields:
        (K, batch, …) inputs and (K, batch) labels, ``steps`` times; a rest smaller than a batch is left out.
    """
    generators = [torch.Generator().manual_seed(1_000_003 + seed) for seed in seeds]
    per_epoch = len(x) // batch
    for step in range(steps):
        index = step % per_epoch
        if index == 0:
            orders = torch.stack([torch.randperm(len(x), generator=g) for g in generators])
            orders = orders[:, : per_epoch * batch].unflatten(1, (per_epoch, batch)).transpose(0, 1)
            picked = orders.repeat(1, conditions, 1).to(x.device)  # (batches of the epoch, K, batch)
            labels = y[picked]
        yield x.index_select(0, picked[index].flatten()).view(*labels[index].shape, *x.shape[1:]), labels[index]


def augmented(batches: Iterator[tuple[Tensor, Tensor]], *, conditions: int, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of `stacked_batches` with images (K, B, C, H, W) moved by up to four pixels, zeros coming in, and half of them
    mirrored: He et al. 2015 (arXiv:1512.03385), §4.2. Each seed has its own draws, which all its conditions share."""
    generators = [torch.Generator().manual_seed(3_000_017 + seed) for seed in seeds]
    for x, y in batches:
        k, b, c, h, w = x.shape
        drawn = torch.stack([torch.rand(3, b, generator=g) for g in generators]).repeat(conditions, 1, 1).to(x.device)
        down, right = (9 * drawn[:, :2, :, None]).long().unbind(1)
        rows = down + torch.arange(h, device=x.device)
        columns = right + torch.arange(w, device=x.device)
        columns = columns.where(drawn[:, 2, :, None] < 0.5, columns.flip(2))
        moved = F.pad(x, (4, 4, 4, 4)).gather(3, rows[:, :, None, :, None].expand(k, b, c, h, w + 8))
        yield moved.gather(4, columns[:, :, None, None, :].expand(k, b, c, h, w)), y
