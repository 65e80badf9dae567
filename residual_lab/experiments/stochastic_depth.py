"""Lesson 09: dropping residual blocks while training. What it saves, when it helps, and what it allows afterwards.

Stochastic depth: Huang et al. 2016 (arXiv:1603.09382). Removing layers from a network that was trained to do without them: Fan
et al. 2020 (LayerDrop, arXiv:1909.11556).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from residual_lab.blocks.stochastic_depth import linear_decay, poisson_binomial
from residual_lab.data import Task, load_digits, load_fashion
from residual_lab.experiments.base import Bars, Experiment, Frame, Lines, Table, choice, seed_knob, slider
from residual_lab.training import evaluate, fit, stacked_batches
from residual_lab.training.dropped import DroppedConvNet, DroppedMLP, Masks

BATCH, WIDTH, BLOCKS = 64, 32, 16
RULES = {"linear": "선형 감소 (p_L까지)", "uniform": "모든 블록이 p_L"}


def schedule(rule: str, blocks: int, last: float) -> list[float]:
    """Survival probabilities of a choice of `RULES`."""
    return linear_decay(blocks, last) if rule == "linear" else [last] * blocks


def small_digits(train: int = 256) -> Task:
    """The 8×8 digits with only ``train`` images to learn from and all others to test on."""
    task = load_digits()
    x, y = torch.cat([task.x_train, task.x_test]), torch.cat([task.y_train, task.y_test])
    return Task(x[:train], y[:train], x[train:], y[train:])


TASKS = {"small": small_digits, "digits": load_digits, "fashion": lambda: load_fashion(train=7000, pool=4)}


@dataclass(frozen=True)
class DepthSchedule(Experiment):
    """Masks drawn for mini-batch after mini-batch, beside the exact distributions of depth and of path length."""

    id = "depth_schedule"
    title = "살아남는 블록: 스케줄, 깊이, 경로"
    note = "학습은 하지 않고 마스크만 뽑습니다. 미니배치 2,000개 동안 블록마다 살아남을지 정하고, 살아남은 블록을 셉니다. 시드 다섯 개."
    panels = (
        Bars("survival", "블록마다 살아남은 비율", x="블록 (입력 → 출력)", y="비율", series={"exact": "생존 확률", "drawn": "뽑은 결과"}),
        Bars("depth", "미니배치 하나가 학습하는 블록 수", x="살아남은 블록 수 (0은 그리지 않음)", y="확률", series={"exact": "정확한 분포", "drawn": "뽑은 결과"}),
        Bars("path", "아무렇게나 고른 경로의 길이", x="경로가 지나는 블록 수 (0은 그리지 않음)", y="확률", series={"all": "버리지 않음", "dropped": "버리면서 학습"}),
        Lines("mean", "지금까지의 평균이 기댓값에서 벗어난 정도", x="미니배치", y="블록 수", series={"drawn": "|평균 − 기댓값|", "exact": "표준오차 σ/√n"}),
        Table("final", "정확한 값", columns=("기대 블록 수", "표준편차", "아끼는 블록 계산 (%)", "경로 길이 평균")),
    )
    grid = {"blocks": (12, 27, 54), "last": (0.2, 0.5, 0.8, 1.0), "rule": tuple(RULES)}
    sample = {"blocks": 12}

    blocks: int = slider("블록 수 L", (12, 27, 54), 54, unit="개", help="논문의 110층 ResNet은 54블록입니다.")
    last: float = slider("생존 확률 p_L", (0.2, 0.35, 0.5, 0.65, 0.8, 1.0), 0.5, help="마지막 블록이 살아남을 확률입니다.")
    rule: str = choice("스케줄", RULES, "linear")
    seed: int = seed_knob(help="첫 시드입니다. 이 수부터 차례로 이어지는 시드들로 마스크를 뽑습니다.")

    steps, slice = 2000, 50

    def frames(self) -> Iterator[Frame]:
        p = schedule(self.rule, self.blocks, self.last)
        masks = Masks([p], self.seed_range())
        depth, path = poisson_binomial(p), poisson_binomial([p_l / 2 for p_l in p])
        every = poisson_binomial([0.5] * self.blocks)
        expected, deviation = sum(p), sum(p_l * (1 - p_l) for p_l in p) ** 0.5
        survived, counts = torch.zeros(self.blocks, dtype=torch.float64), torch.zeros(self.blocks + 1, dtype=torch.float64)
        for step in range(self.slice, self.steps + 1, self.slice):
            for _ in range(self.slice):
                kept = masks.draw(1)[..., 0]
                survived += kept.double().mean(0)
                counts += torch.bincount(kept.sum(1), minlength=self.blocks + 1) / len(kept)
            frame = Frame(step, self.steps, profiles={
                "survival": {"exact": p, "drawn": survived / step},
                "depth": {"exact": depth[1:], "drawn": (counts / step)[1:]},
                "path": {"all": every[1:], "dropped": path[1:]},
            }, curves={"mean": {"drawn": (masks.executed / step - expected).abs(), "exact": [deviation / step**0.5] * len(kept)}})
            if step == self.steps:
                frame.tables["final"] = [[f"{expected:.2f}", f"{deviation:.2f}", f"{100 * (1 - expected / self.blocks):.1f}", f"{expected / 2:.2f}"]]
                frame.numbers["depth"] = {"drawn": masks.executed / step, "expected": [expected]}
            yield frame


@dataclass(frozen=True)
class StochasticTraining(Experiment):
    """The same networks with and without stochastic depth, on little data for long or on much data for a short time."""

    id = "stochastic_training"
    title = "확률적 깊이로 학습하기"
    note = "버리지 않는 망과 선형 감소 규칙으로 버리는 망을 시드 다섯 개씩 함께 학습합니다. 시드가 같으면 초기 가중치와 배치 순서가 같고, 마스크는 시드마다 따로 뽑습니다. 배치 64."
    series = {"full": "버리지 않음", "dropped": "확률적 깊이"}
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=series, scale="log"),
        Lines("test", "시험 오차 (시험 데이터 가운데 1,000장까지)", x="단계", y="시험 오차 (%)", scale="log",
              series={**series, "raw": "재조정 없이 시험"}),
        Table("final", "학습이 끝난 뒤", columns=("조건", "학습 오차 (%)", "시험 오차 (%)", "시험 오차 범위", "시험 손실", "계산한 블록 (%)")),
    )
    grid = {"task": ("small", "fashion"), "last": (0.2, 0.5, 0.8), "mode": ("batch", "row"), "steps": (600, 1200)}
    sample = {"last": 0.8, "steps": 600}

    task: str = choice("데이터", {"small": "숫자 256장", "digits": "숫자 1,437장", "fashion": "Fashion-MNIST 7,000장"}, "small",
                       help="숫자는 8×8, Fashion-MNIST는 7×7로 줄인 그림입니다.")
    last: float = slider("생존 확률 p_L", (0.2, 0.35, 0.5, 0.65, 0.8), 0.5)
    mode: str = choice("버리는 단위", {"batch": "미니배치마다 (논문)", "row": "표본마다"}, "batch")
    net: str = choice("망", {"mlp": "MLP (16블록, 폭 32)", "conv": "ResNet-20 (9블록, 폭 4, BN)"}, "mlp", help="ResNet은 훨씬 느립니다.")
    steps: int = slider("단계", (300, 600, 1200), 600, help="학습률은 코사인 곡선을 그리며 0으로 줄어듭니다.")
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        seeds, (x, y, x_test, y_test) = self.seed_range(), TASKS[self.task]()
        if self.net == "mlp":
            x, x_test = x.flatten(1), x_test.flatten(1)
        model = self._model(seeds, x.shape[-1])
        few = x_test[:1000], y_test[:1000]
        batches = stacked_batches(x, y, conditions=2, seeds=seeds, batch=BATCH, steps=self.steps)
        settings = dict(lr=0.01) if self.net == "mlp" else dict(lr=0.05, weight_decay=1e-4)
        for step, losses in fit(model, batches, steps=self.steps, **settings):
            frame = Frame(step, self.steps, curves={"loss": _halves(losses)})
            if step % 30 == 0:
                (_, error), (_, raw) = scores(model, *few), scores(model, *few, rescale=False)
                frame.curves["test"] = {**_halves(error), "raw": _halves(raw)["dropped"]}
            if step == self.steps:
                self._final(frame, model, (x, y), (x_test, y_test))
            yield frame

    def _model(self, seeds: range, inputs: int) -> DroppedMLP | DroppedConvNet:
        blocks = BLOCKS if self.net == "mlp" else 9
        schedules, row = [[1.0] * blocks, linear_decay(blocks, self.last)], self.mode == "row"
        if self.net == "mlp":
            return DroppedMLP(schedules, seeds, depth=2 * blocks, sizes=(inputs, WIDTH, 10), row=row)
        return DroppedConvNet(schedules, seeds, n=blocks // 3, width=4, row=row)

    def _final(self, frame: Frame, model: nn.Module, train: tuple, test: tuple) -> None:
        _, train_error = scores(model, *train)
        loss, error = map(_halves, scores(model, *test))
        raw_loss, raw_error = (_halves(v)["dropped"] for v in scores(model, *test, rescale=False))
        executed = _halves(model.masks.executed / (model.masks.steps * model.factors.shape[1]))
        train_error = {**_halves(train_error), "raw": _halves(train_error)["dropped"]}
        error["raw"], loss["raw"], executed["raw"] = raw_error, raw_loss, executed["dropped"]
        frame.numbers = {"train_error": train_error, "test_error": error, "test_loss": loss, "executed": executed}
        frame.tables["final"] = [
            [label, f"{train_error[key].mean():.1f}", *_mean_and_range(error[key]), f"{loss[key].mean():.3f}", f"{100 * executed[key].mean():.1f}"]
            for key, label in {**self.series, "raw": "재조정 없이 시험"}.items()
        ]


def _mean_and_range(values: Tensor) -> tuple[str, str]:
    return f"{values.mean():.1f}", f"{values.min():.1f}~{values.max():.1f}"


def _halves(values: Tensor) -> dict[str, Tensor]:
    full, dropped = values.chunk(2)
    return {"full": full, "dropped": dropped}


def scores(model: DroppedMLP | DroppedConvNet, x: Tensor, y: Tensor, *, rescale: bool = True, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Loss and error (percent) of every network, (K,), with p_l or 1 as the factors of the branches, and some blocks removed.

    Args:
        keep: (L,), 0 for the blocks that are removed.
    """
    factors = model.masks.survival if rescale else torch.ones_like(model.masks.survival)
    model.factors = factors if keep is None else factors * keep
    found = evaluate(model, x, y, networks=len(factors))
    model.factors = model.masks.survival
    return found


def without(blocks: int, removed: Sequence[int]) -> Tensor:
    """A factor for every block: 0 for the removed ones (numbered from 0), 1 for the others."""
    keep = torch.ones(blocks)
    keep[list(removed)] = 0
    return keep


def removal_orders(order: str) -> list[Callable[[int], list[int]]]:
    """Functions from how many blocks to remove to which: spread evenly, from the end, or the first of four random orders."""
    if order == "random":
        drawn = [torch.randperm(BLOCKS, generator=torch.Generator().manual_seed(number)).tolist() for number in range(4)]
        return [lambda count, order=order: order[:count] for order in drawn]
    if order == "last":
        return [lambda count: list(range(BLOCKS - count, BLOCKS))]
    return [lambda count: [int((i + 0.5) * BLOCKS / count) for i in range(count)]]


@dataclass(frozen=True)
class BlockPruning(Experiment):
    """How many blocks a trained network can lose, trained without dropping, with linear decay and with one survival probability."""

    id = "block_pruning"
    title = "가지치기: 학습한 뒤에 블록 지우기"
    note = "세 가지로 학습한 MLP(16블록, 폭 32)를 시드 다섯 개씩, 숫자 그림 1,437장으로 600단계 학습합니다. 지운 뒤에는 더 학습하지 않습니다."
    series = {"full": "버리지 않음", "linear": "선형 감소", "uniform": "모든 블록이 p_L"}
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=series, scale="log"),
        Bars("pruned", "k개를 지웠을 때", x="지운 블록 수 k", y="시험 오차 (%)", series=series),
        Bars("lesion", "하나만 지웠을 때", x="지운 블록 (입력 → 출력)", y="시험 오차 (%)", series=series),
        Table("final", "학습이 끝난 뒤의 시험 오차 (%)", columns=("조건", "지우지 않음", "8개를 지움", "8개를 지움: 시드 범위")),
    )
    grid = {"order": ("even", "random", "last"), "rescale": (True, False)}
    sample = {"order": "last"}

    order: str = choice("지우는 순서", {"even": "고르게 (한 블록 걸러)", "random": "무작위로", "last": "뒤에서부터"}, "even")
    last: float = slider("생존 확률 p_L", (0.35, 0.5, 0.65, 0.8), 0.5)
    rescale: bool = choice("남은 가지의 배율", {True: "p_l (논문의 시험 규칙)", False: "1 (학습 때처럼)"}, True)
    seed: int = seed_knob()

    steps = 600

    def frames(self) -> Iterator[Frame]:
        seeds, task = self.seed_range(), load_digits()
        x, test = task.x_train.flatten(1), (task.x_test.flatten(1), task.y_test)
        schedules = [[1.0] * BLOCKS, linear_decay(BLOCKS, self.last), [self.last] * BLOCKS]
        model = DroppedMLP(schedules, seeds, depth=2 * BLOCKS, sizes=(x.shape[1], WIDTH, 10))
        batches = stacked_batches(x, task.y_train, conditions=3, seeds=seeds, batch=BATCH, steps=self.steps)
        for step, losses in fit(model, batches, steps=self.steps, lr=0.01):
            frame = Frame(step, self.steps, curves={"loss": self._thirds(losses)})
            if step % 100 == 0:
                error = self._pruned(model, test)
                alone = [scores(model, *test, rescale=self.rescale, keep=without(BLOCKS, [block]))[1] for block in range(BLOCKS)]
                frame.profiles = {name: {key: values.mean(0) for key, values in self._thirds(torch.stack(found, 1)).items()}
                                  for name, found in (("pruned", error[1:]), ("lesion", alone))}
            if step == self.steps:
                frame.numbers = {str(count): self._thirds(found) for count, found in enumerate(error)}
                frame.numbers["lesion"] = {key: values.mean(1) for key, values in self._thirds(torch.stack(alone, 1)).items()}
                frame.tables["final"] = [
                    [label, f"{frame.numbers['0'][key].mean():.1f}", *_mean_and_range(frame.numbers["8"][key])] for key, label in self.series.items()
                ]
            yield frame

    def _pruned(self, model: DroppedMLP, test: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Test error after 0, 1, … 15 blocks are removed; at random, the mean of four orders."""
        orders = removal_orders(self.order)
        return [torch.stack([scores(model, *test, rescale=self.rescale, keep=without(BLOCKS, order(count)))[1] for order in orders]).mean(0)
                for count in range(BLOCKS)]

    def _thirds(self, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.series, values.chunk(3)))


EXPERIMENTS = (DepthSchedule, StochasticTraining, BlockPruning)
