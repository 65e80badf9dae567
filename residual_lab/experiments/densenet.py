"""Lesson 06: what is won and lost by concatenating instead of adding?

Huang et al. 2017 (arXiv:1608.06993) and Pleiss et al. 2017 (arXiv:1707.06990), on Fashion-MNIST averaged to 8×8 pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.densenet import DenseBlock, DenseLayer, DenseNet
from residual_lab.data import Task, load_fashion
from residual_lab.experiments.base import Bars, Experiment, Frame, Heat, Lines, Table, choice, log_slider, seed_knob, slider
from residual_lab.memory import multiply_adds, peak_bytes, saved_bytes
from residual_lab.training import Condition, StackedConvNet, evaluate, fit, stacked_batches
from residual_lab.training.dense import StackedDenseNet, ablated

BATCH = 64
TRAIN, TEST = 2000, 3000


@functools.cache
def fashion() -> Task:
    """2,000 and 3,000 images of Fashion-MNIST, a two-pixel border added and averaged to 8×8."""
    task = load_fashion(train=TRAIN)
    ground = float(task.x_train.min())
    small = [F.avg_pool2d(F.pad(x, (2, 2, 2, 2), value=ground), 4) for x in (task.x_train, task.x_test[:TEST])]
    return Task(small[0], task.y_train, small[1], task.y_test[:TEST])


def _train(model: nn.Module, seeds: range, *, epochs: int, lr: float) -> Iterator:
    task, steps = fashion(), epochs * (TRAIN // BATCH)
    batches = stacked_batches(task.x_train, task.y_train, conditions=1, seeds=seeds, batch=BATCH, steps=steps)
    return fit(model, batches, steps=steps, lr=lr, weight_decay=1e-4)


def _mean_and_range(values: Tensor, form: str = ".1f") -> tuple[str, str]:
    return f"{values.mean():{form}}", f"{values.min():{form}}~{values.max():{form}}"


@dataclass(frozen=True)
class ChannelArithmetic(Experiment):
    """Channels, parameters and connections of DenseNet(L, k) and DenseNet-BC(L, k), layer by layer."""

    id = "channel_arithmetic"
    title = "채널 셈: 깊이 L, 성장률 k, 병목과 압축"
    note = "CIFAR-10용 DenseNet을 실제로 만들어 층마다 들어오는 채널을 셉니다. 학습은 하지 않습니다. BC는 병목(1×1 합성곱)과 압축 θ = 0.5를 씁니다."
    panels = (
        Bars("channels", "층마다 들어오는 채널", x="덴스 층 (입력 → 출력)", y="채널 (개)", series={"input": "들어오는 채널"}),
        Bars("parameters", "층마다의 파라미터", x="덴스 층 (입력 → 출력)", y="파라미터 (천 개)", series={"layer": "그 층의 파라미터"}),
        Table("final", "셈", columns=("무엇", "값")),
    )
    grid = {"depth": (22, 40, 100, 190), "growth": (12, 24, 40), "form": ("basic", "bc")}
    sample = {"depth": 40}

    depth: int = slider("깊이 L", (22, 40, 100, 190, 250), 40, unit="층", help="파라미터가 있는 층의 수입니다. 블록은 언제나 세 개입니다.")
    growth: int = slider("성장률 k", (12, 24, 40, 48), 12, unit="채널")
    form: str = choice("꼴", {"basic": "기본 DenseNet", "bc": "DenseNet-BC"}, "basic")

    def frames(self) -> Iterator[Frame]:
        with torch.device("meta"):
            net = DenseNet.cifar(self.depth, self.growth, bc=self.form == "bc")
        blocks = [part for part in net.body if isinstance(part, DenseBlock)]
        layers = [layer for block in blocks for layer in block.layers]
        inputs = [next(m.num_features for m in layer.modules() if isinstance(m, nn.BatchNorm2d)) for layer in layers]
        parameters = [sum(p.numel() for p in layer.parameters()) for layer in layers]
        total, count = len(layers), len(blocks[0].layers)
        for step in range(1, total + 1):
            frame = Frame(step, total, profiles={
                "channels": {"input": inputs[:step]}, "parameters": {"layer": [n / 1000 for n in parameters[:step]]}})
            if step == total:
                whole = sum(p.numel() for p in net.parameters())
                frame.tables["final"] = [
                    ["블록 하나의 덴스 층", f"{count}개"],
                    ["블록 하나의 직접 연결 l(l + 1)/2", f"{count * (count + 1) // 2}개"],
                    ["블록이 내보내는 채널", " → ".join(f"{block.out_channels:,}" for block in blocks)],
                    ["전이층을 지난 채널", " → ".join(f"{part[2].out_channels:,}" for part in net.body if not isinstance(part, DenseBlock))],
                    ["파라미터", f"{whole:,}개"],
                ]
                frame.numbers = {"count": {"parameters": [whole], "layers": [total]}, "channels": {"input": inputs}}
            yield frame


class AddingLayers(nn.Module):
    """The same layers, added: x ← x + H(x)."""

    def __init__(self, layers: int, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(channels, channels) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


FORMS = {"concat": "이어 붙이기, 모두 저장", "checkpoint": "이어 붙이기, 다시 계산", "add": "더하기 x + H(x), 64채널"}


@dataclass(frozen=True)
class MemoryByDepth(Experiment):
    """Bytes stored for the backward pass, and bytes alive at most, of a real forward and backward pass through one block."""

    id = "dense_memory"
    title = "블록 하나의 메모리: 층수에 따라"
    note = "덴스 블록 하나에 16채널 8×8 특성 맵 여덟 장을 넣고 실제로 순전파와 역전파를 합니다. 바이트를 세는 것이라 돌릴 때마다 같은 값이 나옵니다."
    panels = (
        Lines("saved", "역전파를 위해 저장한 양", x="층수 (개)", y="MB", series=FORMS),
        Lines("peak", "한 단계에서 가장 많이 잡고 있던 양", x="층수 (개)", y="MB", series=FORMS),
        Table("final", "층이 가장 많을 때", columns=("방법", "저장 (MB)", "가장 많을 때 (MB)", "순전파+역전파의 곱셈·덧셈 (백만)")),
    )
    grid = {"growth": (4, 12, 24), "bottleneck": (False, True), "deepest": (16, 32)}
    sample = {"growth": 4}

    growth: int = slider("성장률 k", (4, 12, 24), 12, unit="채널")
    bottleneck: bool = choice("층", {False: "BN–ReLU–3×3", True: "병목 (1×1 다음 3×3)"}, False)
    deepest: int = slider("가장 많은 층", (8, 16, 32), 16, unit="개")

    channels, batch, adding = 16, 8, 64

    def frames(self) -> Iterator[Frame]:
        for depth in (d for d in (1, 2, 4, 8, 16, 32) if d <= self.deepest):
            found = {form: self._measure(form, depth) for form in FORMS}
            pick = lambda key: {form: [row[key] / 1e6] for form, row in found.items()}
            frame = Frame(depth, self.deepest, curves={"saved": pick("saved"), "peak": pick("peak")})
            if depth == self.deepest:
                frame.numbers = {key: {form: [row[key]] for form, row in found.items()} for key in ("saved", "peak", "work")}
                frame.tables["final"] = [
                    [FORMS[form], f"{row['saved'] / 1e6:.2f}", f"{row['peak'] / 1e6:.2f}", f"{row['work'] / 1e6:,.0f}"]
                    for form, row in found.items()]
            yield frame

    def _measure(self, form: str, depth: int) -> dict[str, int]:
        """Bytes and multiply-adds of one block with ``depth`` layers."""
        channels = self.adding if form == "add" else self.channels
        block = AddingLayers(depth, channels) if form == "add" else DenseBlock(
            depth, channels, self.growth, bottleneck=self.bottleneck, checkpointed=form == "checkpoint")
        parameters = list(block.parameters())
        x = torch.zeros(self.batch, channels, 8, 8).requires_grad_()
        step = lambda: torch.autograd.grad(block(x).sum(), [x, *parameters])
        peak = []
        work = multiply_adds(lambda: peak.append(peak_bytes(step, but=[x, *parameters])))
        return {"saved": saved_bytes(lambda: block(x), but=parameters), "peak": peak[0], "work": work}


NETS = {"dense": "DenseNet (이어 붙이기)", "residual": "ResNet (더하기)"}
SIZES = {"small": (4, 4), "medium": (9, 8), "large": (13, 12)}
"""Growth rate of the DenseNet and width of the ResNet that have about as many parameters."""


def pair_of(size: str, seeds: range) -> dict[str, nn.Module]:
    """A DenseNet-C (θ = 0.5) of 16 layers and a ResNet-14 of one size."""
    growth, width = SIZES[size]
    return {"dense": StackedDenseNet(seeds, layers=4, growth=growth, channels=2 * growth),
            "residual": StackedConvNet([Condition(skip=True)], seeds, n=2, width=width)}


def cost(net: nn.Module, networks: int) -> tuple[int, int]:
    """Parameters of one network, and multiply-adds of its forward pass for one image."""
    image = torch.zeros(networks, 1, 1, 8, 8)
    was_training = net.training
    net.eval()
    with torch.no_grad():
        work = multiply_adds(lambda: net(image))
    net.train(was_training)
    return sum(p.numel() for p in net.parameters()) // networks, work // networks


@dataclass(frozen=True)
class EqualParameters(Experiment):
    """A DenseNet and a ResNet with nearly the same number of parameters, trained alike."""

    id = "dense_or_residual"
    title = "파라미터를 맞춘 DenseNet과 ResNet"
    note = "Fashion-MNIST를 8×8로 줄인 그림 2,000장으로 16층 DenseNet(θ = 0.5)과 14층 ResNet을 시드 다섯 개씩 학습합니다. 배치 64, SGD 모멘텀 0.9, 가중치 감쇠 0.0001."
    panels = (
        Lines("loss", "학습 손실 (미니배치)", x="단계", y="교차 엔트로피", series=NETS, scale="log"),
        Table("final", "학습이 끝난 뒤 (오차는 %, 곱셈·덧셈은 그림 한 장)", columns=("망", "파라미터", "곱셈·덧셈", "시험 오차", "시드 범위", "학습 오차")),
    )
    grid = {"size": ("small", "medium", "large"), "lr": (0.05, 0.1)}
    sample = {"size": "small"}

    size: str = choice("크기", {
        "small": "1만 개 안팎 (k = 4, 폭 4)", "medium": "4만 3천 개쯤 (k = 9, 폭 8)", "large": "9만 개 안팎 (k = 13, 폭 12)",
    }, "small")
    lr: float = log_slider("학습률", (0.05, 0.1, 0.2), 0.1)
    epochs: int = slider("에폭", (2, 6, 12), 6)
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        nets = pair_of(self.size, seeds)
        runs = {kind: _train(net, seeds, epochs=self.epochs, lr=self.lr) for kind, net in nets.items()}
        total = self.epochs * (TRAIN // BATCH)
        for step in range(1, total + 1):
            frame = Frame(step, total, curves={"loss": {kind: next(run).losses for kind, run in runs.items()}})
            if step == total:
                self._finish(frame, nets)
            yield frame

    def _finish(self, frame: Frame, nets: dict[str, nn.Module]) -> None:
        task, networks = fashion(), self.seeds_per_run
        costs = {kind: cost(net, networks) for kind, net in nets.items()}
        test = {kind: evaluate(net, task.x_test, task.y_test, networks=networks)[1] for kind, net in nets.items()}
        train = {kind: evaluate(net, task.x_train, task.y_train, networks=networks)[1] for kind, net in nets.items()}
        frame.numbers = {"test_error": test, "train_error": train, "cost": {kind: list(pair) for kind, pair in costs.items()}}
        frame.tables["final"] = [
            [NETS[kind].split(" ")[0], f"{costs[kind][0]:,}", f"{costs[kind][1]:,}", *_mean_and_range(test[kind]), f"{train[kind].mean():.1f}"]
            for kind in nets]


WAYS = {"zero": "0으로", "mean": "평균으로"}


@dataclass(frozen=True)
class WhoReadsWhom(Experiment):
    """Two heat maps of the same trained DenseNets: mean |weight|, and what the loss loses without a source."""

    id = "dense_sources"
    title = "누가 누구를 읽는가: 두 가지 열 지도"
    note = "덴스 층이 블록마다 네 개인 DenseNet(k = 8, k₀ = 8)을 시드 다섯 개로 학습합니다. 그다음 읽는 층 하나에서 출처 하나를 지우고, 학습 그림 500장의 손실이 얼마나 커지는지 잽니다."
    panels = (
        Heat("before", "평균 |가중치| (학습하기 전)", x="출처", y="읽는 층", z="행의 평균에 대한 비"),
        Heat("after", "평균 |가중치| (학습한 뒤)", x="출처", y="읽는 층", z="행의 평균에 대한 비"),
        Heat("loss", "출처를 지우면 커지는 손실", x="출처", y="읽는 층", z="손실의 증가"),
        Table("final", "두 지도는 얼마나 닮았을까 (행의 평균을 뺀 상관)", columns=("지도와 지도", "시드 평균", "범위")),
    )
    grid = {"block": (1, 2), "way": ("zero", "mean")}
    sample = {"block": 1}

    block: int = slider("블록", (1, 2), 1)
    way: str = choice("지우는 방법", WAYS, "mean", help="BN과 ReLU를 지난 값을 0으로, 또는 채널마다의 평균으로 바꿉니다.")
    epochs: int = slider("에폭", (2, 4, 8), 4)
    seed: int = seed_knob()

    layers, growth = 4, 8

    def frames(self) -> Iterator[Frame]:
        seeds = self.seed_range()
        net = StackedDenseNet(seeds, layers=self.layers, growth=self.growth, channels=self.growth)
        readers = self._readers(net)
        pairs = [(reader, source) for reader in range(1, len(readers) + 1) for source in range(reader)]
        training = self.epochs * (TRAIN // BATCH)
        total = training + len(pairs)
        maps = {"before": self._weights(readers, len(seeds))}
        for step, _ in _train(net, seeds, epochs=self.epochs, lr=0.1):
            frame = Frame(step, total)
            if step == 1 or step % 20 == 0 or step == training:
                maps["after"] = self._weights(readers, len(seeds))
                frame.matrices = {key: self._picture(rows) for key, rows in maps.items()}
            yield frame
        maps["loss"] = [[] for _ in readers]
        for done, (reader, increase) in enumerate(self._increases(net, readers, pairs), start=1):
            maps["loss"][reader - 1].append(increase)
            frame = Frame(training + done, total, matrices={key: self._picture(rows) for key, rows in maps.items()})
            if done == len(pairs):
                self._finish(frame, maps)
            yield frame

    def _readers(self, net: StackedDenseNet) -> list[nn.Sequential]:
        """Who reads features of the block: its dense layers (the first reads one source only) and the transition."""
        return [*net.blocks[self.block - 1], net.transitions[self.block - 1]]

    def _slices(self, readers: list[nn.Sequential], reader: int) -> list[slice]:
        """The channels of each source, for reader 1, 2, …: the block's input, then one slice a layer."""
        first = readers[0][2].in_channels // self.seeds_per_run
        edges = [0, *(first + i * self.growth for i in range(reader))]
        return [slice(a, b) for a, b in zip(edges, edges[1:])]

    def _weights(self, readers: list[nn.Sequential], networks: int) -> list[list[Tensor]]:
        """Mean |weight| of each reader for each source, a tensor (K,) a cell, relative to its row's mean."""
        rows = []
        for reader, layer in enumerate(readers, start=1):
            weight = layer[2].weight.detach().abs().unflatten(0, (networks, -1)).transpose(1, 2)
            row = torch.stack([weight[:, part].mean((1, 2, 3, 4)) for part in self._slices(readers, reader)])
            rows.append(list(row / row.mean(0)))
        return rows

    def _increases(self, net: StackedDenseNet, readers: list, pairs: list[tuple[int, int]]) -> Iterator[tuple[int, Tensor]]:
        """For each pair, the reader and by how much the loss grows (K,) when it cannot read the source."""
        task, networks = fashion(), self.seeds_per_run
        score = lambda: evaluate(net, task.x_train[:500], task.y_train[:500], networks=networks, batch=500)[0]
        whole = score()
        for reader, source in pairs:
            with ablated(readers[reader - 1], self._slices(readers, reader)[source], networks=networks, way=self.way):
                yield reader, score() - whole

    def _picture(self, rows: list[list[Tensor]]) -> dict:
        names = ["블록의 입력", *(f"층 {i}" for i in range(1, self.layers + 1))]
        readers = [*names[1:], "전이층"]
        return {"xs": names, "ys": readers, "z": [[cell.mean() for cell in row] for row in rows]}

    def _finish(self, frame: Frame, maps: dict[str, list[list[Tensor]]]) -> None:
        flat = {key: _without_row_means(rows) for key, rows in maps.items()}
        own = _correlations(flat["before"], flat["after"]).diagonal()
        others = {key: _mean_with_others(_correlations(cells, cells)) for key, cells in flat.items()}
        frame.tables["final"] = [
            ["평균 |가중치|: 학습한 뒤와 그 망의 학습 전", *_mean_and_range(own, ".2f")],
            ["평균 |가중치|: 학습한 뒤와 다른 시드의 학습한 뒤", *_mean_and_range(others["after"], ".2f")],
            ["커지는 손실: 이 시드와 다른 시드", *_mean_and_range(others["loss"], ".2f")],
        ]
        cells = lambda key: {f"{r}<{s}": cell for r, row in enumerate(maps[key], start=1) for s, cell in enumerate(row)}
        frame.numbers = {"likeness": {"own": own, "others": others["after"], "loss": others["loss"]},
                         "increase": cells("loss"), "weight": cells("after"), "weight_before": cells("before")}


def _without_row_means(rows: list[list[Tensor]]) -> Tensor:
    """The cells of a map for each seed, (K, cells), each row's mean taken off; rows of one cell say nothing and are left out."""
    return torch.cat([torch.stack(row) - torch.stack(row).mean(0) for row in rows if len(row) > 1]).T


def _correlations(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of every row of ``a`` with every row of ``b``: (K, n), (K, n) → (K, K)."""
    a, b = (F.normalize(x - x.mean(1, keepdim=True), dim=1) for x in (a, b))
    return a @ b.T


def _mean_with_others(correlations: Tensor) -> Tensor:
    """Each seed's mean correlation with the other seeds: (K, K) → (K,)."""
    return (correlations.sum(1) - correlations.diagonal()) / (len(correlations) - 1)


EXPERIMENTS = (ChannelArithmetic, MemoryByDepth, EqualParameters, WhoReadsWhom)
