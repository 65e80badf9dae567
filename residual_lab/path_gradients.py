"""The gradient at the input of the first block as a sum over paths, by their length (Veit et al. 2016, §5).

Backwards through a block y = relu(F(h) + S(h)), the gradient v becomes Fᵀv + Sᵀv (with v masked by the ReLU): a path
takes one of the two. A path's length is how many branches it takes. Networks are in evaluation mode, so that BN is
linear and the images do not mix.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from residual_lab.lesions import branch, run_block
from residual_lab.training import StackedConvNet
from residual_lab.training.fit import cross_entropy


def by_length(net: StackedConvNet, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Exact sums over all paths of each length, after every block from the last to the first.

    Like the coefficients of ∏(S + tF): each block turns l + 1 sums into l + 2, so the 2ⁿ paths cost n(n + 1)/2
    backward passes through single blocks.

    Args:
        x, y: images (B, 1, H, W) and labels (B,).
    Yields:
        (lengths, B, K, C, H, W): entry k is the sum over all paths of length k through the blocks passed so far.
    """
    k = len(net.members)
    blocks = [block for stage in net.stages for block in stage]
    with torch.no_grad():
        inputs = [net.enter(x.expand(k, *x.shape))]
        for block in blocks:
            inputs.append(run_block(net, block, inputs[-1]))
    h = inputs.pop().requires_grad_()
    loss = cross_entropy(net._classify(h), y.expand(k, -1)).sum()
    sums = torch.autograd.grad(loss, h)[0].unsqueeze(0)
    after = h.detach()
    for block, before in zip(reversed(blocks), reversed(inputs)):
        arriving, h = sums * (after > 0), before.requires_grad_()
        taken, past = (_pulled(part, h, arriving) for part in (branch(block, h), shortcut(net, block, h)))
        none = torch.zeros_like(past[:1])
        sums = torch.cat([past, none]) + torch.cat([none, taken])
        after = before.detach()
        yield sums.unflatten(2, (k, -1))


def _pulled(output: Tensor, h: Tensor, arriving: Tensor) -> Tensor:
    """Each of the arriving gradients, taken back from the output to h."""
    return torch.stack([torch.autograd.grad(output, h, v, retain_graph=True)[0] for v in arriving])


def shortcut(net: StackedConvNet, block: nn.ModuleDict, h: Tensor) -> Tensor:
    """S(h): what the block adds its branch to."""
    channels, size = block["conv2"].out_channels, h.shape[-1] // block["conv1"].stride[0]
    return net._add_shortcut(h.new_zeros(len(h), channels, size, size), h)


def contributions(sums: Tensor) -> Tensor:
    """Share of each length in the whole gradient g, ⟨g_k, g⟩ / ⟨g, g⟩: (lengths, K). Its sum over lengths is 1."""
    whole = sums.sum(0)
    inner = (sums * whole).sum((1, 3, 4, 5))
    return inner / inner.sum(0)


def sampled_norms(net: StackedConvNet, x: Tensor, y: Tensor, *, length: int, paths: int, generator: torch.Generator) -> Tensor:
    """Norm of the gradient that single random paths of one length carry, mean over images: (paths, K)."""
    k = len(net.members)
    blocks = [block for stage in net.stages for block in stage]
    takes = torch.zeros(paths, len(blocks))
    for row in takes:
        row[torch.randperm(len(blocks), generator=generator)[:length]] = 1
    with torch.no_grad():
        start = net.enter(x.expand(k, *x.shape)).repeat(paths, 1, 1, 1)
    h = start.requires_grad_()
    for block, taken in zip(blocks, takes.T):
        taken = taken.repeat_interleave(len(x)).view(-1, 1, 1, 1)
        inside, past = branch(block, h), shortcut(net, block, h)
        h = (_only_where(taken, inside) + _only_where(1 - taken, past)).relu()
    loss = cross_entropy(net._classify(h), y.repeat(paths).expand(k, -1)).sum() * paths
    gradient = torch.autograd.grad(loss, start)[0]
    return gradient.unflatten(1, (k, -1)).unflatten(0, (paths, -1)).square().sum((3, 4, 5)).sqrt().mean(1)


def _only_where(gate: Tensor, value: Tensor) -> Tensor:
    """The value itself, with a gradient only where the gate is 1."""
    return gate * value + ((1 - gate) * value).detach()
