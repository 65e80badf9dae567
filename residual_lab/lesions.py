"""What happens to a trained network when its blocks are removed or reordered, without training it again (Veit et al. 2016).

Everything works on a stack of ConvNets (`StackedConvNet`), so that all seeds are measured at once. The trained
network itself is never changed: `Rearranged` shares its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.data import Task
from residual_lab.training import StackedConvNet, evaluate

SAMPLE = 256
"""How many training images the BN statistics are measured on anew."""

Order = tuple[tuple[int, ...], ...]
"""Which blocks run in each stage, by their place in the trained network, in the order in which they run."""


def trained_order(net: StackedConvNet) -> Order:
    """The order in which the network was trained."""
    return tuple(tuple(range(net.n)) for _ in net.stages)


def without(net: StackedConvNet, blocks: Sequence[int]) -> Order:
    """The order without the given blocks, counted from 0 over the whole network."""
    gone = set(blocks)
    return tuple(tuple(i for i in range(net.n) if stage * net.n + i not in gone) for stage in range(len(net.stages)))


def keeps_shape(net: StackedConvNet) -> list[int]:
    """The blocks whose output has the shape of their input: all but the first of the second and of the third stage."""
    return [block for block in range(len(net.stages) * net.n) if block % net.n or block < net.n]


def swapped(net: StackedConvNet, order: Order, generator: torch.Generator) -> Order:
    """The order with two blocks of one stage exchanged, both of them such as keep the shape."""
    stage = int(torch.randint(len(order), (), generator=generator))
    first = 1 if stage else 0
    i, j = (torch.randperm(net.n - first, generator=generator)[:2] + first).tolist()
    new = list(order[stage])
    new[i], new[j] = new[j], new[i]
    return (*order[:stage], tuple(new), *order[stage + 1 :])


def kendall_tau(order: Sequence[int]) -> float:
    """Kendall's rank correlation of an order with the sorted one: 1 for the same, −1 for the reverse."""
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    return sum(1 if a < b else -1 for a, b in pairs) / len(pairs)


class Rearranged(nn.Module):
    """A trained stack that runs its blocks in another order, some of them not at all.

    In place of a missing block stands what has no parameters and fits: the identity, or for a downsampling block the
    shortcut of option A (He et al. 2015, §3.3). In a residual network that is the block without its branch, since the
    block's input has passed a ReLU and relu(h) = h.
    """

    def __init__(self, net: StackedConvNet, order: Order):
        super().__init__()
        self.net, self.order = net, order
        self.training = net.training  # so that whoever sets a mode for a while gives the network's own back

    def forward(self, x: Tensor) -> Tensor:
        """Images of each network, (K, B, 1, H, W) → logits (K, B, classes)."""
        return after_stem(self.net, self.net.enter(x), self.order)


def after_stem(net: StackedConvNet, h: Tensor, order: Order | None = None) -> Tensor:
    """All blocks, or those of the order, and the output layer: (B, K·width, H, W) → logits (K, B, classes)."""
    for stage, blocks in enumerate(trained_order(net) if order is None else order):
        if stage and 0 not in blocks:
            h = bare_shortcut(net, h)
        for index in blocks:
            h = run_block(net, net.stages[stage][index], h)
    return net._classify(h)


def branch(block: nn.ModuleDict, h: Tensor) -> Tensor:
    """F(h) of one block."""
    return block["bn2"](block["conv2"](block["bn1"](block["conv1"](h)).relu()))


def run_block(net: StackedConvNet, block: nn.ModuleDict, h: Tensor) -> Tensor:
    return net._add_shortcut(branch(block, h), h).relu()


def bare_shortcut(net: StackedConvNet, h: Tensor) -> Tensor:
    """What replaces a missing downsampling block, in a plain network too: every second pixel, and zeros for the new channels."""
    h = h[..., ::2, ::2].unflatten(1, (len(net.members), -1))
    return F.pad(h, (0, 0, 0, 0, 0, h.shape[2])).flatten(1, 2)


def with_new_statistics(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy whose BN running means and variances are measured anew on x; no weight changes.

    Args:
        x: images of each network, (K, B, 1, H, W).
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average over the batches that follow
    model.train()
    with torch.no_grad():
        for part in x.split(256, dim=1):
            model(part)
    return model.eval()


def error(net: StackedConvNet, order: Order, task: Task, *, reestimate: bool = False) -> Tensor:
    """Test error in percent, one value a network.

    Args:
        reestimate: measure the BN statistics again, in the rearranged network, on `SAMPLE` training images.
    """
    k = len(net.members)
    model: nn.Module = Rearranged(net, order)
    if reestimate:
        x = task.x_train[:SAMPLE]
        model = with_new_statistics(model, x.expand(k, *x.shape))
    return evaluate(model, task.x_test, task.y_test, networks=k)[1]
