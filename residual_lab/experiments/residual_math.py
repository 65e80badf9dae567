"""Lesson 02: what changes when a block learns the difference F = H − x instead of its output H?

He et al. 2015 (arXiv:1512.03385), §3.1 and §4.1; Li et al. 2018 (arXiv:1712.09913); Hardt and Ma 2017 (arXiv:1611.04231);
Bartlett et al. 2018 (arXiv:1802.06093).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab.data import load_digits
from residual_lab.experiments.base import Bars, Experiment, Frame, Heat, Lines, Table, choice, log_slider, seed_knob, slider
from residual_lab.training import Condition, StackedMLP, evaluate, fit, stacked_batches
from residual_lab.training.chains import StackedChain, fit_squares
from residual_lab.training.shortcuts import StackedShortcutNet
from residual_lab.training.slices import directions, plane

WIDTH, HIDDEN = 16, 32
FORMS = {"plain": "플레인 (He)", "identity": "플레인 (항등에서 시작)", "residual": "잔차 (He)", "zero": "잔차 (0에서 시작)"}
CONDITIONS = {
    "plain": Condition(skip=False), "identity": Condition(skip=False, init="identity"),
    "residual": Condition(skip=True), "zero": Condition(skip=True, init="zero"),
}
TARGETS = {"near": "항등 + 작은 변화", "other": "항등과 무관", "opposite": "항등의 반대 (−x)"}


def _mean_and_range(values: Tensor) -> tuple[str, str]:
    """Mean and smallest~largest over seeds as a table shows them."""
    if not values.isfinite().all():
        return "발산", f"{int((~values.isfinite()).sum())}/{len(values)} 시드가 발산"
    return f"{values.mean():.3g}", f"{values.min():.2g}~{values.max():.2g}"


def _target_maps(seeds: range) -> tuple[Tensor, Tensor]:
    """Per seed, the two matrices of g(x) = 1.6 tanh(x V) Q, whose outputs have a mean square near 1."""
    generators = [torch.Generator().manual_seed(200_000 + seed) for seed in seeds]
    v = torch.stack([torch.randn(WIDTH, WIDTH, generator=g) / WIDTH**0.5 for g in generators])
    q = torch.stack([torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=g))[0] for g in generators])
    return v, q


def target_batches(target: str, seeds: range, *, conditions: int, steps: int, batch: int = 64, offset: int = 300_000) -> Iterator[tuple[Tensor, Tensor]]:
    """Fresh x ~ N(0, I) and H(x) for a stack; the conditions of a seed share both. Another offset gives other vectors."""
    v, q = _target_maps(seeds)
    generators = [torch.Generator().manual_seed(offset + seed) for seed in seeds]
    for _ in range(steps):
        x = torch.stack([torch.randn(batch, WIDTH, generator=g) for g in generators])
        g = 1.6 * torch.tanh(x @ v) @ q
        y = {"near": x + 0.3 * g, "other": g, "opposite": -x}[target]
        yield x.repeat(conditions, 1, 1), y.repeat(conditions, 1, 1)


@dataclass(frozen=True)
class NearIdentity(Experiment):
    """Chains of blocks learn a map near the identity: plain and residual, each from He init and from the identity."""

    id = "near_identity"
    title = "항등에 가까운 함수 맞추기: 지름길과 출발점"
    note = "16차원 벡터를 받아 목표 함수의 값을 내도록 블록을 이은 망 스무 개(네 가지 × 시드 다섯)가 함께 배웁니다. 데이터를 계속 새로 뽑고, Adam으로 300단계, 배치 64."
    panels = (
        Lines("loss", "평균제곱오차 (미니배치)", x="단계", y="평균제곱오차", series=FORMS, scale="log"),
        Table("final", "학습이 끝난 뒤, 새 벡터 1,024개에서", columns=("망", "평균제곱오차 평균", "범위")),
    )
    grid = {"blocks": (1, 2, 4, 8, 16), "target": tuple(TARGETS), "lr": (0.003, 0.01, 0.03)}
    sample = {"blocks": 1}

    blocks: int = slider("블록 수", (1, 2, 4, 8, 16), 4, unit="개", help="블록 하나가 두 층입니다.")
    target: str = choice("목표 함수", TARGETS, "near")
    lr: float = log_slider("학습률", (0.001, 0.003, 0.01, 0.03), 0.01)
    seed: int = seed_knob()

    steps = 300

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        conditions = [CONDITIONS[form] for form in FORMS]
        model = StackedChain(conditions, seeds, blocks=self.blocks, sizes=(WIDTH, HIDDEN))
        batches = target_batches(self.target, seeds, conditions=len(FORMS), steps=self.steps)
        for step, losses in fit_squares(model, batches, steps=self.steps, lr=self.lr):
            frame = Frame(step, self.steps, curves={"loss": dict(zip(FORMS, losses.chunk(len(FORMS))))})
            if step == self.steps:
                [(x, y)] = target_batches(self.target, seeds, conditions=len(FORMS), steps=1, batch=1024, offset=400_000)
                with torch.no_grad():
                    errors = (model(x) - y).square().mean((1, 2))
                frame.numbers["error"] = dict(zip(FORMS, errors.chunk(len(FORMS))))
                frame.tables["final"] = [[FORMS[form], *_mean_and_range(e)] for form, e in frame.numbers["error"].items()]
            yield frame


START = {"he": "He 초기화", "small": "He의 100분의 1", "zero": "0"}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class ZeroStart(Experiment):
    """One residual block y = x + W2 φ(W1 x) without biases: which of the two layers may begin at zero?"""

    id = "zero_start"
    title = "어느 층을 0에서 시작할까"
    note = "블록 하나 y = x + W₂φ(W₁x)가 “항등 + 작은 변화”를 배웁니다. 편향은 없습니다. SGD 학습률 0.1, 200단계, 배치 64, 시드 다섯 개."
    layers = {"first": "W₁", "last": "W₂"}
    panels = (
        Lines("loss", "평균제곱오차 (미니배치)", x="단계", y="평균제곱오차", series={"block": "블록"}),
        Lines("gradient", "가중치 그래디언트의 크기 (RMS)", x="단계", y="그래디언트 RMS", series=layers),
        Table("final", "처음과 마지막", columns=("층", "첫 단계의 그래디언트 RMS", "마지막 그래디언트 RMS", "움직인 거리 (노름)")),
    )
    grid = {"first": tuple(START), "last": tuple(START), "activation": ("relu", "tanh")}
    sample = {"first": "he", "last": "zero"}

    first: str = choice("첫 층 W₁", START, "he")
    last: str = choice("마지막 층 W₂", START, "zero")
    activation: str = choice("활성화 φ", {"relu": "ReLU", "tanh": "tanh"}, "relu")
    seed: int = seed_knob()

    steps = 200
    lr = 0.1

    def frames(self) -> Iterator[Frame]:
        seeds, factor = self.seed_range(), {"he": 1.0, "small": 0.01, "zero": 0.0}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        w1, w2 = (
            (torch.stack([torch.randn(a, b, generator=g) for g in generators]) * (2 / a) ** 0.5 * factor[start]).requires_grad_()
            for a, b, start in ((WIDTH, HIDDEN, self.first), (HIDDEN, WIDTH, self.last))
        )
        begun = [w.detach().clone() for w in (w1, w2)]
        for step, (x, y) in enumerate(target_batches("near", seeds, conditions=1, steps=self.steps), start=1):
            losses = (x + ACTIVATIONS[self.activation](x @ w1) @ w2 - y).square().mean((1, 2))
            gradients = torch.autograd.grad(losses.sum() * WIDTH / 2, (w1, w2))
            sizes = [g.square().mean((1, 2)).sqrt() for g in gradients]
            with torch.no_grad():
                for w, g in zip((w1, w2), gradients):
                    w -= self.lr * g
            if step == 1:
                at_start = sizes
            frame = Frame(step, self.steps, curves={"loss": {"block": losses.detach()}, "gradient": dict(zip(self.layers, sizes))})
            if step == self.steps:
                moved = [(w.detach() - before).norm(dim=(1, 2)) for w, before in zip((w1, w2), begun)]
                rows = zip(self.layers.values(), at_start, sizes, moved)
                frame.tables["final"] = [[name, *(f"{v.mean():.3g}" for v in values)] for name, *values in rows]
                frame.numbers = {
                    "first_gradient": dict(zip(self.layers, at_start)), "moved": dict(zip(self.layers, moved)),
                    "loss": {"block": losses.detach()},
                }
            yield frame


@dataclass(frozen=True)
class LossSlice(Experiment):
    """A plane through the loss surface around trained MLPs, plain or residual."""

    id = "loss_slice"
    title = "손실 지형의 단면"
    note = "숫자 그림(8×8)을 배운 폭 32의 MLP 주변에서 무작위 방향 두 개로 걸어 나가며, 학습 데이터 256장의 손실을 잽니다. 지도는 첫 시드의 것이고 표는 시드 다섯 개의 것입니다."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series={"net": "이 망"}, scale="log"),
        Heat("map", "주변의 손실 (100보다 크면 100)", x="첫째 방향으로 걸은 거리", y="둘째 방향으로 걸은 거리", z="손실", scale="log"),
        Table("final", "시드마다", columns=("시드", "가운데의 손실", "손실이 1보다 작은 칸 (%)", "가운데보다 1 넘게 크지 않은 칸 (%)", "가장 큰 손실")),
    )
    grid = {"depth": (4, 8, 16, 32), "kind": ("plain", "residual"), "steps_are": ("filter", "equal"), "reach": (0.2, 1.0)}
    sample = {"depth": 4, "kind": "residual"}

    depth: int = slider("깊이 L", (4, 8, 16, 32), 16, unit="층")
    kind: str = choice("지름길", {"plain": "없음 (플레인)", "residual": "있음 (잔차, 0에서 시작)"}, "plain")
    steps_are: str = choice("걸음의 길이", {"filter": "학습된 가중치 크기만큼", "equal": "모든 망에서 같게"}, "filter",
                            help="거리 1이 뉴런마다 얼마나 긴 걸음인지 정합니다. 첫째는 Li 2018의 필터 정규화입니다.")
    reach: float = choice("가장 먼 거리", {0.2: "0.2", 1.0: "1"}, 1.0)
    seed: int = seed_knob()

    steps = 300
    lr = 0.01
    points = 9

    def frames(self) -> Iterator[Frame]:
        seeds, task = self.seed_range(), load_digits()
        condition = Condition(skip=False) if self.kind == "plain" else Condition(skip=True, init="zero")
        model = StackedMLP([condition], seeds, depth=self.depth, sizes=(64, 32, 10))
        x, y = task.x_train.flatten(1), task.y_train
        places = torch.linspace(-self.reach, self.reach, self.points).tolist()
        total = self.steps + len(places)
        batches = stacked_batches(x, y, conditions=1, seeds=seeds, batch=128, steps=self.steps)
        for step, losses in fit(model, batches, steps=self.steps, lr=self.lr):
            yield Frame(step, total, curves={"loss": {"net": losses}})
        rows = []
        walk = directions(model, seeds, steps=self.steps_are)
        for row in plane(model, x[:256], y[:256], walk, places):
            rows.append(row)
            frame = Frame(self.steps + len(rows), total, matrices={"map": self._map(rows, places)})
            if len(rows) == len(places):
                loss = torch.stack(rows, dim=1)
                centre = loss[:, len(rows) // 2, len(rows) // 2]
                frame.numbers = {**self._shares(loss, centre), "length": self._lengths(model)}
                frame.tables["final"] = [
                    [str(seed), f"{centre[i]:.2g}", f"{frame.numbers['share']['below'][i]:.0f}",
                     f"{frame.numbers['share']['near'][i]:.0f}", f"{loss[i].max():.2g}"]
                    for i, seed in enumerate(seeds)
                ]
            yield frame

    @staticmethod
    def _map(rows: list[Tensor], places: list[float]) -> dict:
        """The rows of the first seed's plane that have been computed."""
        labels = [f"{place:g}" for place in places]
        return {"xs": labels, "ys": labels, "z": [row[0].clamp(max=100) for row in rows]}

    @staticmethod
    def _shares(loss: Tensor, centre: Tensor) -> dict:
        """Percent of the plane with a loss below 1, and with one at most 1 above the middle."""
        near = (loss <= centre.view(-1, 1, 1) + 1).float().mean((1, 2))
        return {"share": {"below": 100 * (loss < 1).float().mean((1, 2)), "near": 100 * near}, "centre": {"net": centre}}

    @staticmethod
    def _lengths(model: StackedMLP) -> dict:
        """Mean length of a neuron's incoming weights in the first and in the last layers of the blocks."""
        lengths = torch.stack([weight.detach().norm(dim=1).mean(1) for weight in model.weights[1:-1]])
        return {"first": lengths[0::2].mean(0), "last": lengths[1::2].mean(0)}


OPTIONS = {"plain": "지름길 없음", "A": "A 제로 패딩", "B": "B 모양이 바뀔 때만 투영", "C": "C 모두 투영"}


@dataclass(frozen=True)
class ShortcutOptions(Experiment):
    """Options A, B and C of He 2015, §4.1, beside the plain network, on digits."""

    id = "shortcut_options"
    title = "지름길의 종류 A, B, C"
    note = "He 2015의 CIFAR 설계를 폭 4로 줄여 숫자 그림(8×8)에서 학습합니다. 네 망의 잔차 가지는 같은 가중치에서 출발하고 배치도 같습니다. SGD 모멘텀 0.9, 배치 128, 시드 세 개."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=OPTIONS, scale="log"),
        Table("final", "학습이 끝난 뒤, 학습 데이터 전체에서", columns=("지름길", "더해진 파라미터", "학습 손실 평균", "범위", "학습 오차 (%)")),
    )
    grid = {"depth": (14, 20), "epochs": (5,), "lr": (0.02, 0.05, 0.1)}
    sample = {"depth": 14}

    depth: int = slider("깊이", (14, 20, 32), 14, unit="층")
    epochs: int = slider("에폭", (3, 5, 10), 5)
    lr: float = log_slider("학습률", (0.02, 0.05, 0.1), 0.1)
    seed: int = seed_knob()

    seeds_per_run = 3

    def frames(self) -> Iterator[Frame]:
        seeds, task = self.seed_range(), load_digits()
        steps = self.epochs * (len(task.x_train) // 128)
        net = StackedShortcutNet(list(OPTIONS), seeds, n=(self.depth - 2) // 6, width=4)
        batches = stacked_batches(task.x_train, task.y_train, conditions=len(OPTIONS), seeds=seeds, batch=128, steps=steps)
        for step, losses in fit(net, batches, steps=steps, lr=self.lr, weight_decay=1e-4):
            frame = Frame(step, steps, curves={"loss": dict(zip(OPTIONS, losses.chunk(len(OPTIONS))))})
            if step == steps:
                scores = evaluate(net, task.x_train, task.y_train, networks=len(losses))
                loss, error = (dict(zip(OPTIONS, values.chunk(len(OPTIONS)))) for values in scores)
                frame.numbers = {"train_loss": loss, "train_error": error}
                frame.tables["final"] = [
                    [label, net.shortcut_parameters(option), *_mean_and_range(loss[option]), f"{error[option].mean():.1f}"]
                    for option, label in OPTIONS.items()
                ]
            yield frame


@dataclass(frozen=True)
class LinearChain(Experiment):
    """∏(I + A_l) learns a matrix R from A = 0: how much does each layer have to do, and what can it never do?"""

    id = "linear_chain"
    title = "선형 사슬: 층마다 조금씩"
    note = "6×6 행렬 R을 행렬 L개의 곱으로 맞춥니다. 잔차는 I + A_l로 쓰고 A_l = 0에서, 플레인은 분산 1/6의 무작위 W_l에서 출발합니다. 경사 하강법 150단계, 시드 다섯 개."
    series = {"plain": "플레인 (무작위)", "residual": "잔차 (0에서 시작)"}
    panels = (
        Lines("loss", "손실 ½‖곱 − R‖²", x="단계", y="손실", series=series, scale="log"),
        Bars("size", "층이 맡은 몫 ‖A_l‖ (잔차, 시드 평균)", x="층", y="스펙트럼 노름", series={"residual": "잔차"}),
        Table("final", "학습이 끝난 뒤", columns=("조건", "손실 평균", "범위", "L · 가장 큰 ‖A_l‖")),
    )
    grid = {"layers": (1, 2, 4, 8, 16, 32), "target": ("turn", "mirror"), "lr": (0.03, 0.1, 0.3)}
    sample = {"layers": 4}

    layers: int = slider("층수 L", (1, 2, 4, 8, 16, 32), 8, unit="층")
    target: str = choice("목표 R", {"turn": "돌리고 늘이기 (det R > 0)", "mirror": "거울 (det R < 0)"}, "turn")
    lr: float = log_slider("학습률 × L", (0.03, 0.1, 0.3), 0.1, help="층이 많으면 한 걸음에 곱이 많이 움직이므로 L로 나눈 학습률을 씁니다.")
    seed: int = seed_knob()

    steps = 150
    size = 6

    def frames(self) -> Iterator[Frame]:
        seeds, n = self.seed_range(), self.size
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        goal = torch.stack([self._goal(g) for g in generators])
        eye = torch.eye(n, dtype=torch.float64)
        drawn = torch.stack([torch.randn(self.layers, n, n, generator=g, dtype=torch.float64) for g in generators])
        w = torch.stack([drawn * n**-0.5, eye.expand_as(drawn)]).requires_grad_()  # (form, seed, layer, n, n)
        for step in range(1, self.steps + 1):
            losses = 0.5 * (_product(w) - goal).square().sum((-2, -1))
            (gradient,) = torch.autograd.grad(losses.sum(), w)
            with torch.no_grad():
                w -= self.lr / self.layers * gradient
            frame = Frame(step, self.steps, curves={"loss": dict(zip(self.series, losses.detach()))})
            if step == 1 or step % 10 == 0:
                sizes = torch.linalg.matrix_norm(w.detach()[1] - eye, ord=2)
                frame.profiles["size"] = {"residual": sizes.mean(0)}
            if step == self.steps:
                losses = 0.5 * (_product(w.detach()) - goal).square().sum((-2, -1))
                share = self.layers * sizes.max(1).values
                frame.numbers = {"loss": dict(zip(self.series, losses)), "share": {"residual": share}}
                frame.tables["final"] = [
                    [self.series["plain"], *_mean_and_range(losses[0]), "—"],
                    [self.series["residual"], *_mean_and_range(losses[1]), f"{share.mean():.3g} ({share.min():.3g}~{share.max():.3g})"],
                ]
            yield frame

    def _goal(self, generator: torch.Generator) -> Tensor:
        """e^M for a small random M, or a reflection in a random plane."""
        m = torch.randn(self.size, self.size, generator=generator, dtype=torch.float64)
        if self.target == "turn":
            return torch.linalg.matrix_exp(m / torch.linalg.matrix_norm(m, ord=2))
        normal = m[0] / m[0].norm()
        return torch.eye(self.size, dtype=torch.float64) - 2 * torch.outer(normal, normal)


def _product(w: Tensor) -> Tensor:
    """(…, layers, n, n) → the product, the last layer leftmost."""
    product = w[..., 0, :, :]
    for layer in range(1, w.shape[-3]):
        product = w[..., layer, :, :] @ product
    return product


EXPERIMENTS = (NearIdentity, ZeroStart, LossSlice, ShortcutOptions, LinearChain)
