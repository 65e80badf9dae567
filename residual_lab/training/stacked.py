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
        init: "he" (He et al. 2015, arXiv:1502.01852), "zero": He with the last layer of every residual branch at zero,
            "orthogonal" (times √2), or "identity". `StackedMLP` has the first three, `StackedConvNet` the first,
            `StackedChain` all but "orthogonal".
    """

    skip: bool
    init: str = "he"


def members(conditions: Sequence[Condition], seeds: Sequence[int], *, inits: tuple[str, ...]) -> list[tuple[Condition, int]]:
    """The networks of a stack in order: all seeds of the first condition, then of the second, …

    Raises:
        ValueError: an initialisation that this kind of network does not have.
    """
    for condition in conditions:
        if condition.init not in inits:
            raise ValueError(f"이 망의 초기화는 {', '.join(inits)} 가운데 하나여야 합니다: {condition.init!r}")
    return [(condition, seed) for condition in conditions for seed in seeds]


Layer = tuple[Tensor, Tensor]
"""Weight (K, fan_in, fan_out) and bias (K, 1, fan_out) of a layer of K networks."""


def affine(h: Tensor, layer: Layer) -> Tensor:
    """(K, B, fan_in) → (K, B, fan_out)."""
    weight, bias = layer
    return torch.baddbmm(bias, h, weight)


class StackedMLP(nn.Module):
    """K ReLU MLPs: an input layer, ``depth / 2`` blocks of two layers, an output layer.

    A block is He et al. 2015 (arXiv:1512.03385), Eq. (1), with the ReLU after the addition:
    ``h ← relu(W2 relu(W1 h + b1) + b2 + skip · h)``; skip is 0 in a plain network.

    The layers inside the blocks, all of one shape, share a parameter: autograd and the optimiser take as long for a small
    parameter as for its products.

    Args:
        conditions, seeds: the stack holds every condition with every seed.
        depth: number of layers inside blocks; even.
        sizes: (inputs, width, classes).
    Raises:
        ValueError: an odd depth, or an initialisation that it does not have.
    """

    def __init__(self, conditions: Sequence[Condition], seeds: Sequence[int], *, depth: int, sizes: tuple[int, int, int]):
        super().__init__()
        if depth % 2:
            raise ValueError(f"블록 하나가 두 층이므로 깊이는 짝수여야 합니다: {depth}")
        self.members = members(conditions, seeds, inits=("he", "zero", "orthogonal"))
        inputs, width, classes = sizes
        shapes = [(inputs, width)] + [(width, width)] * depth + [(width, classes)]
        drawn = [_mlp_weights(shapes, condition, seed) for condition, seed in self.members]
        first, *inner, last = (torch.stack(layer) for layer in zip(*drawn))
        k = len(self.members)
        self.first = nn.Parameter(first)
        self.inner = nn.Parameter(torch.stack(inner) if inner else torch.empty(0, k, width, width))
        self.last = nn.Parameter(last)
        self.hidden_biases = nn.Parameter(torch.zeros(depth + 1, k, 1, width))
        self.last_bias = nn.Parameter(torch.zeros(k, 1, classes))
        skips = torch.tensor([float(condition.skip) for condition, _ in self.members])
        self.register_buffer("skip", skips.view(-1, 1, 1))

    @property
    def weights(self) -> list[Tensor]:
        """The weights of all layers from the input to the output, (K, fan_in, fan_out) each."""
        return [self.first, *self.inner.unbind(), self.last]

    @property
    def layers(self) -> list[Layer]:
        """All layers from the input to the output. Read it once a pass: every reading is an operation of autograd."""
        return list(zip(self.weights, [*self.hidden_biases.unbind(), self.last_bias]))

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, inputs) → logits (K, B, classes)."""
        if torch.is_grad_enabled() and type(self).block is StackedMLP.block:
            return _AllLayers.apply(x, self.skip, self.first, self.inner, self.last, self.hidden_biases, self.last_bias)
        return self.layer_by_layer(x)

    def layer_by_layer(self, x: Tensor) -> Tensor:
        """What ``forward`` computes, one layer after the other; without gradients it keeps no hidden state longer than it needs it."""
        first, *inner, last = self.layers
        h = affine(x, first).relu_()
        for pair in zip(inner[0::2], inner[1::2]):
            h = self.block(h, *pair)
        return affine(h, last)

    def block(self, h: Tensor, first: Layer, second: Layer) -> Tensor:
        """A block of two layers: (K, B, width) → the same shape."""
        branch = affine(affine(h, first).relu_(), second)
        return branch.addcmul_(h, self.skip).relu_()

    def with_identity_layers(self, extra: int) -> StackedMLP:
        """A plain stack that is ``extra`` layers deeper and computes the same function, to the bit.

        The new layers stand before the output layer, where h ≥ 0, so that relu(I h) = h (He 2015, §1).

        Raises:
            ValueError: a stack of several conditions, or of residual networks.
        """
        if self.skip.any() or len({condition for condition, _ in self.members}) > 1:
            raise ValueError("항등 층은 한 조건의 플레인 망에만 끼울 수 있습니다.")
        depth, k, width, _ = self.inner.shape
        sizes = (self.first.shape[1], width, self.last.shape[2])
        deeper = StackedMLP(self.members[0][:1], [seed for _, seed in self.members], depth=depth + extra, sizes=sizes)
        with torch.no_grad():
            for new, old in ((deeper.first, self.first), (deeper.last, self.last), (deeper.last_bias, self.last_bias)):
                new.copy_(old)
            deeper.inner.copy_(torch.cat([self.inner, torch.eye(width).expand(extra, k, width, width)]))
            deeper.hidden_biases[: depth + 1] = self.hidden_biases
        return deeper

    def layer_gradients(self) -> Tensor:
        """Root mean square of each layer's weight gradient, shape (K, layers)."""
        gradients = [self.first.grad, *self.inner.grad, self.last.grad]
        return torch.stack([g.square().mean((1, 2)).sqrt() for g in gradients], dim=1)


class _AllLayers(torch.autograd.Function):
    """`StackedMLP.layer_by_layer` as one operation of autograd, for training: the same numbers, to the bit.

    Layers this small cost less in their products than around them: a node of autograd for every operation, a pass over memory
    for every sum. Here autograd sees one node, and a gradient meets that of its shortcut inside a product. The hidden states
    are one tensor, so that glibc keeps their memory from step to step: to get it from the system anew costs more than the
    product that fills it. On the way back two tensors are enough, overwritten layer by layer.
    """

    @staticmethod
    def forward(ctx, x: Tensor, skip: Tensor, first: Tensor, inner: Tensor, last: Tensor, hidden_biases: Tensor, last_bias: Tensor) -> Tensor:
        states = x.new_empty(len(hidden_biases), *x.shape[:2], first.shape[2])
        hidden = states.unbind()  # hidden[i] is the output of layer i, after its ReLU
        h = x
        for i, (z, weight, bias) in enumerate(zip(hidden, [first, *inner.unbind()], hidden_biases.unbind())):
            torch.baddbmm(bias, h, weight, out=z)
            if i and i % 2 == 0:  # the second layer of a block
                z.addcmul_(hidden[i - 2], skip)
            h = z.relu_()
        ctx.save_for_backward(x, skip, states, first, inner, last)
        return torch.baddbmm(last_bias, h, last)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, skip, states, first, inner, last = ctx.saved_tensors
        hidden, received, transposed = states.unbind(), states.mT.unbind(), inner.mT.unbind()
        of_inner, of_biases = torch.empty_like(inner), states.new_empty(len(states), *skip.shape[:2], first.shape[2])
        for_weight, for_bias = of_inner.unbind(), of_biases.unbind()
        of_last, of_last_bias = torch.bmm(received[-1], gradient), gradient.sum(1, keepdim=True)
        g = at_block = _before_relu(torch.bmm(gradient, last.mT), hidden[-1])
        inside = torch.empty_like(g)
        for i in reversed(range(len(inner))):  # g is the gradient at the output of layer i + 1, before its ReLU
            torch.bmm(received[i], g, out=for_weight[i])
            torch.sum(g, 1, keepdim=True, out=for_bias[i + 1])
            if i % 2:  # the second layer of a block
                g = torch.bmm(g, transposed[i], out=inside)
            else:  # what the first one receives goes into the shortcut, too
                g = at_block.mul_(skip).baddbmm_(g, transposed[i])
            _before_relu(g, hidden[i])
        torch.sum(g, 1, keepdim=True, out=for_bias[0])
        of_x = torch.bmm(g, first.mT) if ctx.needs_input_grad[0] else None
        return of_x, None, torch.bmm(x.mT, g), of_inner, of_last, of_biases, of_last_bias


def _before_relu(gradient: Tensor, output: Tensor) -> Tensor:
    """Turn the gradient at a ReLU's output into that at its input, in place."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)


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


def memory_format(device: torch.device) -> torch.memory_format:
    """How images and convolutions lie in a device's memory. A CPU has the channels of a pixel together ("channels last"): with few
    channels a network, grouped convolutions are more than twice as fast. On a GPU they were seen slow (pytorch/pytorch#34977)."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


class StackedConvNet(nn.Module):
    """K ConvNets of He et al. 2015 (arXiv:1512.03385), §4.2: 6n + 2 layers, three stages, BN, shortcut option A.

    Channels of all networks lie side by side, network by network; every convolution has K groups.

    Args:
        conditions, seeds: the stack holds every condition with every seed; the initialisation is "he".
        n: blocks a stage; the depth is 6n + 2.
        width: channels of the first stage; the next stages have twice and four times as many.
        in_channels: of the images; 1 for grey ones, 3 for coloured ones.
    """

    def __init__(self, conditions: Sequence[Condition], seeds: Sequence[int], *, n: int, width: int, classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.members = members(conditions, seeds, inits=("he",))
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
        images = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=memory_format(x.device))
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
