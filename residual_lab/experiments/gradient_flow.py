"""Lesson 03: is it true that "the +1 keeps the gradient from vanishing"? Nothing is trained here: gradients at initialisation.

He et al. 2016 (arXiv:1603.05027), §2; Balduzzi et al. 2017 (arXiv:1702.08591); Yang et al. 2019 (arXiv:1902.08129).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab.experiments.base import Experiment, Frame, Lines, Table, choice, seed_knob, slider
from residual_lab.probes import Chain, correlation, draw_weights, gaussian, masked_chain, norms

WIDTH, BATCH = 64, 64
INPUT, OUTPUT = 700_000, 800_000  # offsets of the seeds of inputs and of gradients at the output
SEEDS_HELP = "첫 시드입니다. 이 수부터 차례로 이어지는 시드들을 함께 잽니다."


def _mean_and_range(values: Tensor, form: str = ".3g") -> tuple[str, str]:
    """Mean and smallest~largest over seeds as a table shows them."""
    return f"{values.mean():{form}}", f"{values.min():{form}}~{values.max():{form}}"


def _log10(values: Tensor) -> Tensor:
    """For panels of log₁₀: a logarithmic axis of the lab shows twelve decades, and gradients span hundreds. 0 goes to −300."""
    return values.clamp(min=1e-300).log10()


def branch_scale(skip: str, depth: int) -> float:
    """The factor on the branches that a choice of `GradientByLayer.skip` stands for."""
    return {"plain": 1.0, "residual": 1.0, "sqrt": depth**-0.5, "inverse": 1 / depth}[skip]


@dataclass(frozen=True)
class ScalarChain(Experiment):
    """The one-dimensional chain: ∏ f′ without shortcuts, ∏ (1 + f′) with them, and the two-sided bound."""

    id = "scalar_chain"
    title = "스칼라 사슬: ∏f′과 ∏(1 + f′)"
    note = "층마다 도함수 f′을 평균과 흩어짐을 정해 균등하게 뽑고, 출력에서 입력까지 차례로 곱합니다. 시드 다섯 개."
    panels = (
        Lines("gradient", "입력 쪽으로 가며 곱한 그래디언트의 크기", x="거슬러 온 층", y="log₁₀ |∂출력/∂x| (0은 −300)", series={
            "plain": "플레인 ∏f′", "residual": "잔차 ∏(1 + f′)", "upper": "위 한계 ∏(1 + |f′|)", "lower": "아래 한계 ∏(1 − |f′|)",
        }),
        Table("final", "입력에서", columns=("값", "시드 평균", "시드 범위")),
    )
    slopes = (-1.0, -0.9, -0.5, -0.1, -0.01, 0.01, 0.1, 0.5, 1.0)
    grid = {"slope": slopes, "spread": (0.0, 0.1), "depth": (20, 50, 100)}
    sample = {"slope": 1.0, "spread": 0.0, "depth": 20}

    slope: float = slider("f′의 평균", slopes, -0.1)
    spread: float = choice("f′의 흩어짐", {0.0: "없음", 0.1: "±0.1", 0.5: "±0.5"}, 0.1)
    depth: int = slider("깊이 L", (10, 20, 50, 100), 50, unit="층")
    seed: int = seed_knob(help=SEEDS_HELP)

    def frames(self) -> Iterator[Frame]:
        drawn = [torch.rand(self.depth, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in self.seed_range()]
        slopes = self.slope + self.spread * (2 * torch.stack(drawn) - 1)
        products = {"plain": slopes.abs(), "residual": (1 + slopes).abs(), "upper": 1 + slopes.abs(), "lower": (1 - slopes.abs()).clamp(min=0)}
        products = {key: factors.cumprod(1) for key, factors in products.items()}
        for step in range(1, self.depth + 1):
            curves = {key: _log10(values[:, step - 1]) for key, values in products.items()}
            if not products["lower"][:, step - 1].any():
                del curves["lower"]
            frame = Frame(step, self.depth, curves={"gradient": curves})
            if step == self.depth:
                last = {key: values[:, -1] for key, values in products.items()}
                labels = {series["key"]: series["label"] for series in self.panels[0].more["series"]}
                frame.tables["final"] = [[labels[key], *_mean_and_range(values)] for key, values in last.items()]
                frame.numbers["gradient"] = last
            yield frame


@dataclass(frozen=True)
class GradientByLayer(Experiment):
    """The size of the gradient from the output to the input of networks at initialisation, with its two-sided bound."""

    id = "gradient_by_layer"
    title = "층별 그래디언트: 깊이 × 초기화 × 정규화 × 지름길 × 활성화"
    note = "학습하기 전의 폭 64 망 다섯 개(시드 다섯)에 표준정규 입력 64개를 넣고, 무작위 그래디언트를 출력에서 입력까지 거꾸로 흘립니다. 가지는 F(x) = W·φ(정규화(x))입니다."
    panels = (
        Lines("gradient", "출력의 그래디언트에 대한 크기", x="거슬러 온 층 (출력 → 입력)", y="log₁₀ (노름의 비)", series={
            "gradient": "그래디언트", "upper": "위 한계 ∏(1 + ε)", "lower": "아래 한계 ∏(1 − ε)",
        }),
        Table("final", "입력에 이르렀을 때 (log₁₀)", columns=("값", "시드 평균", "시드 범위")),
    )
    grid = {
        "depth": (2, 10, 56, 200), "init": ("he", "default", "xavier"), "norm": ("none", "batch"),
        "skip": ("plain", "residual", "sqrt", "inverse"), "activation": ("relu", "tanh"),
    }
    sample = {"depth": 10, "skip": "residual"}

    depth: int = slider("깊이 L", (2, 5, 10, 20, 56, 100, 200), 56, unit="층")
    skip: str = choice("지름길", {
        "plain": "없음 (플레인)", "residual": "x + F", "sqrt": "x + F/√L", "inverse": "x + F/L",
    }, "sqrt")
    init: str = choice("초기화", {"he": "He (분산 2/d)", "xavier": "Xavier (1/d)", "default": "nn.Linear 기본 (1/3d)"}, "he")
    norm: str = choice("정규화", {"none": "없음", "batch": "BN"}, "none")
    activation: str = choice("활성화", {"relu": "ReLU", "tanh": "tanh"}, "relu")
    seed: int = seed_knob(help=SEEDS_HELP)

    def frames(self) -> Iterator[Frame]:
        seeds, depth = self.seed_range(), self.depth
        chain = Chain(
            draw_weights(self.init, depth=depth, width=WIDTH, seeds=seeds), skip=self.skip != "plain",
            scale=branch_scale(self.skip, depth), activation=self.activation, norm=self.norm,
        )
        states = chain.states(gaussian(BATCH, WIDTH, seeds=seeds, offset=INPUT))
        start = gaussian(BATCH, WIDTH, seeds=seeds, offset=OUTPUT)
        upper = lower = torch.ones(len(seeds), dtype=torch.float64)
        epsilons = []
        for step, gradient in enumerate(chain.back(states, start), start=1):
            epsilons.append(chain.bound(depth - step, states[depth - step]))
            upper = upper * (1 + epsilons[-1] if chain.skip else epsilons[-1])
            lower = lower * ((1 - epsilons[-1]).clamp(min=0) if chain.skip else 0)
            size = norms(gradient) / norms(start)
            curves = {"gradient": _log10(size), "upper": _log10(upper.max().view(1))}
            if lower.min() > 0:
                curves["lower"] = _log10(lower.min().view(1))
            frame = Frame(step, depth, curves={"gradient": curves})
            if step == depth:
                forward = norms(states[-1]) / norms(states[0])
                frame.numbers = {
                    "log_ratio": {"gradient": size.log10(), "forward": forward.log10(), "upper": upper.log10(), "lower": lower.log10()},
                    "epsilon": {"largest": torch.stack(epsilons).amax(0)},
                }
                frame.tables["final"] = self._table(frame.numbers)
            yield frame

    @staticmethod
    def _table(numbers: dict) -> list[list]:
        rows = {"그래디언트 (입력 / 출력)": "gradient", "순전파 신호 (출력 / 입력)": "forward", "위 한계": "upper", "아래 한계": "lower"}
        table = [[label, *_mean_and_range(numbers["log_ratio"][key], ".2f")] for label, key in rows.items()]
        if not numbers["log_ratio"]["lower"].isfinite().all():
            table[-1] = ["아래 한계", "없음 (0)", "ε ≥ 1인 층이 있거나 플레인"]
        return [*table, ["가장 큰 ε (log 아님)", *_mean_and_range(numbers["epsilon"]["largest"])]]


FAN = {"largest": "가장 큰 값", "rms": "제곱평균제곱근", "high": "위 10%", "median": "중앙값", "low": "아래 10%", "smallest": "가장 작은 값"}
PLACES = {"largest": 0, "high": 6, "median": 32, "low": 57, "smallest": 63}  # among 64 values, the largest first
FLOOR = 1e-11


def fan(values: Tensor) -> dict[str, Tensor]:
    """Some of the singular values (K, 64) by name, each of shape (K,), and their root mean square.

    A value below `FLOOR` times the largest is rounding, and cannot be measured: it is left out for all seeds.
    """
    found = {key: values[:, place] for key, place in PLACES.items()} | {"rms": values.square().mean(1).sqrt()}
    return {key: found[key] for key in FAN if (found[key] > FLOOR * found["largest"]).all()}


def carriers(values: Tensor, share: float = 0.9) -> Tensor:
    """How many singular values (K, d), the largest first, hold ``share`` of the sum of squares: (K,)."""
    squares = values.square().cumsum(1)
    return (squares < share * squares[:, -1:]).sum(1) + 1


@dataclass(frozen=True)
class SingularFan(Experiment):
    """The singular values of the Jacobian from the input to each layer: one number (the norm) hides them."""

    id = "singular_fan"
    title = "특잇값 부채: 입력에서 l층까지의 야코비 행렬"
    note = "폭 64 망 다섯 개(시드 다섯)에 표준정규 입력을 하나씩 넣고, 층의 야코비 행렬을 차례로 곱하며 특잇값 64개를 잽니다. 가장 큰 값의 10⁻¹¹배보다 작은 값은 반올림에 묻혀 잴 수 없으므로 곡선이 거기에서 끝납니다."
    kinds = {
        "tanh": "플레인 tanh (Xavier)", "relu": "플레인 ReLU (He)", "orthogonal": "플레인 선형 (직교)",
        "residual": "잔차 x + F (He)", "sqrt": "잔차 x + F/√L (He)", "inverse": "잔차 x + F/L (He)",
    }
    panels = (
        Lines("fan", "특잇값의 분포", x="층", y="특잇값", scale="log", series=FAN),
        Table("final", "출력에서", columns=("값", "시드 평균", "시드 범위")),
    )
    grid = {"kind": tuple(kinds), "depth": (10, 28, 56)}
    sample = {"kind": "sqrt", "depth": 10}

    kind: str = choice("망", kinds, "residual")
    depth: int = slider("깊이 L", (10, 28, 56), 56, unit="층")
    seed: int = seed_knob(help=SEEDS_HELP)

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        skip = self.kind in ("residual", "sqrt", "inverse")
        init = {"tanh": "xavier", "orthogonal": "orthogonal"}.get(self.kind, "he")
        chain = Chain(
            draw_weights(init, depth=self.depth, width=WIDTH, seeds=seeds), skip=skip,
            scale=branch_scale(self.kind, self.depth) if skip else 1.0,
            activation={"tanh": "tanh", "orthogonal": "linear"}.get(self.kind, "relu"),
        )
        states = chain.states(gaussian(1, WIDTH, seeds=seeds, offset=INPUT))
        product = torch.eye(WIDTH, dtype=torch.float64)
        measured = set(FAN)
        for step in range(1, self.depth + 1):
            product = chain.jacobian(step - 1, states[step - 1]) @ product
            values = torch.linalg.svdvals(product)
            found = {key: value for key, value in fan(values).items() if key in measured}
            measured &= set(found)  # what once fell below the floor stays out
            frame = Frame(step, self.depth, curves={"fan": found})
            if step == self.depth:
                logs, count = {key: value.log10() for key, value in found.items()}, carriers(values).double()
                frame.tables["final"] = [[f"{FAN[key]} (log₁₀)", *_mean_and_range(logs[key], ".2f")] if key in logs
                                         else [f"{FAN[key]} (log₁₀)", "잴 수 없음", "반올림에 묻힘"] for key in FAN]
                frame.tables["final"].append(["노름 제곱의 90%를 나르는 방향 (개)", *_mean_and_range(count)])
                frame.numbers = {"log_value": logs, "directions": {"carriers": count}}
            yield frame


def shattered_product(depth: int, beta: float = 1.0, *, added: float = 1.0) -> float:
    """Correlation of the gradients of two inputs in a residual chain with BN: covariance over variance, block by block.

    Args:
        added: the variance that a branch adds, over β². 1 in the mask model. In a real network BN divides by the variance
            *over the batch*, where it is 1 − 1/π: relu of a standard normal number has mean square 1/2, and squared mean 1/(2π).
    """
    gains = [beta**2 / (1 + added * beta**2 * layer) for layer in range(depth)]
    return math.prod((1 + gain / 2) / (1 + gain) for gain in gains)


def shattered_theory(kind: str, depth: int, beta: float = 1.0) -> float:
    """Correlation of the gradients of two inputs under independent half-on masks (Balduzzi et al. 2017; derived in the lesson).

    Args:
        kind: "plain", "residual" (no normalisation) or "residual_bn" (BN in the branch).
    """
    if kind == "residual_bn":
        return shattered_product(depth, beta)
    return 0.5**depth if kind == "plain" else ((1 + beta**2 / 2) / (1 + beta**2)) ** depth


DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SHATTERED = {"plain": "플레인", "plain_bn": "플레인 + BN", "residual": "잔차", "residual_bn": "잔차 + BN"}
THEORIES = {"plain": "식: 플레인", "residual": "식: 잔차", "residual_bn": "식: 잔차 + BN"}


@dataclass(frozen=True)
class ShatteredGradients(Experiment):
    """Correlation of the input gradients of different inputs against depth, with the closed forms."""

    id = "shattered_gradients"
    title = "산산조각 난 그래디언트: 상관과 깊이"
    note = "같은 출력 방향의 그래디언트를 서로 다른 입력에서 구해 상관을 잽니다. 깊이마다 망 다섯 개(시드 다섯), 폭 128, 입력 32개. 마스크 모형은 BN이 나누는 수만 흉내 내므로 플레인이 하나뿐입니다."
    modes = {"mask": "마스크 모형", "fixed": "진짜 망 (BN 통계 고정)", "batch": "진짜 망 (BN 통계도 미분)"}
    panels = (
        Lines("plain", "플레인: 서로 다른 입력의 그래디언트의 상관", x="깊이 L", y="상관", series={
            "plain": "플레인", "plain_bn": "플레인 + BN", "plain_theory": "식",
        }),
        Lines("residual", "잔차: 서로 다른 입력의 그래디언트의 상관", x="깊이 L", y="상관", series={
            "residual": "잔차", "residual_bn": "잔차 + BN", "residual_theory": "식: 잔차", "residual_bn_theory": "식: 잔차 + BN",
        }),
        Table("final", "깊이별 상관 (시드 평균)", columns=("깊이 L", *SHATTERED.values(), *THEORIES.values())),
    )
    grid = {"mode": tuple(modes), "beta": (0.1, 0.3, 1.0), "deepest": (4, 16, 64)}
    sample = {"mode": "fixed", "beta": 0.1, "deepest": 4}

    mode: str = choice("재는 방법", modes, "fixed")
    beta: float = choice("잔차 가지의 배율 β", {0.1: "0.1", 0.3: "0.3", 1.0: "1"}, 1.0)
    deepest: int = slider("가장 깊은 망", (4, 16, 64), 64, unit="층")
    seed: int = seed_knob(help=SEEDS_HELP)

    width, batch = 128, 32

    def frames(self) -> Iterator[Frame]:
        rows: list[list] = []
        numbers: dict[str, dict] = {}
        for depth in (depth for depth in DEPTHS if depth <= self.deepest):
            theory = {kind: shattered_theory(kind, depth, self.beta) for kind in THEORIES}
            if self.mode == "mask":
                found = {kind: self._masks(kind, depth) for kind in THEORIES}
            else:
                found = {kind: self._network(kind, depth) for kind in SHATTERED}
            means = [f"{found[kind].mean():.3f}" if kind in found else "–" for kind in SHATTERED]
            rows.append([depth, *means, *(f"{value:.3f}" for value in theory.values())])
            numbers[str(depth)] = found
            drawn = found | {f"{kind}_theory": [value] for kind, value in theory.items()}
            curves = {panel: {key: value for key, value in drawn.items() if key.startswith(panel)} for panel in ("plain", "residual")}
            yield Frame(depth, self.deepest, curves=curves, tables={"final": list(rows)}, numbers=dict(numbers))

    def _masks(self, kind: str, depth: int) -> Tensor:
        def factor(passed: int) -> float:
            entering = 1 + self.beta**2 * (depth - 1 - passed)  # variance of the input of this layer
            return self.beta / entering**0.5 if kind == "residual_bn" else self.beta

        skip = kind != "plain"
        passes = masked_chain(depth=depth, width=self.width, pairs=8, seeds=self.seed_range(), factor=factor if skip else lambda _: 1.0, skip=skip)
        *_, (_, values) = passes
        return values

    def _network(self, kind: str, depth: int) -> Tensor:
        seeds, skip = self.seed_range(), kind.startswith("residual")
        chain = Chain(
            draw_weights("he", depth=depth, width=self.width, seeds=seeds), skip=skip, scale=self.beta if skip else 1.0,
            norm=self.mode if kind.endswith("_bn") else "none",
        )
        return input_correlation(chain, seeds, batch=self.batch)


def input_correlation(chain: Chain, seeds: Sequence[int], *, batch: int) -> Tensor:
    """Correlation of the gradients at the input, when all inputs have the same gradient at the output."""
    width = chain.weights[0].shape[-1]
    states = chain.states(gaussian(batch, width, seeds=seeds, offset=INPUT))
    gradient = gaussian(1, width, seeds=seeds, offset=OUTPUT).expand(-1, batch, -1)
    *_, gradient = chain.back(states, gradient)
    return correlation(gradient)


EXPERIMENTS = (ScalarChain, GradientByLayer, SingularFan, ShatteredGradients)
