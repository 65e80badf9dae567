"""Lesson 10: skips of other families (U-Net, state space models), and whether a shortcut helps against noise in the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab.blocks.ssm import SSMLanguageModel
from residual_lab.blocks.unet import SKIPS, UNet1d
from residual_lab.data import load_fashion
from residual_lab.experiments.base import Bars, Experiment, Frame, Lines, Table, log_slider, choice, seed_knob, slider
from residual_lab.text import jamo_batches, load_jamo
from residual_lab.training import Condition, StackedMLP, evaluate, fit, stacked_batches
from residual_lab.training.adam import fit_adam
from residual_lab.training.chains import fit_squares
from residual_lab.training.stacked_modules import StackedModules

SIGNAL = 32


def steps_with_noise(batch: int, sigma: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (batch, 32) that are constant between jumps, with Gaussian noise and without."""
    jumps = torch.rand(batch, SIGNAL, generator=generator) < 0.1
    jumps[:, 0] = True
    levels = torch.randn(batch, SIGNAL, generator=generator)
    clean = levels.gather(1, jumps.cumsum(1) - 1)
    return clean + sigma * torch.randn(batch, SIGNAL, generator=generator), clean


def error_by_distance(error: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error by how far the nearest jump is: 0 (beside it), 1, 2, 3 and more; (K, B, T) and (B, T) → (K, 4)."""
    edge = clean.diff(dim=1).abs() > 1e-6
    places, count = torch.arange(clean.shape[1]), clean.shape[1]
    apart = torch.stack([torch.where(edge, (places[1:] - 1 - t).clamp(min=0).maximum(t - places[1:]), count).amin(1) for t in range(count)], 1)
    apart = apart.clamp(max=3)
    return torch.stack([error[:, apart == distance].square().mean(1) for distance in range(4)], 1)


@dataclass(frozen=True)
class UNetSkip(Experiment):
    """A small U-Net takes noise out of signals with jumps, with its long skips and without."""

    id = "unet_skip"
    title = "U-Net의 긴 스킵: 이어 붙이기, 더하기, 없음"
    note = "계단 모양 신호(길이 32)에 잡음을 더하고 원래 신호를 되찾는 1차원 U-Net입니다. 세 망은 파라미터 수와 처음 가중치가 같고, 시드 다섯 개씩 150단계를 함께 학습합니다."
    labels = {"concat": "이어 붙이기", "add": "더하기", "none": "없음"}
    panels = (
        Lines("error", "새 신호의 제곱 오차", x="단계", y="제곱 오차", scale="log", series={**labels, "noisy": "잡음 그대로"}),
        Bars("edges", "계단에서 얼마나 먼가 (1: 바로 옆, 4: 세 칸 이상)", x="자리", y="제곱 오차", series={"concat": "이어 붙이기", "none": "없음"}),
        Table("final", "학습이 끝났을 때", columns=("스킵", "제곱 오차", "시드 범위")),
    )
    grid = {"levels": (1, 2, 3), "sigma": (0.1, 0.3)}
    sample = {"levels": 2, "sigma": 0.3}

    levels: int = slider("깊이 (반으로 줄이는 횟수)", (1, 2, 3), 3, unit="단")
    sigma: float = log_slider("잡음의 표준편차 σ", (0.1, 0.3, 0.6), 0.3)
    seed: int = seed_knob()

    steps, every = 150, 10

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        model = StackedModules([UNet1d(self.levels, 8, skip, seed=seed) for skip in SKIPS for seed in seeds])
        noisy, clean = steps_with_noise(128, self.sigma, torch.Generator().manual_seed(4_000_037))
        unchanged = (noisy - clean).square().mean().view(1)
        for step in fit_squares(model, self._batches(), steps=self.steps, lr=5e-3):
            if step.step % self.every and step.step > 1:
                continue
            with torch.no_grad():
                error = model(noisy.expand(3 * len(seeds), -1, -1)) - clean
            by_skip = dict(zip(SKIPS, error.square().mean((1, 2)).chunk(3)))
            edges = dict(zip(SKIPS, error_by_distance(error, clean).chunk(3)))
            frame = Frame(step.step, self.steps, curves={"error": {**by_skip, "noisy": unchanged}})
            frame.profiles["edges"] = {skip: edges[skip].mean(0) for skip in ("concat", "none")}
            if step.step == self.steps:
                frame.numbers = {"error": {**by_skip, "noisy": unchanged}, "beside": {skip: edges[skip][:, 0] for skip in SKIPS}}
                frame.tables["final"] = [[self.labels[skip], f"{v.mean():.4f}", f"{v.min():.4f}~{v.max():.4f}"] for skip, v in by_skip.items()]
            yield frame

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        generators = [torch.Generator().manual_seed(4_000_000 + seed) for seed in self.seed_range()]
        for _ in range(self.steps):
            noisy, clean = zip(*(steps_with_noise(16, self.sigma, g) for g in generators))
            yield torch.stack(noisy).repeat(3, 1, 1), torch.stack(clean).repeat(3, 1, 1)


@dataclass(frozen=True)
class SSMDepth(Experiment):
    """A diagonal state space model of growing depth reads the text, with shortcuts and without."""

    id = "ssm_depth"
    title = "SSM 블록을 쌓으면: 지름길이 있을 때와 없을 때"
    note = "대각 SSM 블록(폭 16)을 쌓아 우리말 자모를 읽습니다. 두 망은 지름길만 다르고(LN은 둘 다 있습니다) 시드 다섯 개씩 100단계를 학습합니다. 자모의 빈도만 아는 예측의 손실은 표의 마지막 줄에 있습니다."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="손실 (nat)", series={"residual": "지름길 있음", "plain": "지름길 없음"}),
        Table("final", "마지막 15단계의 평균", columns=("망", "손실", "시드 범위")),
    )
    grid = {"depth": (2, 4, 8), "lr": (0.003, 0.01)}
    sample = {"depth": 2, "lr": 0.01}

    depth: int = slider("블록 수", (2, 4, 8, 16), 8, unit="블록")
    lr: float = choice("학습률 (Adam)", {0.003: "0.003", 0.01: "0.01"}, 0.01)
    seed: int = seed_knob()

    steps = 100

    def frames(self) -> Iterator[Frame]:
        seeds, text = self.seed_range(), load_jamo()
        model = StackedModules([SSMLanguageModel(len(text.vocabulary), 16, self.depth, skip, seed=seed) for skip in (True, False) for seed in seeds])
        batches = jamo_batches(text.ids, conditions=2, seeds=seeds, context=16, batch=8, steps=self.steps)
        tail: list[Tensor] = []
        for step in fit_adam(model, batches, steps=self.steps, lr=self.lr):
            residual, plain = step.losses.chunk(2)
            frame = Frame(step.step, self.steps, curves={"loss": {"residual": residual, "plain": plain}})
            tail = [*tail[-14:], step.losses]
            if step.step == self.steps:
                residual, plain = torch.stack(tail).mean(0).chunk(2)
                frame.numbers["train_loss"] = {"residual": residual, "plain": plain}
                named = {"지름길 있음": residual, "지름길 없음": plain, "빈도만 아는 예측": torch.tensor([text.entropy])}
                frame.tables["final"] = [[name, f"{v.mean():.2f}", f"{v.min():.2f}~{v.max():.2f}"] for name, v in named.items()]
            yield frame


def noise_errors(depth: int, sigmas: Sequence[float], seeds: Sequence[int], *, epochs: int = 3, lr: float = 0.05) -> dict[str, Tensor]:
    """Test error (percent) of ReLU MLPs on Fashion-MNIST (7×7 pixels) when the test images get Gaussian noise.

    Args:
        sigmas: standard deviations of the noise, in those of the pixels; the networks train without noise.
    Returns:
        "residual" and "plain": (seeds, sigmas) each; the noise is the same for all networks.
    """
    task = load_fashion(train=4000, pool=4)
    x, x_test, y_test = task.x_train.flatten(1), task.x_test[:1000].flatten(1), task.y_test[:1000]
    model = StackedMLP([Condition(True), Condition(False)], seeds, depth=depth, sizes=(49, 32, 10))
    steps = epochs * (len(x) // 100)
    for _ in fit(model, stacked_batches(x, task.y_train, conditions=2, seeds=seeds, batch=100, steps=steps), steps=steps, lr=lr):
        pass
    noise = torch.randn(x_test.shape, generator=torch.Generator().manual_seed(5_000_011))
    errors = [evaluate(model, x_test + sigma * noise, y_test, networks=2 * len(seeds))[1] for sigma in sigmas]
    residual, plain = torch.stack(errors, 1).chunk(2)
    return {"residual": residual, "plain": plain}
