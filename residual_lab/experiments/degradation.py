"""Lesson 01: does training get worse when a network gets deeper?

The phenomenon and its ConvNet are He et al. 2015 (arXiv:1512.03385), §1, §4.1 and §4.2; the data are 8×8 digits instead
of CIFAR-10, so that a run takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab.data import Task, load_digits
from residual_lab.experiments.base import (
    Bars, Experiment, Frame, Heat, Lines, Table, choice, log_slider, precision_knob, seed_knob, slider,
)
from residual_lab.experiments.whole_data import augment_knob, data_knob, refuse_moved_digits
from residual_lab.full_data import load_task
from residual_lab.training import Condition, StackedConvNet, StackedMLP, evaluate, fit, stacked_batches
from residual_lab.training.fit import placed
from residual_lab.training.stacked import augmented

BATCH = 128
WIDTH = 32
KINDS = {"plain": "플레인", "residual": "잔차"}
LOSS_COLUMNS = ("조건", "학습 손실 평균", "학습 손실 범위", "학습 오차 (%)")


def _batches(conditions: int, seeds: range, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    task = load_digits()
    return stacked_batches(task.x_train.flatten(1), task.y_train, conditions=conditions, seeds=seeds, batch=BATCH, steps=steps)


def _train_scores(model: torch.nn.Module, networks: int) -> tuple[Tensor, Tensor]:
    task = load_digits()
    return evaluate(model, task.x_train.flatten(1), task.y_train, networks=networks)


def _final(losses: dict[str, Tensor], errors: dict[str, Tensor], labels: dict[str, str]) -> dict:
    """The last frame's table and numbers from full-training-set losses and errors per series."""
    rows = [[labels[key], *_mean_and_range(loss), f"{errors[key].mean():.1f}"] for key, loss in losses.items()]
    return {"tables": {"final": rows}, "numbers": {"train_loss": losses, "train_error": errors}}


def _mean_and_range(loss: Tensor) -> tuple[str, str]:
    """Mean and smallest – largest over seeds as a table shows them."""
    if not loss.isfinite().all():
        return "발산", f"{int((~loss.isfinite()).sum())}/{len(loss)} 시드가 발산"
    return f"{loss.mean():.3g}", f"{loss.min():.2g}~{loss.max():.2g}"


@dataclass(frozen=True)
class MLPDepth(Experiment):
    """Plain and residual MLPs of one depth, five seeds each, trained side by side."""

    id = "mlp_depth"
    title = "깊이 슬라이더: 플레인 MLP와 잔차 MLP"
    note = "숫자 그림(8×8) 1,437장을 폭 32의 MLP 열 개(두 조건 × 시드 다섯)가 동시에 배웁니다. 300단계, 배치 128, SGD 모멘텀 0.9."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=KINDS, scale="log"),
        Bars("gradient", "층별 가중치 그래디언트 (RMS, 시드 평균)", x="층 (입력 → 출력)", y="그래디언트 RMS", series=KINDS, scale="log"),
        Table("final", "학습이 끝난 뒤, 학습 데이터 전체에서", columns=LOSS_COLUMNS),
    )
    grid = {"depth": (4, 8, 16, 32, 64), "lr": (0.003, 0.01, 0.03, 0.1), "init": ("zero", "he")}
    sample = {"depth": 4}

    depth: int = slider("깊이 L", (4, 8, 16, 24, 32, 48, 64), 32, unit="층", help="블록 안에 있는 층의 수입니다. 블록 하나가 두 층입니다.")
    lr: float = log_slider("학습률", (0.001, 0.003, 0.01, 0.03, 0.1), 0.01)
    init: str = choice("잔차 가지의 마지막 층", {"zero": "0에서 시작", "he": "He 초기화"}, "zero")
    seed: int = seed_knob()

    steps = 300

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        conditions = (Condition(skip=False), Condition(skip=True, init=self.init))
        model = StackedMLP(conditions, seeds, depth=self.depth, sizes=(64, WIDTH, 10))
        batches = _batches(2, seeds, self.steps)
        for step, losses in fit(model, batches, steps=self.steps, lr=self.lr):
            frame = Frame(step, self.steps, curves={"loss": _by_kind(losses)})
            if step == 1 or step % 10 == 0:
                gradients = model.layer_gradients()
                frame.profiles["gradient"] = {k: g.mean(0) for k, g in _by_kind(gradients).items()}
            if step == self.steps:
                losses, errors = map(_by_kind, _train_scores(model, 2 * len(seeds)))
                frame = Frame(step, self.steps, frame.curves, frame.profiles, **_final(losses, errors, KINDS))
            yield frame


def _by_kind(values: Tensor) -> dict[str, Tensor]:
    plain, residual = values.chunk(2)
    return {"plain": plain, "residual": residual}


@dataclass(frozen=True)
class ConvTwoByTwo(Experiment):
    """Plain and residual ConvNets (He 2015, §4.2), shallow and deep: the 2×2 that defines degradation."""

    id = "conv_2x2"
    title = "2×2 실험: 플레인·잔차 × 얕은·깊은 ConvNet"
    note = "He 2015의 CIFAR 설계(6n+2층, BN, 지름길 A)를 폭 4로 줄여 숫자 그림(8×8)에서 학습합니다. SGD 학습률 0.05, 모멘텀 0.9, 가중치 감쇠 0.0001, 배치 128."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", scale="log", series={
            "plain_shallow": "플레인 · 얕음", "plain_deep": "플레인 · 깊음",
            "residual_shallow": "잔차 · 얕음", "residual_deep": "잔차 · 깊음",
        }),
        Table("final", "학습이 끝난 뒤, 학습 데이터 전체에서", columns=LOSS_COLUMNS),
    )
    grid = {"deep": (32, 56), "epochs": (5, 10, 30), "seeds_per_run": (3,)}
    sample = {"deep": 32, "epochs": 5}

    deep: int = slider("깊은 망", (32, 44, 56), 56, unit="층", help="얕은 망은 언제나 20층입니다.", big=(110, 1202))
    epochs: int = slider("에폭", (3, 5, 10, 30), 5, big=(164,))
    seeds_per_run: int = slider("시드 수", (1, 3, 5), 3, help="많을수록 느리고, 흩어짐이 더 잘 보입니다.", big=(20,))
    data: str = data_knob("큰 데이터에서는 논문처럼 폭 16, 학습률 0.1입니다.")
    augment: bool = augment_knob()
    precision: str = precision_knob()
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_moved_digits(self.data, self.augment)

    def frames(self) -> Iterator[Frame]:
        seeds, task = self.seed_range(), load_task(self.data, self.device)
        steps = self.epochs * (len(task.x_train) // BATCH)
        conditions = (Condition(skip=False), Condition(skip=True))
        width, lr = (4, 0.05) if self.data == "digits" else (16, 0.1)
        nets = {
            size: placed(StackedConvNet(conditions, seeds, n=(depth - 2) // 6, width=width, in_channels=task.x_train.shape[1]), self.device)
            for size, depth in (("shallow", 20), ("deep", self.deep))
        }
        runs = [
            (size, fit(net, self._batches(task, steps), steps=steps, lr=lr, weight_decay=1e-4, precision=self.precision))
            for size, net in nets.items()
        ]
        for step in range(1, steps + 1):
            for size, run in runs:
                losses = next(run).losses
                yield Frame(step, steps, curves={"loss": {f"{k}_{size}": v for k, v in _by_kind(losses).items()}})
        keys = [(f"{kind}_{size}", kind, size) for kind in KINDS for size in nets]
        labels = {"shallow": "20층", "deep": f"{self.deep}층"}

        def scores(x: Tensor, y: Tensor) -> list[dict[str, Tensor]]:
            found = {size: [_by_kind(v) for v in evaluate(net, x, y, networks=2 * len(seeds))] for size, net in nets.items()}
            return [{key: found[size][part][kind] for key, kind, size in keys} for part in range(2)]

        last = Frame(steps, steps, **_final(
            *scores(task.x_train, task.y_train), {key: f"{KINDS[kind]} {labels[size]}" for key, kind, size in keys},
        ))
        if self.is_big():
            _, last.numbers["test_error"] = scores(task.x_test, task.y_test)
        yield last

    def _batches(self, task: Task, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        seeds = self.seed_range()
        batches = stacked_batches(task.x_train, task.y_train, conditions=2, seeds=seeds, batch=BATCH, steps=steps)
        return augmented(batches, conditions=2, seeds=seeds) if self.augment else batches


@dataclass(frozen=True)
class LearningRateMap(Experiment):
    """The fairness check: does the deep plain network fail only because of an unlucky learning rate?"""

    id = "learning_rate_map"
    title = "학습률 지도: 깊이 × 학습률"
    note = "학습률 다섯 가지와 시드 세 개, 모두 열다섯 개의 MLP를 깊이마다 300단계씩 함께 학습합니다. 칸은 시드 평균 학습 손실이고, 시드 하나라도 발산하면 발산으로 적습니다."
    panels = (
        Heat("map", "마지막 학습 손실 (시드 평균)", x="학습률", y="깊이 L", z="학습 손실", scale="log"),
        Table("final", "깊이마다 가장 좋은 학습률", columns=("깊이 L", "가장 좋은 학습률", "학습 손실 평균", "학습 손실 범위")),
    )
    grid = {"kind": ("plain", "orthogonal", "residual"), "deepest": (32, 64)}
    sample = {"kind": "residual", "deepest": 32}

    kind: str = choice("망", {"plain": "플레인 (He 초기화)", "orthogonal": "플레인 (직교 초기화)", "residual": "잔차 (0에서 시작)"}, "plain")
    deepest: int = slider("가장 깊은 망", (16, 32, 64), 32, unit="층")
    seed: int = seed_knob()

    seeds_per_run = 3
    steps = 300
    rates = (0.003, 0.01, 0.03, 0.1, 0.3)

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        depths = [depth for depth in (4, 8, 16, 32, 64) if depth <= self.deepest]
        condition = {
            "plain": Condition(skip=False),
            "orthogonal": Condition(skip=False, init="orthogonal"),
            "residual": Condition(skip=True, init="zero"),
        }[self.kind]
        lr = torch.tensor(self.rates).repeat_interleave(len(seeds))
        z, rows, best = [], [], {}
        total = self.steps * len(depths)
        for row, depth in enumerate(depths):
            z.append(None)
            model = StackedMLP([condition] * len(self.rates), seeds, depth=depth, sizes=(64, WIDTH, 10))
            batches = _batches(len(self.rates), seeds, self.steps)
            for step, losses in fit(model, batches, steps=self.steps, lr=lr):
                z[row] = losses.view(len(self.rates), -1).mean(1)
                if step < self.steps:
                    yield Frame(self.steps * row + step, total, matrices=self._matrix(depths, z))
            final = _train_scores(model, len(lr))[0].view(len(self.rates), -1)
            z[row] = final.mean(1)
            winner = int(z[row].nan_to_num(torch.inf).argmin())
            loss = final[winner]
            best[str(depth)] = loss
            rows.append([depth, f"{self.rates[winner]:g}", *_mean_and_range(loss)])
            yield Frame(self.steps * (row + 1), total, matrices=self._matrix(depths, z),
                        tables={"final": list(rows)}, numbers={"best_loss": dict(best)})

    def _matrix(self, depths: list[int], z: list[Tensor]) -> dict:
        """The rows of the depths that have begun."""
        return {"map": {"xs": [f"{rate:g}" for rate in self.rates], "ys": [str(depth) for depth in depths], "z": list(z)}}


@dataclass(frozen=True)
class IdentityInsertion(Experiment):
    """He 2015, §1: a deep plain network that contains the shallow one exists; does SGD find one as good?"""

    id = "identity_insertion"
    title = "존재 증명: 얕은 망에 항등 층을 끼워 넣기"
    note = "플레인 8층을 300단계 학습한 뒤 항등 층을 끼워 더 깊은 망으로 만들고 300단계 더 학습합니다. 비교 대상은 같은 깊이를 처음부터 600단계 학습한 플레인 망입니다. 시드 다섯 개."
    series = {"shallow": "플레인 8층", "inserted": "항등 층을 끼운 깊은 망", "scratch": "처음부터 학습한 깊은 망"}
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=series, scale="log"),
        Table("final", "학습 데이터 전체에서", columns=LOSS_COLUMNS),
    )
    grid = {"extra": (8, 24, 48), "next_lr": (0.0003, 0.001, 0.003, 0.01)}
    sample = {"extra": 8}

    extra: int = slider("끼워 넣는 항등 층", (8, 24, 48), 48, unit="층")
    next_lr: float = log_slider("끼운 뒤의 학습률", (0.0003, 0.001, 0.003, 0.01), 0.001, help="그 전까지의 학습률은 0.01입니다.")
    seed: int = seed_knob()

    steps = 300
    lr = 0.01

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        total = 2 * self.steps
        plain = [Condition(skip=False)]
        shallow = StackedMLP(plain, seeds, depth=8, sizes=(64, WIDTH, 10))
        scratch = StackedMLP(plain, seeds, depth=8 + self.extra, sizes=(64, WIDTH, 10))
        learn_scratch = fit(scratch, _batches(1, seeds, total), steps=total, lr=self.lr)

        learn = fit(shallow, _batches(1, seeds, self.steps), steps=self.steps, lr=self.lr)
        for step, losses in learn:
            yield Frame(step, total, curves={"loss": {"shallow": losses, "scratch": next(learn_scratch).losses}})

        inserted = shallow.with_identity_layers(self.extra)
        scores = {"shallow": shallow, "before": inserted}
        scores = {key: _train_scores(model, len(seeds)) for key, model in scores.items()}
        learn = fit(inserted, _batches(1, seeds, self.steps), steps=self.steps, lr=self.next_lr)
        for step, losses in learn:
            curves = {"loss": {"inserted": losses, "scratch": next(learn_scratch).losses}}
            yield Frame(self.steps + step, total, curves=curves)

        scores |= {key: _train_scores(model, len(seeds)) for key, model in (("inserted", inserted), ("scratch", scratch))}
        depth = 8 + self.extra
        labels = {"shallow": "플레인 8층", "before": f"항등 층을 끼운 직후 ({depth}층)",
                  "inserted": f"끼운 뒤 더 학습 ({depth}층)", "scratch": f"처음부터 학습 ({depth}층)"}
        yield Frame(total, total, **_final(
            {key: loss for key, (loss, _) in scores.items()}, {key: error for key, (_, error) in scores.items()}, labels,
        ))


@dataclass(frozen=True)
class ScalarProduct(Experiment):
    """The one-dimensional model: L scalars multiplied, trained by gradient descent on half the squared error."""

    id = "scalar_product"
    title = "한 줄짜리 모형: 스칼라 L개의 곱"
    note = "f = w₁·w₂·…·w_L을 목표 2에 맞춥니다. 잔차 모형은 wᵢ = 1 + uᵢ로 쓰고 uᵢ = 0에서 출발합니다. 경사 하강법 200단계."
    panels = (
        Lines("loss", "손실 ½(f − 2)²", x="단계", y="손실", series=KINDS, scale="log"),
        Lines("gradient", "파라미터 하나의 그래디언트 크기", x="단계", y="|∂ℓ/∂w|", series=KINDS, scale="log"),
        Table("final", "처음과 마지막", columns=("조건", "처음 그래디언트", "마지막 f", "마지막 손실")),
    )
    grid = {"depth": (2, 5, 10, 20, 50), "start": (0.5, 0.9, 1.0), "lr": (0.001, 0.003, 0.01)}
    sample = {"depth": 10}

    depth: int = slider("깊이 L", (2, 5, 10, 20, 50), 20, unit="개")
    start: float = choice("플레인의 출발점 w", {0.5: "0.5", 0.9: "0.9", 1.0: "1.0", 1.1: "1.1"}, 0.5)
    lr: float = log_slider("학습률", (0.001, 0.003, 0.01), 0.003)

    steps = 200
    target = 2.0

    def frames(self) -> Iterator[Frame]:
        # Row 0: w of the plain model. Row 1: 1 + u of the residual one, so that u = 0 is w = 1.
        w = torch.tensor([[self.start], [1.0]], dtype=torch.float64).repeat(1, self.depth).requires_grad_()
        for step in range(1, self.steps + 1):
            f = w.prod(1)
            losses = 0.5 * (f - self.target) ** 2
            (gradient,) = torch.autograd.grad(losses.sum(), w)
            size = gradient.abs().mean(1)
            if step == 1:
                first = gradient[:, 0]
            with torch.no_grad():
                w -= self.lr * gradient
            curves = {"loss": _by_kind(losses.detach()), "gradient": _by_kind(size)}
            frame = Frame(step, self.steps, curves=curves)
            if step == self.steps:
                f = w.detach().prod(1)
                frame.tables["final"] = [
                    [label, f"{first[i]:.3g}", f"{f[i]:.4g}", f"{0.5 * (f[i] - self.target) ** 2:.3g}"]
                    for i, label in enumerate(KINDS.values())
                ]
                frame.numbers = {"first_gradient": _by_kind(first), "output": _by_kind(f)}
            yield frame


EXPERIMENTS = (MLPDepth, ConvTwoByTwo, LearningRateMap, IdentityInsertion, ScalarProduct)
