"""Checks of exercise 08."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from residual_lab.blocks import scaling
from residual_lab.blocks.transformer import Design, Sizes, Transformer
from residual_lab.checks.base import NotYet, call, close, number, passed, require

SMALL = Sizes(vocabulary=11, context=6, width=8, heads=2, depth=3)


def check_stream_moment(stream_moment: Callable[[int, float, bool], float]) -> None:
    """Task 8-1: the second moment after L additions, without normalisation and under Pre-LN, against addition by addition."""
    cases = [(L, s, normed) for normed in (False, True) for L, s in ((50, 1.0), (50, 50**-0.5), (7, 0.3), (1, 2.0), (200, 200**0.25), (0, 1.0))]
    for L, s, normed in cases:
        if not normed and L == 200:
            continue
        expected = 1.0
        for _ in range(L):
            expected += s**2 * (1.0 if normed else expected)
        value = number(call(stream_moment, L, s, normed), "stream_moment")
        if not close(value, expected):
            where = f"stream_moment({L}, {s:.4g}, {normed})"
            require(not close(value, _moment(L, s, not normed)), f"{where}: 정규화가 있을 때와 없을 때가 바뀌었거나 normed를 보지 않습니다.")
            require(not close(value, _moment(L, s**0.5, normed)), f"{where}: s를 제곱하지 않았습니다. s를 곱한 가지의 2차 모멘트는 s²배입니다.")
            require(not close(value, expected**0.5), f"{where}: 제곱근을 씌웠습니다. 묻는 것은 노름이 아니라 2차 모멘트입니다.")
            require(not (normed and close(value, expected - 1)), f"{where}: 처음의 1을 빠뜨렸습니다. 지름길로 온 x₀도 있습니다.")
            require(not close(value, _moment(2 * L, s, normed)), f"{where}: L은 이미 덧셈의 수입니다. 두 배로 하지 않습니다.")
            raise NotYet(f"{where}는 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    for L, s, normed, said in ((50, 1.0, False, "1"), (50, 50**-0.5, False, "1/√50"), (200, 1.0, True, "1"), (200, 200**0.25, True, "200^(1/4)")):
        print(f"{'Pre-LN' if normed else '정규화 없음'}, 덧셈 {L}번, s = {said}: {float(stream_moment(L, s, normed)):.4g}")
    passed("8-1")


def _moment(L: int, s: float, normed: bool) -> float:
    return 1 + s**2 * L if normed else (1 + s**2) ** L


def check_deepnorm(deepnorm: Callable[[int, int], Mapping[str, tuple[float, float]]]) -> None:
    """Task 8-2: the four pairs of constants (Wang et al. 2022, arXiv:2203.00555, Fig. 2)."""
    for encoder, decoder in ((12, 0), (0, 24), (1000, 0), (12, 6), (6, 6), (18, 3)):
        answer = call(deepnorm, encoder, decoder, hints={"negative power": "층수가 0인 쪽은 계산하지도, 넣지도 마세요."})
        require(isinstance(answer, Mapping), "딕셔너리를 돌려주어야 합니다. 예: {\"encoder\": (α, β)}")
        expected = _deepnorm(encoder, decoder)
        where = f"인코더 {encoder}층, 디코더 {decoder}층"
        surplus = " 층이 0인 쪽은 넣지 않습니다." if set(answer) > set(expected) else ""
        require(set(answer) == set(expected), f"{where}: 열쇠가 {sorted(expected)}이어야 하는데 {sorted(map(str, answer))}입니다.{surplus}")
        for side, pair in expected.items():
            given = answer[side].tolist() if isinstance(answer[side], (Tensor, np.ndarray)) else answer[side]
            require(isinstance(given, (tuple, list)) and len(given) == 2, f"{where}: {side}의 값은 (α, β) 두 수여야 합니다.")
            alpha, beta = (number(v, "deepnorm") for v in given)
            if not (close(alpha, pair[0]) and close(beta, pair[1])):
                require(not (close(alpha, pair[1]) and close(beta, pair[0])), "α와 β의 순서가 바뀌었습니다. α는 1보다 크고 β는 1보다 작습니다.")
                layers = encoder if side == "encoder" else decoder
                alone = scaling.deepnorm_constants(layers)
                both = encoder and decoder
                require(not (both and close(alpha, alone.alpha)), f"{where}: 혼자일 때의 상수를 썼습니다. 인코더–디코더에는 다른 식이 있습니다.")
                require(not (both and side == "encoder" and close(alpha, 0.81 * (decoder**4 * encoder) ** (1 / 16))), f"{where}: 네제곱하는 것은 인코더의 층수 N입니다.")
                require(not (close(alpha, pair[0]) and close(beta, 1 / pair[0])), f"{where}: β는 α의 역수가 아닙니다. 지수뿐 아니라 괄호 안의 수도 다릅니다.")
                require(not (close(alpha, pair[0]) and close(beta, 1 / pair[1])), f"{where}: β의 지수에 −가 빠졌습니다.")
                raise NotYet(f"{where}: {side}의 (α, β)는 ({pair[0]:.4f}, {pair[1]:.4f})이어야 하는데 ({alpha:.4f}, {beta:.4f})입니다.")
        shown = ", ".join(f"{side} α = {float(answer[side][0]):.4f}, β = {float(answer[side][1]):.4f}" for side in expected)
        print(f"{where}: {shown}")
    passed("8-2")


def _deepnorm(encoder: int, decoder: int) -> dict[str, tuple[float, float]]:
    if encoder and decoder:
        return dict(zip(("encoder", "decoder"), map(tuple, scaling.deepnorm_encoder_decoder(encoder, decoder))))
    return {"encoder": scaling.deepnorm_constants(encoder)} if encoder else {"decoder": scaling.deepnorm_constants(decoder)}


def check_absorb_scale(absorb_scale: Callable[[dict, float], dict]) -> None:
    """Task 8-3: the state of a plain Pre-LN network that is the scaled one: outputs and gradients, in float64."""
    x = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(83))
    for seed, s in ((0, 0.1), (1, 3.0), (2, (2 * 100) ** -0.5)):
        scaled = _exact(Transformer(SMALL, scaling.uniform(s), seed=seed))
        plain = _exact(Transformer(SMALL, Design("pre"), seed=seed + 50))
        state = {name: value.clone() for name, value in scaled.state_dict().items()}
        kept = {name: value.clone() for name, value in state.items()}
        answer = call(absorb_scale, state, s)
        require(all(torch.equal(state[name], kept[name]) for name in kept), "받은 `state`의 텐서가 바뀌었습니다. 새 딕셔너리를 만들어 돌려주세요(/= 대신 /).")
        require(isinstance(answer, Mapping), "`state`와 같은 꼴의 딕셔너리를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
        require(set(answer) == set(kept), "이름이 `state`와 같아야 합니다. 바꾸지 않는 텐서도 넣으세요.")
        for name, value in answer.items():
            require(isinstance(value, Tensor) and value.shape == kept[name].shape, f"{name}의 모양이 {tuple(kept[name].shape)}이어야 합니다.")
            require(value.dtype == torch.float64, f"{name}의 자료형이 float64가 아닙니다. 받은 자료형을 그대로 두세요.")
        branch = next((name for name in kept if name.startswith("blocks") and not torch.equal(answer[name], kept[name])), None)
        require(branch is None, f"가지의 파라미터 {branch}가 바뀌었습니다. 순전파는 같아질 수 있어도 그 그래디언트가 달라집니다. 임베딩에서 찾으세요.")
        require(torch.equal(answer["unembedding.weight"], kept["unembedding.weight"]), "출력층을 바꾸었습니다. 마지막 LN이 스트림의 크기를 지우므로 출력층은 그대로입니다.")
        plain.load_state_dict(dict(answer))
        difference = _outputs_and_gradients(scaled, plain, x)
        if difference > 1e-9:
            tokens, positions = (answer[f"{part}.weight"] / kept[f"{part}.weight"] for part in ("tokens", "positions"))
            require(not torch.allclose(tokens, torch.full_like(tokens, s)), "s를 곱했습니다. z = x/s로 두면 z₀은 무엇입니까?")
            require(not torch.allclose(positions, torch.ones_like(positions)), "위치 임베딩이 그대로입니다. 스트림의 시작 x₀은 토큰 임베딩과 위치 임베딩의 합입니다.")
            require(not torch.allclose(tokens, torch.ones_like(tokens)), "토큰 임베딩이 그대로입니다. 스트림의 시작 x₀은 토큰 임베딩과 위치 임베딩의 합입니다.")
            raise NotYet(f"s = {s:.3g}에서 두 망이 다릅니다(로짓과 가지의 그래디언트의 가장 큰 차이 {difference:.2g}).")
        print(f"s = {s:.3g}: 로짓과 가지의 그래디언트가 10⁻⁹ 안에서 같습니까? {difference < 1e-9}")
    passed("8-3")


def _exact(model: Transformer) -> Transformer:
    """In float64, with LayerNorms whose ε does not matter."""
    for module in model.double().modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-14
    return model


def _outputs_and_gradients(one: Transformer, other: Transformer, tokens: Tensor) -> float:
    """The largest difference of two networks in logits and in the gradients of their branches."""
    logits, gradients = [], []
    for model in (one, other):
        model.zero_grad()
        logits.append(model(tokens))
        nn.functional.cross_entropy(logits[-1].flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
        gradients.append([p.grad for name, p in model.named_parameters() if name.startswith("blocks")])
    gaps = [(a - b).abs().max().item() for a, b in zip(*gradients)]
    return max([(logits[0] - logits[1]).abs().max().item(), *gaps])


SUPER = "`__init__`의 첫 줄에서 super().__init__()을 부르세요."
_MAKING = {
    "before Module.__init__() call": SUPER,
    "has no attribute 'detach'": "nn.Parameter에는 수가 아니라 텐서를 넣습니다. 예: nn.Parameter(torch.zeros(1))",
}


def check_rezero_block(block: type[nn.Module]) -> None:
    """Task 8-4: ReZero with two branches, one α, no normalisation; at first only α learns."""
    generator = torch.Generator().manual_seed(84)
    for d in (4, 6):
        attention, ffn = (nn.Sequential(nn.Linear(d, 2 * d), nn.Tanh(), nn.Linear(2 * d, d)).double() for _ in range(2))
        net = call(block, attention, ffn, hints=_MAKING)
        require(isinstance(net, nn.Module), "`ReZeroBlock`은 nn.Module이어야 합니다.")
        require(hasattr(net, "_parameters"), SUPER)
        x = torch.randn(3, 5, d, generator=generator, dtype=torch.float64)
        branch = {id(p) for p in (*attention.parameters(), *ffn.parameters())}
        require(branch <= {id(p) for p in net.parameters()}, "받은 attention과 ffn이 블록의 파라미터에 없습니다. self.attention처럼 저장하세요.")
        norms = [m for m in net.modules() if "Norm" in type(m).__name__]
        require(not norms, "정규화가 들어 있습니다. ReZero의 공식 구현은 LayerNorm을 뺍니다.")
        own = [p for p in net.parameters() if id(p) not in branch]
        require(own, "학습되는 수 α가 없습니다. nn.Parameter로 만들어야 옵티마이저가 찾습니다.")
        require(sum(p.numel() for p in own) == 1, f"α는 블록에 하나입니다. 어텐션과 FFN이 함께 씁니다(지금은 수 {sum(p.numel() for p in own)}개).")
        [alpha] = own
        require(alpha.item() == 0, "α는 0에서 시작합니다.")
        y = call(net, x)
        require(isinstance(y, Tensor) and y.shape == x.shape, "x와 모양이 같은 텐서를 돌려주어야 합니다.")
        require(y.abs().max() > 0, "α = 0에서 출력이 0입니다. 지름길의 x까지 α배 했습니다.")
        require(torch.equal(y.double(), x), "α = 0에서 출력이 입력과 같아야 합니다.")
        require(y.requires_grad, "출력이 α에 달려 있지 않아, 첫 단계에서 α가 그래디언트를 받지 않습니다.")
        (y * torch.randn(y.shape, generator=generator, dtype=torch.float64)).sum().backward()
        require(alpha.grad is not None and alpha.grad.item() != 0, "첫 단계에서 α가 그래디언트를 받지 않습니다. detach나 .item()으로 끊기지 않았습니까?")
        weights = max((p.grad.abs().max().item() for p in net.parameters() if id(p) in branch and p.grad is not None), default=0.0)
        require(weights == 0, "첫 단계에서 가지의 가중치가 그래디언트를 받았습니다. 가지의 출력이 α를 거치지 않는 길이 있습니다.")
        print(f"폭 {d}: 첫 단계에서 α의 그래디언트가 0이 아닙니까? {alpha.grad.item() != 0}, 가지의 가중치의 그래디언트는 모두 0입니까? {weights == 0}")
        with torch.no_grad():
            alpha.fill_(0.3)
            middle = x + 0.3 * attention(x)
            expected, y = middle + 0.3 * ffn(middle), call(net, x)
            require(not torch.allclose(y.double(), x + 0.3 * attention(x) + 0.3 * ffn(x)), "두 가지가 모두 처음의 x를 읽습니다. ffn은 어텐션을 더한 스트림을 읽습니다.")
            require(torch.allclose(y.double(), expected, atol=1e-6), "α = 0.3에서 x ← x + α·attention(x), x ← x + α·ffn(x)와 다릅니다.")
    passed("8-4")


def check_initial_factor(initial_factor: Callable[[str, int, str], float]) -> None:
    """Task 8-5: which initial weights GPT-2, DeepNorm and Fixup shrink, against `residual_lab.blocks.scaling`."""
    makers = {"gpt2": scaling.gpt2, "deepnorm": scaling.deepnorm, "fixup": scaling.fixup}
    for depth in (3, 12):
        sizes = Sizes(vocabulary=11, context=6, width=8, heads=2, depth=depth)
        for method, make in makers.items():
            plain, drawn = (Transformer(sizes, d, seed=1) for d in (Design("pre"), make(depth)))
            known = dict(drawn.named_parameters())
            for name, weight in plain.named_parameters():
                if name not in known or not name.endswith("weight") or "norm" in name:
                    continue
                expected = (known[name].norm() / weight.norm()).item()
                value = number(call(initial_factor, name, depth, method), "initial_factor")
                if not close(value, expected):
                    _explain_factor(name, depth, method, value, expected)
        a, b = (float(initial_factor(f"blocks.0.attention.branch.{part}.weight", depth, "deepnorm")) for part in ("query", "value"))
        c = float(initial_factor("blocks.0.ffn.branch.down.weight", depth, "gpt2"))
        print(f"N = {depth}: DeepNorm의 W_Q {a:.4f}, W_V {b:.4f}, GPT-2의 FFN 둘째 층 {c:.4f}")
    passed("8-5")


def _explain_factor(name: str, depth: int, method: str, value: float, expected: float) -> None:
    """Raise what is likely wrong with a factor."""
    where = f"initial_factor({name!r}, {depth}, {method!r})"
    end = any(part in name for part in ("output", "down"))
    require(not (not name.startswith("blocks") and expected == 1), f"{where}: 임베딩과 출력층은 줄이지 않습니다. 이름이 blocks로 시작하는 것만 봅니다.")
    require(not ("query" in name or "key" in name), f"{where}: W_Q와 W_K는 어느 방법에서도 그대로입니다. softmax 안에만 들어가 스트림에 더해지는 크기를 정하지 않습니다.")
    require(not (method == "gpt2" and end and close(value, depth**-0.5)), f"{where}: N은 블록 수이고, 스트림에 더하는 가지는 2N개입니다.")
    require(not (method == "gpt2" and not end), f"{where}: GPT-2는 가지를 끝내는 가중치(output, down)만 줄입니다.")
    require(not (method == "fixup" and end and value != 0), f"{where}: Fixup에서 가지를 끝내는 가중치는 0에서 시작합니다.")
    require(not (method == "fixup" and not end and close(value, 1 / (2 * depth))), f"{where}: 지수는 −1/(2m − 2)이고, 가지 안의 층은 m = 2개입니다.")
    require(not (method == "deepnorm" and close(value, (2 * depth) ** 0.25)), f"{where}: α는 지름길에 곱하는 상수입니다. 초기화에 쓰는 것은 β입니다.")
    require(not (method == "deepnorm" and close(value, 1.0)), f"{where}: DeepNorm은 W_V, W_O와 FFN의 두 층을 모두 β배로 시작합니다.")
    raise NotYet(f"{where}는 {expected:.4f}이어야 하는데 {value:.4f}입니다.")
