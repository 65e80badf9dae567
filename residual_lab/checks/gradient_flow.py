"""Checks of exercise 03."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from residual_lab.checks.base import NotYet, call, passed, require
from residual_lab.probes import masked_chain


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as problem:
        said = "아무것도 돌려주지 않았습니다(return이 없습니다)" if value is None else f"{type(value).__name__}을(를) 돌려주었습니다"
        raise NotYet(f"`{name}`은 수 하나를 돌려주어야 하는데 {said}.") from problem


def _close(value: float, expected: float) -> bool:
    """Equal up to the rounding of float32, in which a tensor answer may have been computed."""
    return abs(value - expected) <= 1e-4 * abs(expected) + 1e-30


def check_scalar_chain(scalar_chain: Callable[[Sequence[float], bool], float]) -> None:
    """Task 3-1: the product of a chain of scalars, against autograd."""
    generator = torch.Generator().manual_seed(31)
    drawn = (0.6 * torch.rand(7, generator=generator, dtype=torch.float64) - 0.4).tolist()
    for slopes in ([0.5], [-0.1] * 100, [0.1] * 100, [-0.9] * 20, drawn, [0.01, -1.0, 0.02]):
        for residual in (False, True):
            expected = _chain_by_autograd(slopes, residual)
            given = list(slopes)
            value = _number(call(scalar_chain, given, residual), "scalar_chain")
            require(given == slopes, "받은 리스트 `fprimes`가 바뀌었습니다. 새로 계산하세요.")
            if not _close(value, expected):
                other = _chain_by_autograd(slopes, not residual)
                factors = [1 + f for f in slopes] if residual else slopes
                require(not _close(value, other), "residual의 True와 False가 바뀌었거나 residual을 보지 않습니다.")
                require(not (residual and _close(value, 1 + math.prod(slopes))), "1을 맨 끝에 한 번만 더했습니다. 블록마다 더하고 곱해야 합니다.")
                require(not _close(value, sum(factors)), "더했습니다. 연쇄 법칙에서는 곱합니다.")
                require(not (residual and _close(value, 1 + sum(slopes))), "f′을 더하기만 했습니다. ∏(1 + f′)을 전개하면 둘 이상의 f′을 곱한 항도 있습니다.")
                require(not (expected < 0 and _close(value, -expected)), "부호를 버렸습니다. 도함수는 음수일 수 있습니다.")
                shown = slopes if len(slopes) < 4 else f"수 {len(slopes)}개"
                raise NotYet(f"fprimes가 {shown}, residual={residual}일 때 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    for slope, count in ((-0.1, 100), (0.1, 100), (-0.9, 20)):
        print(f"f′ = {slope}, {count}층: 잔차 {float(scalar_chain([slope] * count, True)):.3e}")
    passed("3-1")


def _chain_by_autograd(slopes: Sequence[float], residual: bool) -> float:
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    y = x
    for slope in slopes:
        y = y + slope * y if residual else slope * y
    return torch.autograd.grad(y, x)[0].item()


def check_cancelling_branch(cancelling_branch: Callable[[Tensor], Tensor], norm_bounds: Callable[[float, int], tuple]) -> None:
    """Task 3-2: a branch that loses the gradient in spite of the shortcut, and how much can be lost or won."""
    generator = torch.Generator().manual_seed(32)
    for shape in ((6,), (5, 3), (2, 4, 3)):
        x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        before = x.detach().clone()
        f = call(cancelling_branch, x)
        require(isinstance(f, Tensor), "F(x)의 값을 텐서로 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
        require(torch.equal(x.detach(), before) and x.requires_grad, "받은 x를 바꾸었습니다. 새 텐서를 만들어 돌려주세요.")
        require(f.shape == x.shape, f"F(x)의 모양이 {tuple(x.shape)}이어야 하는데 {tuple(f.shape)}입니다.")
        require(f.requires_grad, "F(x)에 x로 이어지는 계산이 없습니다. detach나 .data를 쓰면 F는 상수이고, 지름길의 그래디언트가 그대로 남습니다.")
        g = torch.randn(shape, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(x + f, x, g, retain_graph=True)
        largest = gradient.abs().max().item()
        require(not torch.allclose(gradient, 2 * g), "y = 2x가 되었습니다. 부호를 보세요. 1 + F′이 0이어야 합니다.")
        require(not torch.allclose(gradient, g), "F가 그래디언트에 아무것도 보태지 않습니다. F = 0이면 지름길의 1이 그대로 남습니다.")
        require(largest < 1e-12, f"y = x + F(x)의 그래디언트가 0이 아닙니다(가장 큰 크기 {largest:.2g}). 1 + F′ = 0이 되는 F를 찾으세요.")
    print("y = x + F(x)의 그래디언트: 가장 큰 크기 0")
    for epsilon, n in ((0.02, 50), (0.3, 7), (0.5, 1), (0.1, 100), (1.5, 3), (1.0, 2), (1.5, 4)):
        low, high = _pair(call(norm_bounds, epsilon, n))
        right = max(0.0, 1 - epsilon) ** n, (1 + epsilon) ** n
        if not (_close(low, right[0]) and _close(high, right[1])):
            require(not (_close(low, right[1]) and _close(high, right[0])), "순서가 바뀌었습니다. (아래, 위)로 돌려주세요.")
            require(not (epsilon > 1 and _close(high, right[1])), "ε > 1이면 1 − ε이 음수입니다. 노름은 음수일 수 없으므로 아래 한계는 0입니다(짝수 번 곱해도 마찬가지입니다).")
            require(not _close(high, 1 + n * epsilon), "n배를 했습니다. 블록마다 곱해지므로 n제곱입니다.")
            raise NotYet(f"norm_bounds({epsilon}, {n})는 ({right[0]:.4g}, {right[1]:.4g})이어야 하는데 ({low:.4g}, {high:.4g})입니다.")
    low, high = (float(v) for v in norm_bounds(0.02, 50))
    print(f"ε = 0.02, 블록 50개: {low:.3f}배 ~ {high:.2f}배")
    passed("3-2")


def _pair(value: Any) -> tuple[float, float]:
    is_pair = isinstance(value, (tuple, list, Tensor)) and len(value) == 2
    require(is_pair, "`norm_bounds`는 (아래 한계, 위 한계) 두 수를 돌려주어야 합니다.")
    return _number(value[0], "norm_bounds"), _number(value[1], "norm_bounds")


def check_jacobian_product(jacobian_product: Callable[[list, Tensor], Tensor]) -> None:
    """Task 3-3: ∏(I + J) at the points that the blocks really see, against autograd through the whole chain."""
    generator = torch.Generator().manual_seed(33)
    for d, n in ((3, 1), (5, 2), (8, 6)):
        weights = [0.6 * torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5 for _ in range(n)]
        kinds = [lambda x, w=w: torch.tanh(x @ w) @ w.T @ w for w in weights]
        x = torch.randn(d, generator=generator, dtype=torch.float64)
        blocks, before = list(kinds), x.clone()
        value = call(jacobian_product, blocks, x)
        require(blocks == kinds and torch.equal(x, before), "받은 `blocks`나 `x`가 바뀌었습니다. 새로 만들어 계산하세요.")
        require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
        require(value.shape == (d, d), f"모양이 {(d, d)}이어야 하는데 {tuple(value.shape)}입니다.")
        value = value.detach().to(torch.float64)
        expected = torch.autograd.functional.jacobian(lambda h: _through(kinds, h), x)
        if not torch.allclose(value, expected, atol=1e-10, rtol=1e-10):
            for message, wrong in _product_mistakes(kinds, x).items():
                require(not torch.allclose(value, wrong, atol=1e-8), message)
            require(not torch.allclose(value, expected, atol=1e-4), "값이 비슷하지만 10⁻¹⁰까지 맞지 않습니다. float32로 바꾸거나 차분으로 미분하지 마세요.")
            raise NotYet(f"블록 {n}개에서 망 전체의 야코비 행렬과 다릅니다(가장 큰 차이 {(value - expected).abs().max():.2g}).")
        print(f"폭 {d}, 블록 {n}개: ∏(I + J)가 자동 미분과 같습니다")
    passed("3-3")


def _through(blocks: Sequence[Callable], h: Tensor) -> Tensor:
    for block in blocks:
        h = h + block(h)
    return h


def _product_mistakes(blocks: Sequence[Callable], x: Tensor) -> dict[str, Tensor]:
    """Likely wrong matrices by what to say of them, the commonest first."""
    eye, jacobian = torch.eye(len(x), dtype=x.dtype), torch.autograd.functional.jacobian
    right, turned, plain, stuck = eye, eye, eye, eye
    h = x
    for block in blocks:
        j = jacobian(block, h)
        right, turned, plain = (eye + j) @ right, turned @ (eye + j), j @ plain
        stuck = (eye + jacobian(block, x)) @ stuck
        h = h + block(h)
    return {
        "I를 더하지 않았습니다. 잔차 블록의 야코비 행렬은 I + J입니다.": plain,
        "곱하는 순서가 반대입니다. 나중 블록의 행렬이 왼쪽에 옵니다.": turned,
        "모든 블록을 처음 입력 x에서 미분했습니다. 블록을 지날 때마다 x를 x + F(x)로 바꾸세요.": stuck,
        "전치된 행렬입니다. 출력이 행, 입력이 열입니다.": right.T,
    }


def check_shatter_corr(shatter_corr: Callable[[str, int, float], float]) -> None:
    """Task 3-4: the closed forms, and a simulation of independent masks that does not use them."""
    cases = [(kind, L, beta) for kind in ("plain", "res", "resBN") for L, beta in ((1, 1.0), (4, 1.0), (16, 1.0), (5, 0.5), (32, 0.1))]
    for kind, L, beta in cases:
        expected = _correlation(kind, L, beta)
        value = _number(call(shatter_corr, kind, L, beta), "shatter_corr")
        if not _close(value, expected):
            b = beta**2
            one = _correlation(kind, L, 1.0)
            require(not (kind != "plain" and beta != 1 and _close(value, one)), f"‘{kind}’에서 β를 쓰지 않았습니다.")
            require(not (kind == "resBN" and _close(value, (1 + beta * L) ** -0.5)), "β를 제곱하지 않았습니다. 분산에 더해지는 것은 β²입니다.")
            require(not (kind == "resBN" and _close(value, 1 / (1 + b * L))), "분산만 셌습니다. 공분산은 분산의 제곱근만큼 커지므로 나누면 −1/2제곱이 남습니다.")
            require(not (kind == "res" and _close(value, _correlation("resBN", L, beta))), "BN이 없는 잔차는 아선형이 아닙니다. 블록마다 같은 비율로 줄어듭니다.")
            require(not (kind == "res" and beta == 1 and _close(value, 0.5**L)), "지름길을 세지 않았습니다. 분산과 공분산에 저마다 1을 더한 다음 나눕니다.")
            require(not (kind == "plain" and _close(value, 0.25**L)), "공분산에 곱하는 것은 2 · 1/4 = 1/2입니다. He 초기화의 2를 빠뜨렸습니다.")
            raise NotYet(f"shatter_corr({kind!r}, {L}, {beta})는 {expected:.4f}이어야 하는데 {value:.4f}입니다.")
    for kind, L, beta in (("plain", 2, 1.0), ("res", 4, 1.0), ("resBN", 16, 1.0), ("resBN", 32, 0.1)):
        near = abs(_simulated(kind, L, beta) - float(shatter_corr(kind, L, beta))) < 0.06
        print(f"{kind}, L={L}, β={beta}: 식 {float(shatter_corr(kind, L, beta)):.3f}, 마스크 모형과 0.06 안에서 맞습니까? {near}")
        require(near, f"식이 마스크 모형의 몬테카를로 값과 다릅니다: {kind}, L={L}, β={beta}.")
    passed("3-4")


def _correlation(kind: str, L: int, beta: float) -> float:
    """Covariance over variance, multiplied block by block (in closed form for BN)."""
    if kind == "resBN":
        return 1 / math.sqrt(1 + beta**2 * L)
    shortcut, size = (0.0, 1.0) if kind == "plain" else (1.0, beta**2)
    return math.prod((shortcut + size * 2 / 4) / (shortcut + size * 2 / 2) for _ in range(L))


def _simulated(kind: str, L: int, beta: float) -> float:
    def factor(passed_layers: int) -> float:
        entering = 1 + beta**2 * (L - 1 - passed_layers)
        return {"plain": 1.0, "res": beta, "resBN": beta / math.sqrt(entering)}[kind]

    *_, (_, values) = masked_chain(depth=L, width=256, pairs=4, seeds=range(6), factor=factor, skip=kind != "plain")
    return values.mean().item()


def check_fixed_batch_norm(fixed_batch_norm: Callable[[Tensor], Tensor]) -> None:
    """Task 3-5: BN whose statistics are constants for the backward pass: samples do not mix."""
    generator = torch.Generator().manual_seed(35)
    for batch, d in ((6, 4), (16, 3)):
        h = (2 * torch.randn(batch, d, generator=generator, dtype=torch.float64) + 1).requires_grad_()
        before = h.detach().clone()
        z = call(fixed_batch_norm, h)
        require(isinstance(z, Tensor) and z.shape == h.shape, f"모양이 {(batch, d)}인 텐서를 돌려주어야 합니다.")
        require(torch.equal(h.detach(), before), "받은 h를 제자리에서 바꾸었습니다. 새 텐서를 만들어 돌려주세요.")
        mean, deviation = before.mean(0), before.std(0, unbiased=False)
        expected = (before - mean) / deviation
        if not torch.allclose(z.detach().double(), expected, atol=1e-3):
            require(not torch.allclose(z.detach(), (before - mean) / before.std(0), atol=1e-3), "표준편차를 B − 1로 나누어 구했습니다. BN은 B로 나눕니다(unbiased=False).")
            require(not torch.allclose(z.detach(), (before - mean) / deviation**2, atol=1e-3), "분산으로 나누었습니다. 표준편차로 나누세요.")
            rows = (before - before.mean(1, keepdim=True)) / before.std(1, unbiased=False, keepdim=True)
            require(not torch.allclose(z.detach(), rows, atol=1e-3), "표본 안에서 정규화했습니다(층 정규화). BN은 성분마다 배치에 걸쳐 평균을 냅니다.")
            raise NotYet("순전파의 값이 BN과 다릅니다. 성분마다 배치의 평균을 빼고 표준편차로 나눈 값이어야 합니다.")
        require(z.requires_grad, "그래디언트가 모두 끊겼습니다. 상수로 둘 것은 평균과 표준편차뿐입니다.")
        g = torch.randn(batch, d, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(z, h, g.to(z.dtype))
        if not torch.allclose(gradient, g / deviation, atol=1e-3):
            summed = gradient.sum(0).abs().max() < 1e-6
            require(not summed, "그래디언트를 배치에 걸쳐 더하면 0입니다. 평균이 상수가 아니어서 표본이 서로 섞였습니다.")
            raise NotYet("그래디언트가 g/σ와 다릅니다. 평균과 표준편차를 둘 다 상수로 두었는지 보세요.")
        print(f"배치 {batch}: 순전파는 BN과 같고, 그래디언트는 표본끼리 섞이지 않습니다")
    passed("3-5")
