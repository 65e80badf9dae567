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


FAN = {"largest": "가장 큰 값", "high": "위 10%", "median": "중앙값", "low": "아래 10%", "smallest": "가장 작은 값"}


def fan(values: Tensor) -> dict[str, Tensor]:
    """Quantiles of singular values (K, d); what lies below 1e-11 of the largest, near rounding, is put there."""
    values = torch.maximum(values, 1e-11 * values[:, :1])
    levels = torch.tensor([1.0, 0.9, 0.5, 0.1, 0.0], dtype=values.dtype)
    return dict(zip(FAN, values.quantile(levels, dim=1)))


@dataclass(frozen=True)
class SingularFan(Experiment):
    """The singular values of the Jacobian from the input to each layer: one number (the norm) hides them."""

    id = "singular_fan"
    title = "특잇값 부채: 입력에서 l층까지의 야코비 행렬"
    note = "폭 64 망 다섯 개(시드 다섯)에 표준정규 입력을 하나씩 넣고, 층의 야코비 행렬을 차례로 곱하며 특잇값 64개를 잽니다. 가장 큰 값의 10⁻¹¹배보다 작은 값은 그 자리에 그립니다."
    kinds = {
        "tanh": "플레인 tanh (Xavier)", "relu": "플레인 ReLU (He)", "orthogonal": "플레인 선형 (직교)",
        "residual": "잔차 x + F (He)", "sqrt": "잔차 x + F/√L (He)", "inverse": "잔차 x + F/L (He)",
    }
    panels = (
        Lines("fan", "특잇값의 분포", x="층", y="특잇값", scale="log", series=FAN),
        Table("final", "출력에서 (시드 평균)", columns=("특잇값", "log₁₀")),
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
        for step in range(1, self.depth + 1):
            product = chain.jacobian(step - 1, states[step - 1]) @ product
            values = fan(torch.linalg.svdvals(product))
            frame = Frame(step, self.depth, curves={"fan": values})
            if step == self.depth:
                frame.tables["final"] = [[FAN[key], f"{value.log10().mean():.2f}"] for key, value in values.items()]
                rms = torch.linalg.matrix_norm(product) / WIDTH**0.5
                frame.numbers["log_value"] = {key: value.log10() for key, value in {**values, "rms": rms}.items()}
            yield frame


def shattered_theory(kind: str, depth: int, beta: float = 1.0) -> float:
    """Correlation of the gradients of two inputs under independent half-on masks (Balduzzi et al. 2017; derived in the lesson).

    Args:
        kind: "plain", "residual" (no normalisation), "normalised" (BN in the branch: the closed form to which the product tends).
    """
    if kind == "plain":
        return 0.5**depth
    if kind == "residual":
        return ((1 + beta**2 / 2) / (1 + beta**2)) ** depth
    return (1 + beta**2 * depth) ** -0.5


def shattered_with_batch_variance(depth: int, beta: float = 1.0) -> float:
    """As "normalised", but a layer adds 1 − 1/π to the variance *over the batch* that BN divides by, not 1.

    relu of a standard normal number has mean square 1/2 and squared mean 1/(2π); BN takes the mean's part out.
    """
    correlation = 1.0
    for layer in range(depth):
        q = beta**2 / (1 + (1 - 1 / math.pi) * beta**2 * layer)
        correlation *= (1 + q / 2) / (1 + q)
    return correlation


DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SHATTERED = {"plain": "플레인 + BN", "residual": "잔차, BN 없음", "normalised": "잔차 + BN"}


@dataclass(frozen=True)
class ShatteredGradients(Experiment):
    """Correlation of the input gradients of different inputs against depth, with the closed forms."""

    id = "shattered_gradients"
    title = "산산조각 난 그래디언트: 상관과 깊이"
    note = "같은 출력 방향의 그래디언트를 서로 다른 입력에서 구해 상관을 잽니다. 깊이마다 새 망 다섯 개(시드 다섯), 폭 128, 입력 32개."
    modes = {"mask": "마스크 모형", "fixed": "진짜 망 (BN 통계 고정)", "batch": "진짜 망 (BN 통계도 미분)"}
    panels = (
        Lines("correlation", "서로 다른 입력의 그래디언트 사이의 상관", x="깊이 L", y="상관", series={
            **SHATTERED, "plain_theory": "식 (플레인)", "residual_theory": "식 (잔차)", "normalised_theory": "식 (잔차 + BN)",
        }),
        Table("final", "깊이별 상관 (시드 평균)", columns=("깊이 L", *SHATTERED.values(), "식 (플레인)", "식 (잔차)", "식 (잔차 + BN)")),
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
            theory = {kind: shattered_theory(kind, depth, self.beta) for kind in SHATTERED}
            found = {}
            for kind in SHATTERED:
                found[kind] = self._masks(kind, depth) if self.mode == "mask" else self._network(kind, depth)
            means = [f"{values.mean():.3f}" for values in found.values()]
            rows.append([depth, *means, *(f"{value:.3f}" for value in theory.values())])
            numbers[str(depth)] = found
            curves = found | {f"{kind}_theory": [value] for kind, value in theory.items()}
            yield Frame(depth, self.deepest, curves={"correlation": curves}, tables={"final": list(rows)}, numbers=dict(numbers))

    def _masks(self, kind: str, depth: int) -> Tensor:
        def factor(passed: int) -> float:
            entering = 1 + self.beta**2 * (depth - 1 - passed)  # variance of the input of this layer
            return self.beta / entering**0.5 if kind == "normalised" else self.beta

        skip = kind != "plain"
        passes = masked_chain(depth=depth, width=self.width, pairs=8, seeds=self.seed_range(), factor=factor if skip else lambda _: 1.0, skip=skip)
        *_, (_, values) = passes
        return values

    def _network(self, kind: str, depth: int) -> Tensor:
        seeds, skip = self.seed_range(), kind != "plain"
        chain = Chain(
            draw_weights("he", depth=depth, width=self.width, seeds=seeds), skip=skip, scale=self.beta if skip else 1.0,
            norm="none" if kind == "residual" else self.mode,
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
