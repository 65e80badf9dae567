"""What gradients do in networks at initialisation: per-layer norms with their bounds, Jacobians, and correlations.

All probed networks are chains of one form, h ← h + s·F(h) or (plain) h ← F(h), with F(h) = W φ(N(h)): normalisation,
activation, weights, as in He et al. 2016 (arXiv:1603.05027) with one layer a branch. K seeds are computed at once, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda h: h}
"""Activations whose derivative lies between 0 and 1, on which `Chain.bound` relies."""


@dataclass(frozen=True)
class Chain:
    """K networks of one form and their weights.

    Attributes:
        weights: one tensor (K, d, d) a layer; a layer computes ``φ(N(h)) @ weight``.
        skip: False for h ← F(h).
        scale: the factor s on the branch (1 in a plain chain).
        norm: "none", "batch" (training-mode BN without its parameters) or "fixed" (the same forwards, but backwards its
            statistics are constants).
    """

    weights: Sequence[Tensor]
    skip: bool = True
    scale: float = 1.0
    activation: str = "relu"
    norm: str = "none"

    def branch(self, index: int, h: Tensor) -> Tensor:
        """F of one layer: (K, B, d) → the same shape."""
        return ACTIVATIONS[self.activation](normalised(h, self.norm)) @ self.weights[index]

    def layer(self, index: int, h: Tensor) -> Tensor:
        """The whole layer with its shortcut, where it has one."""
        return h + self.scale * self.branch(index, h) if self.skip else self.branch(index, h)

    @torch.no_grad()
    def states(self, h: Tensor) -> list[Tensor]:
        """x_0 … x_L for the input x_0 = h."""
        states = [h]
        for index in range(len(self.weights)):
            states.append(self.layer(index, states[-1]))
        return states

    def back(self, states: Sequence[Tensor], gradient: Tensor) -> Iterator[Tensor]:
        """The gradients at x_{L−1}, …, x_0, given the one at x_L: one vector-Jacobian product a layer, by autograd."""
        for index in reversed(range(len(self.weights))):
            h = states[index].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.layer(index, h), h, gradient)
            yield gradient

    def bound(self, index: int, h: Tensor) -> Tensor:
        """ε with ‖∂(sF)/∂h‖ ≤ ε for the whole batch: s · ‖W‖ · the largest 1/σ of the normalisation; shape (K,).

        The activation's derivative is at most 1, and BN's backward pass is a projection times 1/σ.
        """
        size = torch.linalg.matrix_norm(self.weights[index], ord=2)
        if self.norm != "none":
            size = size / deviations(h).amin((1, 2))
        return size * (self.scale if self.skip else 1.0)

    def jacobian(self, index: int, h: Tensor) -> Tensor:
        """∂(layer)/∂h at one point a seed: h (K, 1, d) → (K, d, d), rows are outputs. Only without normalisation."""
        d = h.shape[-1]
        points = h.detach().expand(-1, d, -1).clone().requires_grad_()
        eye = torch.eye(d, dtype=h.dtype).expand(len(h), d, d)
        return torch.autograd.grad(self.layer(index, points), points, eye)[0]


def deviations(h: Tensor) -> Tensor:
    """BN's σ of each feature over the batch: (K, B, d) → (K, 1, d)."""
    return (h.var(1, unbiased=False, keepdim=True) + 1e-12).sqrt()


def normalised(h: Tensor, norm: str) -> Tensor:
    """Each feature to mean 0 and variance 1 over the batch; see `Chain.norm`."""
    if norm == "none":
        return h
    mean, deviation = h.mean(1, keepdim=True), deviations(h)
    if norm == "fixed":
        mean, deviation = mean.detach(), deviation.detach()
    return (h - mean) / deviation


def draw_weights(init: str, *, depth: int, width: int, seeds: Sequence[int]) -> list[Tensor]:
    """Square weights of every layer, (K, d, d) each, in float64.

    Args:
        init: "he" (variance 2/d), "xavier" (1/d), "default" (1/(3d), as ``nn.Linear``'s), or "orthogonal".
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    variance = {"he": 2.0, "xavier": 1.0, "default": 1 / 3}
    layers = []
    for _ in range(depth):
        drawn = [torch.randn(width, width, generator=g, dtype=torch.float64) for g in generators]
        if init == "orthogonal":
            drawn = [nn.init.orthogonal_(w, generator=g) for w, g in zip(drawn, generators)]
        else:
            drawn = [w * (variance[init] / width) ** 0.5 for w in drawn]
        layers.append(torch.stack(drawn))
    return layers


def gaussian(*shape: int, seeds: Sequence[int], offset: int) -> Tensor:
    """Standard normal numbers (K, *shape), one generator a seed; another offset gives others."""
    drawn = [torch.randn(*shape, generator=torch.Generator().manual_seed(offset + seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(drawn)


def norms(gradient: Tensor) -> Tensor:
    """Norm over batch and features: (K, B, d) → (K,)."""
    return gradient.flatten(1).norm(dim=1)


def correlation(gradients: Tensor) -> Tensor:
    """Mean inner product of the gradients of two different inputs over the mean squared norm: (K, B, d) → (K,)."""
    batch = gradients.shape[1]
    squares = gradients.square().sum((1, 2))
    return (gradients.sum(1).square().sum(1) - squares) / ((batch - 1) * squares)


def both_on(h: Tensor, norm: str = "none") -> Tensor:
    """How often a ReLU after the normalisation is on for both of two inputs: h (K, B, d) → (K,). Independent halves have 1/4."""
    batch = h.shape[1]
    on = (normalised(h, norm) > 0).sum(1)
    return (on * (on - 1)).double().mean(1) / (batch * (batch - 1))


def along_a_line(chain: Chain, seeds: Sequence[int], *, width: int, points: int = 256) -> Tensor:
    """The derivative dy/dt of one random output at ``points`` places of t from −2 to 2: (K, points).

    The number t first passes a hidden ReLU layer with biases, x_0 = relu(t·u + b) W, so that neurons switch all along the line.
    """
    u, b, v = gaussian(3, width, seeds=seeds, offset=900_000).split(1, dim=1)
    [w] = draw_weights("he", depth=1, width=width, seeds=[500_000 + seed for seed in seeds])
    t = torch.linspace(-2, 2, points, dtype=u.dtype).view(1, -1, 1)
    hidden = t * u + b
    gradient = v.expand(-1, points, -1)
    for gradient in chain.back(chain.states(hidden.relu() @ w), gradient):
        pass
    return (gradient * (((hidden > 0) * u) @ w)).sum(2)


def lag_one(series: Tensor) -> Tensor:
    """Autocorrelation of neighbouring places: (K, points) → (K,). White noise has 0."""
    centred = series - series.mean(1, keepdim=True)
    return (centred[:, 1:] * centred[:, :-1]).sum(1) / centred.square().sum(1)


def masked_chain(
    *, depth: int, width: int, pairs: int, seeds: Sequence[int], factor: Callable[[int], float], skip: bool
) -> Iterator[tuple[int, Tensor]]:
    """The mask model of Balduzzi et al. 2017 (arXiv:1702.08591): neurons are on for half of the inputs, independently.

    Two inputs share the weights (variance 2/d) and the gradient at the output; their masks are drawn on their own.

    Args:
        factor: what a branch is multiplied by, given the number of the layer that the gradient passes (from 0).
        pairs: pairs of inputs; each has weights of its own.
    Yields:
        The number of layers passed and the correlation over each seed's pairs, shape (K,).
    """
    generators = [torch.Generator().manual_seed(600_000 + seed) for seed in seeds]
    start = torch.stack([torch.randn(pairs, 1, width, generator=g) for g in generators])
    g = start.expand(-1, -1, 2, -1)
    for passed in range(depth):
        w = torch.stack([torch.randn(pairs, width, width, generator=r) for r in generators]) * (2 / width) ** 0.5
        mask = torch.stack([torch.randint(0, 2, (pairs, 2, width), generator=r) for r in generators])
        branch = factor(passed) * (g @ w) * mask
        g = g + branch if skip else branch
        first, second = g.unbind(2)
        yield passed + 1, 2 * (first * second).sum((1, 2)) / (first.square() + second.square()).sum((1, 2))
