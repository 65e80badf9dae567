"""Checks of exercise 07."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.checks.base import NotYet, call, close, number, passed, require

WHERE = ("post", "pre", "peri", "olmo2")


def _tensor(value: Any, shape: tuple, name: str) -> Tensor:
    require(isinstance(value, Tensor), f"`{name}`은(는) 텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(tuple(value.shape) == tuple(shape), f"`{name}`의 모양이 {tuple(shape)}이어야 하는데 {tuple(value.shape)}입니다.")
    return value.detach().to(torch.float64)


def _same(value: Tensor, expected: Tensor) -> bool:
    return torch.allclose(value, expected, atol=2e-4, rtol=2e-4)


# Task 7-1


def check_sublayer(sublayer: Callable[[Tensor, Callable, str, Callable, Callable], Tensor]) -> None:
    """The four placements, with two norms that can be told apart and a count of how often the branch runs."""
    generator = torch.Generator().manual_seed(71)
    for where in WHERE:
        for shape in ((5, 8), (2, 3, 16)):
            x = 2 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1
            weight = torch.randn(shape[-1], shape[-1], generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
            norm_1, norm_2 = _distinct_norms(shape[-1], generator)
            branch, calls = _counting_branch(weight)
            before = x.clone()
            value = _tensor(call(sublayer, x, branch, where, norm_1, norm_2), shape, "sublayer")
            require(torch.equal(x, before), "받은 `x`를 바꾸었습니다. 새 텐서를 만들어 돌려주세요.")
            require(len(calls) == 1, f"‘{where}’에서 가지 F를 {len(calls)}번 불렀습니다. 한 번이어야 합니다.")
            right = _placements(x, branch, norm_1, norm_2)
            if not _same(value, right[where]):
                for message, wrong in _placement_mistakes(x, branch, norm_1, norm_2, where, right).items():
                    require(not _same(value, wrong), f"‘{where}’: {message}")
                raise NotYet(f"‘{where}’의 값이 다릅니다. 표의 식과 한 글자씩 비교하세요.")
        print(f"{where}: 식과 같습니다")
    passed("7-1")


def _distinct_norms(d: int, generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
    norms = []
    for _ in range(2):
        norm = nn.LayerNorm(d).double()
        with torch.no_grad():
            norm.weight.copy_(1 + 0.5 * torch.rand(d, generator=generator, dtype=torch.float64))
            norm.bias.copy_(0.5 * torch.randn(d, generator=generator, dtype=torch.float64))
        norms.append(norm)
    return norms[0], norms[1]


def _counting_branch(weight: Tensor) -> tuple[Callable, list]:
    calls: list = []

    def branch(h: Tensor) -> Tensor:
        calls.append(1)
        return torch.tanh(h) @ weight

    return branch, calls


def _placements(x: Tensor, f: Callable, n1: Callable, n2: Callable) -> dict[str, Tensor]:
    with torch.no_grad():
        return {"post": n1(x + f(x)), "pre": x + f(n1(x)), "peri": x + n2(f(n1(x))), "olmo2": x + n1(f(x))}


@torch.no_grad()
def _placement_mistakes(x: Tensor, f: Callable, n1: Callable, n2: Callable, where: str, right: dict[str, Tensor]) -> dict[str, Tensor]:
    """Likely wrong outputs by what to say of them."""
    single = "norm_1 대신 norm_2를 썼습니다. LN이 하나뿐인 배치에서는 norm_1을 씁니다."
    own = {
        "post": {
            "지름길만 정규화했습니다. 더한 다음 합을 정규화합니다.": n1(x) + f(x),
            single: n2(x + f(x)),
        },
        "pre": {
            "지름길까지 정규화했습니다. 지름길에는 x가 그대로 흐르고, 가지의 입력만 정규화합니다.": n1(x) + f(n1(x)),
            "정규화하지 않았습니다.": x + f(x),
            single: x + f(n2(x)),
        },
        "peri": {
            "두 정규화에 같은 모듈을 썼습니다. 가지의 앞은 norm_1, 뒤는 norm_2입니다.": x + n1(f(n1(x))),
            "norm_1과 norm_2가 바뀌었습니다.": x + n1(f(n2(x))),
            "더한 다음 정규화했습니다. 가지의 출력만 정규화하고 더합니다.": n2(x + f(n1(x))),
        },
        "olmo2": {
            "합을 정규화했습니다. 그것은 Post-LN입니다. 가지의 출력만 정규화하고 더합니다.": n1(x + f(x)),
            single: x + n2(f(x)),
        },
    }[where]
    others = {f"‘{name}’의 식을 썼습니다.": value for name, value in right.items() if name != where}
    return {**own, **others}


# Task 7-2


def check_ln_jacobian(ln_jacobian: Callable[[Tensor], Tensor]) -> None:
    """The Jacobian of LayerNorm without parameters, against autograd; its largest singular value and its rank."""
    generator = torch.Generator().manual_seed(72)
    for d, size, offset in ((4, 1.0, 0.0), (16, 3.0, 2.0), (9, 0.2, -1.0)):
        z = size * torch.randn(d, generator=generator, dtype=torch.float64) + offset
        before = z.clone()
        value = _tensor(call(ln_jacobian, z), (d, d), "ln_jacobian")
        require(torch.equal(z, before), "받은 `z`를 바꾸었습니다.")
        expected = torch.autograd.functional.jacobian(_layer_norm, z)
        if not torch.allclose(value, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()):
            for message, wrong in _jacobian_mistakes(z).items():
                require(not torch.allclose(value, wrong, rtol=1e-3, atol=1e-3 * expected.abs().max().item()), message)
            raise NotYet(f"d = {d}에서 야코비 행렬이 다릅니다(가장 큰 차이 {(value - expected).abs().max():.2g}).")
        singular = torch.linalg.svdvals(value)
        formula = d**0.5 / (z - z.mean()).norm()
        print(f"d = {d}: 가장 큰 특잇값이 √d/‖z − z̄‖와 같습니까? {abs(singular[0] / formula - 1) < 1e-3}, 0이 아닌 특잇값 {int((singular > 2e-3 * singular[0]).sum())}개")
    passed("7-2")


def _layer_norm(z: Tensor) -> Tensor:
    centred = z - z.mean()
    return centred / centred.square().mean().sqrt()


def _jacobian_mistakes(z: Tensor) -> dict[str, Tensor]:
    d = len(z)
    eye, centring = torch.eye(d, dtype=z.dtype), torch.eye(d, dtype=z.dtype) - 1 / d
    centred = z - z.mean()
    u, raw = centred / centred.norm(), z / z.norm()
    scale = d**0.5 / centred.norm()
    return {
        "평균을 빼는 부분(11ᵀ/d)이 없습니다. 모든 성분에 같은 수를 더해도 LN의 출력은 그대로여야 합니다.": scale * (eye - torch.outer(u, u)),
        "크기로 나누는 부분(uuᵀ)이 없습니다. z − z̄를 길게 늘여도 LN의 출력은 그대로여야 합니다.": scale * centring,
        "√d가 빠졌습니다. 표준편차는 노름을 √d로 나눈 것입니다.": scale / d**0.5 * (centring - torch.outer(u, u)),
        "1/σ를 곱하지 않았습니다.": centring - torch.outer(u, u),
        "u를 평균을 빼지 않은 z로 만들었습니다.": scale * (centring - torch.outer(raw, raw)),
        "표준편차를 d − 1로 나누어 구했습니다. LN은 d로 나눕니다.": ((d - 1) / d) ** 0.5 * scale * (centring - torch.outer(u, u)),
        "표준편차를 d − 1로 나누었습니다. LN은 d로 나눕니다(unbiased=False).": ((d - 1) / d) ** 0.5 * scale * (centring - (d - 1) / d * torch.outer(u, u)),
        "u의 길이가 1이 아닙니다. z − z̄를 σ가 아니라 노름 ‖z − z̄‖로 나누세요.": scale * (centring - d * torch.outer(u, u)),
    }


# Task 7-3


def check_identity_path(identity_path: Callable[[str, int, float], float]) -> None:
    """What is left of a gradient on the shortcuts alone, against a simulation with branches that ignore their input."""
    for where in WHERE:
        for layers, v in ((6, 0.5), (12, 0.25), (24, 1.0), (1, 0.5)):
            expected = _identity(where, layers, v)
            value = number(call(identity_path, where, layers, v), "identity_path")
            if not close(value, expected):
                post, pre, one = (_identity(name, layers, v) for name in ("post", "pre", "peri"))
                require(not (where == "post" and close(value, pre)), "‘post’는 서브층마다 정규화합니다. 끝에서 한 번이 아니라 서브층마다 1/√(1 + v)배입니다.")
                require(not (where == "post" and close(value, post**2)), "분산의 비를 그대로 썼습니다. 그래디언트에 곱해지는 것은 표준편차의 역수 1/√(1 + v)입니다.")
                require(not (where != "post" and close(value, 1.0)), f"‘{where}’의 마지막 LN을 빠뜨렸습니다. 끝에서 스트림의 표준편차로 나눕니다.")
                require(not (where != "post" and close(value, post)), f"‘{where}’의 지름길에는 정규화가 없습니다. 마지막 LN에서 한 번만 나눕니다.")
                require(not (where in ("peri", "olmo2") and close(value, pre)), f"‘{where}’에서는 가지의 출력이 정규화되어 분산이 v가 아니라 1입니다.")
                require(not (where == "pre" and close(value, one)), "‘pre’의 가지는 정규화되지 않으므로 분산이 v입니다.")
                require(not (where != "post" and close(value, expected**2)), "분산의 비를 그대로 썼습니다. 그래디언트에 곱해지는 것은 표준편차의 역수입니다.")
                raise NotYet(f"identity_path({where!r}, {layers}, {v})는 {expected:.4g}이어야 하는데 {value:.4g}입니다.")
        near = abs(_simulated_identity(where, 12, 0.5) / float(identity_path(where, 12, 0.5)) - 1) < 0.06
        require(near, f"‘{where}’의 식이 시뮬레이션과 다릅니다.")
        print(f"{where}: 12서브층, v = 0.5이면 {float(identity_path(where, 12, 0.5)):.3f}배. 시뮬레이션과 6% 안에서 맞습니까? {near}")
    passed("7-3")


def _identity(where: str, layers: int, v: float) -> float:
    if where == "post":
        return (1 + v) ** (-layers / 2)
    return (1 + layers * (v if where == "pre" else 1.0)) ** -0.5


def _simulated_identity(where: str, layers: int, v: float, d: int = 4096) -> float:
    """The gradient at x_0 over that at the output, when branches write noise that does not depend on x."""
    generator = torch.Generator().manual_seed(73)
    x0 = torch.randn(d, generator=generator, dtype=torch.float64)
    x = x0.requires_grad_()
    for _ in range(layers):
        written = (v if where in ("post", "pre") else 1.0) ** 0.5 * torch.randn(d, generator=generator, dtype=torch.float64)
        x = _layer_norm(x + written) if where == "post" else x + written
    y = x if where == "post" else _layer_norm(x)
    g = torch.randn(d, generator=generator, dtype=torch.float64)
    return (torch.autograd.grad(y @ g, x0)[0].norm() / g.norm()).item()  # of a number: a vector's makes torch import sympy


# Task 7-4


def check_uniformity(uniformity: Callable[[Tensor], Tensor]) -> None:
    """Mean cosine between two different positions of the same sequence."""
    generator = torch.Generator().manual_seed(74)
    alike = (torch.rand(3, 5, 1, generator=generator) + 0.1).double() * torch.randn(3, 1, 7, generator=generator).double()
    cases = [
        ("모두 같은 방향", alike),
        ("서로 직교", 3 * torch.eye(6, dtype=torch.float64)[None].repeat(2, 1, 1)),
        ("무작위", torch.randn(4, 6, 9, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 5, 1, 2, 9, 1], dtype=torch.float64).view(1, 6, 1) + 0.7),
        ("두 자리", torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)),
    ]
    for name, x in cases:
        before = x.clone()
        value = number(call(uniformity, x), "uniformity")
        require(torch.equal(x, before), "받은 `x`를 바꾸었습니다.")
        expected = _pairs(x)
        if not abs(value - expected) < 2e-4:
            for message, wrong in _uniformity_mistakes(x).items():
                require(not abs(value - wrong) < 2e-4, message)
            raise NotYet(f"‘{name}’에서 {expected:.4f}이어야 하는데 {value:.4f}입니다.")
        print(f"{name}: {abs(round(expected, 3)):.3f}" if abs(expected) < 5e-4 else f"{name}: {expected:.3f}")
    passed("7-4")


def _pairs(x: Tensor) -> float:
    """One pair at a time."""
    found = [F.cosine_similarity(s[i], s[j], dim=0) for s in x for i in range(len(s)) for j in range(len(s)) if i != j]
    return torch.stack(found).mean().item()


def _uniformity_mistakes(x: Tensor) -> dict[str, float]:
    b, t, _ = x.shape
    unit = F.normalize(x, dim=-1)
    cosine, inner = unit @ unit.mT, x @ x.mT
    off = ~torch.eye(t, dtype=torch.bool)
    flat = unit.flatten(0, 1)
    across = flat @ flat.T
    return {
        "자기 자신과의 코사인(대각선의 1)까지 평균했습니다. 서로 다른 두 자리만 셉니다.": cosine.mean().item(),
        "벡터의 길이로 나누지 않았습니다. 코사인은 길이를 1로 맞춘 벡터의 내적입니다.": inner[:, off].mean().item(),
        "대각선을 뺐는데 나누는 수가 T²입니다. 쌍은 T(T − 1)개입니다.": (cosine[:, off].sum() / (b * t * t)).item(),
        "다른 문장의 자리와도 비교했습니다. 같은 문장 안에서만 비교합니다.": across[~torch.eye(b * t, dtype=torch.bool)].mean().item(),
        "0번 축(문장)을 자리로 보았습니다. 모양은 (문장, 자리, 성분)입니다.": _pairs(x.transpose(0, 1)) if b > 1 else float("nan"),
    }


# Task 7-5


def check_noam(noam: Callable[[int, int, int], float]) -> None:
    """The learning rate of Vaswani et al. 2017, Eq. 3."""
    for width, warmup in ((512, 4000), (64, 10), (16, 1)):
        for step in (100_000, 4001, 1, 2, 9, 10, 11, 400, 4000):
            expected = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
            value = number(call(noam, step, width, warmup), "noam")
            if not close(value, expected):
                require(not close(value, width**-0.5 * step**-0.5), "워밍업이 없습니다. 처음 warmup 단계에서는 학습률이 곧게 올라갑니다.")
                slope = width**-0.5 * warmup**-1.5
                always_up = step > warmup and close(value, slope * step) and close(number(call(noam, 1, width, warmup), "noam"), slope)
                require(not always_up, "워밍업 뒤에도 계속 올라갑니다. 두 값 가운데 작은 것을 고르세요.")
                require(not close(value, width**-0.5 * max(step**-0.5, step * warmup**-1.5)), "min과 max가 바뀌었습니다. 두 값 가운데 작은 것입니다.")
                require(not (step > warmup and close(value, width**-0.5)), "워밍업 뒤에 학습률이 줄지 않습니다. 뒤에서는 step의 −1/2제곱입니다.")
                require(not close(value, min(step**-0.5, step * warmup**-1.5)), "폭의 −1/2제곱을 곱하지 않았습니다.")
                require(not close(value, width**-0.5 * min(step**-0.5, step / warmup)), "두 식이 step = warmup에서 이어지지 않습니다. 앞쪽은 step · warmup의 −3/2제곱입니다.")
                raise NotYet(f"noam({step}, {width}, {warmup})는 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    peak = max(range(1, 9000), key=lambda step: float(noam(step, 512, 4000)))
    print(f"폭 512, 워밍업 4000: {peak}단계에서 가장 크고 그 값은 {float(noam(peak, 512, 4000)):.3e}")
    passed("7-5")
