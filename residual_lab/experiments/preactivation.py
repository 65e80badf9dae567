"""Lesson 05: where do BN and ReLU stand, and what may stand on the shortcut?

The five orders are table 2 and the shortcuts table 1 of He et al. 2016 (arXiv:1603.05027). Networks are the 6n + 2 layer design of He
2015 with width 4 on 8×8 digits and train for seconds; the paper's are ResNet-110 and -164 on CIFAR-10, trained for hundreds of epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab.blocks.bottleneck import resnet_cifar_bottleneck
from residual_lab.blocks.preact import preact_cifar_bottleneck
from residual_lab.data import Task, load_digits
from residual_lab.experiments.base import (
    Experiment, Frame, Heat, Lines, Table, choice, log_slider, precision_knob, seed_knob, slider, toggle,
)
from residual_lab.experiments.whole_data import augment_knob, data_knob, refuse_moved_digits
from residual_lab.full_data import load_task
from residual_lab.training import StackedConvNet, evaluate, fit, stacked_batches
from residual_lab.training.fit import cross_entropy, placed
from residual_lab.training.stack_of_one import StackOfOne
from residual_lab.training.stacked import augmented
from residual_lab.training.stacked_orders import ShortcutOnlyNet, StackedOrderNet, StackedShortcutKinds

ORDERS = {
    "original": "원조",
    "bn_after": "더한 뒤 BN",
    "relu_before": "더하기 전 ReLU",
    "relu_only": "ReLU만 앞으로",
    "full": "완전 사전 활성화",
}
TWO_BY_TWO = {"original": "원조", "original_bn": "원조 + 마지막 BN", "full_no_bn": "완전 − 마지막 BN", "full": "완전 사전 활성화"}
SHORTCUTS = {
    "identity": "항등",
    "half": "지름길 × 0.5",
    "half_both": "둘 다 × 0.5",
    "gate": "지름길만 게이트",
    "exclusive": "배타적 게이트",
    "conv": "1×1 합성곱",
    "dropout": "드롭아웃 0.5",
}
BATCH = 64
STEPS = 66
WIDTH = 4
RATES = (0.03, 0.1, 0.3, 1.0)
DIVERGED = 100.0
"""A mean training loss above this is told as diverged; guessing costs 2.3."""


def _batches(conditions: int, seeds: range) -> Iterator[tuple[Tensor, Tensor]]:
    task = load_digits()
    return stacked_batches(task.x_train, task.y_train, conditions=conditions, seeds=seeds, batch=BATCH, steps=STEPS)


def _train_scores(model: torch.nn.Module, networks: int) -> tuple[Tensor, Tensor]:
    task = load_digits()
    return evaluate(model, task.x_train, task.y_train, networks=networks)


def _said(value: Tensor) -> str:
    return f"{value:.3g}" if value.isfinite() else "발산"


def _range(loss: Tensor) -> str:
    return f"{loss.min():.2g}~{loss.max():.2g}" if loss.isfinite().all() else f"{int((~loss.isfinite()).sum())}/{len(loss)} 시드가 발산"


def _rate_map(
    experiment: Experiment, names: dict[str, str], rates: tuple[float, ...], build: Callable[[str, list[int]], StackedConvNet],
) -> Iterator[Frame]:
    """Train one stack of rates × seeds for each name; a row of the map is a name."""
    seeds = experiment.seed_range()
    lr = torch.tensor(rates).repeat_interleave(len(seeds))
    total, z, rows, losses = STEPS * len(names), [], [], {}
    for row, (key, label) in enumerate(names.items()):
        z.append(None)
        model = build(key, list(seeds) * len(rates))
        axes = {"xs": [f"{rate:g}" for rate in rates], "ys": list(names.values())[:row + 1]}
        for step, loss in fit(model, _batches(len(rates), seeds), steps=STEPS, lr=lr):
            frame = Frame(STEPS * row + step, total)
            if step < STEPS:
                z[row] = loss.view(len(rates), -1).mean(1)
            else:
                final = _train_scores(model, len(lr))[0].view(len(rates), -1)
                final = final.where(final < DIVERGED, torch.inf)
                z[row] = final.mean(1)
                best = int(z[row].argmin())
                rows.append([label, f"{rates[best]:g}", _said(z[row][best]), _range(final[best])])
                losses |= {f"{key}@{rate:g}": final[i] for i, rate in enumerate(rates)} | {f"{key}@best": final[best]}
                frame.tables, frame.numbers = {"final": list(rows)}, {"train_loss": dict(losses)}
            frame.matrices = {"map": {**axes, "z": list(z)}}
            yield frame


@dataclass(frozen=True)
class OrderRates(Experiment):
    """Table 2's five orders at several learning rates."""

    id = "order_rates"
    title = "다섯 순서 × 학습률"
    note = "순서마다 학습률 네 가지 × 시드를 함께 학습합니다. 숫자 그림(8×8), 폭 4, 배치 64, 66단계, SGD 모멘텀 0.9, 워밍업 없음. 손실이 100을 넘으면 발산으로 적습니다."
    panels = (
        Heat("map", "마지막 학습 손실 (시드 평균)", x="학습률", y="순서", z="학습 손실", scale="log"),
        Table("final", "순서마다 가장 좋은 학습률", columns=("순서", "가장 좋은 학습률", "학습 손실 평균", "학습 손실 범위")),
    )
    grid = {"depth": (8, 20, 56)}
    sample = {"depth": 8}

    depth: int = slider("깊이", (8, 20, 32, 56), 20, unit="층")
    seeds_per_run: int = slider("시드 수", (2, 3, 5), 2, help="많을수록 느리고, 흩어짐이 더 잘 보입니다.")
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        n = (self.depth - 2) // 6
        yield from _rate_map(self, ORDERS, RATES, lambda order, seeds: StackedOrderNet(order, seeds, n=n, width=WIDTH))


@dataclass(frozen=True)
class OrderAndLastBN(Experiment):
    """Two by two: the original and the fully pre-activated order, each without and with BN–ReLU after the last unit."""

    id = "order_and_last_bn"
    title = "순서와 마지막 BN을 따로"
    note = "순서 둘 × 마지막 BN의 유무를 같은 합성곱 가중치와 같은 배치 순서로 학습합니다. 숫자 그림(8×8), 폭 4, 배치 64, 66단계, SGD 모멘텀 0.9, 워밍업 없음."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=TWO_BY_TWO, scale="log"),
        Table("final", "학습이 끝난 뒤, 학습 데이터 전체에서", columns=("망", "학습 손실 평균", "학습 손실 범위", "학습 오차 (%)")),
    )
    grid = {"depth": (20, 56), "lr": RATES}
    sample = {"depth": 20, "lr": 0.1}

    depth: int = slider("깊이", (20, 32, 56), 56, unit="층", big={110: "110", 1001: "1001(논문의 병목 망으로 원조와 완전 사전 활성화만)"})
    lr: float = log_slider("학습률", RATES, 0.3)
    seeds_per_run: int = slider("시드 수", (2, 3, 5), 2, help="많을수록 느리고, 흩어짐이 더 잘 보입니다.", big=(20,))
    data: str = data_knob("큰 데이터에서는 폭 16, 배치 128, 가중치 감쇠 0.0001입니다.")
    steps: int = slider("단계", (STEPS,), STEPS, big=(2_000, 64_000))
    augment: bool = augment_knob()
    precision: str = precision_knob()
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_moved_digits(self.data, self.augment)

    def frames(self) -> Iterator[Frame]:
        task = load_task(self.data, self.device)
        stacks = {
            key: [(placed(stack, self.device), seeds) for stack, seeds in parts]
            for key, parts in self._stacks(task.x_train.shape[1]).items()
        }
        decay = 0.0 if self.data == "digits" else 1e-4
        runs = {
            key: [fit(stack, self._batches(task, seeds), steps=self.steps, lr=self.lr, weight_decay=decay, precision=self.precision)
                  for stack, seeds in parts]
            for key, parts in stacks.items()
        }  # fmt: skip
        for step in range(1, self.steps + 1):
            for key, parts in runs.items():
                yield Frame(step, self.steps, curves={"loss": {key: torch.cat([next(run).losses for run in parts])}})

        def scores(x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
            found = {key: [evaluate(stack, x, y, networks=len(seeds)) for stack, seeds in parts] for key, parts in stacks.items()}
            return {key: tuple(torch.cat(part) for part in zip(*parts)) for key, parts in found.items()}

        train = scores(task.x_train, task.y_train)
        rows = [[TWO_BY_TWO[key], _said(loss.mean()), _range(loss), f"{error.mean():.1f}"] for key, (loss, error) in train.items()]
        last = Frame(self.steps, self.steps, tables={"final": rows}, numbers={"train_loss": {key: loss for key, (loss, _) in train.items()}})
        if self.is_big():
            last.numbers["test_error"] = {key: error for key, (_, error) in scores(task.x_test, task.y_test).items()}
        yield last

    def _stacks(self, in_channels: int) -> dict[str, list[tuple[torch.nn.Module, Sequence[int]]]]:
        """What is trained on its own under each name: all seeds as one stack, or every seed alone where one network fills a GPU."""
        seeds = self.seed_range()
        if self.depth == 1001:
            deep = {"original": resnet_cifar_bottleneck, "full": preact_cifar_bottleneck}
            return {key: [(StackOfOne(build(111, in_channels=in_channels), seed), [seed]) for seed in seeds] for key, build in deep.items()}
        more = {"n": (self.depth - 2) // 6, "width": WIDTH if self.data == "digits" else 16, "in_channels": in_channels}
        return {key: [(StackedOrderNet(key.split("_")[0], seeds, last_bn=key in ("original_bn", "full"), **more), seeds)] for key in TWO_BY_TWO}

    def _batches(self, task: Task, seeds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        batch = BATCH if self.data == "digits" else 128
        batches = stacked_batches(task.x_train, task.y_train, conditions=1, seeds=seeds, batch=batch, steps=self.steps)
        return augmented(batches, conditions=1, seeds=seeds) if self.augment else batches


@dataclass(frozen=True)
class ShortcutKinds(Experiment):
    """Table 1: what happens when the shortcut is not the identity."""

    id = "shortcut_kinds"
    title = "지름길 일곱 가지 × 학습률"
    note = "원조 순서의 망에서 모양이 바뀌지 않는 유닛의 지름길만 바꿉니다. 학습률 × 시드를 함께 학습합니다. 숫자 그림(8×8), 폭 4, 배치 64, 66단계, SGD 모멘텀 0.9, 워밍업 없음. 손실이 100을 넘으면 발산으로 적습니다."
    panels = (
        Heat("map", "마지막 학습 손실 (시드 평균)", x="학습률", y="지름길", z="학습 손실", scale="log"),
        Table("final", "지름길마다 가장 좋은 학습률", columns=("지름길", "가장 좋은 학습률", "학습 손실 평균", "학습 손실 범위")),
    )
    grid = {"depth": (8, 20), "bias": (-6, 0)}
    sample = {"depth": 8, "bias": -6}

    depth: int = slider("깊이", (8, 20, 32, 56), 20, unit="층")
    bias: int = choice("게이트의 처음 편향 b", {-6: "−6", -3: "−3", 0: "0"}, -6, help="두 게이트에만 쓰입니다. 지름길에 곱해지는 1 − g는 b = −6에서 0.998 안팎, 0에서 0.5 안팎으로 시작합니다.")
    wide: bool = toggle("학습률 네 가지", True, help="끄면 0.1과 0.3만 학습해 두 배 빠릅니다.")
    seeds_per_run: int = slider("시드 수", (2, 3, 5), 2, help="많을수록 느리고, 흩어짐이 더 잘 보입니다.")
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        def build(kind: str, seeds: list[int]) -> StackedShortcutKinds:
            return StackedShortcutKinds(kind, seeds, n=(self.depth - 2) // 6, width=WIDTH, bias=self.bias)

        yield from _rate_map(self, SHORTCUTS, RATES if self.wide else RATES[1:3], build)


@dataclass(frozen=True)
class InitialSignal(Experiment):
    """The five orders before any training: what flows along the shortcuts forward, backward, and backward past no branch."""

    id = "initial_signal"
    title = "학습 전의 신호: 순전파와 역전파"
    note = "학습하지 않은 망(폭 4, 시드 다섯 개)에 숫자 그림 128장을 넣고, 유닛마다 신호와 그래디언트의 크기(RMS)를 잽니다. 셋째 그림은 가지로 가는 그래디언트를 끊고 지름길로만 보낸 것입니다. BN은 학습 모드입니다."
    panels = (
        Lines("forward", "유닛의 출력", x="유닛 (입력 → 출력)", y="신호 RMS (첫 유닛의 입력 = 1)", series=ORDERS, scale="log"),
        Lines("backward", "그래디언트, 유닛의 입력에서", x="유닛 (입력 → 출력)", y="그래디언트 RMS (마지막 출력 = 1)", series=ORDERS, scale="log"),
        Lines("shortcut", "지름길만 지나온 그래디언트", x="유닛 (입력 → 출력)", y="그래디언트 RMS (마지막 출력 = 1)", series=ORDERS, scale="log"),
        Table("final", "망 전체에서", columns=("순서", "순전파: 마지막 ÷ 처음", "역전파: 처음 ÷ 마지막", "지름길만: 처음 ÷ 마지막")),
    )
    grid = {"depth": (20, 56, 110)}
    sample = {"depth": 20}

    depth: int = slider("깊이", (20, 32, 56, 110), 56, unit="층")
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        sizes = {order: self._sizes(order) for order in ORDERS}
        units = (self.depth - 2) // 2
        for unit in range(1, units + 1):
            curves = {
                "forward": {order: forward[unit] / forward[0] for order, (forward, _, _) in sizes.items()},
                "backward": {order: backward[unit - 1] / backward[-1] for order, (_, backward, _) in sizes.items()},
                "shortcut": {order: alone[unit - 1] / alone[-1] for order, (_, _, alone) in sizes.items()},
            }
            yield Frame(unit, units, curves=curves, **(self._whole(sizes) if unit == units else {}))

    def _whole(self, sizes: dict[str, tuple[Tensor, Tensor, Tensor]]) -> dict:
        numbers = {
            "growth": {order: forward[-1] / forward[0] for order, (forward, _, _) in sizes.items()},
            "gradient": {order: backward[0] / backward[-1] for order, (_, backward, _) in sizes.items()},
            "shortcut": {order: alone[0] / alone[-1] for order, (_, _, alone) in sizes.items()},
        }
        rows = [[label, *(f"{series[order].mean():.2g}배" for series in numbers.values())] for order, label in ORDERS.items()]
        return {"numbers": numbers, "tables": {"final": rows}}

    def _sizes(self, order: str) -> tuple[Tensor, Tensor, Tensor]:
        """RMS of the stream, of its gradient, and of the gradient along the shortcuts alone: (units + 1, seeds) each."""
        seeds, task = self.seed_range(), load_digits()
        x, y = (part[:128].expand(len(seeds), *part[:128].shape) for part in (task.x_train, task.y_train))
        whole, alone = (kind(order, seeds, n=(self.depth - 2) // 6, width=WIDTH) for kind in (StackedOrderNet, ShortcutOnlyNet))
        states = whole.stream(x)
        gradients = torch.autograd.grad(cross_entropy(whole.logits(states[-1]), y).sum(), states)
        shortcut = alone.stream(x)
        passed = torch.autograd.grad(shortcut[-1], shortcut, gradients[-1])
        return tuple(
            torch.stack([v.unflatten(1, (len(seeds), -1)).square().mean((0, 2, 3, 4)).sqrt() for v in values])
            for values in ([state.detach() for state in states], gradients, passed)
        )


EXPERIMENTS = (ShortcutKinds, InitialSignal, OrderRates, OrderAndLastBN)
