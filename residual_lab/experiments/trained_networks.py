"""The networks of lesson 04: plain and residual ConvNets that are trained once in a session and then looked at often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from residual_lab import lesions
from residual_lab.data import load_digits
from residual_lab.experiments.base import Bars, Frame, Panel
from residual_lab.training import Condition, StackedConvNet, fit, stacked_batches

EPOCHS = 12
BATCH = 128
KINDS = {"plain": "플레인", "residual": "잔차"}
DEPTHS = {20: 3, 56: 9}
SETTING = f"폭 4, 숫자 그림(8×8), {EPOCHS}에폭, SGD 학습률 0.05, 모멘텀 0.9, 가중치 감쇠 0.0001, 배치 128, 시드 셋."

_finished: dict[tuple, tuple[StackedConvNet, list[Tensor]]] = {}


def learning(kinds: Sequence[str], depth: int, seeds: range) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
    """Train the ConvNets of He et al. 2015, §4.2, once in a session: step, steps and mini-batch losses by kind.

    A second time the stored losses are told again, so that a lab answers at once when only another block is chosen.
    """
    steps = EPOCHS * (len(load_digits().x_train) // BATCH)
    key = (tuple(kinds), depth, seeds)
    if key in _finished:
        losses = iter(_finished[key][1])
    else:
        net = fresh(kinds, depth, seeds)
        task = load_digits()
        batches = stacked_batches(task.x_train, task.y_train, conditions=len(kinds), seeds=seeds, batch=BATCH, steps=steps)
        losses = (step.losses for step in fit(net, batches, steps=steps, lr=0.05, weight_decay=1e-4))
    told = []
    for step, loss in enumerate(losses, start=1):
        told.append(loss)
        if step == steps and key not in _finished:
            _finished[key] = net.eval(), told
        yield step, steps, dict(zip(kinds, loss.chunk(len(kinds))))


def loss_panel(kinds: dict[str, str]) -> Panel:
    """The panel that `training_frames` fill."""
    return Bars("loss", "학습: 에폭마다의 학습 손실", x="에폭", y="교차 엔트로피 (시드 평균)", series=kinds, scale="log")


def training_frames(kinds: Sequence[str], depth: int, seeds: range, *, more: int) -> Iterator[Frame]:
    """Train, or tell the training again: each kind's mean loss in every epoch so far. ``more`` steps of the run follow."""
    told: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    for step, steps, losses in learning(kinds, depth, seeds):
        for kind, loss in losses.items():
            told[kind].append(loss.mean())
        epochs = {kind: [part.mean() for part in torch.stack(values).split(steps // EPOCHS)] for kind, values in told.items()}
        yield Frame(step, steps + more, profiles={"loss": {kind: torch.stack(means) for kind, means in epochs.items()}})


def trained(kinds: Sequence[str], depth: int, seeds: range) -> StackedConvNet:
    """The trained stack, in evaluation mode; it is trained now unless that was done before."""
    for _ in learning(kinds, depth, seeds):
        pass
    return _finished[tuple(kinds), depth, seeds][0]


def fresh(kinds: Sequence[str], depth: int, seeds: range) -> StackedConvNet:
    """The same stack before training."""
    net = StackedConvNet([Condition(skip=kind == "residual") for kind in kinds], seeds, n=DEPTHS[depth], width=4)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):  # with four channels a network a quarter faster on a CPU
            module.to(memory_format=torch.channels_last)
    return net


@cache
def without_block(kinds: tuple[str, ...], depth: int, seeds: range, block: int, reestimate: bool = False) -> Tensor:
    """Test error in percent of every network of a trained stack without one block (from 0), measured once in a session."""
    net = trained(kinds, depth, seeds)
    return lesions.error(net, lesions.without(net, [block]), load_digits(), reestimate=reestimate)
