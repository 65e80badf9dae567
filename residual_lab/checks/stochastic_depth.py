"""Checks of exercise 09."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_lab.blocks.stochastic_depth import drop_rates, linear_decay, poisson_binomial
from residual_lab.checks.base import NotYet, call, close, finite, passed, require


def _numbers(value: Any, name: str, count: int) -> list[float]:
    """What the learner returned as a list of ``count`` finite numbers."""
    require(value is not None, f"`{name}`이(가) 아무것도 돌려주지 않았습니다(return이 없습니다).")
    require(isinstance(value, (list, tuple, Tensor, np.ndarray)), f"`{name}`은(는) 수의 리스트를 돌려주어야 하는데 {type(value).__name__}을(를) 돌려주었습니다.")
    require(len(value) == count, f"`{name}`은(는) 수 {count}개를 돌려주어야 하는데 {len(value)}개입니다.")
    return [finite(v, name) for v in value]


def _close(values: Sequence[float], expected: Sequence[float]) -> bool:
    """Equal up to the rounding of float32, in which tensors may have been computed."""
    return all(close(v, e, relative=1e-5, absolute=1e-5) for v, e in zip(values, expected, strict=True))


def check_schedules(survival_schedule: Callable[[int, float], Sequence[float]], from_timm: Callable[[int, float], Sequence[float]]) -> None:
    """Task 9-1: the paper's survival probabilities, and those that timm's drop_path_rate means."""
    for L, last in ((4, 0.5), (54, 0.5), (54, 0.2), (3, 1.0), (1, 0.3), (7, 0.0)):
        value, expected = _numbers(call(survival_schedule, L, last), "survival_schedule", L), linear_decay(L, last)
        if not _close(value, expected):
            said = f"L={L}, p_L={last}:"
            require(not _close(value, [1 - p for p in expected]), f"{said} 버릴 확률을 돌려주었습니다. 생존 확률은 1에서 뺀 값입니다.")
            shifted = [1 - l / L * (1 - last) for l in range(L)]
            require(not _close(value, shifted), f"{said} l을 0부터 세었습니다. 첫 블록이 l = 1이고 마지막 블록의 확률이 p_L입니다.")
            require(not _close(value, [1 - l / L * last for l in range(1, L + 1)]), f"{said} 1 − p_L 대신 p_L을 곱했습니다. 마지막 값이 p_L이 되어야 합니다.")
            require(not _close(value, [last] * L), f"{said} 모든 블록이 같습니다. 생존 확률은 l에 따라 선형으로 줄어듭니다.")
            require(not _close(value, expected[::-1]), f"{said} 순서가 거꾸로입니다. 입력에 가까운 블록이 더 자주 살아남습니다.")
            timm = [1 - r for r in drop_rates(L, 1 - last, "timm")]
            require(not _close(value, timm), f"{said} 첫 블록의 생존 확률이 1입니다. 이것은 timm의 스케줄이고, 논문에서는 p_1이 이미 1보다 작습니다.")
            raise NotYet(f"{said} {_shown(expected)}이어야 하는데 {_shown(value)}입니다.")
    for L, rate in ((4, 0.5), (54, 0.5), (12, 0.1), (5, 0.0), (2, 1.0)):
        value, expected = _numbers(call(from_timm, L, rate), "from_timm", L), [1 - r for r in drop_rates(L, rate, "timm")]
        if not _close(value, expected):
            said = f"L={L}, drop_path_rate={rate}:"
            require(not _close(value, drop_rates(L, rate, "timm")), f"{said} 드롭 확률을 돌려주었습니다. 생존 확률로 바꾸세요.")
            require(not _close(value, [1 - rate] * L), f"{said} 모든 블록에 같은 값을 주었습니다. drop_path_rate는 마지막 블록의 값, 곧 가장 큰 값입니다.")
            require(not _close(value, linear_decay(L, 1 - rate)), f"{said} 논문의 스케줄입니다. timm은 첫 블록의 드롭 확률이 0입니다.")
            require(not _close(value, [1 - r for r in drop_rates(L, rate, "efficientnet")]), f"{said} L로 나누었습니다. 마지막 블록의 드롭 확률이 drop_path_rate가 되려면 L − 1로 나눕니다.")
            raise NotYet(f"{said} {_shown(expected)}이어야 하는데 {_shown(value)}입니다.")
    for L in (4, 54):
        paper, timm = (sum(float(v) for v in f(L, 0.5)) for f in (survival_schedule, from_timm))
        print(f"{L}블록, 0.5: 기대 블록 수는 논문 {paper:.2f}, timm {timm:.2f}")
    passed("9-1")


def _shown(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in list(values)[:4]) + (", …]" if len(values) > 4 else "]")


def check_depth_distribution(depth_distribution: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """Task 9-2: P(0), …, P(L) of the number of surviving blocks."""
    generator = torch.Generator().manual_seed(92)
    drawn = torch.rand(9, generator=generator, dtype=torch.float64).tolist()
    for p in ([0.3], [0.5] * 4, linear_decay(4, 0.5), drawn, [1.0, 0.0, 0.5], linear_decay(54, 0.5)):
        if len(p) > 20:
            _ends_for_many_blocks(depth_distribution)
        given = list(p)
        value = _numbers(call(depth_distribution, given), "depth_distribution", len(p) + 1)
        require(given == p, "받은 리스트 `p`가 바뀌었습니다. 새로 계산하세요.")
        expected = poisson_binomial(p)
        if not all(abs(v - e) <= 1e-6 for v, e in zip(value, expected)):
            mean = sum(p) / len(p)
            binomial = [math.comb(len(p), k) * mean**k * (1 - mean) ** (len(p) - k) for k in range(len(p) + 1)]
            require(not _near(value, expected[::-1]), "순서가 거꾸로입니다. 버려진 블록이 아니라 살아남은 블록을 세고, 0개부터 적습니다.")
            require(not _near(value, binomial), "확률을 평균 하나로 바꾸어 이항분포를 썼습니다. 평균은 같지만 분포가 다릅니다. 블록마다 확률이 다릅니다.")
            total = sum(value)
            require(abs(total - 1) < 1e-3, f"확률을 모두 더하면 {total:.4g}입니다. 1이어야 합니다. 리스트 하나를 앞에서부터 고쳐 쓰면 이미 고친 값을 다시 읽게 됩니다.")
            raise NotYet(f"블록 {len(p)}개일 때 분포가 다릅니다. 한두 블록에서 손으로 셈한 것과 견주어 보세요(예: p=[0.3]이면 [0.7, 0.3]).")
    for L in (4, 54):
        chances = [float(c) for c in depth_distribution(linear_decay(L, 0.5))]
        print(f"{L}블록: 평균 {sum(k * c for k, c in enumerate(chances)):.2f}, 모두 살아남을 확률 {chances[-1]:.3g}")
    passed("9-2")


def _ends_for_many_blocks(depth_distribution: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """Before a call that would never end: 2¹⁸ masks take the better part of a second, block by block it is less than a millisecond."""
    started = time.process_time()
    call(depth_distribution, linear_decay(18, 0.5))
    require(time.process_time() - started < 0.2, "마스크를 모두 늘어놓고 있습니다. L = 54에서는 끝나지 않습니다. 블록을 하나씩 더해 가며 분포를 고치세요(힌트 1).")


def _near(value: Sequence[float], expected: Sequence[float]) -> bool:
    return all(abs(v - e) <= 1e-6 for v, e in zip(value, expected))


def check_average_output(average_output: Callable[[Sequence[Callable], Sequence[float], Tensor], Tensor]) -> None:
    """Task 9-3: the mean over all subnetworks, which p-scaling gives only where everything is linear."""
    generator = torch.Generator().manual_seed(93)
    for L, linear in ((1, True), (4, True), (3, False), (5, False)):
        ws = [0.8 * torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(L)]
        branches = [(lambda x, w=w: x @ w) if linear else (lambda x, w=w: torch.tanh(2 * x @ w) + 0.5) for w in ws]
        x, p = torch.randn(6, 4, generator=generator, dtype=torch.float64), linear_decay(L, 0.4)
        given, before = list(branches), x.clone()
        value = call(average_output, given, list(p), x)
        require(given == branches and torch.equal(x, before), "받은 `branches`나 `x`가 바뀌었습니다. 새로 만들어 계산하세요.")
        require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
        require(value.shape == x.shape, f"모양이 {tuple(x.shape)}이어야 하는데 {tuple(value.shape)}입니다.")
        truth, kind = _average(branches, p, x), "선형" if linear else "비선형"
        if not torch.allclose(value.double(), truth, rtol=1e-5, atol=1e-5):
            scaled = _through(branches, p, x)
            require(linear or not torch.allclose(value.double(), scaled, rtol=1e-5, atol=1e-5), "가지에 p를 곱한 망 하나의 출력입니다. 가지가 비선형이면 부분망의 평균과 다릅니다. 부분망을 모두 계산하세요.")
            uniform = torch.stack([_through(branches, mask, x) for mask in itertools.product((0, 1), repeat=L)]).mean(0)
            require(not torch.allclose(value.double(), uniform, rtol=1e-5, atol=1e-5), "부분망을 똑같은 무게로 평균했습니다. 부분망마다 나타날 확률이 다릅니다.")
            swapped = _average(branches, [1 - q for q in p], x)
            require(not torch.allclose(value.double(), swapped, rtol=1e-5, atol=1e-5), "p와 1 − p를 바꾸어 썼습니다. p는 살아남을 확률입니다.")
            on = sum(math.prod(q for b, q in zip(mask, p) if b) * _through(branches, mask, x) for mask in itertools.product((0, 1), repeat=L))
            require(not torch.allclose(value.double(), on, rtol=1e-5, atol=1e-5), "켜진 블록의 p만 곱했습니다. 꺼진 블록에서는 1 − p를 곱해야 확률이 됩니다.")
            rectified = _average(branches, p, x, after=torch.relu)
            require(not torch.allclose(value.double(), rectified, rtol=1e-5, atol=1e-5), "더한 뒤에 ReLU를 씌웠습니다. 이 과제의 망에는 더한 뒤의 활성화가 없습니다.")
            parts = x + sum(q * f(x) for q, f in zip(p, branches))
            require(not torch.allclose(value.double(), parts, rtol=1e-5, atol=1e-5), "모든 가지를 처음 입력 x에서 계산했습니다. 뒤의 블록은 앞 블록의 출력을 받습니다.")
            raise NotYet(f"블록 {L}개({kind})에서 부분망의 평균과 다릅니다.")
        gap = (_through(branches, p, x) - truth).abs().max().item()
        print(f"블록 {L}개, {kind}: p를 곱한 망 하나와 {'같습니다' if gap < 1e-9 else '다릅니다'}")
    passed("9-3")


def _through(branches: Sequence[Callable], factors: Sequence[float], x: Tensor, after: Callable = lambda x: x) -> Tensor:
    for f, factor in zip(branches, factors):
        x = after(x + factor * f(x))
    return x


def _average(branches: Sequence[Callable], p: Sequence[float], x: Tensor, **form: Callable) -> Tensor:
    total = torch.zeros_like(x)
    for mask in itertools.product((0, 1), repeat=len(p)):
        total = total + math.prod(q if b else 1 - q for b, q in zip(mask, p)) * _through(branches, mask, x, **form)
    return total


class _Counted:
    """A branch that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.sin(x) + 1


def check_block_step(block_step: Callable[[Tensor, Callable, float, bool], Tensor]) -> None:
    """Task 9-4: the paper's block, which does not call a dropped branch."""
    x = torch.linspace(-1, 2, 12, dtype=torch.float64).view(4, 3)
    for survival in (0.0, 0.3, 1.0):
        branch, before = _Counted(), x.clone()
        y = _tensor(call(block_step, x, branch, survival, False), x)
        require(torch.equal(x, before), "받은 x를 제자리에서 바꾸었습니다. 새 텐서를 만들어 돌려주세요.")
        whole, scaled = (x + torch.sin(x) + 1).relu(), (x + survival * (torch.sin(x) + 1)).relu()
        if not _same(y, scaled):
            require(not _same(y, whole), "시험할 때 가지에 생존 확률을 곱하지 않았습니다.")
            require(survival == 0 or not _same(y, (x + (torch.sin(x) + 1) / survival).relu()), "시험할 때 생존 확률로 나누었습니다. 논문의 규칙은 곱하기입니다.")
            require(not _same(y, survival * whole), "생존 확률을 블록 전체에 곱했습니다. 가지에만 곱하고 지름길은 그대로 둡니다.")
            require(not _same(y, x.relu()), "시험할 때도 블록을 버렸습니다. 시험할 때는 모든 블록을 씁니다.")
            require(not _same(y, x + survival * (torch.sin(x) + 1)), "더한 뒤의 ReLU가 빠졌습니다.")
            raise NotYet(f"시험할 때(생존 확률 {survival}) ReLU(x + p·F(x))와 다릅니다.")
        require(_same(_tensor(call(block_step, x, branch, survival, False), x), scaled), "시험할 때 같은 입력에 다른 출력이 나왔습니다. 시험할 때는 무작위가 없어야 합니다.")
    print("시험: 언제나 ReLU(x + p·F(x))")
    for survival in (0.0, 0.3, 0.8, 1.0):
        branch, kept, tries = _Counted(), 0, 400
        torch.manual_seed(94)
        for _ in range(tries):
            y = _tensor(call(block_step, x, branch, survival, True), x)
            alive = _same(y, (x + torch.sin(x) + 1).relu())
            _training_step(y, x, survival, alive)
            kept += alive
        share = kept / tries
        require(abs(share - (1 - survival)) > 0.12 or abs(share - survival) <= 0.12, "살아남는 비율이 1 − survival입니다. survival은 살아남을 확률입니다.")
        require(abs(share - survival) <= 0.12, f"생존 확률이 {survival}인데 {tries}번 가운데 {kept}번 살아남았습니다. 부를 때마다 새로 뽑으세요.")
        require(branch.calls <= kept, f"블록을 버렸는데도 가지를 불렀습니다({tries}번 학습에 살아남은 것은 {kept}번, 부른 것은 {branch.calls}번). 그러면 시간이 줄지 않습니다.")
        print(f"생존 확률 {survival}: 버린 블록에서 가지를 부른 횟수 0")
    passed("9-4")


def _training_step(y: Tensor, x: Tensor, survival: float, alive: bool) -> None:
    if alive or _same(y, x.relu()):
        return
    f = torch.sin(x) + 1
    require(survival == 0 or not _same(y, (x + f / survival).relu()), "학습할 때 생존 확률로 나누었습니다. 논문의 방식에서는 학습할 때 그대로 더하고 시험할 때 곱합니다.")
    require(not _same(y, (x + survival * f).relu()), "학습할 때 가지에 생존 확률을 곱했습니다. 학습할 때는 0 아니면 1을 곱합니다.")
    require(not _same(y, x), "버린 블록에서 더한 뒤의 ReLU가 빠졌습니다. b = 0이어도 H = ReLU(x)입니다.")
    require(not _same(y, torch.zeros_like(x)), "버린 블록의 출력이 0입니다. 버리는 것은 가지이고 지름길은 남습니다.")
    rows = [bool(_same(a, b)) for a, b in zip(y, (x + f).relu())]
    require(not any(rows), "표본마다 따로 버렸습니다. 미니배치 전체에서 한 번만 뽑으세요.")
    raise NotYet("학습할 때의 출력이 ReLU(x + F(x))도 ReLU(x)도 아닙니다.")


def _tensor(value: Any, x: Tensor) -> Tensor:
    require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(value.shape == x.shape, f"모양이 {tuple(x.shape)}이어야 하는데 {tuple(value.shape)}입니다.")
    return value.detach()


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6)


def check_drop_path(drop_path: Callable[[Tensor, float, str, bool], Tensor]) -> None:
    """Task 9-5: the libraries' function: drop probability, divided in training, batch or row."""
    generator = torch.Generator().manual_seed(95)
    for shape in ((6, 3), (5, 2, 4, 4)):
        branch = torch.randn(shape, generator=generator)
        for mode in ("batch", "row"):
            require(_same(_tensor(call(drop_path, branch, 0.4, mode, False), branch), branch), "시험할 때는(training=False) 받은 가지를 그대로 돌려주어야 합니다. 역방식에서는 학습할 때 이미 나누었습니다.")
            require(_same(_tensor(call(drop_path, branch, 0.0, mode, True), branch), branch), "p = 0이면 아무것도 버리지 않아야 합니다. p는 버릴 확률입니다.")
            gone = _tensor(call(drop_path, branch, 1.0, mode, True), branch)
            require(not gone.isnan().any(), "p = 1일 때 0으로 나누어 nan이 나왔습니다.")
            require(not gone.any(), "p = 1이면 모두 0이어야 합니다.")
            _check_mask(drop_path, branch, mode)
    passed("9-5")


def _check_mask(drop_path: Callable, branch: Tensor, mode: str) -> None:
    p, tries, before = 0.25, 600, branch.clone()
    torch.manual_seed(95)
    scales = []
    for _ in range(tries):
        y = _tensor(call(drop_path, branch, p, mode, True), branch)
        require(torch.equal(branch, before), "받은 텐서를 제자리에서 바꾸었습니다. 새 텐서를 만들어 돌려주세요.")
        ratio = (y / branch).flatten(1)
        require(torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3), "한 표본 안에서 성분마다 따로 버렸습니다(드롭아웃). 표본의 가지 전체에 같은 수를 곱하세요.")
        scales.append(ratio[:, 0])
    scale = torch.stack(scales)
    alive = scale > 1e-6
    together = bool((alive == alive[:, :1]).all())
    require(mode == "row" or together, "mode=\"batch\"인데 표본마다 다르게 버렸습니다. 수 하나를 뽑아 미니배치 전체에 곱하세요.")
    require(mode == "batch" or not together, "mode=\"row\"인데 모든 표본이 함께 버려졌습니다. 표본마다 따로 뽑으세요.")
    require(not bool(alive.all()), "한 번도 버려지지 않았습니다. 부를 때마다 새로 뽑으세요.")
    kept = scale[alive]
    share = len(kept) / scale.numel()
    require(not torch.allclose(kept, torch.ones_like(kept), atol=1e-3), "살아남은 가지를 나누지 않았습니다. 1 − p로 나누어야 평균이 그대로입니다.")
    require(not torch.allclose(kept, torch.full_like(kept, 1 / p), atol=1e-3), "p로 나누었습니다. 살아남을 확률 1 − p로 나누세요.")
    require(abs(share - (1 - p)) < 0.1, f"p = {p}인데 {100 * share:.0f}%가 살아남았습니다. p는 버릴 확률입니다.")
    require(torch.allclose(kept, torch.full_like(kept, 1 / (1 - p)), atol=1e-3), "살아남은 가지에 1/(1 − p)이 곱해져 있지 않습니다.")
    print(f"{tuple(branch.shape)}, mode={mode!r}: 평균이 지켜지고 {'모든 표본이 함께' if mode == 'batch' else '표본마다 따로'} 버려집니다")
