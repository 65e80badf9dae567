"""Checks of exercise 04."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from residual_lab.blocks.resnet import ResNetCIFAR
from residual_lab.checks.base import NotYet, call, close, finite, passed, require


def _mass(n: int, low: int, high: int, p: float = 0.5) -> float:
    """Counted out by repeated convolution, so that no closed form is repeated here."""
    share = np.ones(1)
    for _ in range(n):
        share = np.convolve(share, [1 - p, p])
    return float(share[low : high + 1].sum())


def check_path_mass(path_mass: Callable[[int, int, int], float]) -> None:
    """Task 4-1: the share of paths whose length lies in a range."""
    cases = [(3, 0, 3), (3, 2, 2), (4, 0, 1), (54, 19, 35), (54, 5, 17), (9, 0, 0), (1, 1, 1)]
    draw = np.random.default_rng(41)
    for _ in range(6):
        n = int(draw.integers(5, 40))
        low, high = sorted(int(v) for v in draw.integers(0, n + 1, 2))
        cases.append((n, low, high))
    for n, low, high in cases:
        value, expected = finite(call(path_mass, n, low, high), "path_mass"), _mass(n, low, high)
        if not close(value, expected):
            about = f"path_mass({n}, {low}, {high})"
            require(not close(value, expected * 2**n), f"{about}가 경로의 수를 돌려주었습니다. 전체 경로의 수로 나누어 비율로 만드세요.")
            require(not close(value, 100 * expected), f"{about}가 퍼센트를 돌려주었습니다. 0과 1 사이의 비율이어야 합니다.")
            require(not (high > low and close(value, _mass(n, low, high - 1))), f"{about}에서 길이 {high}인 경로가 빠졌습니다. range의 끝은 들어가지 않습니다.")
            require(not close(value, (high - low + 1) / (n + 1)), "길이마다 경로의 수가 같다고 놓았습니다. 길이 k인 경로는 n개에서 k개를 고르는 방법만큼 있습니다.")
            require(not close(value, _mass(2 * n, low, high)), "블록의 수를 두 배로 셌습니다. n은 층이 아니라 블록의 수입니다.")
            raise NotYet(f"{about}는 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    print(f"블록 54개: 길이 19~35인 경로는 {100 * float(path_mass(54, 19, 35)):.1f}%, 길이 5~17인 경로는 {100 * float(path_mass(54, 5, 17)):.2f}%")
    passed("4-1")


def check_effective_m(effective_m: Callable[[int, float], float], tilted_mass: Callable[[int, int, int, float], float]) -> None:
    """Task 4-2: the factor m that gives a mean length, and the share of what the paths of a range carry."""
    for n, mean in ((54, 11.0), (54, 27.0), (10, 2.0), (27, 5.5), (30, 20.0)):
        value, expected = finite(call(effective_m, n, mean), "effective_m"), mean / (n - mean)
        if not close(value, expected):
            about = f"effective_m({n}, {mean:g})"
            require(not close(value, mean / n), f"{about}가 확률 p = 평균/n을 돌려주었습니다. p = m/(1+m)을 m에 대해 푸세요.")
            require(not close(value, 1 / expected), f"{about}가 뒤집혔습니다. 평균이 n/2보다 짧으면 m은 1보다 작아야 합니다.")
            raise NotYet(f"{about}는 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    for n, low, high, m in ((54, 5, 17, 11 / 43), (54, 19, 35, 1.0), (12, 0, 3, 0.3), (12, 12, 12, 2.0), (27, 4, 8, 0.1)):
        value, expected = finite(call(tilted_mass, n, low, high, m), "tilted_mass"), _mass(n, low, high, m / (1 + m))
        if not close(value, expected):
            about = f"tilted_mass({n}, {low}, {high}, {m:.3g})"
            raw = sum(math.comb(n, k) * m**k for k in range(low, high + 1))
            uncounted = sum(m**k for k in range(low, high + 1)) / sum(m**k for k in range(n + 1))
            require(not close(value, uncounted), f"{about}에서 길이가 k인 경로의 수 C(n, k)를 곱하지 않았습니다.")
            require(not close(value, raw), f"{about}가 1보다 클 수 있는 합을 돌려주었습니다. 모든 길이의 합 (1 + m)ⁿ으로 나누세요.")
            require(not close(value, raw / 2**n), f"{about}를 2ⁿ으로 나누었습니다. 길이마다 mᵏ을 곱했으므로 모든 길이의 합은 (1 + m)ⁿ입니다.")
            require(m == 1 or not close(value, _mass(n, low, high)), f"{about}에서 m을 쓰지 않았습니다.")
            require(not close(value, 1), f"{about}가 1입니다. 고른 길이의 합이 아니라 모든 길이의 합 (1 + m)ⁿ으로 나누세요.")
            require(m > 1 or not close(value, _mass(n, low, high, m)), f"{about}에서 m을 확률로 썼습니다. 확률은 p = m/(1+m)입니다.")
            require(not (high > low and close(value, _mass(n, low, high - 1, m / (1 + m)))), f"{about}에서 길이 {high}인 경로가 빠졌습니다. range의 끝은 들어가지 않습니다.")
            raise NotYet(f"{about}는 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    m = float(effective_m(54, 11))
    print(f"평균 길이 11이 되는 m = {m:.4f}, 길이 5~17이 나르는 몫 {100 * float(tilted_mass(54, 5, 17, m)):.1f}%")
    passed("4-2")


_DTYPES = (
    "자료형이 다른 행렬을 곱했습니다. 받은 행렬은 float64입니다. "
    "항등 행렬도 같은 자료형으로 만드세요(`torch.eye(d, dtype=Js[0].dtype)`)."
)


def check_expand_jacobian(expand_jacobian: Callable[[Sequence[Tensor]], Any]) -> None:
    """Task 4-3: all 2ⁿ products of branch Jacobians, summed by length."""
    draw = torch.Generator().manual_seed(43)
    for n, d in ((1, 3), (2, 4), (6, 5), (8, 3)):
        given = [torch.randn(d, d, generator=draw, dtype=torch.float64) / d for _ in range(n)]
        received = [J.clone() for J in given]
        sums = call(expand_jacobian, received, hints={"same dtype": _DTYPES})
        require(all(torch.equal(a, b) for a, b in zip(given, received)) and len(received) == n, "받은 야코비 행렬이 바뀌었습니다. 새 텐서를 만드세요.")
        if isinstance(sums, (Tensor, np.ndarray)):
            require(sums.ndim == 3, f"행렬 하나가 아니라 길이 0부터 {n}까지 행렬 {n + 1}개를 돌려주어야 합니다. 길이가 다른 것은 더하지 마세요.")
            sums = list(sums)
        require(isinstance(sums, (list, tuple)), "길이 0부터 n까지 행렬의 리스트(또는 쌓은 텐서)를 돌려주어야 합니다.")
        require(len(sums) == n + 1, f"블록이 {n}개면 길이는 0부터 {n}까지 {n + 1}가지인데 {len(sums)}개를 돌려주었습니다.")
        sums = [torch.as_tensor(S) if isinstance(S, np.ndarray) else S for S in sums]
        for k, S in enumerate(sums):
            require(isinstance(S, Tensor) and S.shape == (d, d), f"길이 {k}의 합은 {d}×{d} 텐서여야 합니다.")
        sums = torch.stack([S.detach().double() for S in sums])
        expected = _by_length(given)
        if not torch.allclose(sums, expected, atol=1e-5):
            reverse = _by_length(given[::-1])
            require(not torch.allclose(sums, reverse, atol=1e-5), "곱하는 순서가 뒤집혔습니다. 나중 블록의 야코비 행렬이 왼쪽에 옵니다.")
            require(not torch.allclose(sums, expected.flip(0), atol=1e-5), "리스트의 순서가 뒤집혔습니다. 길이 0의 합이 맨 앞에 옵니다.")
            require(torch.allclose(sums[0], expected[0], atol=1e-5), "길이 0인 경로는 지름길만 지나므로 항등 행렬이어야 합니다.")
            tied = _by_length([given[0]] * n)
            require(not torch.allclose(sums, tied, atol=1e-5), "블록마다 야코비 행렬이 다릅니다. 첫 행렬만 썼습니다.")
            whole = torch.eye(d, dtype=torch.float64)
            for J in given:
                whole = J @ whole + whole
            require(not torch.allclose(sums.sum(0), whole, atol=1e-5), "모두 더하면 맞지만 길이별로 나누는 것이 틀렸습니다. 가지를 지날 때만 길이가 1 늘어납니다.")
            raise NotYet("길이별 합을 모두 더해도 ∏(I + J)와 다릅니다. 경로를 빠뜨렸거나 두 번 셌는지 보세요.")
        print(f"블록 {n}개, {d}×{d} 행렬: 경로 {2**n}개의 합이 ∏(I + J)와 같습니다")
    passed("4-3")


def _by_length(Js: Sequence[Tensor]) -> Tensor:
    """Coefficients of ∏(I + tJ): interpolated from its values at n + 1 points, in float64."""
    n, d = len(Js), Js[0].shape[0]
    ts = torch.cos(torch.pi * (2 * torch.arange(n + 1, dtype=torch.float64) + 1) / (2 * n + 2))
    values = []
    for t in ts:
        whole = torch.eye(d, dtype=torch.float64)
        for J in Js:
            whole = whole + t * (J @ whole)
        values.append(whole.flatten())
    powers = ts.unsqueeze(1) ** torch.arange(n + 1)
    return torch.linalg.solve(powers, torch.stack(values)).view(n + 1, d, d)


def _blocks(model: ResNetCIFAR) -> list[nn.Module]:
    return [block for stage in model.stages for block in stage]


def _network(seed: int, n: int) -> ResNetCIFAR:
    """A network with BN statistics and scales that are not those of the start, so that every block matters."""
    draw = torch.Generator().manual_seed(seed)
    model = ResNetCIFAR(n=n, width=4, in_channels=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=draw) * 0.1)
                module.weight.abs_().add_(0.5)
    return model


def _run(model: ResNetCIFAR, x: Tensor, without: int | None = None) -> Tensor:
    """The network's output with one block left out, by calling the others one after another."""
    h = model.stem_bn(model.stem(x)).relu()
    for index, block in enumerate(_blocks(model)):
        if index != without:
            h = block(h)
    return model.head(h.mean((2, 3)))


@torch.no_grad()
def check_delete_block(delete_block: Callable[[ResNetCIFAR, int], ResNetCIFAR]) -> None:
    """Task 4-4: a copy without one block; the network that was given stays as it was; downsampling blocks are refused."""
    draw = torch.Generator().manual_seed(44)
    for seed, n in ((1, 3), (2, 2)):
        model, x = _network(seed, n), torch.randn(6, 1, 8, 8, generator=draw)
        before = copy.deepcopy(model.state_dict())
        whole = _run(model, x)
        for index in (i for i in range(3 * n) if i % n or not i):
            lesioned = _delete(delete_block, model, index)
            same = model.state_dict().keys() == before.keys() and all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
            require(same and torch.equal(_run(model, x), whole), "받은 망이 바뀌었습니다. `copy.deepcopy(model)`로 만든 사본을 고치세요.")
            require(isinstance(lesioned, nn.Module), "블록을 지운 망(nn.Module)을 돌려주어야 합니다.")
            require(not lesioned.training, "돌려준 망이 학습 모드입니다. 받은 망과 같은 모드(평가 모드)로 두세요.")
            output = call(lesioned, x)
            require(isinstance(output, Tensor) and output.shape == whole.shape, f"{index}번 블록을 지운 망의 출력 모양이 다릅니다.")
            expected = _run(model, x, without=index)
            if not torch.allclose(output, expected, atol=1e-4, rtol=1e-4):
                require(not torch.allclose(output, whole, atol=1e-4), f"{index}번 블록이 그대로 있습니다.")
                for other in range(3 * n):
                    if other % n or not other:
                        wrong = _run(model, x, without=other)
                        require(not torch.allclose(output, wrong, atol=1e-4), f"{index}번이 아니라 {other}번 블록이 지워졌습니다. 번호는 0부터 셉니다.")
                raise NotYet(f"{index}번 블록만 항등으로 바꾼 출력과 다릅니다. 다른 블록의 가중치와 순서는 그대로여야 합니다.")
        for index in (n, 2 * n):
            _refuses(delete_block, model, index, f"{index}번은 크기를 줄이는 블록이라 항등으로 바꿀 수 없습니다. ValueError를 내세요.")
        for index in (-1, 3 * n):
            _refuses(delete_block, model, index, f"블록은 0번부터 {3 * n - 1}번까지입니다. {index}번을 달라고 하면 ValueError를 내세요.")
        require(torch.equal(_run(model, x), whole), "받은 망이 바뀌었습니다. 거절할 때도 원본을 그대로 두세요.")
        print(f"{6 * n + 2}층 망: 지울 수 있는 블록 {3 * n - 2}개가 모두 기대한 출력을 내고, 원본은 그대로입니다")
    passed("4-4")


def _delete(delete_block: Callable, model: ResNetCIFAR, index: int) -> Any:
    try:
        return call(delete_block, model, index)
    except NotYet as problem:
        refused = isinstance(problem.__cause__, ValueError)
        require(not refused, f"{index}번은 크기를 줄이지 않으므로 지울 수 있어야 하는데 ValueError가 났습니다. `new_channels`가 0이 아닌 블록만 거절하고, 번호는 0번부터 세세요.")
        raise


def _refuses(delete_block: Callable, model: ResNetCIFAR, index: int, message: str) -> None:
    try:
        delete_block(model, index)
    except ValueError:
        return
    except Exception as problem:
        raise NotYet(f"{message} 지금은 {type(problem).__name__}이(가) 났습니다.") from problem
    raise NotYet(message)
