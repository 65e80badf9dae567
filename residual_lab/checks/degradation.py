"""Checks of exercise 01."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from residual_lab.checks.base import NotYet, call, close, number, passed, require
from residual_lab.data import load_digits
from residual_lab.training import Condition, StackedMLP, evaluate, fit, stacked_batches
from residual_lab.training.stacked import Layer


def forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """The network of task 1-1: ReLU after every layer but the last; x (B, d), weights (d_in, d_out)."""
    h = x
    for weight in weights[:-1]:
        h = (h @ weight).relu()
    return h @ weights[-1]


def check_embed_shallow(embed_shallow: Callable[[list[Tensor], int], list[Tensor]]) -> None:
    """Task 1-1: k more layers, the same output to the bit."""
    generator = torch.Generator().manual_seed(1)
    for sizes, k in (((6, 16, 16, 3), 1), ((6, 9, 3), 4), ((6, 16, 12, 12, 9, 3), 50)):
        weights = [torch.randn(a, b, generator=generator) for a, b in zip(sizes, sizes[1:])]
        x = torch.randn(32, sizes[0], generator=generator)
        given, expected = list(weights), forward(weights, x)
        scaled = "I * k는 행렬에 수를 곱합니다. 층 k개는 [I] * k입니다."
        deeper = call(embed_shallow, weights, k, hints={"can only concatenate list": scaled})
        require(isinstance(deeper, (list, tuple)), "가중치의 리스트를 돌려주어야 합니다.")
        untouched = len(weights) == len(given) and all(a is b for a, b in zip(weights, given))
        require(untouched, "받은 리스트 `weights`가 바뀌었습니다. 새 리스트를 만들어 돌려주세요.")
        require(len(deeper) == len(given) + k, f"층이 {len(given) + k}개여야 하는데 {len(deeper)}개입니다.")
        for layer in deeper:
            require(isinstance(layer, Tensor) and layer.dtype == torch.float32, "가중치는 모두 float32 텐서여야 합니다.")
        try:
            output = forward(deeper, x)
        except RuntimeError as problem:
            raise NotYet("이어지는 층의 크기가 맞지 않습니다. 항등 층의 크기는 마지막 은닉층의 폭이어야 합니다.") from problem
        require(output.shape == expected.shape, "이어지는 층의 크기가 맞지 않습니다. 출력의 모양이 바뀌었습니다.")
        if not torch.equal(output, expected):
            relu_on_output = torch.allclose(output, expected.relu())
            require(not relu_on_output, "출력의 음수가 0이 되었습니다. 출력층 뒤에는 ReLU가 없어야 하므로 항등 층은 출력층 앞에 끼워야 합니다.")
            raise NotYet("출력이 달라졌습니다. 끼운 층이 은닉값을 그대로 내보내는지, 은닉값이 0 이상인 자리인지 보세요.")
        print(f"은닉층 {len(given) - 1}개 + 항등 층 {k}개: 출력이 비트까지 같습니다")
    passed("1-1")


def check_scalar_gradients(scalar_gradient: Callable, residual_gradient: Callable) -> None:
    """Task 1-2: the derivative of the product model, against autograd."""
    for w, L, t in ((0.5, 3, 1.0), (0.5, 20, 1.0), (-0.8, 3, 1.0), (1.1, 7, 2.0), (0.0, 3, 1.0), (0.0, 1, 1.0)):
        expected = _autograd(w, L, t)
        divided = {"division by zero": "w = 0에서도 값이 있어야 합니다. w로 나누지 말고 L−1번 곱하세요."}
        value = number(call(scalar_gradient, w, L, t, hints=divided), "scalar_gradient")
        if not _close(value, expected):
            f = w**L
            require(not _close(value, (f - t) * f), f"L={L}, w={w}에서 w를 L번 곱했습니다. wⱼ 자신은 빼고 L−1개를 곱해야 합니다.")
            require(not _close(value, w ** (L - 1)), "바깥 미분 (f − t)를 곱하지 않았습니다. 연쇄 법칙을 다시 보세요.")
            require(not _close(value, f - t), "안쪽 미분 ∂f/∂wⱼ를 곱하지 않았습니다. 연쇄 법칙을 다시 보세요.")
            require(not _close(value, L * expected), "L을 곱했습니다. 파라미터 하나에 대한 도함수입니다.")
            require(not _close(value, -expected), "부호가 반대입니다. ∂ℓ/∂f = f − t입니다.")
            raise NotYet(f"scalar_gradient({w}, {L}, {t})는 {expected:.7g}이어야 하는데 {value:.7g}입니다.")
    for u, L, t in ((0.0, 2, 2.0), (0.0, 50, 2.0), (0.1, 5, 2.0), (-0.2, 10, 0.5)):
        expected = _autograd(1 + u, L, t)
        value = number(call(residual_gradient, u, L, t), "residual_gradient")
        if not _close(value, expected):
            require(not (u and _close(value, 1 - t)), "u = 0일 때의 값만 돌려줍니다. u가 0이 아니면 (1 + u)의 곱이 남습니다.")
            require(not _close(value, _autograd(u, L, t)), "wᵢ 자리에 uᵢ를 넣었습니다. 잔차 모형에서는 wᵢ = 1 + uᵢ입니다.")
            raise NotYet(f"residual_gradient({u}, {L}, {t})는 {expected:.7g}이어야 하는데 {value:.7g}입니다.")
    print(f"플레인 w=1/2, t=1: L=2이면 {float(scalar_gradient(0.5, 2, 1.0)):.3f}, L=20이면 {float(scalar_gradient(0.5, 20, 1.0)):.3e}")
    print(f"잔차 u=0, t=2: L=2이면 {float(residual_gradient(0.0, 2, 2.0)):.1f}, L=50이면 {float(residual_gradient(0.0, 50, 2.0)):.1f}")
    passed("1-2")


def _autograd(w: float, L: int, t: float) -> float:
    weights = torch.full((L,), w, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(0.5 * (weights.prod() - t) ** 2, weights)[0][0].item()


_close = partial(close, relative=1e-5, absolute=0.0)


OBSERVATIONS = {
    # name: (shallow, deep, what it is, what to say when the answer is wrong)
    "모든 시드에서 학습 오차가 커짐": (
        {"train": [2.1, 1.8, 2.4], "test": [8.9, 9.1, 8.7]}, {"train": [9.3, 7.7, 8.8], "test": [13.2, 12.5, 14.0]},
        True, "깊은 망의 학습 오차가 모든 시드에서 더 큽니다. 성능 저하입니다."),
    "시험 오차만 커짐": (
        {"train": [0.6, 0.5, 0.7], "test": [6.4, 6.6, 6.5]}, {"train": [0.1, 0.1, 0.0], "test": [7.9, 8.1, 8.0]},
        False, "시험 오차만 커졌고 학습 오차는 줄었습니다. 과적합이지 성능 저하가 아닙니다. 학습 오차만 보세요."),
    "학습 오차는 커지고 시험 오차는 작아짐": (
        {"train": [3.0, 3.2, 2.9], "test": [11.0, 11.5, 10.8]}, {"train": [5.1, 4.8, 5.5], "test": [10.1, 10.0, 9.9]},
        True, "학습 오차가 모든 시드에서 커졌으므로 성능 저하입니다. 시험 오차가 어떻든 상관없습니다."),
    "시드가 섞임": (
        {"train": [2.0, 6.0, 2.5], "test": [9.0, 9.5, 9.2]}, {"train": [5.0, 4.0, 5.5], "test": [10.0, 10.2, 9.9]},
        False, "평균은 깊은 망이 크지만, 얕은 망의 시드 하나(6.0%)가 깊은 망의 어떤 시드보다 나쁩니다. 모든 시드가 갈라져야 합니다."),
    "짝지으면 커지지만 겹침": (
        {"train": [2.0, 3.0, 4.0], "test": [9.0, 9.1, 9.2]}, {"train": [3.5, 4.5, 5.0], "test": [10.0, 10.2, 9.9]},
        False, "얕은 망의 가장 나쁜 시드(4.0%)가 깊은 망의 가장 좋은 시드(3.5%)보다 나쁩니다. 짝지어 비교하지 말고 두 무리를 통째로 비교하세요."),
    "딱 맞닿음": (
        {"train": [2.0, 3.0], "test": [9.0, 9.1]}, {"train": [3.0, 4.0], "test": [10.0, 10.2]},
        False, "깊은 망의 가장 좋은 시드와 얕은 망의 가장 나쁜 시드가 3.0%로 같습니다. 더 클 때만 성능 저하라고 부릅니다."),
    "학습 오차가 작아짐": (
        {"train": [9.0, 8.5, 9.2], "test": [14.0, 13.8, 14.2]}, {"train": [2.0, 2.2, 1.9], "test": [9.0, 9.1, 8.8]},
        False, "깊은 망이 더 잘 학습되었습니다. 비교하는 방향을 확인하세요."),
}


def check_is_degradation(is_degradation: Callable[[dict, dict], bool]) -> None:
    """Task 1-3: only training errors count, and every seed must agree."""
    for name, (shallow, deep, expected, message) in OBSERVATIONS.items():
        verdict = call(is_degradation, copy.deepcopy(shallow), copy.deepcopy(deep))
        if isinstance(verdict, (np.bool_, Tensor)) and np.ndim(verdict) == 0:
            verdict = verdict.item()
        require(isinstance(verdict, bool), "True나 False 하나를 돌려주어야 합니다. 다른 값이라면 `bool(...)`로 감싸세요.")
        require(verdict is expected, f"‘{name}’ 사례의 판정이 {verdict}로 나왔습니다. {message}")
        print(f"{name}: {'성능 저하' if verdict else '성능 저하 아님'}")
    passed("1-3")


class _WithBlock(StackedMLP):
    """A stack whose blocks are the learner's function."""

    answer: Callable

    def block(self, h: Tensor, first: Layer, second: Layer) -> Tensor:
        return call(self.answer, h, first[0], second[0], self.skip)


def check_block(block: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Task 1-4: the block of He 2015, Eq. (1) and the ReLU after it, and the 2×2 that it gives."""
    generator = torch.Generator().manual_seed(4)
    h = torch.randn(2, 5, 8, generator=generator).relu()
    w1, w2 = (torch.randn(2, 8, 8, generator=generator).requires_grad_() for _ in range(2))
    for skip in (torch.zeros(2, 1, 1), torch.ones(2, 1, 1), torch.tensor([0.0, 1.0]).view(2, 1, 1)):
        _compare_block(block, h, w1, w2, skip)

    error = {depth: _train_errors(block, depth) for depth in (8, 32)}
    plain, residual = ({depth: error[depth][rows] for depth in error} for rows in (slice(0, 3), slice(3, 6)))
    ranks = {
        "플레인: 32층의 학습 오차가 모든 시드에서 8층보다 큽니다": plain[32].min() > plain[8].max(),
        "32층: 잔차의 학습 오차가 모든 시드에서 플레인보다 작습니다": residual[32].max() < plain[32].min(),
    }
    for rank, holds in ranks.items():
        require(bool(holds), f"학습한 결과의 순위가 다릅니다. 기대한 것: {rank}.")
        print(rank)
    passed("1-4")


_AXES = dict.fromkeys(
    ("must match the size", "<= 2 dimensions", "subscripts"),
    "h, w1, w2, skip의 맨 앞 축은 망입니다. `h @ w1`은 망마다 따로 곱합니다. 전치하지 말고 그대로 곱하세요.",
)


def _compare_block(block: Callable, h: Tensor, w1: Tensor, w2: Tensor, skip: Tensor) -> None:
    """The answer against the formula, and the likely mistakes by name."""
    received = h.clone()
    branching = "skip은 망마다 0이나 1을 담은 텐서라서 `if`로 나눌 수 없습니다. h에 skip을 곱하세요."
    value = call(block, received, w1, w2, skip, hints={"Boolean value of Tensor": branching, **_AXES})
    require(torch.equal(received, h), "받은 h를 제자리에서 바꾸었습니다(h += … 따위). 새 텐서를 만들어 돌려주세요.")
    require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(value.dtype == h.dtype, f"{h.dtype} 텐서를 돌려주어야 하는데 {value.dtype}입니다.")
    require(value.requires_grad, "그래디언트가 끊겼습니다. detach나 .data를 쓰면 가중치를 배울 수 없습니다.")
    branch = (h @ w1).relu() @ w2
    expected = (branch + skip * h).relu()
    require(value.shape == expected.shape, f"출력의 모양이 {tuple(expected.shape)}이어야 하는데 {tuple(value.shape)}입니다.")
    mistakes = {
        "지름길을 ReLU 뒤에 더했습니다. 먼저 더하고 나서 ReLU를 지나야 합니다.": branch.relu() + skip * h,
        "마지막 ReLU가 빠졌습니다.": branch + skip * h,
        "두 층 사이의 ReLU가 빠졌습니다. 그러면 잔차 가지가 선형이 됩니다.": (h @ w1 @ w2 + skip * h).relu(),
        "skip이 0이어도 지름길을 더합니다. h에 skip을 곱해서 더하세요.": (branch + h).relu(),
        "skip이 1이어도 지름길이 없습니다.": branch.relu(),
        "W₁과 W₂의 순서가 바뀌었습니다.": ((h @ w2).relu() @ w1 + skip * h).relu(),
        "가중치를 전치해서 곱했습니다. 여기서는 h @ W입니다.": ((h @ w1.mT).relu() @ w2.mT + skip * h).relu(),
    }
    if not torch.allclose(value, expected, atol=1e-5):
        for message, wrong in mistakes.items():
            require(not torch.allclose(value, wrong, atol=1e-5), message)
        raise NotYet("출력이 식 ReLU(ReLU(hW₁)W₂ + skip·h)와 다릅니다.")


def _train_errors(block: Callable, depth: int) -> Tensor:
    """Training error in percent of three plain and then three residual networks."""
    seeds, steps, task = range(3), 150, load_digits()
    x = task.x_train.flatten(1)
    conditions = [Condition(skip=False), Condition(skip=True, init="zero")]
    model = _WithBlock(conditions, seeds, depth=depth, sizes=(64, 32, 10))
    model.answer = block
    batches = stacked_batches(x, task.y_train, conditions=2, seeds=seeds, batch=128, steps=steps)
    for _ in fit(model, batches, steps=steps, lr=0.01):
        pass
    return evaluate(model, x, task.y_train, networks=6)[1]
