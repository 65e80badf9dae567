"""SGD and Adam for the training loops: torch's own fused steps, and one that knows a rate for each network of a stack.

The classes of `torch.optim` import torch's compiler at their first step, which takes as long as importing torch itself; a
learner would wait for it before the first picture. Their functional interface does not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Optimizer:
    """Holds parameters; a step skips those without a gradient, as in `torch.optim`."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def used(self) -> list[int]:
        return [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]


class SGD(Optimizer):
    """SGD with momentum and weight decay, the numbers of `torch.optim.SGD` with ``fused=True``.

    It calls torch's kernel itself: for the many small tensors of a stack, what `torch.optim.sgd` does before that takes half as
    long as the kernel. Momentum begins at zero, so that the first step needs no case of its own.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, momentum: float = 0.0, weight_decay: float = 0.0):
        super().__init__(parameters)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.buffers = [torch.zeros_like(p) for p in self.parameters] if momentum else []

    @torch.no_grad()
    def step(self, lr: float) -> None:
        used = self.used()
        if not used:
            return
        parameters = [self.parameters[i] for i in used]
        buffers = [self.buffers[i] for i in used] if self.momentum else []
        torch._fused_sgd_(parameters, [p.grad for p in parameters], buffers, lr=lr, momentum=self.momentum,
                          weight_decay=self.weight_decay, dampening=0.0, nesterov=False, maximize=False, is_first_step=False)


class _Moments(Optimizer):
    """What Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1) keeps for each parameter."""

    def __init__(self, parameters: Iterable[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(parameters)
        self.betas, self.eps = betas, eps
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]


class Adam(_Moments):
    """Adam with the numbers of `torch.optim.Adam` with ``fused=True``."""

    def __init__(self, parameters: Iterable[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(parameters, betas, eps)
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        used = self.used()
        if not used:
            return
        parameters = [self.parameters[i] for i in used]
        first, second = zip(*(self.moments[i] for i in used))
        adam(parameters, [p.grad for p in parameters], list(first), list(second), [], [self.steps[i] for i in used], fused=True,
             lr=lr, beta1=self.betas[0], beta2=self.betas[1], eps=self.eps, weight_decay=0.0, amsgrad=False, maximize=False)


class StackedAdam(_Moments):
    """Adam with a learning rate for each network of a stack.

    Adam scales every number on its own, so the networks of a stack do not disturb one another. The parameters' first axis is that
    of the networks; every one has a gradient.
    """

    count = 0
    """Steps so far: a number, as asking a GPU for one would wait for it."""

    @torch.no_grad()
    def step(self, lr: Tensor) -> None:
        """One step with the rates (K,)."""
        beta1, beta2 = self.betas
        lr = lr.to(self.parameters[0].device)
        self.count += 1
        corrected1, corrected2 = 1 - beta1**self.count, 1 - beta2**self.count
        for parameter, (first, second) in zip(self.parameters, self.moments):
            gradient = parameter.grad
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            update = (second / corrected2).sqrt_().add_(self.eps).reciprocal_().mul_(first)
            parameter.addcmul_(update, lr.view(-1, *[1] * (update.dim() - 1)), value=-1 / corrected1)
