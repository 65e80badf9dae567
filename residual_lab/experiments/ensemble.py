"""Lesson 04: what happens when a block is removed, and what carries the gradient?

After Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (NIPS,
arXiv:1605.06431); the other reading is Greff, Srivastava, Schmidhuber 2017 (ICLR, arXiv:1612.07771).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from residual_lab import lesions, path_gradients
from residual_lab.data import load_digits
from residual_lab.experiments.base import (
    Bars, Experiment, Frame, Table, choice, log_slider, seed_knob, slider, toggle,
)
from residual_lab.experiments.trained_networks import (
    DEPTHS, KINDS, SETTING, fresh, loss_panel, trained, training_frames, without_block,
)
from residual_lab.training import StackedConvNet, evaluate

def _percent(errors: Tensor) -> str:
    return f"{errors.mean():.1f}"


def _range(errors: Tensor) -> str:
    return f"{errors.min():.1f}~{errors.max():.1f}"


def binomial(n: int, m: float = 1.0) -> Tensor:
    """Share of each length 0 … n among the paths through n blocks, when every branch counts m times a shortcut."""
    p = m / (1 + m)
    return torch.tensor([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)], dtype=torch.float64)


@dataclass(frozen=True)
class PathLengths(Experiment):
    """How long the 2ⁿ paths are, and how long those that matter if a branch passes on m times what a shortcut does."""

    id = "path_lengths"
    title = "경로의 길이: 내가 정한 깊이로"
    note = "블록을 하나씩 늘려 가며 길이마다 경로가 몇 개인지 셉니다. 학습은 하지 않습니다. 가지 하나를 지날 때 그래디언트가 지름길의 m배가 된다고 놓으면 길이 k 경로 전체의 기여는 C(n, k)·mᵏ에 비례합니다."
    panels = (
        Bars("share", "길이별 몫 (%)", x="경로의 길이 (지나는 가지의 수, 1부터)", y="몫 (%)",
             series={"count": "경로 수의 몫", "carried": "기여의 몫"}),
        Table("final", "길이의 분포", columns=("무엇", "평균 길이", "표준편차", "95%가 드는 길이")),
    )
    grid = {"blocks": (3, 9, 12, 27, 54, 100), "m": (0.1, 0.25, 0.5, 1.0)}
    sample = {"blocks": 12}

    blocks: int = slider("블록 수 n", range(1, 101), 54, unit="개", help="110층 ResNet이 54개, 56층이 27개입니다.")
    m: float = log_slider("가지의 배율 m", (0.1, 0.25, 0.5, 1.0), 0.25, help="1이면 가지와 지름길이 똑같이 나릅니다.")

    def frames(self) -> Iterator[Frame]:
        for n in range(1, self.blocks + 1):
            count, carried = binomial(n), binomial(n, self.m)
            rest = torch.zeros(self.blocks - n, dtype=torch.float64)
            profiles = {"share": {key: 100 * torch.cat([v[1:], rest]) for key, v in (("count", count), ("carried", carried))}}
            rows = [[f"경로 {2**n:,}개" if n < 40 else f"경로 {2.0**n:.2g}개", *_spread(count)], [f"기여 (m = {self.m:g})", *_spread(carried)]]
            yield Frame(n, self.blocks, profiles=profiles, tables={"final": rows},
                        numbers={"share": {"count": count, "carried": carried}})


def _spread(share: Tensor) -> tuple[str, str, str]:
    """Mean, standard deviation, and the lengths between the 2.5% and the 97.5% quantile."""
    k = torch.arange(len(share), dtype=torch.float64)
    mean = float((share * k).sum())
    deviation = float((share * (k - mean) ** 2).sum()) ** 0.5
    below = share.cumsum(0)
    low, high = int((below < 0.025).sum()), int((below < 0.975).sum())
    return f"{mean:.1f}", f"{deviation:.2f}", f"{low}~{high}"


@dataclass(frozen=True)
class GradientPaths(Experiment):
    """Which lengths carry the gradient to the first block: exact sums by length, and single paths by sampling."""

    id = "gradient_paths"
    title = "어떤 길이의 경로가 그래디언트를 나르는가"
    note = f"잔차 ConvNet에서 손실의 그래디언트를 출력에서 첫 블록의 입력까지, 경로의 길이별로 나누어 되돌립니다. 학습 그림 16장. {SETTING}"
    series = {"count": "경로 수의 몫", "magnitude": "개수 × 크기 (표집)", "exact": "실제 기여 (정확)"}
    panels = (
        loss_panel({"residual": "잔차"}),
        Bars("share", "길이별 몫 (%)", x="경로의 길이 (지나는 가지의 수, 1부터)", y="몫 (%)", series=series),
        Bars("single", "경로 하나가 나르는 그래디언트의 크기", x="경로의 길이 (지나는 가지의 수, 1부터)", y="노름 (표집 평균)",
             series={"norm": "경로 하나"}, scale="log"),
        Table("final", "길이의 평균 (블록 수)", columns=("무엇", "평균 길이", "시드별")),
    )
    grid = {"depth": (20, 56), "state": ("trained", "fresh")}
    sample = {"depth": 20}

    depth: int = slider("깊이", tuple(DEPTHS), 56, unit="층", help="20층은 블록 9개, 56층은 블록 27개입니다.")
    state: str = choice("망", {"trained": "학습이 끝난 망", "fresh": "초기화한 그대로"}, "trained")
    seed: int = seed_knob()

    seeds_per_run = 3
    images = 16
    paths = 12

    def frames(self) -> Iterator[Frame]:
        seeds, n, task = self.seed_range(), 3 * DEPTHS[self.depth], load_digits()
        x, y = task.x_train[: self.images], task.y_train[: self.images]
        if self.state == "trained":
            for frame in training_frames(["residual"], self.depth, seeds, more=2 * n):
                yield frame
            net = trained(["residual"], self.depth, seeds)
        else:
            sample = task.x_train[: lesions.SAMPLE]
            net = lesions.with_new_statistics(fresh(["residual"], self.depth, seeds), sample.expand(len(seeds), *sample.shape))
            loss = evaluate(net, sample, task.y_train[: lesions.SAMPLE], networks=len(seeds))[0].mean()
            frame = Frame(1, 1 + 2 * n, profiles={"loss": {"residual": loss.unsqueeze(0)}})
            yield frame
        before, total, learned = frame.step, frame.total, frame.profiles
        for passed, sums in enumerate(path_gradients.by_length(net, x, y), start=1):
            exact = path_gradients.contributions(sums)
            yield Frame(before + passed, total, profiles=learned | self._profiles(passed, exact))

        generator, norms = torch.Generator().manual_seed(0), []
        for length in range(n + 1):
            drawn = path_gradients.sampled_norms(net, x[:8], y[:8], length=length, paths=self.paths, generator=generator)
            norms.append(drawn.mean(0))
            if 0 < length < n:
                yield Frame(before + n + length, total, profiles=learned | self._profiles(n, exact, norms))
        norms = torch.stack(norms).double()
        weighted = norms * torch.tensor([math.comb(n, k) for k in range(n + 1)], dtype=torch.float64).unsqueeze(1)
        magnitude = weighted / weighted.sum(0)
        lengths = torch.arange(n + 1, dtype=torch.float64).unsqueeze(1)
        means = {"count": torch.full((len(seeds),), n / 2), "magnitude": (lengths * magnitude).sum(0), "exact": (lengths * exact).sum(0)}
        rows = [[label, f"{means[key].mean():.1f}", ", ".join(f"{v:.1f}" for v in means[key])] for key, label in self.series.items()]
        numbers = {"mean_length": means, "share": {"magnitude": magnitude.T, "exact": exact.T}, "norm": {"single": norms.T}}
        profiles = learned | self._profiles(n, exact, list(norms), magnitude)
        yield Frame(total, total, profiles=profiles, tables={"final": rows}, numbers=numbers)

    def _profiles(self, passed: int, exact: Tensor, norms: Sequence[Tensor] = (), magnitude: Tensor | None = None) -> dict:
        """Shares in percent and norms without length 0; lengths that no path has yet are at zero."""
        rest = torch.zeros(3 * DEPTHS[self.depth] - passed, dtype=torch.float64)
        share = {"count": binomial(passed), "exact": exact.double().mean(1)}
        if magnitude is not None:
            share["magnitude"] = magnitude.mean(1)
        profiles = {"share": {key: 100 * torch.cat([value[1:], rest]) for key, value in share.items()}}
        if len(norms) > 1:
            profiles["single"] = {"norm": torch.stack(list(norms[1:])).mean(1)}
        return profiles


LESION_COLUMNS = ("망", "지우기 전 시험 오차 (%)", "지운 뒤 평균 (%)", "지운 뒤 범위 (%)")


@dataclass(frozen=True)
class Lesion(Experiment):
    """Remove one block of a trained network and measure the test error; a plain network is the control."""

    id = "lesion"
    title = "병변 실험: 플레인 20층과 잔차 20층에서 블록 하나 지우기"
    note = f"플레인과 잔차 20층을 함께 학습한 뒤 블록을 하나씩 지우고 시험 오차를 잽니다. 다시 학습하지 않습니다. {SETTING} 두 번째부터는 학습한 망을 다시 씁니다."
    panels = (
        loss_panel(KINDS),
        Bars("error", "블록 하나를 지운 뒤의 시험 오차 (%)", x="지운 블록 (입력 → 출력)", y="시험 오차 (%, 시드 평균)", series=KINDS),
        Table("final", "고른 블록을 지우면", columns=LESION_COLUMNS),
    )
    grid = {"block": tuple(range(1, 10)), "reestimate": (False, True)}
    sample = {"block": 5}

    block: int = slider("지울 블록", range(1, 10), 5, unit="번째", help="4번째와 7번째는 크기를 반으로 줄이는 블록입니다. 그 자리에는 지름길 A만 남깁니다.")
    reestimate: bool = toggle("BN 통계 다시 재기", help=f"블록을 지운 망에 학습 그림 {lesions.SAMPLE}장을 흘려 BN의 평균과 분산만 다시 잽니다. 가중치는 그대로입니다.")
    seed: int = seed_knob()

    seeds_per_run = 3
    kinds = ("plain", "residual")
    depth = 20

    def frames(self) -> Iterator[Frame]:
        seeds, blocks = self.seed_range(), 3 * DEPTHS[self.depth]
        for frame in training_frames(self.kinds, self.depth, seeds, more=blocks):
            yield frame
        steps, total, learned = frame.step, frame.total, frame.profiles
        net, task = trained(self.kinds, self.depth, seeds), load_digits()
        before = self._by_kind(evaluate(net, task.x_test, task.y_test, networks=len(net.members))[1])
        measure = partial(without_block, self.kinds, self.depth, seeds, reestimate=self.reestimate)
        chosen = self._by_kind(measure(self.block - 1))
        rows = [[f"{KINDS[kind]} {self.depth}층", _percent(before[kind]), _percent(chosen[kind]), _range(chosen[kind])] for kind in self.kinds]
        after: list[Tensor] = []
        for block in range(blocks):
            after.append(measure(block))
            measured = self._by_kind(torch.stack(after))
            frame = Frame(steps + block + 1, total, profiles=learned | {"error": self._bars(before, measured)}, tables={"final": rows})
            if block == blocks - 1:
                frame.numbers = {"before": before, "after": {kind: errors.T for kind, errors in measured.items()}}
            yield frame

    def _by_kind(self, errors: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.kinds, errors.chunk(len(self.kinds), dim=-1)))

    def _bars(self, before: dict[str, Tensor], measured: dict[str, Tensor]) -> dict[str, Tensor]:
        return {kind: errors.mean(1) for kind, errors in measured.items()}


@dataclass(frozen=True)
class LesionDeep(Lesion):
    """The same on the 56-layer residual network, whose plain counterpart does not train."""

    id = "lesion_56"
    title = "병변 실험: 잔차 56층에서 블록 하나 지우기"
    note = f"잔차 56층(블록 27개)을 학습한 뒤 블록을 하나씩 지우고 시험 오차를 잽니다. 다시 학습하지 않습니다. {SETTING} 두 번째부터는 학습한 망을 다시 씁니다."
    panels = (
        loss_panel({"residual": "잔차 56층"}),
        Bars("error", "블록 하나를 지운 뒤의 시험 오차 (%)", x="지운 블록 (입력 → 출력)", y="시험 오차 (%, 시드 평균)",
             series={"after": "지운 뒤", "before": "지우기 전"}),
        Table("final", "고른 블록을 지우면", columns=LESION_COLUMNS),
    )
    grid = {"block": tuple(range(1, 28)), "reestimate": (False, True)}
    sample = {"block": 14}

    block: int = slider("지울 블록", range(1, 28), 14, unit="번째", help="10번째와 19번째는 크기를 반으로 줄이는 블록입니다. 그 자리에는 지름길 A만 남깁니다.")

    kinds = ("residual",)
    depth = 56

    def _bars(self, before: dict[str, Tensor], measured: dict[str, Tensor]) -> dict[str, Tensor]:
        whole = before["residual"].mean().expand(3 * DEPTHS[self.depth])
        return {"after": measured["residual"].mean(1), "before": whole}


@dataclass(frozen=True)
class LesionMany(Experiment):
    """Remove several blocks, or exchange them within their stages (Veit et al. 2016, Fig. 5)."""

    id = "lesion_many"
    title = "여러 블록을 지우거나 섞기"
    note = f"학습이 끝난 망에서 무작위로 고른 블록을 여덟 개까지(20층은 일곱 개까지) 차례로 지우거나, 같은 스테이지의 두 블록을 맞바꾸기를 그만큼 되풀이합니다. 고르는 방법 네 가지의 평균입니다. {SETTING}"
    networks = {"residual_56": "잔차 56층", "residual_20": "잔차 20층", "plain_20": "플레인 20층"}
    panels = (
        loss_panel({"chosen": "고른 망"}),
        Bars("error", "시험 오차 (%)", x="지운 블록 수 또는 맞바꾼 횟수 k", y="시험 오차 (%, 평균)",
             series={"after": "한 뒤", "before": "하기 전"}),
        Table("final", "k마다", columns=("k", "남은 경로의 비율", "켄들 τ 평균", "시험 오차 평균 (%)", "시드별 (%)")),
    )
    grid = {"network": tuple(networks), "how": ("delete", "swap"), "reestimate": (False, True)}
    sample = {"network": "residual_20"}

    network: str = choice("망", networks, "residual_56")
    how: str = choice("무엇을 할까", {"delete": "블록 k개 지우기", "swap": "두 블록 맞바꾸기 k번"}, "delete", help="크기를 줄이는 블록은 지우지도 옮기지도 않습니다.")
    reestimate: bool = toggle("BN 통계 다시 재기", help=f"바꾼 망에 학습 그림 {lesions.SAMPLE}장을 흘려 BN의 평균과 분산만 다시 잽니다. 가중치는 그대로입니다.")
    seed: int = seed_knob()

    seeds_per_run = 3
    most = 8
    draws = 4

    def frames(self) -> Iterator[Frame]:
        kind, depth = self.network.split("_")
        seeds = self.seed_range()
        kinds = ("residual",) if depth == "56" else ("plain", "residual")
        most = min(self.most, 3 * DEPTHS[int(depth)] - 2)
        for frame in training_frames(kinds, int(depth), seeds, more=most):
            learned = {"loss": {"chosen": frame.profiles["loss"][kind]}}
            yield Frame(frame.step, frame.total, profiles=learned)
        steps, total = frame.step, frame.total
        net, task = trained(kinds, int(depth), seeds), load_digits()
        mine = slice(kinds.index(kind) * len(seeds), (kinds.index(kind) + 1) * len(seeds))
        before = evaluate(net, task.x_test, task.y_test, networks=len(net.members))[1][mine]
        rows, after = [], []
        plans = [self._plan(net, draw) for draw in range(self.draws)]
        for k in range(1, most + 1):
            orders = [plan[k - 1] for plan in plans]
            errors = torch.stack([lesions.error(net, order, task, reestimate=self.reestimate)[mine] for order in orders]).mean(0)
            after.append(errors)
            tau = sum(_mean_tau(order) for order in orders) / self.draws
            left = f"1/{2**k}" if self.how == "delete" else "1"
            rows.append([k, left, f"{tau:.2f}", _percent(errors), ", ".join(f"{e:.1f}" for e in errors)])
            bars = {"after": torch.stack(after).mean(1), "before": before.mean().expand(most)}
            frame = Frame(steps + k, total, profiles=learned | {"error": bars}, tables={"final": list(rows)})
            if k == most:
                frame.numbers = {"before": {self.network: before}, "after": {self.network: torch.stack(after).T}}
            yield frame

    def _plan(self, net: StackedConvNet, draw: int) -> list[lesions.Order]:
        """The orders for k = 1, 2, …; each goes one step further than the one before."""
        generator = torch.Generator().manual_seed(draw)
        if self.how == "delete":
            blocks = lesions.keeps_shape(net)
            gone = [blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist()]
            return [lesions.without(net, gone[:k]) for k in range(1, self.most + 1)]
        plan = [lesions.trained_order(net)]
        for _ in range(self.most):
            plan.append(lesions.swapped(net, plan[-1], generator))
        return plan[1:]


def _mean_tau(order: lesions.Order) -> float:
    """Kendall's τ of the blocks that are left, mean over the stages that have two or more."""
    taus = [lesions.kendall_tau(stage) for stage in order if len(stage) > 1]
    return sum(taus) / len(taus) if taus else 1.0


@dataclass(frozen=True)
class Refinement(Experiment):
    """The other reading (Greff et al. 2017): how much does each block change the representation, and when is it good enough?"""

    id = "refinement"
    title = "반복 정련: 블록마다 얼마나 고치는가"
    note = f"학습이 끝난 잔차 망에서 블록이 은닉값을 얼마나 바꾸는지와, 마지막 스테이지의 블록을 뒤에서부터 빼고 바로 출력층을 붙였을 때의 시험 오차를 잽니다. {SETTING}"
    panels = (
        loss_panel({"residual": "잔차"}),
        Bars("change", "블록이 은닉값을 바꾸는 정도", x="블록 (입력 → 출력)", y="바뀐 크기 ÷ 원래 크기", series={"residual": "잔차"}),
        Bars("exit", "일찍 답을 읽을 때의 시험 오차 (%)", x="마지막 스테이지에서 지난 블록 수", y="시험 오차 (%, 시드 평균)", series={"residual": "잔차"}),
        Table("final", "블록별", columns=("블록", "바뀐 정도 (시드 평균)", "하나 지운 뒤 시험 오차 (%)")),
    )
    grid = {"depth": (20, 56)}
    sample = {"depth": 20}

    depth: int = slider("깊이", tuple(DEPTHS), 56, unit="층", help="20층은 블록 9개, 56층은 블록 27개입니다.")
    seed: int = seed_knob()

    seeds_per_run = 3

    def frames(self) -> Iterator[Frame]:
        seeds, n = self.seed_range(), DEPTHS[self.depth]
        for frame in training_frames(["residual"], self.depth, seeds, more=3 * n):
            yield frame
        steps, total, learned = frame.step, frame.total, frame.profiles
        net, task = trained(["residual"], self.depth, seeds), load_digits()
        change = relative_changes(net, task.x_test)
        exits = torch.stack([lesions.error(net, lesions.without(net, range(2 * n + done, 3 * n)), task) for done in range(1, n + 1)])
        after: list[Tensor] = []
        for block in range(3 * n):
            after.append(without_block(("residual",), self.depth, seeds, block))
            shown = min(n, block + 1)
            profiles = learned | {"change": {"residual": change[: block + 1].mean(1)}, "exit": {"residual": exits[:shown].mean(1)}}
            rows = [[b + 1, f"{change[b].mean():.2f}", _percent(errors)] for b, errors in enumerate(after)]
            frame = Frame(steps + block + 1, total, profiles=profiles, tables={"final": rows})
            if block == 3 * n - 1:
                frame.numbers = {"change": {"residual": change.T}, "exit": {"residual": exits.T}, "after": {"residual": torch.stack(after).T}}
            yield frame


@torch.no_grad()
def relative_changes(net: StackedConvNet, x: Tensor) -> Tensor:
    """RMS of what each block changes over the RMS of what it would pass on without its branch: (blocks, K)."""
    k = len(net.members)
    h, found = net.enter(x.expand(k, *x.shape)), []
    for stage, blocks in enumerate(net.stages):
        for index, block in enumerate(blocks):
            base = lesions.bare_shortcut(net, h) if stage and not index else h
            h = lesions.run_block(net, block, h)
            size = [part.unflatten(1, (k, -1)).square().mean((0, 2, 3, 4)).sqrt() for part in (h - base, base)]
            found.append(size[0] / size[1])
    return torch.stack(found)


EXPERIMENTS = (PathLengths, GradientPaths, Lesion, LesionDeep, LesionMany, Refinement)
