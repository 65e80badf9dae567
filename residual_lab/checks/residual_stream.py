"""Checks of exercise 10, the capstone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.transformer import Design, Sizes, Transformer
from residual_lab.checks.base import NotYet, call, close, passed, require
from residual_lab.data import load_digits
from residual_lab.experiments.design_card import block
from residual_lab.experiments.residual_stream import accuracy, fresh_repeats, repeater, train_to_repeat
from residual_lab.training.optimizers import Adam

EPS = 1e-5


def check_attribution(direct_logit_attribution: Callable[[list[Tensor], Tensor, Tensor], Tensor]) -> None:
    """Task 10-1: the pieces of the stream as pieces of the logits."""
    generator = torch.Generator().manual_seed(101)
    for n, T, d, V in ((1, 2, 6, 4), (5, 3, 16, 7), (13, 4, 32, 50)):
        pieces = [torch.randn(T, d, generator=generator, dtype=torch.float64) * (1 + i) + 0.5 for i in range(n)]
        gamma = 1 + 0.3 * torch.randn(d, generator=generator, dtype=torch.float64)
        U = torch.randn(V, d, generator=generator, dtype=torch.float64)
        given = [piece.clone() for piece in pieces]
        value = call(direct_logit_attribution, list(pieces), gamma, U)
        require(all(torch.equal(a, b) for a, b in zip(pieces, given)), "받은 조각을 제자리에서 바꾸었습니다. 새 텐서를 만들어 계산하세요.")
        require(isinstance(value, Tensor), "텐서 하나를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
        require(value.shape == (n, T, V), f"모양이 (조각, 자리, 어휘) = {(n, T, V)}이어야 하는데 {tuple(value.shape)}입니다.")
        value = value.detach().to(torch.float64)
        expected = attribution(pieces, gamma, U)
        total = sum(pieces)
        logits = F.layer_norm(total, (d,), gamma, eps=EPS) @ U.T
        if not torch.allclose(value, expected, atol=1e-9, rtol=1e-9):
            near = torch.allclose(value, expected, atol=1e-3, rtol=1e-3)
            require(not near, "값이 비슷하지만 10⁻⁹까지 맞지 않습니다. float32로 바꾸지 말고, σ를 구할 때 eps = 1e-5를 분산에 더했는지 보세요.")
            for message, wrong in _attribution_mistakes(pieces, gamma, U).items():
                require(not torch.allclose(value, wrong, atol=1e-6), message)
            summed = torch.allclose(value.sum(0), logits, atol=1e-6)
            require(not summed, "합은 로짓과 같지만 조각마다의 몫이 다릅니다. 조각마다 자기 평균을 빼고 같은 σ로 나누세요.")
            raise NotYet(f"조각의 합이 로짓과 다릅니다(가장 큰 차이 {(value.sum(0) - logits).abs().max():.2g}).")
        print(f"조각 {n:2}개: 합이 로짓과 10⁻⁹ 안에서 같습니다")
    passed("10-1")


def attribution(pieces: Sequence[Tensor], gamma: Tensor, U: Tensor) -> Tensor:
    """U (γ (c − mean c)/σ) of every piece c, with σ of the whole stream: (pieces, T, V)."""
    sigma = (sum(pieces).var(-1, unbiased=False, keepdim=True) + EPS).sqrt()
    return torch.stack([(gamma * (c - c.mean(-1, keepdim=True)) / sigma) @ U.T for c in pieces])


def _attribution_mistakes(pieces: Sequence[Tensor], gamma: Tensor, U: Tensor) -> dict[str, Tensor]:
    d, total = len(gamma), sum(pieces)
    sigma = (total.var(-1, unbiased=False, keepdim=True) + EPS).sqrt()
    unbiased = (total.var(-1, keepdim=True) + EPS).sqrt()
    centred = [c - c.mean(-1, keepdim=True) for c in pieces]
    return {
        "조각마다 자기 표준편차로 나누었습니다. σ는 스트림 전체(조각의 합)에서 한 번만 구해 고정합니다.": torch.stack([F.layer_norm(c, (d,), gamma, eps=EPS) @ U.T for c in pieces]),
        "마지막 LN을 빼고 언임베딩만 곱했습니다.": torch.stack([c @ U.T for c in pieces]),
        "평균을 빼지 않았습니다. LN은 성분의 평균을 먼저 뺍니다.": torch.stack([(gamma * c / sigma) @ U.T for c in pieces]),
        "γ를 곱하지 않았습니다. 마지막 LN에는 성분마다의 배율 γ가 있습니다.": torch.stack([c / sigma @ U.T for c in centred]),
        "표준편차를 d − 1로 나누어 구했습니다. LN은 d로 나눕니다(unbiased=False).": torch.stack([(gamma * c / unbiased) @ U.T for c in centred]),
    }


READS = "reads에는 Q, K, V가 읽을 스트림 셋을 이 순서의 리스트로 넣습니다."


def check_hide(hide: Callable[[Transformer, Tensor, str], Tensor]) -> None:
    """Task 10-2: what the second layer no longer hears of the first."""
    for heads, seed in ((1, 3), (2, 4)):
        model = Transformer(Sizes(11, 9, 16, heads, 2, hidden=0), Design("pre"), seed=seed).double()
        tokens = torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(seed))
        weights = [p.detach().clone() for p in model.parameters()]
        for where in ("query", "key", "value", "sum"):
            logits = call(hide, model, tokens, where, hints={"must be Tensor, not str": READS, "Boolean value of Tensor": READS})
            require(isinstance(logits, Tensor), "로짓 텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
            require(logits.shape == (3, 9, 11), f"모양이 (3, 9, 11)이어야 하는데 {tuple(logits.shape)}입니다. unembed를 거쳤습니까?")
            require(all(torch.equal(a, b) for a, b in zip(model.parameters(), weights)), "모델의 가중치가 바뀌었습니다.")
            expected = hidden_from(model, tokens, where)
            if not torch.allclose(logits.detach(), expected, atol=1e-8):
                for message, wrong in _hide_mistakes(model, tokens, where).items():
                    require(not torch.allclose(logits.detach(), wrong, atol=1e-8), f"{where}: {message}")
                raise NotYet(f"‘{where}’에서 가린 로짓이 다릅니다(가장 큰 차이 {(logits - expected).abs().max():.2g}).")
    stack = repeater(2, [0])
    for _ in train_to_repeat(stack):
        pass
    tokens, labels = fresh_repeats(1)
    model = stack.member(0)
    found = {where: accuracy(hide(model, tokens[0], where)[None], labels).item() for where in ("query", "key", "value", "sum")}
    print("학습한 두 층에서 정확도가 0.6보다 낮아지는 곳:", [where for where, share in found.items() if share < 0.6])
    passed("10-2")


@torch.no_grad()
def hidden_from(model: Transformer, tokens: Tensor, where: str) -> Tensor:
    """Logits with the first layer's write hidden from one input of the second layer, or from the final sum."""
    before, after, _ = model.stream(tokens)
    reads = [before if where == name else after for name in ("query", "key", "value")]
    last = after + model.sublayers()[1].write(after, reads=reads)
    return model.unembed(last - (after - before) if where == "sum" else last)


@torch.no_grad()
def _hide_mistakes(model: Transformer, tokens: Tensor, where: str) -> dict[str, Tensor]:
    before, after, whole = model.stream(tokens)
    second = model.sublayers()[1]
    others = [name for name in ("query", "key", "value") if name != where]
    reads = [before if where == name else after for name in ("query", "key", "value")]
    found = {
        "아무것도 가리지 않은 로짓입니다.": model.unembed(whole),
        "첫 층이 쓴 것을 스트림에서도 지웠습니다. 둘째 층이 더해지는 스트림은 그대로 두고 reads만 바꾸세요.": model.unembed(before + second.write(after, reads=reads)),
        "첫 층이 쓴 것을 통째로 뺐습니다. 하나를 가릴 때에는 그것만 before를 읽고, sum일 때에는 둘째 층이 after를 그대로 읽습니다.": model.unembed(before + second.write(before)),
        "둘째 층이 쓴 것을 더하지 않았습니다.": model.unembed(after if where != "sum" else before),
        "뺄 것은 첫 층이 **쓴 것**(after − before)입니다. 둘째 층이 쓴 것은 남깁니다.": model.unembed(whole - after),
    }
    if where != "sum":
        for other in others:
            found[f"Q, K, V의 순서가 바뀌었습니다. ‘{other}’를 가린 값입니다."] = hidden_from(model, tokens, other)
        kept = [after if where == name else before for name in ("query", "key", "value")]
        found["거꾸로 가렸습니다. 가릴 곳만 before를 읽고 나머지는 after를 읽어야 합니다."] = model.unembed(after + second.write(after, reads=kept))
        found["셋을 모두 가렸습니다. 셋 가운데 하나에서만 가리세요."] = model.unembed(after + second.write(after, reads=[before] * 3))
    return found


def check_predict(predict_card: Callable[[Mapping], tuple]) -> None:
    """Task 10-3: the capstone's predictions."""
    cards = [dict(depth=N, placement=placement, scale=s, survival=p)
             for N, s, p in ((1, 1.0, 1.0), (12, 1.0, 0.5), (30, 0.2, 0.8), (100, 0.1, 0.5)) for placement in ("none", "pre", "post")]
    for card in cards:
        given = dict(card)
        value = call(predict_card, given)
        require(given == card, "받은 카드가 바뀌었습니다. 읽기만 하세요.")
        right = predicted(card)
        got = _three(value)
        for place, name in enumerate(("출력의 제곱평균은", "그래디언트의 비는", "기대 깊이는")):
            if not close(got[place], right[place]):
                require(not _swapped(got, right), "세 수의 순서가 다릅니다. (제곱평균, 그래디언트의 비, 기대 깊이)로 돌려주세요.")
                for message, wrong in _prediction_mistakes(card)[place].items():
                    require(not close(got[place], wrong), message)
                raise NotYet(f"{_told(card)}: {name} {right[place]:.5g}이어야 하는데 {got[place]:.5g}입니다.")
    for card in (cards[3], cards[4], cards[10]):
        forward, gradient, depth = (float(v) for v in predict_card(dict(card)))
        print(f"{_told(card)}: 제곱평균 {forward:.4g}, 그래디언트 {gradient:.4g}배, 기대 깊이 {depth:.2f}")
    passed("10-3")


def predicted(card: Mapping) -> tuple[float, float, float]:
    """Second moment at the output, gradient norm at the input over that at the output, Σ p_l."""
    N, s, last = card["depth"], card["scale"], card["survival"]
    growth = {"none": (1 + s**2) ** N, "pre": 1 + s**2 * N, "post": 1.0}[card["placement"]]
    return growth, growth**0.5, N - (1 - last) * (N + 1) / 2


INVERTED = "비가 뒤집혔습니다. 입력의 노름을 출력의 노름으로 나눕니다."


def _prediction_mistakes(card: Mapping) -> list[dict[str, float]]:
    N, s, last, place = card["depth"], card["scale"], card["survival"], card["placement"]
    right = predicted(card)
    forward, gradient = {}, {"제곱근을 잊었습니다. 제곱에 곱해지는 값이므로 노름은 그 제곱근입니다.": right[0], INVERTED: 1 / right[1]}
    if place == "pre":
        forward["Pre-LN의 가지는 언제나 크기 1인 것을 읽습니다. 곱해지지 않고 블록마다 s²이 더해집니다."] = (1 + s**2) ** N
        forward["가지가 보태는 제곱평균은 s가 아니라 s²입니다."] = 1 + s * N
        gradient["Pre-LN의 역전파에서 가지는 읽은 것의 크기로 나누어집니다. 블록마다 1 + s²이 아니라 1 + s²/E[h²]입니다."] = (1 + s**2) ** (N / 2)
    if place == "none":
        forward["가지가 읽는 것이 블록마다 커집니다. 더해지는 것이 아니라 곱해집니다."] = 1 + s**2 * N
        forward["배율을 제곱하지 않았습니다. 제곱평균에는 1 + s²이 곱해집니다."] = (1 + s) ** N
        gradient["역전파에서도 블록마다 제곱에 1 + s²이 곱해집니다."] = 1.0
    if place == "post":
        forward["Post-LN은 더한 뒤에 정규화하므로 출력의 제곱평균은 언제나 1입니다."] = (1 + s**2) ** N
        forward["Post-LN은 더한 뒤에 정규화하므로 출력의 제곱평균은 언제나 1입니다(Pre-LN의 식입니다)."] = 1 + s**2 * N
    survival = {
        "마지막 생존 확률을 모든 블록에 썼습니다. 생존 확률은 1에서 그 값까지 차례로 줄어듭니다.": N * last,
        "생존 확률과 드롭 확률이 바뀌었습니다.": N - right[2],
        "첫 블록의 번호는 l = 1입니다. l = 0부터 세었습니다.": sum(1 - l / N * (1 - last) for l in range(N)),
    }
    return [forward, gradient, survival]


def check_measure(measure_card: Callable[[Mapping, list, Tensor, Tensor], tuple]) -> None:
    """Task 10-4: the same numbers from a real network, and how far the predictions are off."""
    for place, N, s in (("none", 3, 0.5), ("pre", 4, 1.0), ("post", 3, 1.0), ("pre", 1, 0.3)):
        card = dict(depth=N, placement=place, scale=s, survival=1.0)
        weights, x, g = _network(N, 12, 7)
        before = [t.clone() for t in (x, g, *weights)]
        value = call(measure_card, dict(card), list(weights), x, g)
        require(all(torch.equal(a.detach(), b) for a, b in zip((x, g, *weights), before)), "받은 텐서가 바뀌었습니다. 새 텐서를 만들어 계산하세요.")
        got, right = _pair(value), measured(card, weights, x, g)
        for index, name in enumerate(("출력의 제곱평균은", "그래디언트의 비는")):
            if not close(got[index], right[index], relative=1e-5):
                for message, wrong in _measurement_mistakes(card, weights, x, g)[index].items():
                    require(not close(got[index], wrong, relative=1e-5), message)
                raise NotYet(f"{_told(card)}: {name} {right[index]:.5g}이어야 하는데 {got[index]:.5g}입니다.")
    for place, N, s in (("none", 6, 1.0), ("pre", 48, 1.0), ("pre", 48, 48**-0.5)):
        card = dict(depth=N, placement=place, scale=s, survival=1.0)
        errors = []
        for seed in range(3):
            found = measure_card(card, *_network(N, 128, seed, batch=32))
            errors += [abs(math.log(float(f) / p)) for f, p in zip(found, predicted(card))]
        near = max(errors) < math.log(2)
        print(f"{_told(card)}: 시드 셋 모두 예측의 절반과 두 배 사이입니까? {near}")
    passed("10-4")


def measured(card: Mapping, weights: Sequence[Tensor], x: Tensor, g: Tensor) -> tuple[float, float]:
    """Second moment at the output and ‖gradient at x‖ / ‖g‖."""
    start = x.detach().requires_grad_()
    h = start
    for weight in weights:
        h = block(h, weight, card["placement"], card["scale"])
    (gradient,) = torch.autograd.grad(h, start, g)
    return h.square().mean().item(), (gradient.norm() / g.norm()).item()


def _measurement_mistakes(card: Mapping, weights: Sequence[Tensor], x: Tensor, g: Tensor) -> list[dict[str, float]]:
    right, start = measured(card, weights, x, g), x.detach()
    forward = {"제곱평균은 모든 성분에 대한 평균입니다. 표본마다의 합(노름의 제곱)을 냈습니다.": right[0] * x.shape[1], "제곱의 평균이 아니라 그 제곱근입니다.": right[0] ** 0.5}
    for other in ("none", "pre", "post"):
        if other != card["placement"]:
            forward[f"LN의 자리가 다릅니다. ‘{other}’로 계산한 값입니다."] = measured({**card, "placement": other}, weights, start, g)[0]
    forward["가지의 배율 s를 곱하지 않았습니다."] = measured({**card, "scale": 1.0}, weights, start, g)[0]
    h = start
    for weight in weights:
        h = block(h, weight, card["placement"], card["scale"], 0.0)
    forward["지름길이 없습니다. 가지에 h를 더하세요."] = h.square().mean().item()
    gradient = {INVERTED: 1 / right[1], "노름이 아니라 노름의 제곱으로 비를 냈습니다.": right[1] ** 2, "출력의 그래디언트 g의 노름으로 나누지 않았습니다.": right[1] * g.norm().item()}
    return [forward, gradient]


def check_design(design: Callable[[int], Mapping]) -> None:
    """Task 10-5: a card for any depth that keeps the rules, in a real network and in training."""
    for N in (8, 24, 100):
        card = call(design, N)
        require(isinstance(card, Mapping), "카드(dict)를 돌려주어야 합니다.")
        missing = {"depth", "placement", "scale", "survival"} - set(card)
        require(not missing, f"카드에 빠진 항목이 있습니다: {', '.join(sorted(missing))}")
        require(card["depth"] == N, f"design({N})의 카드는 depth가 {N}이어야 합니다: {card['depth']!r}")
        require(card["placement"] in ("none", "pre", "post"), f"placement는 'none', 'pre', 'post' 가운데 하나입니다: {card['placement']!r}")
        s, p = _number(card["scale"], "scale"), _number(card["survival"], "survival")
        require(0 < p <= 1, f"survival은 0보다 크고 1 이하인 확률이어야 합니다: {p}")
        require(s >= 0.5 / N, "가지가 너무 작습니다. 0에 가까우면 망은 아무것도 하지 않습니다(s ≥ 0.5/N).")
        card = {"depth": N, "placement": card["placement"], "scale": s, "survival": p}
        for seed in range(3):
            forward, gradient = measured(card, *_network(N, 128, seed, batch=32))
            require(0.5 <= forward <= 3, f"{_told(card)}: 재어 보니 제곱평균이 {forward:.3g}입니다. 0.5와 3 사이여야 합니다. 깊이가 커지면 가지를 어떻게 해야 합니까?")
            require(0.5 <= gradient <= 2, f"{_told(card)}: 재어 보니 그래디언트가 {gradient:.3g}배입니다. 0.5배와 2배 사이여야 합니다.")
        share = predicted(card)[2] / N
        require(share <= 0.8 + 1e-9, f"{_told(card)}: 기대 깊이가 블록 수의 {100 * share:.0f}%입니다. 학습의 계산을 20%는 아껴야 합니다.")
        require(share >= 0.6 - 1e-9, f"{_told(card)}: 기대 깊이가 블록 수의 {100 * share:.0f}%입니다. 너무 많이 버립니다.")
        print(f"블록 {N}개: 제곱평균, 그래디언트, 기대 깊이가 모두 조건 안에 있습니다")
    card = {**design(24), "depth": 24}
    mine, plain = trained_loss(card), trained_loss({**card, "survival": 1.0}, shortcut=0.0)
    require(mine < 0.5 * plain, f"24블록을 실제로 학습하니 손실이 {mine:.2f}입니다. 지름길이 없는 망({plain:.2f})의 절반보다 작아야 합니다.")
    print("24블록을 학습한 손실이 지름길 없는 망의 절반보다 작습니다")
    passed("10-5")


def trained_loss(card: Mapping, *, shortcut: float = 1.0, steps: int = 60, width: int = 64) -> float:
    """Training loss on handwritten digits after a few steps of Adam with stochastic depth; the seed is fixed."""
    task, generator = load_digits(), torch.Generator().manual_seed(105)
    N, s, last = card["depth"], card["scale"], card["survival"]
    sizes = [(64, width), *[(width, width)] * N, (width, 10)]
    weights = [nn.Parameter(torch.randn(a, b, generator=generator) * (2 / a) ** 0.5) for a, b in sizes]
    optimizer = Adam(weights)
    x, y = task.x_train.flatten(1), task.y_train
    survival = [1 - (l + 1) / N * (1 - last) for l in range(N)]

    def loss(rows: Tensor, factors: Sequence[float]) -> Tensor:
        h = x[rows] @ weights[0]
        for weight, factor in zip(weights[1:-1], factors):
            if factor or not shortcut:
                h = block(h, weight, card["placement"], s * factor if shortcut else 1.0, shortcut)
        return F.cross_entropy(F.layer_norm(h, (width,)) @ weights[-1], y[rows])

    for _ in range(steps):
        kept = torch.rand(N, generator=generator)
        optimizer.zero_grad()
        loss(torch.randint(len(x), (64,), generator=generator), [float(r < p) / p for r, p in zip(kept.tolist(), survival)]).backward()
        optimizer.step(lr=2e-3)
    with torch.no_grad():
        return loss(torch.arange(len(x)), [1.0] * N).item()


def _network(depth: int, width: int, seed: int, batch: int = 5) -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10_000 + seed)
    drawn = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return [drawn(width, width) * (2 / width) ** 0.5 for _ in range(depth)], drawn(batch, width), drawn(batch, width)


def _told(card: Mapping) -> str:
    return f"N={card['depth']}, {card['placement']}, s={card['scale']:.3g}, p={card['survival']:g}"


def _number(value: Any, name: str) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise NotYet(f"`{name}`은(는) 수 하나여야 하는데 {type(value).__name__}입니다.") from problem


def _three(value: Any) -> list[float]:
    require(isinstance(value, (tuple, list, Tensor)) and len(value) == 3, "(제곱평균, 그래디언트의 비, 기대 깊이) 세 수를 돌려주어야 합니다.")
    return [_number(v, "predict_card") for v in value]


def _pair(value: Any) -> list[float]:
    require(isinstance(value, (tuple, list, Tensor)) and len(value) == 2, "(제곱평균, 그래디언트의 비) 두 수를 돌려주어야 합니다.")
    return [_number(v, "measure_card") for v in value]


def _swapped(got: Sequence[float], right: Sequence[float]) -> bool:
    return not all(map(close, got, right)) and all(map(close, sorted(got), sorted(right)))
