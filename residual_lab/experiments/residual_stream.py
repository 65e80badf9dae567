"""Lesson 10: what do the layers of a Transformer speak through? The logit lens and the induction head.

Elhage et al. 2021 (transformer-circuits.pub/2021/framework); nostalgebraist 2020 (the logit lens);
Olsson et al. 2022 (arXiv:2209.11895). The skips of other families are in `skip_families`, the design card in `design_card`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from residual_lab.blocks.transformer import Design, Sizes, Transformer
from residual_lab.experiments.base import Bars, Experiment, Frame, Heat, Lines, Table, seed_knob, slider, toggle
from residual_lab.experiments.design_card import DesignCard
from residual_lab.experiments.skip_families import SSMDepth, UNetSkip
from residual_lab.text import IGNORED, jamo_batches, load_jamo, repeated_sequences
from residual_lab.training.adam import cross_entropy, fit_adam
from residual_lab.training.fit import Step
from residual_lab.training.stacked_transformer import StackedTransformer


# The language model and what is read from its stream.

CONTEXT = 16


def language_model(depth: int, seeds: Sequence[int]) -> StackedTransformer:
    """Pre-LN Transformers of width 32 that read the course's Korean text letter by letter; not trained yet."""
    return StackedTransformer(Sizes(len(load_jamo().vocabulary), CONTEXT, 32, 2, depth), [Design("pre")], seeds)


def train_on_text(model: StackedTransformer, *, steps: int = 200) -> Iterator[Step]:
    """Train by Adam with a short warm-up and a linear decay."""
    seeds = [seed for _, seed in model.members]
    batches = jamo_batches(load_jamo().ids, conditions=1, seeds=seeds, context=CONTEXT, batch=16, steps=steps)
    return fit_adam(model, batches, steps=steps, lr=5e-3, warmup=20, schedule="linear")


def text_windows(models: int) -> tuple[Tensor, Tensor]:
    """The whole text in windows that follow one another, for K models: tokens and the tokens after them, (K, B, T)."""
    windows = load_jamo().ids.unfold(0, CONTEXT + 1, CONTEXT).expand(models, -1, -1)
    return windows[..., :-1], windows[..., 1:]


def lens(model: StackedTransformer | Transformer, tokens: Tensor, *, norm: bool = True) -> list[Tensor]:
    """The logits that the stream gives before the first block and after every block (nostalgebraist 2020).

    Args:
        norm: False leaves out the final LayerNorm, which is a mistake (lesson 10, section 2).
    """
    per_block = 2 if model.sizes.feed_forward else 1
    states = list(model.stream(tokens))[::per_block]
    if norm:
        return [model.unembed(x) for x in states]
    weight = model.unembedding.weight if isinstance(model, Transformer) else model.unembedding_weight[:, None]
    return [x @ weight.mT for x in states]


def writes(model: StackedTransformer | Transformer, tokens: Tensor) -> list[Tensor]:
    """x_0, then what every sublayer adds to the stream; their sum is x_N. Only where nothing stands after the addition."""
    states = list(model.stream(tokens))
    return [states[0], *(after - before for before, after in zip(states, states[1:]))]


def relative_writes(model: StackedTransformer, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """‖Δ‖/‖x‖ of attention and of feed-forward by block, mean over tokens: (K, N) each; x is the stream that Δ is added to."""
    states = list(model.stream(tokens))
    ratios = [((after - before).norm(dim=-1) / before.norm(dim=-1)).mean((1, 2)) for before, after in zip(states, states[1:])]
    return torch.stack(ratios[::2], 1), torch.stack(ratios[1::2], 1)


def lesion_costs(model: StackedTransformer, tokens: Tensor, labels: Tensor) -> Tensor:
    """By how much the loss grows when one block is passed over: (K, N), in nats."""
    whole, depth = cross_entropy(model(tokens), labels), model.sizes.depth
    costs = []
    for block in range(depth):
        factors = [float(other != block) for other in range(depth)]
        costs.append(cross_entropy(model(tokens, factors), labels) - whole)
    return torch.stack(costs, 1)


@dataclass(frozen=True)
class LogitLens(Experiment):
    """What the output layer would say after every block, while a small language model trains."""

    id = "logit_lens"
    title = "로짓 렌즈: 블록마다 무엇을 말하려 하는가"
    note = "짧은 우리말 글을 자모로 읽고 다음 자모를 맞히는 Pre-LN Transformer(폭 32)를 시드 다섯 개로 200단계 학습하며, 중간 스트림을 출력층으로 읽습니다. 셋째 그림은 첫 시드가 글 한 대목에서 맞는 자모에 준 확률입니다(0.01보다 작으면 0.01)."
    panels = (
        Lines("lens", "렌즈의 손실", x="단계", y="손실 (nat)", series={"embedding": "블록 0개 뒤 (임베딩)", "half": "블록 절반 뒤", "last": "마지막 블록 뒤"}),
        Bars("writes", "쓰는 양: ‖Δ‖ / ‖x‖", x="블록", y="상대 크기", series={"attention": "어텐션", "ffn": "FFN"}),
        Heat("letters", "맞는 자모의 확률 (첫 시드)", x="다음 자모", y="블록", z="확률"),
        Table("final", "학습이 끝났을 때", columns=("지나온 블록", "렌즈의 손실", "시드 범위", "마지막과 같은 답")),
    )
    grid = {"depth": (2, 4, 6), "norm": (True, False)}
    sample = {"depth": 2, "norm": True}

    depth: int = slider("깊이 N", (2, 4, 6), 4, unit="블록")
    norm: bool = toggle("렌즈에 마지막 LN을 쓴다", True, help="끄면 중간 스트림에 언임베딩 행렬만 곱합니다. 학습은 달라지지 않습니다.")
    seed: int = seed_knob()

    steps, every = 200, 10

    def frames(self) -> Iterator[Frame]:
        model = language_model(self.depth, self.seed_range())
        tokens, labels = text_windows(len(self.seed_range()))
        for step in train_on_text(model, steps=self.steps):
            if step.step % self.every == 0 or step.step == 1:
                yield self._frame(model, step.step, tokens, labels)

    @torch.no_grad()
    def _frame(self, model: StackedTransformer, step: int, tokens: Tensor, labels: Tensor) -> Frame:
        logits = lens(model, tokens, norm=self.norm)
        losses = torch.stack([cross_entropy(l, labels) for l in logits], 1)
        attention, ffn = relative_writes(model, tokens)
        frame = Frame(step, self.steps, curves={"lens": {"embedding": losses[:, 0], "half": losses[:, self.depth // 2], "last": losses[:, -1]}})
        frame.profiles["writes"] = {"attention": attention.mean(0), "ffn": ffn.mean(0)}
        shown, names = labels[0, 0, 8:], load_jamo().labels
        right = [l[0, 0, 8:].softmax(-1).gather(1, shown[:, None])[:, 0].clamp(min=0.01) for l in logits]
        frame.matrices["letters"] = {"xs": [names[i] for i in shown], "ys": [str(block) for block in range(self.depth + 1)], "z": right}
        if step == self.steps:
            answer = model(tokens).argmax(-1)
            agreement = torch.stack([(l.argmax(-1) == answer).double().mean((1, 2)) for l in logits], 1)
            frame.numbers = {
                "lens": {str(block): losses[:, block] for block in range(self.depth + 1)},
                "agreement": {str(block): agreement[:, block] for block in range(self.depth + 1)},
            }
            frame.tables["final"] = [
                [block, f"{losses[:, block].mean():.2f}", f"{losses[:, block].min():.2f}~{losses[:, block].max():.2f}", f"{100 * agreement[:, block].mean():.0f}%"]
                for block in range(self.depth + 1)
            ]
        return frame


# The induction head.

VOCABULARY, LENGTH = 16, 24


def repeater(layers: int, seeds: Sequence[int], *, heads: int = 1, skip: bool = True) -> StackedTransformer:
    """Transformers of attention only, without feed-forward networks, width 48; not trained yet."""
    return StackedTransformer(Sizes(VOCABULARY, LENGTH, 48, heads, layers, hidden=0), [Design("pre", skip=skip)], seeds)


def train_to_repeat(model: StackedTransformer, *, steps: int = 300) -> Iterator[Step]:
    """Train on sequences that repeat a random passage; never the same one twice."""
    seeds = [seed for _, seed in model.members]
    batches = repeated_sequences(conditions=1, seeds=seeds, batch=32, steps=steps, vocabulary=VOCABULARY, context=LENGTH)
    return fit_adam(model, batches, steps=steps, lr=6e-3, warmup=20, schedule="linear")


def fresh_repeats(models: int, batch: int = 64) -> tuple[Tensor, Tensor]:
    """Sequences that no training has seen, the same for all models: (K, B, T) and their labels."""
    [(tokens, labels)] = repeated_sequences(conditions=models, seeds=[9_999], batch=batch, steps=1, vocabulary=VOCABULARY, context=LENGTH)
    return tokens, labels


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the positions that count where the largest logit is right: (K, B, T, V) and (K, B, T) → (K,)."""
    counts = labels != IGNORED
    return ((logits.argmax(-1) == labels) & counts).flatten(1).sum(1) / counts.flatten(1).sum(1)


CUTS = {"whole": "온전함", "query": "Q에서", "key": "K에서", "value": "V에서", "all": "셋 모두", "sum": "출력의 합에서"}
"""What the second layer is kept from reading of the first layer's write; "sum" only takes it out of the final sum."""


@torch.no_grad()
def cut(model: StackedTransformer, tokens: Tensor, where: str) -> Tensor:
    """Logits when the first layer's write is hidden from one input of the second layer: (K, B, T, V).

    The stream itself is left as it is, so that the output still reads the write; "sum" is the other way round.
    """
    before, after, *_ = model.stream(tokens)
    reads = [before if where in (name, "all") else after for name in ("query", "key", "value")]
    last = model.sublayer(1, after, reads=reads)
    return model.unembed(last - (after - before) if where == "sum" else last)


@torch.no_grad()
def head_scores(model: StackedTransformer, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How much attention falls where the two heads should look; of each layer the best head: (K,) each.

    Returns:
        The first layer's mean attention to the previous token, in the passage that is repeated (what is written there is
        what the second layer looks up); and the last layer's to the tokens after the present token's earlier
        occurrences, in the repetitions.
    """
    states, last = list(model.stream(tokens)), model.sizes.depth - 1
    first, second = model.pattern(0, states[0]), model.pattern(last, states[last])
    counts = labels != IGNORED
    passage = ~counts[..., 1:]
    previous = (first.diagonal(-1, dim1=-2, dim2=-1) * passage[:, :, None]).sum((1, 3)) / passage.sum((1, 2))[:, None]
    follows = F.pad(tokens[..., :, None] == tokens[..., None, :-1], (1, 0))  # the token before j is the present one
    found = (second * follows[:, :, None]).sum(-1)
    induction = (found * counts[:, :, None]).sum((1, 3)) / counts.sum((1, 2))[:, None]
    return previous.amax(1), induction.amax(1)


@torch.no_grad()
def by_distance(model: StackedTransformer, layer: int, *, first: int, last: int, period: int = 8, far: int = 12) -> Tensor:
    """Attention of one layer to the position 1, 2, …, ``far`` before the present one: (K, far).

    Args:
        first, last: the present positions ``first`` … ``last`` over which the mean is taken, as over heads and sequences;
            a position that does not exist gets 0.
    """
    sequences = repeated_sequences(
        conditions=len(model.members), seeds=[9_998], batch=32, steps=1, vocabulary=VOCABULARY, context=LENGTH, periods=(period, period))
    [(tokens, _)] = sequences
    pattern = model.pattern(layer, list(model.stream(tokens))[layer]).mean((1, 2))
    shares = [pattern.diagonal(-back, dim1=-2, dim2=-1)[:, max(0, first - back) : max(0, last + 1 - back)].sum(1) for back in range(1, far + 1)]
    return torch.stack(shares, 1) / (last + 1 - first)


def composition_scores(model: Transformer) -> dict[str, float]:
    """How strongly the last layer's Q, K and V read the directions that the first layer writes (Elhage et al. 2021).

    The score of two products of weights is ‖A B‖ / (‖A‖ ‖B‖) in Frobenius norms, here of A = what reads (W^Q, W^K or
    W^V with the LayerNorm's weights) and B = what writes (W^O W^V), of all heads together.
    """
    first, last = model.sublayers()[0].branch, model.sublayers()[-1]
    wrote = first.output.weight @ first.value.weight
    scores = {}
    for name in ("query", "key", "value"):
        reads = getattr(last.branch, name).weight * getattr(last.norm_input, "weight", torch.ones(()))
        scores[name] = ((reads @ wrote).norm() / (reads.norm() * wrote.norm())).item()
    return scores


@dataclass(frozen=True)
class InductionHead(Experiment):
    """A Transformer of attention only learns to repeat a passage that it has seen once."""

    id = "induction_head"
    title = "귀납 헤드: 두 층이 스트림으로 나누는 대화"
    note = "글자 16가지로 된 무작위 대목(5~12자)이 되풀이됩니다. 어텐션만 있는 망(폭 48, Pre-LN) 다섯 개(시드 다섯)가 두 번째 대목부터 다음 글자를 맞힙니다. 길이가 8인 대목에서 “같은 글자의 다음”은 7칸 앞입니다. 층이 하나면 첫 층이 곧 끝 층입니다."
    panels = (
        Lines("accuracy", "되풀이되는 자리의 정확도", x="단계", y="정확도", series={"right": "정확도"}),
        Lines("scores", "헤드가 보는 곳", x="단계", y="어텐션의 몫", series={"previous": "첫 층, 첫 대목에서: 바로 앞 글자", "induction": "끝 층, 되풀이에서: 같은 글자의 다음"}),
        Bars("distance", "몇 칸 앞을 보는가 (대목의 길이가 8일 때)", x="몇 칸 앞", y="어텐션의 몫", series={"first": "첫 층, 첫 대목에서", "last": "끝 층, 되풀이에서"}),
        Table("cuts", "첫 층이 쓴 것을 가리면 (두 층일 때)", columns=("가린 곳", "정확도", "시드 범위")),
    )
    grid = {"layers": (1, 2), "skip": (True, False)}
    sample = {"layers": 2, "skip": True, "heads": 1}

    layers: int = slider("층", (1, 2), 2, unit="층")
    heads: int = slider("헤드", (1, 2), 1, unit="개")
    skip: bool = toggle("지름길", True, help="끄면 어텐션의 출력이 스트림을 대신합니다.")
    seed: int = seed_knob()

    steps, every = 300, 10

    def frames(self) -> Iterator[Frame]:
        model = repeater(self.layers, self.seed_range(), heads=self.heads, skip=self.skip)
        tokens, labels = fresh_repeats(len(self.seed_range()))
        for step in train_to_repeat(model, steps=self.steps):
            if step.step % self.every == 0 or step.step == 1:
                yield self._frame(model, step.step, tokens, labels)

    @torch.no_grad()
    def _frame(self, model: StackedTransformer, step: int, tokens: Tensor, labels: Tensor) -> Frame:
        previous, induction = head_scores(model, tokens, labels)
        curves = {"accuracy": {"right": accuracy(model(tokens), labels)}, "scores": {"previous": previous, "induction": induction}}
        frame = Frame(step, self.steps, curves=curves)
        if step % (5 * self.every) == 0 or step == 1:
            frame.profiles["distance"] = {
                "first": by_distance(model, 0, first=1, last=8).mean(0),
                "last": by_distance(model, self.layers - 1, first=8, last=15).mean(0),
            }
        if step == self.steps:
            frame.numbers = {"accuracy": {"right": curves["accuracy"]["right"]}, "scores": curves["scores"]}
            if self.layers == 2:
                found = {where: accuracy(cut(model, tokens, where), labels) for where in CUTS}
                frame.numbers["cuts"] = found
                frame.tables["cuts"] = [[CUTS[where], f"{v.mean():.2f}", f"{v.min():.2f}~{v.max():.2f}"] for where, v in found.items()]
        return frame


EXPERIMENTS = (LogitLens, InductionHead, UNetSkip, SSMDepth, DesignCard)
