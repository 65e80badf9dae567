"""Lesson 08: by how much must the branches shrink in a hundred layers?

Small Transformers of width 16 on a Korean text, letter by letter. LayerNorms have no parameters, so that placements
differ in nothing else. N is the number of blocks; 2N branches are added to the stream.

Bachlechner et al. 2020 (arXiv:2003.04887); Wang et al. 2022 (arXiv:2203.00555); De & Smith 2020 (arXiv:2002.10444).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from residual_lab.blocks import scaling
from residual_lab.blocks.transformer import Design, Sizes
from residual_lab.experiments.base import (
    Bars, Experiment, Frame, Lines, Table, choice, log_slider, precision_knob, seed_knob, slider,
)
from residual_lab.text import jamo_batches, load_jamo
from residual_lab.training.adam import cross_entropy, fit_adam
from residual_lab.training.fresh_blocks import fresh_stream
from residual_lab.training.optimizers import StackedAdam
from residual_lab.training.stacked_transformer import StackedTransformer

CONTEXT, WIDTH = 16, 16

FORMS: dict[str, tuple[str, Callable[[int], Design]]] = {
    "none": ("정규화 없음, x + F", lambda n: Design("none", affine=False)),
    "none_sqrt": ("정규화 없음, x + F/√(2N)", lambda n: scaling.uniform((2 * n) ** -0.5, "none", affine=False)),
    "pre": ("Pre-LN", lambda n: Design("pre", affine=False)),
    "pre_sqrt": ("Pre-LN, 가지 × 1/√(2N)", lambda n: scaling.uniform((2 * n) ** -0.5, affine=False)),
    "gpt2": ("Pre-LN, GPT-2 초기화", lambda n: scaling.gpt2(n, affine=False)),
    "source": ("자료의 DeepNet (Pre-LN, 가지 × α)", lambda n: scaling.uniform((2 * n) ** 0.25, affine=False)),
    "layerscale": ("LayerScale (10⁻⁴)", lambda n: scaling.layerscale(affine=False)),
    "post": ("Post-LN", lambda n: Design("post", affine=False)),
    "deepnorm": ("DeepNorm (논문)", lambda n: scaling.deepnorm(n, affine=False)),
    "rezero": ("ReZero (정규화 없음)", lambda n: scaling.rezero(affine=False)),
    "skipinit": ("SkipInit (정규화 없음)", lambda n: scaling.skipinit("none", affine=False)),
    "fixup": ("Fixup (정규화 없음)", lambda n: scaling.fixup(n, affine=False)),
}
"""How branches can be scaled: what the learner reads, and the design for N blocks."""
LABELS = {form: label for form, (label, _) in FORMS.items()}


def design(form: str, depth: int) -> Design:
    """The design that a name of `FORMS` stands for, with N = ``depth`` blocks."""
    return FORMS[form][1](depth)


def shape(depth: int) -> Sizes:
    """The small Transformer of this lesson."""
    return Sizes(len(load_jamo().vocabulary), CONTEXT, WIDTH, 2, depth)


def batches(conditions: int, seeds: Sequence[int], *, batch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of the course's Korean text for conditions × seeds models."""
    return jamo_batches(load_jamo().ids, conditions=conditions, seeds=seeds, context=CONTEXT, batch=batch, steps=steps)


def mean_and_range(values: Tensor, form: str = ".3g") -> tuple[str, str]:
    """Mean and smallest~largest over seeds as a table shows them."""
    if not values.isfinite().all():
        return "발산", f"{int((~values.isfinite()).sum())}/{len(values)} 시드가 발산"
    return f"{values.mean():{form}}", f"{values.min():{form}}~{values.max():{form}}"


# The forward pass at initialisation.

STACKS = (("none", "none_sqrt"), ("pre", "pre_sqrt", "source"))
GROWING = tuple(form for forms in STACKS for form in forms)


def second_moments(
    depth: int, seeds: Sequence[int], *, embedding: float = 1.0, stacks: Sequence[Sequence[str]] = STACKS
) -> Iterator[dict[str, Tensor]]:
    """E x² of the stream at initialisation, (seeds,) for every form, after 0, 1, … N blocks.

    Args:
        embedding: standard deviation of the token embeddings; positions have half of it.
        stacks: names of `FORMS`, those of one placement together.
    """
    [(tokens, _)] = batches(1, seeds, batch=1, steps=1)
    streams = []
    for forms in stacks:
        designs = [replace(design(form, depth), embedding_std=embedding) for form in forms]
        streams.append(fresh_stream(shape(depth), designs, seeds, tokens.repeat(len(forms), 1, 1)))
    for xs in zip(*streams):
        moments = [x.square().mean((1, 2, 3)).chunk(len(forms)) for x, forms in zip(xs, stacks)]
        yield {form: value for forms, values in zip(stacks, moments) for form, value in zip(forms, values)}


@dataclass(frozen=True)
class StreamMoment(Experiment):
    """How large the stream grows at initialisation, form by form, up to a thousand blocks."""

    id = "stream_moment"
    title = "스트림은 얼마나 커지는가: 블록 천 개까지"
    note = "학습하기 전의 폭 16 Transformer(시드 다섯)에 글 16자를 넣고, 블록을 지날 때마다 스트림의 2차 모멘트 E x²를 잽니다. 블록 하나에서 가지 둘을 더합니다. 10¹²을 넘는 값은 그리지 않습니다."
    panels = (
        Lines("moment", "스트림의 2차 모멘트", x="블록", y="log₁₀ E x²", series={form: LABELS[form] for form in GROWING}),
        Table("final", "마지막 블록에서 E x²", columns=("방법", "시드 평균", "시드 범위")),
    )
    depths = (6, 12, 24, 48, 100, 200, 400, 1000)
    grid = {"depth": (6, 24, 100, 1000), "embedding": (0.1, 1.0, 10.0)}
    sample = {"depth": 6, "embedding": 10.0}

    depth: int = slider("블록 수 N", depths, 100, unit="개")
    embedding: float = choice("임베딩의 표준편차", {0.1: "0.1", 1.0: "1", 10.0: "10"}, 1.0)
    seed: int = seed_knob(help="첫 시드입니다. 이 수부터 차례로 이어지는 시드들을 함께 잽니다.")

    def frames(self) -> Iterator[Frame]:
        for step, moments in enumerate(second_moments(self.depth, self.seed_range(), embedding=self.embedding)):
            if step == 0:
                continue
            shown = {form: values.where(values < 1e12, torch.nan).log10() for form, values in moments.items()}
            frame = Frame(step, self.depth, curves={"moment": shown})
            if step == self.depth:
                frame.numbers["moment"] = moments
                frame.tables["final"] = [[LABELS[form], *mean_and_range(values)] for form, values in moments.items()]
            yield frame


# A constant on all branches under Pre-LN is the size of the embedding.


def fit_embedding_rate(
    model: StackedTransformer, data: Iterator[tuple[Tensor, Tensor]], *, lr: float, embedding_lr: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Train by Adam with a rate of its own for the embeddings of every network (K,); yields the step and the losses."""
    names = [name for name, _ in model.named_parameters()]
    embeddings = [getattr(model, name) for name in names if name in ("tokens_weight", "positions_weight")]
    others = [getattr(model, name) for name in names if name not in ("tokens_weight", "positions_weight")]
    optimizers = [StackedAdam(embeddings, (0.9, 0.98)), StackedAdam(others, (0.9, 0.98))]
    rates = [embedding_lr, torch.full_like(embedding_lr, lr)]
    for step, (x, y) in enumerate(data, start=1):
        for optimizer in optimizers:
            optimizer.zero_grad()
        losses = cross_entropy(model(x), y)
        losses.sum().backward()
        for optimizer, rate in zip(optimizers, rates):
            optimizer.step(rate)
        yield step, losses.detach()


@dataclass(frozen=True)
class ScaleIsEmbedding(Experiment):
    """Training with a constant s on all branches, and with the embedding and its learning rate divided by s instead."""

    id = "scale_is_embedding"
    title = "가지에 s를 곱하기와 임베딩을 s로 나누기"
    note = "블록 여섯 개, 폭 16인 망을 조건마다 시드 세 개씩 함께 학습합니다. 60단계, 배치 8, Adam 학습률 0.003. 네 조건의 처음 가중치와 데이터는 같습니다."
    conditions = {
        "plain": "x + F 그대로", "scaled": "x + sF", "embedding": "x + F, 임베딩과 그 학습률 ÷ s", "start": "x + F, 임베딩만 ÷ s",
    }
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피 (nat)", series=conditions, scale="log"),
        Table("final", "x + sF와의 차이", columns=("조건", "마지막 손실 (시드 평균)", "손실 차이의 최댓값 (모든 단계, 시드)")),
    )
    scales = (0.03, 0.1, 0.3, 1.0, 3.0)
    placements = {"pre": "Pre-LN, 마지막 LN 있음", "open": "Pre-LN, 마지막 LN 없음", "none": "정규화 없음"}
    grid = {"scale": scales, "placement": tuple(placements)}
    sample = {"scale": 1.0}

    scale: float = log_slider("가지의 배율 s", scales, 0.1)
    placement: str = choice("정규화", placements, "pre")
    seed: int = seed_knob()
    seeds_per_run = 3

    depth, steps, lr = 6, 60, 3e-3

    def designs(self) -> list[Design]:
        """One for each condition."""
        more = dict(placement="none" if self.placement == "none" else "pre", final_norm=self.placement == "pre", affine=False)
        small = Design(embedding_std=1 / self.scale, **more)
        return [Design(**more), Design(branch_scale=self.scale, **more), small, small]

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        model = StackedTransformer(shape(self.depth), self.designs(), seeds).double()
        rates = torch.tensor([self.lr, self.lr, self.lr / self.scale, self.lr], dtype=torch.float64).repeat_interleave(len(seeds))
        gaps = torch.zeros(len(self.conditions), dtype=torch.float64)
        data = batches(len(self.conditions), seeds, batch=8, steps=self.steps)
        for step, losses in fit_embedding_rate(model, data, lr=self.lr, embedding_lr=rates):
            by = losses.view(len(self.conditions), -1)
            gaps = torch.maximum(gaps, (by - by[1]).abs().amax(1))
            frame = Frame(step, self.steps, curves={"loss": dict(zip(self.conditions, by))})
            if step == self.steps:
                frame.numbers = {"gap": {key: gap.view(1) for key, gap in zip(self.conditions, gaps)}, "loss": dict(zip(self.conditions, by))}
                frame.tables["final"] = [
                    [label, f"{row.mean():.4f}", f"{gap:.1e}"] for label, row, gap in zip(self.conditions.values(), by, gaps)
                ]
            yield frame


# ReZero's learned factor.


@dataclass(frozen=True)
class ReZeroGain(Experiment):
    """The factors α that ReZero learns, from 0, over training and over depth."""

    id = "rezero_gain"
    title = "ReZero: 망이 스스로 고르는 배율 α"
    note = "정규화가 없는 폭 16 Transformer 세 개(시드 셋)를 함께 학습합니다. 블록마다 α가 하나이고 0에서 시작합니다. 100단계, 배치 8, Adam."
    panels = (
        Lines("alpha", "블록에 걸친 |α|의 평균", x="단계", y="평균 |α|", series={"alpha": "평균 |α|", "sqrt": "평균 |α| × √N"}),
        Bars("blocks", "블록마다의 |α| (시드 평균)", x="블록 (입력 → 출력)", y="|α|", series={"alpha": "|α|"}),
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피 (nat)", series={"loss": "ReZero"}),
        Table("final", "마지막 단계에서", columns=("값", "시드 평균", "시드 범위")),
    )
    depths = (6, 12, 24, 48)
    grid = {"depth": (6, 12, 48), "lr": (0.001, 0.003, 0.01)}
    sample = {"depth": 6}

    depth: int = slider("블록 수 N", depths, 12, unit="개", big=(200,))
    lr: float = log_slider("학습률", (0.001, 0.003, 0.01), 0.003)
    seeds_per_run: int = slider("시드 수", (3,), 3, big=(20,))
    seed: int = seed_knob()

    steps = 100

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        model = StackedTransformer(shape(self.depth), [design("rezero", self.depth)], seeds).to(self.device)
        data = batches(1, seeds, batch=8, steps=self.steps)
        for step, losses in fit_adam(model, data, steps=self.steps, lr=torch.full((len(seeds),), self.lr)):
            sizes = model.parameter("blocks.attention.gain").detach().cpu().abs().flatten(1)
            mean = sizes.mean(1)
            frame = Frame(step, self.steps, curves={"alpha": {"alpha": mean, "sqrt": mean * self.depth**0.5}, "loss": {"loss": losses}})
            if step == 1 or step % 10 == 0:
                frame.profiles["blocks"] = {"alpha": sizes.mean(0)}
            if step == self.steps:
                first, last = sizes[:, : self.depth // 3].mean(1), sizes[:, -(self.depth // 3) :].mean(1)
                frame.numbers = {"alpha": {"mean": mean, "first": first, "last": last}, "loss": {"last": losses}}
                rows = {"평균 |α|": mean, "평균 |α| × √N": mean * self.depth**0.5, "앞 3분의 1의 |α|": first, "뒤 3분의 1의 |α|": last, "학습 손실": losses}
                frame.tables["final"] = [[name, *mean_and_range(values)] for name, values in rows.items()]
            yield frame


# Training deep networks of every form.


@dataclass(frozen=True)
class DeepRescue(Experiment):
    """Deep Transformers of one form, trained for a few dozen steps: who learns more than the letters' frequencies?"""

    id = "deep_rescue"
    title = "깊은 망 살리기: 어느 방법이 배우는가"
    note = "폭 16 Transformer 세 개(시드 셋)가 한국어 글의 다음 글자(자모)를 배웁니다. 80단계, 배치 8, Adam, 워밍업 없음. 자모의 빈도만 알면 손실은 둘째 선에 머뭅니다."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피 (nat)", scale="log", series={
            "loss": "고른 방법", "unigram": "자모 빈도만 아는 모델",
        }),
        Bars("stream", "블록을 지난 스트림의 크기 (시드 평균)", x="블록 (입력 → 출력)", y="E x²의 제곱근", scale="log", series={"now": "지금"}),
        Table("final", "마지막 다섯 단계", columns=("값", "시드 평균", "시드 범위")),
    )
    grid = {"form": tuple(FORMS), "depth": (12, 48)}
    sample = {"form": "rezero", "depth": 12}

    form: str = choice("방법", LABELS, "pre")
    depth: int = slider("블록 수 N", (6, 12, 24, 48), 12, unit="개", big=(200,))
    lr: float = log_slider("학습률", (0.0003, 0.001, 0.003, 0.01), 0.003)
    seeds_per_run: int = slider("시드 수", (3,), 3, big=(20,))
    precision: str = precision_knob()
    seed: int = seed_knob()

    steps = 80

    def frames(self) -> Iterator[Frame]:
        seeds, recent = self.seed_range(), []
        model = StackedTransformer(shape(self.depth), [design(self.form, self.depth)], seeds).to(self.device)
        probe = next(batches(1, seeds, batch=2, steps=1))[0].to(self.device)
        data = batches(1, seeds, batch=8, steps=self.steps)
        for step, losses in fit_adam(model, data, steps=self.steps, lr=torch.full((len(seeds),), self.lr), precision=self.precision):
            recent = [*recent, losses][-5:]
            frame = Frame(step, self.steps, curves={"loss": {"loss": losses, "unigram": [load_jamo().entropy]}})
            if step == 1 or step % 20 == 0:
                frame.profiles["stream"] = {"now": stream_sizes(model, probe).mean(0)}
            if step == self.steps:
                final = torch.stack(recent).mean(0)
                frame.numbers["loss"] = {"final": final}
                frame.tables["final"] = [["학습 손실", *mean_and_range(final)], ["자모 빈도만 아는 모델", f"{load_jamo().entropy:.3g}", "–"]]
            yield frame


@torch.no_grad()
def stream_sizes(model: StackedTransformer, tokens: Tensor) -> Tensor:
    """√(E x²) of the stream after every block, (K, N)."""
    after = list(model.stream(tokens))[2::2]
    return torch.stack([x.square().mean((1, 2, 3)).sqrt() for x in after], dim=1)


# What a method bounds besides the forward pass.


def change_after_one_step(form: str, depth: int, seeds: Sequence[int], *, lr: float = 0.01) -> Tensor:
    """How far one step of SGD moves the logits of a new network, relative to their size: RMS over RMS, (seeds,)."""
    model = StackedTransformer(shape(depth), [design(form, depth)], seeds)
    [(x, y)] = batches(1, seeds, batch=8, steps=1)
    before = model(x)
    cross_entropy(before, y).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad
        change = model(x) - before
    return (change.square().mean((1, 2, 3)) / before.detach().square().mean((1, 2, 3))).sqrt()


EXPERIMENTS = (StreamMoment, ScaleIsEmbedding, ReZeroGain, DeepRescue)
