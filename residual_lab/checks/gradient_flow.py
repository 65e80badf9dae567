"""Checks of exercise 03."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_lab.checks.base import NotYet, call, close, number, passed, require
from residual_lab.probes import masked_chain


_close = partial(close, absolute=1e-30)
"""Some expected products are as small as that."""


def check_scalar_chain(scalar_chain: Callable[[Sequence[float], bool], float]) -> None:
    """Task 3-1: the product of a chain of scalars, against autograd."""
    generator = torch.Generator().manual_seed(31)
    drawn = (0.6 * torch.rand(7, generator=generator, dtype=torch.float64) - 0.4).tolist()
    for slopes in ([0.3], [-0.1] * 100, [0.1] * 100, [-0.9] * 20, drawn, [0.01, -1.0, 0.02]):
        for residual in (False, True):
            expected = _chain_by_autograd(slopes, residual)
            given = list(slopes)
            value = number(call(scalar_chain, given, residual), "scalar_chain")
            require(given == slopes, "받은 리스트 `fprimes`가 바뀌었습니다. 새로 계산하세요.")
            if not _close(value, expected):
                other = _chain_by_autograd(slopes, not residual)
                factors = [1 + f for f in slopes] if residual else slopes
                require(not _close(value, other), "residual의 True와 False가 바뀌었거나 residual을 보지 않습니다.")
                require(not (residual and _close(value, 1 + math.prod(slopes))), "1을 맨 끝에 한 번만 더했습니다. 블록마다 더하고 곱해야 합니다.")
                require(not _close(value, sum(factors)), "더했습니다. 연쇄 법칙에서는 곱합니다.")
                require(not (residual and _close(value, 1 + sum(slopes))), "f′을 더하기만 했습니다. ∏(1 + f′)을 전개하면 둘 이상의 f′을 곱한 항도 있습니다.")
                require(not (expected < 0 and _close(value, -expected)), "부호를 버렸습니다. 도함수는 음수일 수 있습니다.")
                require(not _close(value, math.prod(1 - f for f in slopes)), "1 − f′을 곱했습니다. 지름길의 1과 가지의 f′은 더해집니다.")
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
        require(f.requires_grad or bool(f.any()), "F = 0이면 지름길의 1이 그대로 남습니다. 지름길의 1을 지우는 F를 찾으세요.")
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
            exponential = _close(high, math.exp(n * epsilon)) or _close(low, math.exp(-n * epsilon))
            require(not exponential, "e의 제곱은 어림이고 한계가 아닙니다. 블록 하나의 한계 1 − ε과 1 + ε을 n번 곱하세요.")
            raise NotYet(f"norm_bounds({epsilon}, {n})는 ({right[0]:.4g}, {right[1]:.4g})이어야 하는데 ({low:.4g}, {high:.4g})입니다.")
    low, high = (float(v) for v in norm_bounds(0.02, 50))
    print(f"ε = 0.02, 블록 50개: {low:.3f}배 ~ {high:.2f}배")
    passed("3-2")


def _pair(value: Any) -> tuple[float, float]:
    is_pair = isinstance(value, (tuple, list, Tensor, np.ndarray)) and np.shape(value)[:1] == (2,)
    require(is_pair, "`norm_bounds`는 (아래 한계, 위 한계) 두 수를 돌려주어야 합니다.")
    return number(value[0], "norm_bounds"), number(value[1], "norm_bounds")


DTYPES = "자료형이 섞였습니다. x와 v는 float64입니다. 새로 만드는 텐서에도 dtype=x.dtype을 주세요."


def check_carry_back(carry_back: Callable[[list, Tensor, Tensor], Sequence[Tensor]]) -> None:
    """Task 3-3: the gradient carried back through x + F(x) block by block, against autograd through the whole chain."""
    generator = torch.Generator().manual_seed(33)
    for d, n in ((3, 1), (5, 2), (8, 6)):
        weights = [0.6 * torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5 for _ in range(n)]
        kinds = [lambda x, w=w: torch.tanh(x @ w) @ w.T @ w for w in weights]
        x, v = torch.randn(2, d, generator=generator, dtype=torch.float64)
        blocks, before = list(kinds), (x.clone(), v.clone())
        value = call(carry_back, blocks, x, v, hints={"dtype": DTYPES, "scalar type": DTYPES})
        unchanged = blocks == kinds and torch.equal(x, before[0]) and torch.equal(v, before[1])
        require(unchanged, "받은 `blocks`, `x`, `v` 가운데 바뀐 것이 있습니다. 새로 만들어 계산하세요.")
        found = _gradients(value, n, d)
        states = _states(kinds, x)
        output = states[-1]
        expected = torch.stack(torch.autograd.grad(output, states, v))
        if not torch.allclose(found, expected, atol=1e-10, rtol=0):
            close = torch.allclose(found, expected, atol=1e-4, rtol=0)
            require(not close, "값이 비슷하지만 10⁻¹⁰까지 맞지 않습니다. float32로 바꾸거나 차분으로 미분하지 마세요.")
            for message, wrong in _mistakes(kinds, [state.detach() for state in states], v).items():
                require(not torch.allclose(found, wrong, atol=1e-6, rtol=0), message)
            raise NotYet(f"블록 {n}개에서 자동 미분과 다릅니다(가장 큰 차이 {(found - expected).abs().max():.2g}).")
        print(f"폭 {d}, 블록 {n}개: 층마다의 그래디언트가 자동 미분과 같습니다")
    passed("3-3")


def _gradients(value: Any, n: int, d: int) -> Tensor:
    """The answer as one float64 tensor (n + 1, d)."""
    require(isinstance(value, (list, tuple, Tensor)), "그래디언트의 리스트를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(all(isinstance(g, Tensor) for g in value), "리스트에는 텐서를 담으세요.")
    require(len(value) != n, f"x_0부터 x_L까지 {n + 1}개여야 하는데 {n}개입니다. 출력의 v도 담으세요.")
    require(len(value) == n + 1, f"x_0부터 x_L까지 {n + 1}개여야 하는데 {len(value)}개입니다.")
    elementwise = any(g.shape == (d, d) for g in value)
    require(not elementwise, "행렬이 나왔습니다. `*`는 성분끼리 곱합니다. 행렬과 벡터의 곱은 `@`입니다.")
    require(all(g.shape == (d,) for g in value), f"그래디언트는 저마다 모양이 {(d,)}이어야 하는데 {[tuple(g.shape) for g in value]}입니다.")
    return torch.stack([g.detach().to(torch.float64) for g in value])


def _states(blocks: Sequence[Callable], x: Tensor) -> list[Tensor]:
    """x_0 … x_L, joined by autograd."""
    states = [x.clone().requires_grad_()]
    for block in blocks:
        states.append(states[-1] + block(states[-1]))
    return states


def _mistakes(blocks: Sequence[Callable], states: Sequence[Tensor], v: Tensor) -> dict[str, Tensor]:
    """Likely wrong gradients of all layers by what to say of them, the commonest first."""
    branch = [states[0]]
    for block in blocks:
        branch.append(block(branch[-1]))
    right, stuck, late, alone = (
        [torch.autograd.functional.jacobian(block, point) for block, point in zip(blocks, points)]
        for points in (states[:-1], states[:1] * len(blocks), states[1:], branch)
    )

    def walk(jacobians: Sequence[Tensor], step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        gradients = [v]
        for j in reversed(jacobians):
            gradients.insert(0, step(j, gradients[0]))
        return torch.stack(gradients)

    def back(j: Tensor, g: Tensor) -> Tensor:
        return g + j.T @ g

    return {
        "I를 더하지 않았습니다. 지름길로 온 그래디언트도 더해야 합니다.": walk(right, lambda j, g: j.T @ g),
        "전치하지 않았습니다. 거꾸로 나를 때에는 J가 아니라 Jᵀ을 곱합니다.": walk(right, lambda j, g: g + j @ g),
        "I가 아니라 수 1을 더했습니다. 행렬에 1을 더하면 모든 성분에 더해집니다.": walk(right, lambda j, g: (1 + j).T @ g),
        "리스트의 순서가 뒤집혔습니다. 입력(x_0)의 그래디언트가 맨 앞입니다.": walk(right, back).flip(0),
        "블록을 지나는 순서가 반대입니다. 그래디언트는 마지막 블록을 먼저 지납니다.": walk(right[::-1], back),
        "모든 블록을 처음 입력 x에서 미분했습니다. l번째 블록은 x_l에서 미분합니다.": walk(stuck, back),
        "블록을 지난 뒤의 x에서 미분했습니다. l번째 블록은 x_l에서 미분합니다.": walk(late, back),
        "x_l을 구할 때 지름길을 빠뜨렸습니다. 다음 입력은 F(x)가 아니라 x + F(x)입니다.": walk(alone, back),
        "(I + ΣJ)ᵀv를 썼습니다. 블록을 지날 때마다 곱해야 합니다.": walk(right, lambda j, g: j.T @ v + g),
    }


def check_shatter_corr(branch_variances: Callable[[int, float], Sequence[float]], shatter_corr: Callable[[Sequence[float], float, bool], float]) -> None:
    """Task 3-4: covariance over variance block by block, against closed forms and a simulation of independent masks."""
    for L, beta in ((1, 1.0), (4, 1.0), (6, 0.5)):
        given, right = _numbers(call(branch_variances, L, beta), "branch_variances"), _variances(L, beta)
        if len(given) != L or not all(map(_close, given, right)):
            require(len(given) == L, f"블록마다 하나씩 {L}개를 돌려주어야 하는데 {len(given)}개입니다.")
            require(not all(map(_close, given, _variances(L + 1, beta)[1:])), "한 칸 밀렸습니다. 첫 블록의 입력은 분산이 1입니다.")
            require(not all(map(_close, given, [1 + beta * l for l in range(L)])), "β를 제곱하지 않았습니다. 분산에 더해지는 것은 β²입니다.")
            require(not all(map(_close, given, [(1 + beta**2) ** l for l in range(L)])), "블록마다 1 + β²을 곱했습니다. BN이 있으면 가지가 보태는 분산은 언제나 β²이므로 더합니다.")
            real = [1 + (1 - 1 / math.pi) * beta**2 * l for l in range(L)]
            require(not all(map(_close, given, real)), "(1 − 1/π)은 진짜 망에 맞춘 고침입니다. 마스크 모형에서는 β²을 그대로 보탭니다.")
            raise NotYet(f"branch_variances({L}, {beta})는 {_shown(right)}이어야 하는데 {_shown(given)}입니다.")
    drawn = [1.0, 1.7, 0.8, 3.2]
    for variances, beta, skip in ((drawn, 0.7, True), (drawn, 0.7, False), ([1.0] * 5, 1.0, True), (_variances(16, 1.0), 1.0, True), (_variances(32, 0.1), 0.1, True)):
        given = list(variances)
        value, right = number(call(shatter_corr, given, beta, skip), "shatter_corr"), _correlation(variances, beta, skip)
        require(given == variances, "받은 리스트 `variances`가 바뀌었습니다. 새로 계산하세요.")
        if not _close(value, right):
            for message, wrong in _wrong_correlations(variances, beta, skip).items():
                require(not _close(value, wrong), message)
            shown = _shown(variances) if len(variances) < 6 else f"수 {len(variances)}개"
            raise NotYet(f"shatter_corr({shown}, {beta}, {skip})는 {right:.4f}이어야 하는데 {value:.4f}입니다.")
    for name, L, beta in (("플레인", 2, 1.0), ("잔차", 4, 1.0), ("잔차 + BN", 16, 1.0), ("잔차 + BN", 32, 0.1)):
        variances = branch_variances(L, beta) if name == "잔차 + BN" else [1.0] * L
        value = float(shatter_corr(variances, beta, name != "플레인"))
        near = abs(_simulated(name, L, beta) - value) < 0.06
        print(f"{name}, L = {L}, β = {beta}: 곱 {value:.3f}, 마스크 모형과 0.06 안에서 맞습니까? {near}")
        require(near, f"곱이 마스크 모형을 실제로 뽑아 잰 값과 다릅니다: {name}, L = {L}, β = {beta}.")
    passed("3-4")


def _numbers(value: Any, name: str) -> list[float]:
    is_list = isinstance(value, (list, tuple, Tensor, np.ndarray)) and np.ndim(value) == 1
    require(is_list, f"`{name}`은(는) 수의 리스트를 돌려주어야 합니다.")
    return [number(one, name) for one in value]


def _shown(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in values) + "]"


def _variances(L: int, beta: float) -> list[float]:
    return [1 + beta**2 * layer for layer in range(L)]


def _correlation(variances: Sequence[float], beta: float, skip: bool, *, both: float = 0.5, power: float = 2, root: float = 1) -> float:
    """∏ (shortcut + both · gain) / (shortcut + gain), gain = β^power / variance^root."""
    gains = [beta**power / variance**root for variance in variances]
    return math.prod((skip + both * gain) / (skip + gain) for gain in gains)


def _wrong_correlations(variances: Sequence[float], beta: float, skip: bool) -> dict[str, float]:
    gains = [beta**2 / variance for variance in variances]
    return {
        "지름길을 세지 않았습니다. skip=True이면 분산과 공분산에 저마다 1이 더해집니다.": _correlation(variances, beta, False),
        "skip=False이면 지름길이 보태는 1이 없습니다.": _correlation(variances, beta, True),
        "`variances`를 쓰지 않았습니다. BN은 가지의 입력을 그 분산의 제곱근으로 나눕니다.": _correlation(variances, beta, skip, root=0),
        "제곱근으로 나눈 것도 분산에는 제곱으로 들어갑니다. β²/v를 쓰세요.": _correlation(variances, beta, skip, root=0.5),
        "β를 제곱하지 않았습니다. 분산에 곱해지는 것은 β²입니다.": _correlation(variances, beta, skip, power=1),
        "β를 쓰지 않았습니다.": _correlation(variances, beta, skip, power=0),
        "공분산에 곱하는 것은 2 · 1/4 = 1/2입니다. He 초기화의 2를 빠뜨렸습니다.": _correlation(variances, beta, skip, both=0.25),
        "분산만 셌습니다. 공분산을 분산으로 나누세요.": 1 / math.prod(skip + gain for gain in gains),
        "공분산만 셌습니다. 분산으로 나누세요.": math.prod(skip + gain / 2 for gain in gains),
        "어림식입니다. 여기서는 주어진 분산으로 블록마다의 비를 곱하세요.": (1 + beta**2 * len(variances)) ** -0.5,
    }


def _simulated(name: str, L: int, beta: float) -> float:
    variances = _variances(L, beta) if name == "잔차 + BN" else [1.0] * L

    def factor(passed_layers: int) -> float:
        return beta / math.sqrt(variances[L - 1 - passed_layers])

    *_, (_, values) = masked_chain(depth=L, width=256, pairs=4, seeds=range(6), factor=factor, skip=name != "플레인")
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
        if not torch.allclose(z.detach().double(), expected, atol=6e-5, rtol=0):
            require(not torch.allclose(z.detach().double(), expected, atol=2e-2, rtol=0), "거의 맞지만 분모에 더한 수가 너무 큽니다. 10⁻⁵까지 됩니다.")
            require(not torch.allclose(z.detach(), (before - mean) / before.std(0), atol=1e-3), "표준편차를 B − 1로 나누어 구했습니다. BN은 B로 나눕니다(unbiased=False).")
            require(not torch.allclose(z.detach(), (before - mean) / deviation**2, atol=1e-3), "분산으로 나누었습니다. 표준편차로 나누세요.")
            rows = (before - before.mean(1, keepdim=True)) / before.std(1, unbiased=False, keepdim=True)
            require(not torch.allclose(z.detach(), rows, atol=1e-3), "표본 안에서 정규화했습니다(층 정규화). BN은 성분마다 배치에 걸쳐 평균을 냅니다.")
            raise NotYet("순전파의 값이 BN과 다릅니다. 성분마다 배치의 평균을 빼고 표준편차로 나눈 값이어야 합니다.")
        require(z.requires_grad, "그래디언트가 모두 끊겼습니다. 상수로 둘 것은 평균과 표준편차뿐입니다.")
        g = torch.randn(batch, d, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(z, h, g.to(z.dtype), retain_graph=True)
        if not torch.allclose(gradient, g / deviation, atol=1e-3):
            own = torch.stack([torch.autograd.grad(z[0, j], h, retain_graph=True)[0][0, j] for j in range(d)])
            require(not (own < 0.3 / deviation).all(), "분자의 h까지 끊었습니다. h에서는 그래디언트가 흘러야 합니다. 상수로 둘 것은 평균과 표준편차뿐입니다.")
            summed = gradient.sum(0).abs().max() < 1e-6
            require(not summed, "그래디언트를 배치에 걸쳐 더하면 0입니다. 평균이 상수가 아니어서 표본이 서로 섞였습니다.")
            raise NotYet("그래디언트가 g/σ와 다릅니다. 평균과 표준편차를 둘 다 상수로 두었는지 보세요.")
        print(f"배치 {batch}: 순전파는 BN과 같고, 그래디언트는 표본끼리 섞이지 않습니다")
    passed("3-5")
