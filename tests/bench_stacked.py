"""Part of `make bench`: what stacking buys. Each stack against the same networks one at a time, and an MLP against its bare matrix products.

All of it is one process and one thread, and the two sides take turns. Both sides use the course's fused optimisers, the
same data and the same loop; `test_training.py` and its like say that the numbers are the same too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from residual_lab.blocks.transformer import Design
from residual_lab.data import load_digits
from residual_lab.experiments import densenet, norm_placement, residual_math, residual_stream, scaling, skip_families, stochastic_depth
from residual_lab.text import jamo_batches, load_jamo
from residual_lab.training import Condition, StackedConvNet, StackedMLP, fit, stacked_batches
from residual_lab.training.adam import fit_adam
from residual_lab.training.chains import StackedChain, fit_squares
from residual_lab.training.dense import StackedDenseNet
from residual_lab.training.dropped import DroppedMLP
from residual_lab.training.shortcuts import StackedShortcutNet
from residual_lab.training.stacked_modules import StackedModules
from residual_lab.training.stacked_orders import StackedOrderNet, StackedShortcutKinds

MANY = 10_000
"""Steps that a training loop is told it has: more than are measured, so that no schedule ends."""
PLAIN, RESIDUAL = Condition(skip=False), Condition(skip=True)


@dataclass(frozen=True)
class Workload:
    """What an experiment trains, at its lesson's setting.

    Args:
        make: conditions and seeds → an iterator that takes a training step whenever it is advanced.
        conditions, seeds: those that the experiment trains side by side.
    """

    experiment: str
    make: Callable[[Sequence, Sequence[int]], Iterator]
    conditions: Sequence
    seeds: Sequence[int]

    def stacked(self) -> Iterator:
        return self.make(self.conditions, self.seeds)

    def one_at_a_time(self) -> list[Iterator]:
        return [self.make([condition], [seed]) for condition in self.conditions for seed in self.seeds]


def digits(conditions: Sequence, seeds: Sequence[int], *, batch: int, flat: bool) -> Iterator:
    task = load_digits()
    x = task.x_train.flatten(1) if flat else task.x_train
    return stacked_batches(x, task.y_train, conditions=len(conditions), seeds=seeds, batch=batch, steps=MANY)


def by_sgd(build: Callable[[Sequence, Sequence[int]], nn.Module], *, batch: int = 128, flat: bool = False, lr: float = 0.01) -> Callable:
    return lambda conditions, seeds: fit(build(conditions, seeds), digits(conditions, seeds, batch=batch, flat=flat), steps=MANY, lr=lr)


def mlp(depth: int, width: int = 32) -> Callable:
    return by_sgd(lambda conditions, seeds: StackedMLP(conditions, seeds, depth=depth, sizes=(64, width, 10)), flat=True)


def convnet(n: int, width: int = 4) -> Callable:
    return by_sgd(lambda conditions, seeds: StackedConvNet(conditions, seeds, n=n, width=width), lr=0.05)


def transformer(depth: int, width: int) -> Callable:
    def make(designs: Sequence[Design], seeds: Sequence[int]) -> Iterator:
        model = norm_placement.transformers(designs, seeds, depth=depth, width=width)
        return fit_adam(model, norm_placement.windows(len(designs), seeds, MANY), steps=MANY, lr=3e-3)
    return make


def rezero(conditions: Sequence, seeds: Sequence[int]) -> Iterator:
    model = scaling.StackedTransformer(scaling.shape(48), [scaling.design("rezero", 48)] * len(conditions), seeds)
    return fit_adam(model, scaling.batches(len(conditions), seeds, batch=8, steps=MANY), steps=MANY, lr=3e-3)


def chain(conditions: Sequence[Condition], seeds: Sequence[int]) -> Iterator:
    model = StackedChain(conditions, seeds, blocks=4, sizes=(residual_math.WIDTH, residual_math.HIDDEN))
    batches = residual_math.target_batches("near", seeds, conditions=len(conditions), steps=MANY)
    return fit_squares(model, batches, steps=MANY, lr=0.01)


def unet(skips: Sequence[str], seeds: Sequence[int]) -> Iterator:
    model = StackedModules([skip_families.UNet1d(3, 8, skip, seed=seed) for skip in skips for seed in seeds])
    noisy, clean = skip_families.steps_with_noise(16, 0.3, torch.Generator().manual_seed(0))
    shape = (len(skips) * len(seeds), 1, 1)
    return fit_squares(model, iter(lambda: (noisy.repeat(shape), clean.repeat(shape)), None), steps=MANY, lr=5e-3)


def ssm(skips: Sequence[bool], seeds: Sequence[int]) -> Iterator:
    text = load_jamo()
    model = StackedModules([skip_families.SSMLanguageModel(len(text.vocabulary), 16, 8, skip, seed=seed) for skip in skips for seed in seeds])
    return fit_adam(model, jamo_batches(text.ids, conditions=len(skips), seeds=seeds, context=16, batch=8, steps=MANY), steps=MANY, lr=0.01)


def to_repeat(_: Sequence, seeds: Sequence[int]) -> Iterator:
    return residual_stream.train_to_repeat(residual_stream.repeater(2, seeds), steps=MANY)


def on_text(_: Sequence, seeds: Sequence[int]) -> Iterator:
    return residual_stream.train_on_text(residual_stream.language_model(4, seeds), steps=MANY)


def dropped(schedules: Sequence[list[float]], seeds: Sequence[int]) -> nn.Module:
    return DroppedMLP(schedules, seeds, depth=2 * stochastic_depth.BLOCKS, sizes=(64, stochastic_depth.WIDTH, 10))


WORKLOADS = (
    Workload("mlp_depth", mlp(32), [PLAIN, RESIDUAL], range(5)),
    Workload("learning_rate_map", mlp(32), [PLAIN] * 5, range(3)),
    Workload("identity_insertion", mlp(40), [PLAIN], range(5)),
    Workload("conv_2x2", convnet(9), [PLAIN, RESIDUAL], range(3)),
    Workload("near_identity", chain, [PLAIN, RESIDUAL, Condition(True, "zero"), Condition(False, "identity")], range(5)),
    Workload("shortcut_options", by_sgd(lambda options, seeds: StackedShortcutNet(options, seeds, n=3, width=4), lr=0.05), ["plain", "A", "B", "C"], range(3)),
    Workload("order_rates", by_sgd(lambda rates, seeds: StackedOrderNet("full", list(seeds) * len(rates), n=3, width=4), batch=64, lr=0.1), [None] * 4, range(3)),
    Workload("shortcut_kinds", by_sgd(lambda rates, seeds: StackedShortcutKinds("gate", list(seeds) * len(rates), n=3, width=4), batch=64, lr=0.1), [None] * 4, range(3)),
    Workload("dense_or_residual", by_sgd(lambda _, seeds: StackedDenseNet(seeds, layers=4, growth=9, channels=18), batch=densenet.BATCH, lr=0.05), [None], range(5)),
    Workload("warmup_map", transformer(8, 16), [Design("pre")] * 6, range(3)),
    Workload("depth_use", transformer(6, 32), [Design("pre"), Design("pre")], range(5)),
    Workload("rezero_gain", rezero, [None], range(3)),
    Workload("stochastic_training", by_sgd(dropped, batch=stochastic_depth.BATCH, flat=True), [[1.0] * stochastic_depth.BLOCKS, stochastic_depth.linear_decay(stochastic_depth.BLOCKS, 0.5)], range(5)),
    Workload("induction_head", to_repeat, [None], range(5)),
    Workload("logit_lens", on_text, [None], range(5)),
    Workload("unet_skip", unet, skip_families.SKIPS, range(5)),
    Workload("ssm_depth", ssm, [True, False], range(5)),
)


def stacking(workload: Workload, repetitions: int, least_s: float = 0.3) -> list[float]:
    """CPU time one at a time ÷ stacked, once for each repetition: the same steps of the same networks, in turns."""
    stack, alone = workload.stacked(), workload.one_at_a_time()
    seconds_of(alone, 2)
    steps = max(1, math.ceil(2 * least_s / seconds_of([stack], 2)))
    return [seconds_of(alone, steps) / seconds_of([stack], steps) for _ in range(repetitions)]


def seconds_of(runs: Sequence[Iterator], steps: int) -> float:
    start = time.process_time()
    for run in runs:
        for _ in islice(run, steps):
            pass
    return time.process_time() - start


def above_the_floor(depth: int, repetitions: int, *, networks: int = 10, batch: int = 128, width: int = 32) -> list[float]:
    """CPU time of a stack's training step ÷ that of its matrix products alone (one forwards, two backwards), in turns."""
    run = mlp(depth, width)([PLAIN, RESIDUAL], range(networks // 2))
    shapes = [(64, width), *[(width, width)] * depth, (width, 10)]
    layers = [(torch.randn(networks, batch, a), torch.randn(networks, a, b), torch.randn(networks, batch, b)) for a, b in shapes]

    def products() -> Iterator[None]:
        while True:
            for x, w, g in layers:
                torch.bmm(x, w), torch.bmm(x.mT, g), torch.bmm(g, w.mT)
            yield

    bare = products()
    seconds_of([run, bare], 3)
    return [seconds_of([run], 20) / seconds_of([bare], 20) for _ in range(repetitions)]


@dataclass(frozen=True)
class Growth:
    """How the seconds of a training step grow with one size of a network, everything else fixed."""

    kind: str
    size: str
    values: Sequence[int]
    make: Callable[[int], Iterator]

    def seconds(self, repetitions: int) -> list[tuple[int, list[float]]]:
        """For every value the CPU seconds a step of each repetition; the values take turns."""
        runs = {value: self.make(value) for value in self.values}
        steps = {value: max(1, math.ceil(0.1 / (seconds_of([run], 2) / 2))) for value, run in runs.items()}
        taken = {value: [] for value in self.values}
        for _ in range(repetitions):
            for value, run in runs.items():
                taken[value].append(seconds_of([run], steps[value]) / steps[value])
        return list(taken.items())


def _conditions(make: Callable, condition: object) -> Callable[[int], Iterator]:
    return lambda count: make([condition] * count, [0])


def _seeds(make: Callable, condition: object) -> Callable[[int], Iterator]:
    return lambda count: make([condition], range(count))


DEPTHS, WIDTHS, MEMBERS = (4, 8, 16, 32, 64), (16, 32, 64, 128), (1, 2, 4, 8, 16)
GROWTH = (
    Growth("MLP", "깊이", DEPTHS, lambda depth: mlp(depth)([PLAIN, RESIDUAL], range(5))),
    Growth("MLP", "폭", WIDTHS, lambda width: mlp(16, width)([PLAIN, RESIDUAL], range(5))),
    Growth("MLP", "시드", MEMBERS, _seeds(mlp(16), RESIDUAL)),
    Growth("MLP", "조건", MEMBERS, _conditions(mlp(16), RESIDUAL)),
    Growth("ConvNet", "깊이", (8, 14, 20, 32, 56), lambda depth: convnet((depth - 2) // 6)([RESIDUAL], range(3))),
    Growth("ConvNet", "폭", (4, 8, 16, 32), lambda width: convnet(1, width)([RESIDUAL], range(3))),
    Growth("ConvNet", "시드", MEMBERS, _seeds(convnet(1), RESIDUAL)),
    Growth("ConvNet", "조건", MEMBERS, _conditions(convnet(1), RESIDUAL)),
    Growth("Transformer", "깊이", DEPTHS, lambda depth: transformer(depth, 16)([Design("pre")], range(3))),
    Growth("Transformer", "폭", WIDTHS, lambda width: transformer(4, width)([Design("pre")], range(3))),
    Growth("Transformer", "시드", MEMBERS, _seeds(transformer(4, 16), Design("pre"))),
    Growth("Transformer", "조건", MEMBERS, _conditions(transformer(4, 16), Design("pre"))),
)
