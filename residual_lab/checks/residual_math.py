"""Checks of exercise 02."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_lab.blocks.residual import ShortcutResNet
from residual_lab.checks.base import NotYet, call, passed, require

CLOSE = {torch.float32: 1e-4, torch.float64: 1e-9}


def _tensor(value: Any, name: str, shape: Sequence[int]) -> Tensor:
    """What the learner returned as a detached float tensor of the shape it must have."""
    require(value is not None, f"`{name}`이(가) 없습니다. return을 빠뜨리지 않았는지 보세요.")
    require(isinstance(value, (Tensor, np.ndarray)), f"`{name}`은(는) 텐서여야 하는데 {type(value).__name__}입니다.")
    value = torch.as_tensor(value).detach()
    require(value.is_floating_point(), f"`{name}`은(는) 실수 텐서여야 하는데 {value.dtype}입니다.")
    require(tuple(value.shape) == tuple(shape), f"`{name}`의 모양이 {tuple(shape)}이어야 하는데 {tuple(value.shape)}입니다.")
    return value


def _parts(value: Any, count: int, what: str) -> Sequence:
    require(isinstance(value, (tuple, list)) and len(value) == count, f"{what}, 이렇게 {count}개를 차례로 돌려주어야 합니다.")
    return value


def _same(value: Tensor, expected: Tensor) -> bool:
    """Equal up to the rounding of the coarser of the two types."""
    tolerance = max(CLOSE.get(value.dtype, 1e-2), CLOSE[expected.dtype])
    return torch.allclose(value.double(), expected.double(), rtol=tolerance, atol=tolerance)


def _untouched(given: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    for now, then in zip(given, before):
        require(torch.equal(now, then), "받은 텐서를 제자리에서 바꾸었습니다(+= 따위). 새 텐서를 만들어 돌려주세요.")


def _copies(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.clone() for t in tensors)


def check_block_gradients(block_gradients: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Task 2-1: the gradients of F = W2 relu(W1 x), against autograd; also where a layer is zero."""
    generator = torch.Generator().manual_seed(21)
    table = []
    for name, k1, k2 in (("없음", 1, 1), ("W₂만", 1, 0), ("W₁만", 0, 1), ("둘 다", 0, 0)):
        width, more, batch = (int(torch.randint(3, 9, (1,), generator=generator)) for _ in range(3))
        hidden = width + more
        x, g = (torch.randn(batch, width, generator=generator, dtype=torch.float64) for _ in range(2))
        w1 = k1 * torch.randn(hidden, width, generator=generator, dtype=torch.float64)
        w2 = k2 * torch.randn(width, hidden, generator=generator, dtype=torch.float64)
        given = _copies(w1, w2, x, g)
        with torch.inference_mode():
            answer = call(block_gradients, *given, hints={"does not require grad": "자동 미분을 쓰지 않고 식으로 계산합니다."})
        answer = _parts(answer, 2, "(∂W₁, ∂W₂)")
        _untouched(given, (w1, w2, x, g))
        a, b = w1.clone().requires_grad_(), w2.clone().requires_grad_()
        true1, true2 = torch.autograd.grad(((x + (x @ a.T).relu() @ b.T) * g).sum(), (a, b))
        if [getattr(part, "shape", None) for part in answer] == [w2.shape, w1.shape]:
            swapped = _same(_tensor(answer[0], "∂W₂", w2.shape), true2)
            raise NotYet("∂W₁과 ∂W₂의 순서가 바뀌었습니다." if swapped else "두 그래디언트가 전치되어 있습니다. 그래디언트의 모양은 가중치의 모양과 같습니다.")
        d1, d2 = _tensor(answer[0], "∂W₁", w1.shape), _tensor(answer[1], "∂W₂", w2.shape)
        _compare_gradients(d1, d2, true1, true2, w1, w2, x, g)
        zeros = ["0" if not d.any() else "0 아님" for d in (d1, d2)]
        table.append(f"0에서 시작: {name} → ∂W₁ {zeros[0]}, ∂W₂ {zeros[1]}")
    print("\n".join(table))
    passed("2-1")


def _compare_gradients(d1: Tensor, d2: Tensor, true1: Tensor, true2: Tensor, w1: Tensor, w2: Tensor, x: Tensor, g: Tensor) -> None:
    pre = x @ w1.T
    if not _same(d2, true2):
        require(not _same(d2, g.T @ pre), "∂W₂에 ReLU를 지나기 전의 값을 썼습니다. W₂가 받는 입력은 ReLU(W₁x)입니다.")
        require(not _same(d2 * len(x), true2), "∂W₂를 배치 크기로 나누었습니다. 표본마다의 값을 모두 더하기만 합니다.")
        raise NotYet("∂W₂가 자동 미분과 다릅니다. ∂W₂ = g ReLU(W₁x)ᵀ를 배치에 대해 더한 것입니다.")
    if not _same(d1, true1):
        back = g @ w2
        require(not _same(d1, ((pre >= 0) * back).T @ x), "ReLU′(0)을 1로 두었습니다. 파이토치는 0으로 정해 두었으므로 `pre > 0`이어야 합니다.")
        require(not _same(d1, back.T @ x), "∂W₁에 ReLU′을 곱하지 않았습니다. 꺼진 뉴런으로는 그래디언트가 흐르지 않습니다.")
        require(not _same(d1, (pre.relu() * back).T @ x), "∂W₁에 ReLU′ 대신 ReLU의 값을 곱했습니다. 0 또는 1이어야 합니다.")
        require(not _same(d1 * len(x), true1), "∂W₁을 배치 크기로 나누었습니다. 표본마다의 값을 모두 더하기만 합니다.")
        raise NotYet("∂W₁이 자동 미분과 다릅니다. ∂W₁ = (ReLU′(W₁x) ⊙ W₂ᵀg) xᵀ를 배치에 대해 더한 것입니다.")


PAPER = {3: "0.27", 5: "0.46", 7: "0.66", 9: "0.85", 18: "1.7", 200: "19.4"}


@functools.cache
def _parameters(n: int, option: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in ShortcutResNet(n, option=option).parameters())


def check_resnet_params(resnet_params: Callable[[int, str], int]) -> None:
    """Task 2-2: parameters of the CIFAR ResNets, against the real networks and He 2015, table 6."""
    for option in ("A", "B", "C"):
        for n in (1, 3, 5, 9):
            value, expected = _whole(call(resnet_params, n, option)), _parameters(n, option)
            if value == expected:
                continue
            stages = (16, 32, 64)
            batch_norms = 2 * (16 + 2 * n * sum(stages))
            without = _parameters(n, "A")
            projected = {"A": 0, "B": 2, "C": 3 * n}[option]
            channels = {"A": 0, "B": 2 * (32 + 64), "C": 2 * n * sum(stages)}[option]
            said = f"n={n}, 지름길 {option}:"
            require(value != expected - batch_norms and value != expected - batch_norms - channels, f"{said} BN의 γ와 β를 세지 않았습니다. 채널마다 둘입니다.")
            require(value != without, f"{said} 지름길의 파라미터가 빠졌습니다. 투영이 {projected}개 있습니다.")
            require(value != expected - channels, f"{said} 투영 뒤의 BN을 세지 않았습니다.")
            require(value != expected - 10, f"{said} 출력층의 편향 10개가 빠졌습니다.")
            require(value != expected - 650, f"{said} 출력층(64 × 10 + 10)이 빠졌습니다.")
            require(value != expected - 464, f"{said} 맨 앞의 합성곱과 그 BN이 빠졌습니다.")
            require(value != expected - 32, f"{said} 맨 앞 합성곱 뒤의 BN이 빠졌습니다.")
            require(value != expected - batch_norms // 2, f"{said} BN의 파라미터는 채널마다 γ와 β 둘입니다.")
            require(value - expected != 16 * 16 + 2 * 16, f"{said} 첫 스테이지는 입력과 출력의 모양이 같아 투영이 없습니다.")
            require(not (option == "A" and value in (_parameters(n, "B"), _parameters(n, "C"))), f"{said} A의 지름길에는 파라미터가 없습니다.")
            require(not (option == "C" and value == _parameters(n, "B")), f"{said} C는 모양이 같은 블록에도 투영을 둡니다.")
            more = value - expected
            require(more != 9 * (16 * 32 + 32 * 64), f"{said} 둘째와 셋째 스테이지의 첫 합성곱은 입력 채널이 절반입니다.")
            raise NotYet(f"{said} {abs(more):,}개가 {'많습니다' if more > 0 else '모자랍니다'}(여러분의 답 {value:,}개)."
                         + " 합성곱에는 편향이 없습니다." * (more == batch_norms // 2))
    for n, said in PAPER.items():
        value = _whole(call(resnet_params, n, "A"))
        require(value == _parameters(n, "A"), f"n={n}, 지름길 A의 수가 다릅니다. n을 몇 가지만 적어 두지 말고 식으로 계산하세요.")
        print(f"{6 * n + 2}층: {value:,}개 (논문의 표 6: {said}M)")
    print(f"20층에서 B는 {int(resnet_params(3, 'B')) - int(resnet_params(3, 'A')):,}개, C는 {int(resnet_params(3, 'C')) - int(resnet_params(3, 'A')):,}개가 더 많습니다")
    passed("2-2")


def _whole(value: Any) -> int:
    if isinstance(value, (Tensor, np.ndarray, np.number)) and np.ndim(value) == 0:
        value = value.item()
    require(isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1,
            "파라미터 수를 정수 하나로 돌려주어야 합니다(return이 없거나 정수가 아닙니다).")
    return int(value)


def check_safe_residual(safe_residual: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Task 2-3: x + F(x) where the shapes agree, ValueError everywhere else."""
    generator = torch.Generator().manual_seed(23)
    for shape in ((4, 8), (2, 3, 6, 6), (5,), (1, 7)):
        x, f = (torch.randn(shape, generator=generator) for _ in range(2))
        given = _copies(x, f)
        try:
            y = safe_residual(*given)
        except NotImplementedError as stub:
            raise NotYet("`safe_residual`을(를) 아직 채우지 않았습니다.") from stub
        except Exception as problem:
            raise NotYet(f"모양이 {shape}로 같은데 오류가 났습니다. {type(problem).__name__}: {problem}") from problem
        _untouched(given, (x, f))
        require(y is not None, "`safe_residual`이(가) 아무것도 돌려주지 않았습니다(return이 없습니다).")
        require(_same(_tensor(y, "돌려준 값", shape), x + f), "x + f를 돌려주어야 합니다.")
        print(f"{shape} + {shape}: 더함")
    for a, b in (((4, 8), (4, 5)), ((4, 8), (4, 1)), ((4, 1), (1, 8)), ((4, 8), (8,)), ((4, 8), (8, 4)), ((4, 8), (1, 4, 8)), ((), (3,)), ((2, 6), (3, 4))):
        _must_refuse(safe_residual, a, b, generator)
        print(f"{a} + {b}: 거부")
    passed("2-3")


def _must_refuse(safe_residual: Callable, a: tuple, b: tuple, generator: torch.Generator) -> None:
    try:
        returned = safe_residual(torch.randn(a, generator=generator), torch.randn(b, generator=generator))
    except ValueError:
        return
    except Exception as problem:
        raise NotYet(f"{a}, {b}: ValueError를 내야 하는데 {type(problem).__name__}이(가) 났습니다.") from problem
    require(returned is not None and not isinstance(returned, Exception),
            f"{a}, {b}: 오류를 돌려주거나 출력하지 말고 `raise ValueError(...)`로 내야 합니다.")
    raise NotYet(f"{a}, {b}: 두 모양이 다른데 받아들였습니다. 브로드캐스트가 가려 준 것은 아닌지 모양 전체를 견주세요.")


_JOINED = {
    "must match except in dimension 0": "이어 붙일 크기가 맞지 않습니다. I가 d×d인지, V₂에는 행이 아니라 열을 붙였는지(dim=1) 보세요.",
    "must match except in dimension 1": "이어 붙일 크기가 맞지 않습니다. V₁은 행으로 쌓습니다(dim=0).",
}


def check_as_plain(as_plain: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
    """Task 2-4: a plain ReLU block with 2d more neurons that computes the residual block's function."""
    generator = torch.Generator().manual_seed(24)
    for width, hidden in ((3, 5), (8, 4), (6, 16)):
        w1, b1, w2, b2 = block = tuple(
            torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((hidden, width), (hidden,), (width, hidden), (width,))
        )
        given = _copies(*block)
        answer = _parts(call(as_plain, *given, hints=_JOINED), 4, "(V₁, c₁, V₂, c₂)")
        _untouched(given, block)
        rows = answer[0].shape[0] if isinstance(answer[0], (Tensor, np.ndarray)) and answer[0].ndim == 2 else hidden + 2 * width
        if isinstance(answer[0], (Tensor, np.ndarray)) and tuple(answer[0].shape) == (width, hidden + 2 * width):
            raise NotYet("V₁이 전치되어 있습니다. W₁처럼 (은닉 수, 폭) 모양이어야 합니다.")
        shapes = ((rows, width), (rows,), (width, rows), (width,))
        v1, c1, v2, c2 = (_tensor(p, name, shape).double() for p, name, shape in zip(answer, ("V₁", "c₁", "V₂", "c₂"), shapes))
        require(rows <= hidden + 2 * width, f"은닉 뉴런은 {hidden + 2 * width}개면 되는데 {rows}개를 썼습니다.")
        x = 2 * torch.randn(64, width, generator=generator, dtype=torch.float64)
        branch = (x @ w1.T + b1).relu() @ w2.T + b2
        y = (x @ v1.T + c1).relu() @ v2.T + c2
        if not torch.allclose(y, x + branch, atol=1e-4):
            require(not torch.allclose(y, branch, atol=1e-4), "가지만 나오고 x가 더해지지 않았습니다.")
            require(not torch.allclose(y, branch + x.relu(), atol=1e-4), "x의 음수가 사라졌습니다. ReLU(x)만으로는 모자라고 ReLU(−x)를 빼야 합니다.")
            require(not torch.allclose(y, branch + x.abs(), atol=1e-4), "|x|가 더해졌습니다. ReLU(x) + ReLU(−x)가 아니라 ReLU(x) − ReLU(−x)입니다.")
            require(not torch.allclose(y, branch - x, atol=1e-4), "부호가 반대입니다. −x가 더해졌습니다.")
            require(not torch.allclose(y, x + branch - b2, atol=1e-4), "b₂가 빠졌습니다. c₂에 무엇을 두었는지 보세요.")
            with_b1 = (x @ v1.T + torch.cat([b1, c1[hidden:]])).relu() @ v2.T + c2
            require(not torch.allclose(with_b1, x + branch, atol=1e-4), "b₁이 빠졌습니다. c₁의 앞쪽에 무엇을 두었는지 보세요.")
            require(not c1[hidden:].any(), "새 뉴런의 편향은 0이어야 합니다. 0이 아니면 ReLU(x) − ReLU(−x)가 x가 되지 않습니다.")
            raise NotYet("플레인 블록의 출력이 x + F(x)와 다릅니다. V₂의 뒤쪽 열이 ReLU(x)와 ReLU(−x)에 무엇을 곱하는지 보세요.")
        large = 1e6 * x
        right = large + (large @ w1.T + b1).relu() @ w2.T + b2
        gap = (large @ v1.T + c1).relu() @ v2.T + c2 - right
        require(gap.norm() < 1e-4 * right.norm(), "x가 크면 값이 달라집니다. 큰 편향 대신 ReLU(x) − ReLU(−x)를 쓰세요.")
        print(f"폭 {width}, 은닉 {hidden} → 은닉 {rows}: 같은 함수입니다")
    passed("2-4")


def check_matrix_residuals(matrix_residuals: Callable[[Tensor, int], Sequence[Tensor]]) -> None:
    """Task 2-5: A_l with ∏(I + A_l) = e^M, every one of them small."""
    generator = torch.Generator().manual_seed(25)
    for size, layers, scale in ((4, 4, 2.0), (3, 1, 1.0), (6, 16, 1.0), (5, 64, 3.0)):
        M = torch.randn(size, size, generator=generator, dtype=torch.float64)
        M = scale * M / torch.linalg.matrix_norm(M, ord=2)
        given = M.clone()
        answer = call(matrix_residuals, given, layers)
        _untouched([given], [M])
        require(isinstance(answer, (list, tuple, Tensor)), "행렬 L개의 리스트를 돌려주어야 합니다.")
        require(not (isinstance(answer, Tensor) and answer.ndim == 2), "행렬 하나가 아니라 L개를 담은 리스트를 돌려주어야 합니다.")
        require(len(answer) == layers, f"행렬이 {layers}개여야 하는데 {len(answer)}개입니다.")
        pieces = [_tensor(a, "A_l", M.shape).double() for a in answer]
        eye = torch.eye(size, dtype=torch.float64)
        _compare_product(pieces, M, eye, layers)
        largest = max(torch.linalg.matrix_norm(a, ord=2).item() for a in pieces)
        allowed = torch.tensor(scale / layers).exp().item() - 1
        require(largest <= allowed * 1.001,
                f"L={layers}: 곱은 맞지만 한 층이 너무 많이 맡습니다(‖A_l‖ = {largest:.3f}). 지수를 L등분해서 골고루 나누세요.")
        print(f"L={layers}: 곱이 e^M이고 L·‖A_l‖ = {layers * largest:.3f}  (‖M‖ = {scale:g})")
    passed("2-5")


def _compare_product(pieces: list[Tensor], M: Tensor, eye: Tensor, layers: int) -> None:
    def close(factors: list[Tensor]) -> bool:
        product = eye
        for factor in factors:
            product = factor @ product
        return torch.allclose(product, torch.linalg.matrix_exp(M), rtol=1e-4, atol=1e-4)

    if close([eye + a for a in pieces]):
        return
    require(not close(pieces), "I를 빼지 않았습니다. 곱하는 것은 A_l이 아니라 I + A_l입니다.")
    require(not all(torch.allclose(a, M / layers) for a in pieces), "A_l = M/L은 어림일 뿐입니다. (I + M/L)ᴸ은 L이 아주 클 때만 e^M에 가깝습니다.")
    require(not all(torch.allclose(a, torch.linalg.matrix_exp(M) / layers - eye) for a in pieces), "e^M을 L로 나누었습니다. 나눌 것은 지수 M입니다.")
    power = torch.linalg.matrix_exp(M / layers)
    require(not all(torch.allclose(a, power - 1) for a in pieces), "모든 원소에서 1을 뺐습니다. 뺄 것은 1이 아니라 항등 행렬 I입니다.")
    require(not all(torch.allclose(a, (torch.linalg.matrix_exp(M) - eye) / layers) for a in pieces), "e^M − I를 L로 나누었습니다. 나눌 것은 지수 M입니다.")
    elementwise = (M / layers).exp()
    require(not all(torch.allclose(a, elementwise - eye) for a in pieces), "원소마다의 지수 `exp`를 썼습니다. 행렬의 지수는 `torch.linalg.matrix_exp`입니다.")
    raise NotYet(f"L={layers}: ∏(I + A_l)이 e^M과 다릅니다.")
