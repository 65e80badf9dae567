"""Lesson 10: what can be said of a residual network before it is built, and the same numbers measured.

The network is a chain of N blocks with one layer a branch, He weights and ReLU, width 128, at initialisation:
h ← α h + s F(h). Its three placements of a LayerNorm without parameters are those of `residual_lab.blocks.transformer`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from residual_lab.experiments.base import Experiment, Frame, Lines, Table, choice, seed_knob, slider

WIDTH, BATCH = 128, 32


class Prediction(NamedTuple):
    """By block 0 … N: the second moment E[h²] of the stream, and the gradient's norm at block l over that at the output."""

    forward: list[float]
    gradient: list[float]


def predict(placement: str, depth: int, scale: float, shortcut: float = 1.0) -> Prediction:
    """What a block does on average, block after block (derived in lesson 10, section 6).

        none  E[h²] ← (α² + s²) E[h²]     the gradient's square times α² + s²
        pre   E[h²] ← α² E[h²] + s²       times α² + s²/E[h²], since LN divides by the size of what it reads
        post  E[h²] = 1                   times (α² + s²)/(α² + s²) = 1, but for the directions that LN takes out
    """
    forward, squares = [1.0], []
    for _ in range(depth):
        v = forward[-1]
        squares.append({"none": shortcut**2 + scale**2, "pre": shortcut**2 + scale**2 / v, "post": 1.0}[placement])
        forward.append({"none": squares[-1] * v, "pre": shortcut**2 * v + scale**2, "post": 1.0}[placement])
    gradient = [math.prod(squares[block:]) ** 0.5 for block in range(depth + 1)]
    return Prediction(forward, gradient)


def expected_depth(depth: int, last: float) -> float:
    """Σ p_l of stochastic depth with the linear decay p_l = 1 − (l/N)(1 − p_N), l = 1 … N (Huang et al. 2016, arXiv:1603.09382)."""
    return sum(1 - block / depth * (1 - last) for block in range(1, depth + 1))


def measure(placement: str, depth: int, scale: float, seed: int, shortcut: float = 1.0) -> Prediction:
    """The same numbers of a network at initialisation, its input standard normal, in float64."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
    states = [h]
    for _ in range(depth):
        weight = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64) * (2 / WIDTH) ** 0.5
        states.append(block(states[-1], weight, placement, scale, shortcut))
    output = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad(states[-1], states[:-1], output)
    sizes = [g.norm().item() for g in (*gradients, output)]
    return Prediction([x.square().mean().item() for x in states], [size / sizes[-1] for size in sizes])


def block(h: Tensor, weight: Tensor, placement: str, scale: float, shortcut: float = 1.0) -> Tensor:
    """One block of the chain: (B, d) → the same shape."""
    read = F.layer_norm(h, h.shape[-1:]) if placement == "pre" else h
    added = shortcut * h + scale * (read.relu() @ weight)
    return F.layer_norm(added, h.shape[-1:]) if placement == "post" else added


def branch_scale(name: str, depth: int) -> float:
    """The factor on the branches that a choice of `DesignCard.scale` stands for."""
    return {"one": 1.0, "sqrt": depth**-0.5, "inverse": 1 / depth}[name]


@dataclass(frozen=True)
class DesignCard(Experiment):
    """Forward second moment and gradient by block: predicted beforehand, then measured."""

    id = "design_card"
    title = "설계 카드: 먼저 셈하고, 그다음에 잰다"
    note = "학습하기 전의 폭 128 망 다섯 개(시드 다섯)입니다. 가지는 He 초기화한 층 하나와 ReLU입니다. 예측은 식으로 셈한 것이고 잰 값은 진짜 망의 것입니다."
    panels = (
        Lines("forward", "순전파: 스트림의 제곱평균", x="지나온 블록", y="log₁₀ E[h²]", series={"measured": "잰 값", "predicted": "예측"}),
        Lines("gradient", "역전파: 출력의 그래디언트에 대한 크기", x="블록 (출력의 블록에서 1배)", y="log₁₀ (노름의 비)", series={"measured": "잰 값", "predicted": "예측"}),
        Table("card", "카드", columns=("항목", "예측", "잰 값 (시드 범위)")),
    )
    grid = {"depth": (4, 12, 48), "placement": ("none", "pre", "post"), "scale": ("one", "sqrt", "inverse"), "survival": (0.5, 1.0)}
    sample = {"depth": 12, "placement": "pre", "scale": "one"}

    depth: int = slider("블록 수 N", (4, 12, 48), 12, unit="블록")
    placement: str = choice("LN의 자리", {"none": "없음", "pre": "Pre-LN", "post": "Post-LN"}, "pre")
    scale: str = choice("가지의 배율 s", {"one": "1", "sqrt": "1/√N", "inverse": "1/N"}, "one")
    survival: float = choice("마지막 블록의 생존 확률 (확률적 깊이)", {1.0: "1 (쓰지 않음)", 0.8: "0.8", 0.5: "0.5"}, 1.0)
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        scale = branch_scale(self.scale, self.depth)
        predicted = predict(self.placement, self.depth, scale)
        found = [measure(self.placement, self.depth, scale, seed) for seed in self.seed_range()]
        for step in range(1, self.depth + 1):
            curves = {
                name: {"measured": [math.log10(getattr(run, name)[step]) for run in found], "predicted": [math.log10(getattr(predicted, name)[step])]}
                for name in ("forward", "gradient")
            }
            frame = Frame(step, self.depth, curves=curves)
            if step == self.depth:
                forward, gradient = ([getattr(run, name)[at] for run in found] for name, at in (("forward", -1), ("gradient", 0)))
                frame.numbers = {
                    "forward": {"measured": forward, "predicted": [predicted.forward[-1]]},
                    "gradient": {"measured": gradient, "predicted": [predicted.gradient[0]]},
                }
                frame.tables["card"] = self._table(frame.numbers)
            yield frame

    def _table(self, numbers: dict) -> list[list]:
        labels = {"forward": "출력의 제곱평균", "gradient": "입력 / 출력 그래디언트"}
        rows = [
            [label, f"{numbers[name]['predicted'][0]:.3g}", f"{min(numbers[name]['measured']):.3g}~{max(numbers[name]['measured']):.3g}"]
            for name, label in labels.items()
        ]
        return [*rows, ["기대 깊이 (블록)", f"{expected_depth(self.depth, self.survival):.2f}", self._simulated_depth()]]

    def _simulated_depth(self, draws: int = 2000) -> str:
        means = [simulated_depth(self.depth, self.survival, seed, draws) for seed in self.seed_range()]
        return f"{min(means):.2f}~{max(means):.2f}"


def simulated_depth(depth: int, last: float, seed: int, draws: int = 2000) -> float:
    """Mean number of blocks that survive, over ``draws`` steps of training."""
    p = 1 - torch.arange(1, depth + 1) / depth * (1 - last)
    return (torch.rand(draws, depth, generator=torch.Generator().manual_seed(6_000_000 + seed)) < p).sum(1).double().mean().item()
