"""Lesson 07: what changes when a Transformer's LayerNorm moves by one place?

Xiong et al. 2020 (arXiv:2002.04745): the gradient of the last layer, and the learning rate's warm-up. Liu et al. 2020
(arXiv:2004.08249): how far a small step moves the output. Dong et al. 2021 (arXiv:2103.03404): tokens that become alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from residual_lab import stream_probes
from residual_lab.blocks.transformer import Design, Sizes
from residual_lab.experiments.base import Bars, Experiment, Frame, Heat, Lines, Table, choice, log_slider, precision_knob, seed_knob, slider, toggle
from residual_lab.text import jamo_batches, load_jamo
from residual_lab.training.adam import fit_adam
from residual_lab.training.stacked_transformer import StackedTransformer

CONTEXT, BATCH = 16, 8
PLACEMENTS = {"pre": "Pre-LN", "post": "Post-LN", "peri": "Peri-LN", "olmo2": "OLMo 2"}
SEEDS_HELP = "첫 시드입니다. 이 수부터 차례로 이어지는 시드들을 함께 잽니다."


def transformers(designs: Sequence[Design], seeds: Sequence[int], *, depth: int, width: int, hidden: int | None = None) -> StackedTransformer:
    """A stack for the lesson's text, two heads."""
    sizes = Sizes(len(load_jamo().vocabulary), CONTEXT, width, 2, depth, hidden)
    return StackedTransformer(sizes, designs, seeds)


def windows(conditions: int, seeds: Sequence[int], steps: int, batch: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    return jamo_batches(load_jamo().ids, conditions=conditions, seeds=seeds, context=CONTEXT, batch=batch, steps=steps)


def fixed_windows(conditions: int, seeds: Sequence[int], batch: int = 32) -> tuple[Tensor, Tensor]:
    """Windows of the same text that do not depend on how long the training was: (K, batch, T) each."""
    return next(windows(conditions, [10_000 + seed for seed in seeds], 1, batch))


def is_stuck(loss: Tensor) -> Tensor:
    """Whether a loss is no better than what the frequencies of the letters give (within 0.15 nat)."""
    return loss > load_jamo().entropy - 0.15


def _spread(values: Tensor, form: str = ".3g") -> tuple[str, str]:
    """Mean and smallest~largest over seeds as a table shows them."""
    return f"{values.mean():{form}}", f"{values.min():{form}}~{values.max():{form}}"


def loglog_slope(depths: Sequence[int], values: Tensor) -> Tensor:
    """Slope of log(value) against log(depth) for each seed: (K, depths) → (K,)."""
    x = torch.tensor(depths, dtype=values.dtype).log()
    x = x - x.mean()
    return (values.log() * x).sum(1) / x.square().sum()


@dataclass(frozen=True)
class LastLayerGradient(Experiment):
    """At initialisation: the gradient of the last feed-forward layer, and how far one small step moves the output."""

    id = "last_layer_gradient"
    title = "초기화한 망의 마지막 층: 깊이 × 배치"
    note = "학습하기 전의 폭 32 Transformer입니다. 깊이마다 새 망 다섯 개(시드 다섯)에 글 여덟 조각을 넣고 그래디언트를 구한 다음, Adam의 첫 걸음(학습률 0.0001)만큼 옮겨 봅니다."
    series = {"post": "Post-LN", "pre": "Pre-LN", "peri": "Peri-LN", "olmo2": "OLMo 2", "bare": "Pre, 끝 LN 없음"}
    panels = (
        Lines("gradient", "마지막 FFN 둘째 가중치의 그래디언트", x="깊이 L (블록)", y="노름", series=series, scale="log"),
        Lines("response", "작은 한 걸음에 로짓이 달라지는 정도", x="깊이 L (블록)", y="로짓의 상대 변화 (%)", series=series, scale="log"),
        Bars("profile", "블록마다의 그래디언트 (시드 평균)", x="블록 (입력 → 출력)", y="노름", series={"post": "Post-LN", "pre": "Pre-LN"}, scale="log"),
        Table("final", "깊이에 대한 로그-로그 기울기와 로짓의 변화", columns=("배치", "마지막 그래디언트의 기울기", "시드 범위", "가장 깊은 망의 로짓 변화 (%)", "시드 범위")),
    )
    grid = {"embedding": (0.1, 1.0), "deepest": (8, 32)}
    sample = {"deepest": 8}

    embedding: float = choice("임베딩의 표준편차", {0.1: "0.1 (작게)", 1.0: "1 (보통)"}, 0.1)
    deepest: int = slider("가장 깊은 망", (8, 16, 32), 32, unit="블록")
    seed: int = seed_knob(help=SEEDS_HELP)

    depths = (2, 4, 8, 16, 32)
    lr = 1e-4

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        depths = [depth for depth in self.depths if depth <= self.deepest]
        designs = {key: Design(key, embedding_std=self.embedding) for key in PLACEMENTS}
        designs["bare"] = Design("pre", embedding_std=self.embedding, final_norm=False)
        last: dict[str, list[Tensor]] = {key: [] for key in self.series}
        x, y = next(windows(1, seeds, 1))
        for depth in depths:
            curves: dict = {"gradient": {}, "response": {}}
            profile = {}
            for key in self.series:
                model = transformers([designs[key]], seeds, depth=depth, width=32)
                stream_probes.backward(model, x, y)
                sizes = model.gradient_norms()
                curves["gradient"][key] = sizes[:, -1]
                curves["response"][key] = 100 * stream_probes.step_response(model, x, self.lr)
                last[key].append(sizes[:, -1])
                profile[key] = sizes.mean(0)
            frame = Frame(depth, self.deepest, curves=curves, profiles={"profile": {k: profile[k] for k in ("post", "pre")}})
            frame.numbers = {f"response_{depth}": curves["response"], f"gradient_{depth}": curves["gradient"]}
            if depth == depths[-1]:
                slopes = {key: loglog_slope(depths, torch.stack(values, 1)) for key, values in last.items()}
                frame.tables["final"] = [
                    [self.series[key], *_spread(slope, ".2f"), *_spread(curves["response"][key])] for key, slope in slopes.items()
                ]
                frame.numbers["slope"] = slopes
            yield frame


@dataclass(frozen=True)
class WarmupMap(Experiment):
    """Learning rate × warm-up, for Pre-LN and one other placement, side by side and at the same time."""

    id = "warmup_map"
    title = "학습률 × 워밍업 지도"
    note = "두 배치마다 학습률 네 가지, 워밍업 두 가지, 시드 세 개: 폭 16의 작은 Transformer 48개가 자모 글을 150단계 동안 함께 배웁니다. Adam, 배치 8. 3.26은 자모의 빈도만 아는 모델의 손실입니다."
    rates, warmups = (0.001, 0.003, 0.01, 0.03), (0, 75)
    curves_at, every = 0.01, 10
    series = {
        "pre_0": "Pre · 없음", "pre_75": "Pre · 75", "other_0": "고른 배치 · 없음", "other_75": "고른 배치 · 75",
    }
    panels = (
        Heat("pre", "Pre-LN의 손실 (최근 15단계, 시드 평균)", x="학습률", y="워밍업 (단계)", z="손실"),
        Heat("other", "고른 배치의 손실 (최근 15단계, 시드 평균)", x="학습률", y="워밍업 (단계)", z="손실"),
        Lines("loss", "학습률 0.01, 워밍업 없음과 75: 손실", x="단계", y="교차 엔트로피", series=series),
        Lines("uniformity", "같은 망의 마지막 스트림: 두 자리의 코사인", x="단계", y="코사인 (평균)", series=series),
        Table("final", "가장 좋은 학습률", columns=("배치", "워밍업", "가장 좋은 학습률", "손실 평균", "손실 범위", "빈도에 갇힌 망")),
    )
    grid = {"depth": (4, 8), "other": ("post", "olmo2")}
    sample = {"depth": 4, "other": "olmo2"}

    other: str = choice("Pre-LN과 비교할 배치", {"post": "Post-LN", "peri": "Peri-LN", "olmo2": "OLMo 2"}, "post")
    depth: int = slider("깊이", (2, 4, 8, 12), 8, unit="블록")
    seed: int = seed_knob()

    seeds_per_run = 3
    steps = 150

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        cells = [(warmup, rate) for warmup in self.warmups for rate in self.rates]
        lr = torch.tensor([rate for _, rate in cells]).repeat_interleave(len(seeds))
        warmup = torch.tensor([steps for steps, _ in cells]).repeat_interleave(len(seeds))
        models, runs, recent = {}, {}, {}
        for key, placement in (("pre", "pre"), ("other", self.other)):
            models[key] = transformers([Design(placement)] * len(cells), seeds, depth=self.depth, width=16)
            runs[key] = fit_adam(models[key], windows(len(cells), seeds, self.steps), steps=self.steps, lr=lr, warmup=warmup)
            recent[key] = deque(maxlen=15)
        for step in range(1, self.steps + 1):
            frame = Frame(step, self.steps)
            for key, run in runs.items():
                recent[key].append(next(run).losses.view(len(self.warmups), len(self.rates), -1))
                frame.matrices[key] = self._matrix(torch.stack(list(recent[key])).mean(0).mean(2))
            frame.curves["loss"] = self._shown({key: kept[-1] for key, kept in recent.items()})
            if step == 1 or step % self.every == 0:
                alike = self._uniformity(models, seeds)
                frame.curves["uniformity"] = self._shown(alike)
            if step == self.steps:
                losses = {key: torch.stack(list(kept)).mean(0) for key, kept in recent.items()}
                frame.tables["final"] = self._table(losses)
                frame.numbers = {"loss": self._by_cell(losses), "uniformity": self._by_cell(alike)}
            yield frame

    def _shown(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The rows of one learning rate by series: (warm-ups, rates, seeds) for each placement → one number a seed."""
        column = self.rates.index(self.curves_at)
        return {f"{key}_{steps}": grid[row, column] for key, grid in values.items() for row, steps in enumerate(self.warmups)}

    def _matrix(self, z: Tensor) -> dict:
        return {"xs": [f"{rate:g}" for rate in self.rates], "ys": [str(steps) for steps in self.warmups], "z": list(z)}

    def _by_cell(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{"pre/75/0.01": one number a seed}``."""
        return {
            f"{key}/{steps}/{rate:g}": grid[row, column]
            for key, grid in values.items() for row, steps in enumerate(self.warmups) for column, rate in enumerate(self.rates)
        }  # fmt: skip

    def _table(self, losses: dict[str, Tensor]) -> list[list]:
        rows = []
        for key, grid in losses.items():
            name = PLACEMENTS[self.other if key == "other" else key]
            for row, steps in enumerate(self.warmups):
                best = int(grid[row].mean(1).argmin())
                stuck = int(is_stuck(grid[row]).sum())
                rows.append([name, steps, f"{self.rates[best]:g}", *_spread(grid[row, best]), f"{stuck} / {grid[row].numel()}"])
        return rows

    @torch.no_grad()
    def _uniformity(self, models: dict[str, StackedTransformer], seeds: range) -> dict[str, Tensor]:
        """Mean cosine between positions of the last stream, on fixed windows."""
        x, _ = fixed_windows(len(self.warmups) * len(self.rates), seeds, 8)
        found = {}
        for key, model in models.items():
            *_, last = model.stream(x)
            found[key] = stream_probes.uniformity(last).view(len(self.warmups), len(self.rates), -1)
        return found


@dataclass(frozen=True)
class TokenUniformity(Experiment):
    """How alike the positions of a sequence become from block to block, in networks at initialisation."""

    id = "token_uniformity"
    title = "토큰이 닮아 가는 정도"
    note = "학습하기 전의 폭 32 Transformer 다섯 개(시드 다섯)에 글 여덟 조각을 넣고, 블록을 지날 때마다 자리 16개의 벡터 사이의 코사인을 잽니다. ‘지름길 없음’에는 LN이 있고 ‘LN 없음’에는 지름길이 있습니다."
    networks = {"noskip": "지름길 없음", "post": "Post-LN", "pre": "Pre-LN", "peri": "Peri-LN", "bare": "LN 없음"}
    panels = (
        Lines("cosine", "서로 다른 두 자리의 코사인 (평균)", x="블록 (1은 임베딩)", y="코사인", series=networks),
        Lines("distance", "1 − 코사인", x="블록 (1은 임베딩)", y="1 − 코사인 (10⁻¹²에서 자름)", series=networks, scale="log"),
        Heat("matrix", "고른 망: 자리 × 자리의 코사인 (시드 평균)", x="자리", y="자리", z="코사인"),
    )
    grid = {"network": tuple(networks), "ffn": (True, False), "depth": (12,)}
    sample = {"network": "pre"}

    network: str = choice("자리 × 자리 그림에 그릴 망", networks, "pre")
    ffn: bool = toggle("FFN 있음", True, help="끄면 어텐션만 쌓습니다. Dong 등(2021)이 분석한 망에 가깝습니다.")
    depth: int = slider("깊이", (6, 12, 24), 12, unit="블록")
    seed: int = seed_knob(help=SEEDS_HELP)

    @torch.no_grad()
    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        designs = {key: Design(key) for key in PLACEMENTS} | {"noskip": Design("pre", skip=False), "bare": Design("none")}
        hidden = None if self.ffn else 0
        x, _ = next(windows(1, seeds, 1))
        streams = {
            key: transformers([designs[key]], seeds, depth=self.depth, width=32, hidden=hidden).double().stream(x)
            for key in self.networks
        }
        first = {key: next(stream) for key, stream in streams.items()}
        yield self._frame(1, first)
        for block in range(self.depth):
            for _ in range(2 if self.ffn else 1):
                states = {key: next(stream) for key, stream in streams.items()}
            yield self._frame(block + 2, states)

    def _frame(self, step: int, states: dict[str, Tensor]) -> Frame:
        cosine = {key: stream_probes.uniformity(x) for key, x in states.items()}
        places = list(range(1, CONTEXT, 2))  # every other position, so that the numbers can be read
        labels = [str(place + 1) for place in places]
        matrix = stream_probes.cosines(states[self.network]).mean(0)[places][:, places].mul(1000).round() / 1000
        frame = Frame(step, self.depth + 1, curves={"cosine": cosine, "distance": {k: (1 - v).clamp(min=1e-12) for k, v in cosine.items()}})
        frame.matrices["matrix"] = {"xs": labels, "ys": labels, "z": list(matrix)}
        frame.numbers["cosine"] = cosine
        return frame


@dataclass(frozen=True)
class DepthUse(Experiment):
    """Training with a warm-up: how the stream grows with depth, and what leaving out each block costs."""

    id = "depth_use"
    title = "스트림의 크기와 깊이의 쓰임"
    note = "두 배치를 폭 16으로 시드 다섯 개씩 200단계 학습합니다(Adam, 워밍업 50, 배치 8). 막대는 같은 글의 고정된 조각 32개에서 재고, 블록 하나를 뺀 손실에서 온전한 망의 손실을 뺍니다."
    series = {"post": "Post-LN", "pre": "Pre-LN"}
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=series),
        Bars("norm", "블록을 지난 스트림의 크기 (시드 평균)", x="블록 (입력 → 출력)", y="제곱평균제곱근", series=series),
        Bars("lesion", "블록 하나를 뺐을 때 늘어나는 손실 (시드 평균)", x="블록 (입력 → 출력)", y="손실의 증가", series=series),
        Table("final", "학습이 끝난 뒤", columns=("배치", "손실 평균", "손실 범위", "뒤쪽 절반의 몫", "시드 범위")),
    )
    grid = {"depth": (4, 6), "lr": (0.001, 0.003)}
    sample = {"depth": 4, "lr": 0.001}

    depth: int = slider("깊이", (4, 6, 8), 6, unit="블록", big=(48, 200))
    lr: float = log_slider("학습률", (0.001, 0.003), 0.003)
    seeds_per_run: int = slider("시드 수", (5,), 5, big=(20,))
    precision: str = precision_knob()
    seed: int = seed_knob()

    steps, warmup, every = 200, 50, 40

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        models = {key: transformers([Design(key)], seeds, depth=self.depth, width=16).to(self.device) for key in self.series}
        runs = {
            key: fit_adam(model, windows(1, seeds, self.steps), steps=self.steps, lr=self.lr, warmup=self.warmup, precision=self.precision)
            for key, model in models.items()
        }
        x, y = (part.to(self.device) for part in fixed_windows(1, seeds))
        for step in range(1, self.steps + 1):
            frame = Frame(step, self.steps, curves={"loss": {key: next(run).losses for key, run in runs.items()}})
            if step % self.every == 0:
                sizes = {key: self._sizes(model, x) for key, model in models.items()}
                measured = {key: stream_probes.lesions(model, x, y) for key, model in models.items()}
                costs = {key: cost for key, (_, cost) in measured.items()}
                frame.profiles = {panel: {k: v.mean(0) for k, v in found.items()} for panel, found in (("norm", sizes), ("lesion", costs))}
            if step == self.steps:
                losses = {key: whole for key, (whole, _) in measured.items()}
                shares = {key: second_half_share(cost) for key, cost in costs.items()}
                frame.tables["final"] = [[self.series[k], *_spread(losses[k]), *_spread(shares[k], ".2f")] for k in self.series]
                growth = {key: size[:, -1] / size[:, 0] for key, size in sizes.items()}
                frame.numbers = {"loss": losses, "share": shares, "growth": growth, "first_size": {k: v[:, 0] for k, v in sizes.items()}}
            yield frame

    @torch.no_grad()
    def _sizes(self, model: StackedTransformer, x: Tensor) -> Tensor:
        """RMS of the stream after every block of two sublayers: (K, N)."""
        states = list(model.stream(x))[2::2]
        return torch.stack([stream_probes.rms(state) for state in states], dim=1)


def second_half_share(costs: Tensor) -> Tensor:
    """Which part of the blocks' lesion costs the second half of the blocks has: (K, N) → (K,)."""
    return costs[:, costs.shape[1] // 2 :].sum(1) / costs.sum(1)


EXPERIMENTS = (LastLayerGradient, WarmupMap, TokenUniformity, DepthUse)
