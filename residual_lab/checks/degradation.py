"""Checks of exercise 01."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from residual_lab.checks.base import call, require
from residual_lab.data import load_digits
from residual_lab.training import Condition, StackedMLP, evaluate, fit, stacked_batches


def forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """The network of task 1-1: ReLU after every layer but the last; x (B, d), weights (d_in, d_out)."""
    h = x
    for weight in weights[:-1]:
        h = (h @ weight).relu()
    return h @ weights[-1]


def check_embed_shallow(embed_shallow: Callable[[list[Tensor], int], list[Tensor]]) -> None:
    """Task 1-1: k more layers, the same output to the bit."""
    generator = torch.Generator().manual_seed(1)
    for sizes, k in (((6, 16, 16, 3), 1), ((6, 16, 9, 3), 50)):
        weights = [torch.randn(a, b, generator=generator) for a, b in zip(sizes, sizes[1:])]
        x = torch.randn(32, sizes[0], generator=generator)
        given, expected = list(weights), forward(weights, x)
        deeper = call(embed_shallow, weights, k)
        require(isinstance(deeper, list), "가중치의 리스트를 돌려주어야 합니다.")
        require(len(weights) == len(given), "받은 리스트 `weights`가 바뀌었습니다. 새 리스트를 만들어 돌려주세요.")
        require(len(deeper) == len(given) + k, f"층이 {len(given) + k}개여야 하는데 {len(deeper)}개입니다.")
        try:
            output = forward(deeper, x)
        except RuntimeError:
            require(False, "이어지는 층의 크기가 맞지 않습니다. 항등 층의 크기는 마지막 은닉층의 폭이어야 합니다.")
        if not torch.equal(output, expected):
            relu_on_output = torch.allclose(output, expected.relu())
            require(not relu_on_output, "출력의 음수가 0이 되었습니다. 출력층 뒤에는 ReLU가 없어야 하므로 항등 층은 출력층 앞에 끼워야 합니다.")
            require(False, "출력이 달라졌습니다. 끼운 층이 은닉값을 그대로 내보내는지, 은닉값이 0 이상인 자리인지 보세요.")
        print(f"은닉층 {len(given) - 1}개 + 항등 층 {k}개: 출력이 비트까지 같음 {torch.equal(output, expected)}")


def check_scalar_gradients(scalar_gradient: Callable, residual_gradient: Callable) -> None:
    """Task 1-2: the derivative of the product model, against autograd."""
    for w, L, t in ((0.5, 2, 1.0), (0.5, 20, 1.0), (-0.8, 3, 1.0), (1.1, 7, 2.0)):
        expected = _autograd(w, L, t)
        value = float(call(scalar_gradient, w, L, t))
        if not _close(value, expected):
            f = w**L
            require(not _close(value, (f - t) * f), f"L={L}, w={w}에서 w를 L번 곱했습니다. wⱼ 자신은 빼고 L−1개를 곱해야 합니다.")
            require(not _close(value, w ** (L - 1)), "바깥 미분 (f − t)를 곱하지 않았습니다. 연쇄 법칙을 다시 보세요.")
            require(not _close(value, -expected), "부호가 반대입니다. ∂ℓ/∂f = f − t입니다.")
            require(False, f"scalar_gradient({w}, {L}, {t})는 {expected:.7g}이어야 하는데 {value:.7g}입니다.")
    for u, L, t in ((0.0, 2, 2.0), (0.0, 50, 2.0), (0.1, 5, 2.0), (-0.2, 10, 0.5)):
        expected = _autograd(1 + u, L, t)
        value = float(call(residual_gradient, u, L, t))
        if not _close(value, expected):
            require(not (u and _close(value, _autograd(u, L, t))), "wᵢ 자리에 uᵢ를 넣었습니다. 잔차 모형에서는 wᵢ = 1 + uᵢ입니다.")
            require(not (u and _close(value, 1 - t)), "u = 0일 때의 값만 돌려줍니다. u가 0이 아니면 (1 + u)의 곱이 남습니다.")
            require(False, f"residual_gradient({u}, {L}, {t})는 {expected:.7g}이어야 하는데 {value:.7g}입니다.")
    print(f"플레인 w=1/2: L=2이면 {scalar_gradient(0.5, 2, 1.0):.3f}, L=20이면 {scalar_gradient(0.5, 20, 1.0):.3e}")
    print(f"잔차 u=0, t=2: L=2이면 {residual_gradient(0.0, 2, 2.0):.1f}, L=50이면 {residual_gradient(0.0, 50, 2.0):.1f}")


def _autograd(w: float, L: int, t: float) -> float:
    weights = torch.full((L,), w, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(0.5 * (weights.prod() - t) ** 2, weights)[0][0].item()


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) <= 1e-9 * abs(expected)


OBSERVATIONS = {
    # name: (shallow, deep, what it is, what to say when the answer is wrong)
    "성능 저하": ({"train": [2.1, 1.8, 2.4], "test": [8.9, 9.1, 8.7]}, {"train": [9.3, 7.7, 8.8], "test": [13.2, 12.5, 14.0]},
              True, "깊은 망의 학습 오차가 모든 시드에서 더 큽니다. 성능 저하입니다."),
    "과적합": ({"train": [0.6, 0.5, 0.7], "test": [6.4, 6.6, 6.5]}, {"train": [0.1, 0.1, 0.0], "test": [7.9, 8.1, 8.0]},
            False, "시험 오차만 커졌고 학습 오차는 줄었습니다. 과적합이지 성능 저하가 아닙니다. 학습 오차만 보세요."),
    "시험 오차는 좋아짐": ({"train": [3.0, 3.2, 2.9], "test": [11.0, 11.5, 10.8]}, {"train": [5.1, 4.8, 5.5], "test": [10.1, 10.0, 9.9]},
                    True, "학습 오차가 모든 시드에서 커졌으므로 성능 저하입니다. 시험 오차가 어떻든 상관없습니다."),
    "시드가 섞임": ({"train": [2.0, 6.0, 2.5], "test": [9.0, 9.5, 9.2]}, {"train": [5.0, 4.0, 5.5], "test": [10.0, 10.2, 9.9]},
               False, "평균은 깊은 망이 크지만, 얕은 망의 시드 하나(6.0%)가 깊은 망의 어떤 시드보다 나쁩니다. 모든 시드가 갈라져야 합니다."),
    "깊을수록 좋음": ({"train": [9.0, 8.5, 9.2], "test": [14.0, 13.8, 14.2]}, {"train": [2.0, 2.2, 1.9], "test": [9.0, 9.1, 8.8]},
                False, "깊은 망이 더 잘 학습되었습니다. 견주는 방향을 확인하세요."),
}


def check_is_degradation(is_degradation: Callable[[dict, dict], bool]) -> None:
    """Task 1-3: only training errors count, and every seed must agree."""
    for name, (shallow, deep, expected, message) in OBSERVATIONS.items():
        verdict = call(is_degradation, shallow, deep)
        require(isinstance(verdict, bool), "True나 False를 돌려주어야 합니다.")
        require(verdict is expected, f"‘{name}’ 사례의 판정이 {verdict}로 나왔습니다. {message}")
        print(f"{name}: {verdict}")


class _WithBlock(StackedMLP):
    """A stack whose blocks are the learner's function."""

    answer: Callable

    def block(self, h: Tensor, first: int) -> Tensor:
        return self.answer(h, self.weights[first], self.weights[first + 1], self.skip)


def check_block(block: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Task 1-4: the block of He 2015, Eq. (1), and the 2×2 that it gives."""
    generator = torch.Generator().manual_seed(4)
    h = torch.randn(5, 8, generator=generator).relu()
    w1, w2 = (torch.randn(8, 8, generator=generator) for _ in range(2))
    for skip in (torch.tensor(0.0), torch.tensor(1.0)):
        branch = (h @ w1).relu() @ w2
        value = call(block, h.clone(), w1, w2, skip)
        expected = (branch + skip * h).relu()
        if value is None or value.shape != expected.shape or not _near(value, expected):
            kind = "잔차 블록(skip=1)" if skip else "플레인 블록(skip=0)"
            require(value is not None, "값을 돌려주지 않았습니다(return이 없습니다).")
            require(value.shape == expected.shape, f"출력의 모양이 {tuple(expected.shape)}이어야 하는데 {tuple(value.shape)}입니다.")
            require(not _near(value, branch.relu() + skip * h), "지름길을 ReLU 뒤에 더했습니다. 먼저 더하고 나서 ReLU를 지나야 합니다.")
            require(not _near(value, branch + skip * h), "마지막 ReLU가 빠졌습니다.")
            require(not _near(value, (h @ w1 @ w2 + skip * h).relu()), "두 층 사이의 ReLU가 빠졌습니다. 그러면 잔차 가지가 선형이 됩니다.")
            require(not (not skip and _near(value, (branch + h).relu())), "skip이 0이어도 지름길을 더합니다. h에 skip을 곱해서 더하세요.")
            require(False, f"{kind}의 출력이 식 ReLU(W₂ ReLU(W₁h) + skip·h)와 다릅니다.")
    error = {depth: _train_errors(block, depth) for depth in (8, 32)}
    plain, residual = ({depth: error[depth][rows] for depth in error} for rows in (slice(0, 3), slice(3, 6)))
    print("플레인 32층의 학습 오차 > 플레인 8층 (모든 시드):", bool(plain[32].min() > plain[8].max()))
    print("잔차 32층의 학습 오차 < 플레인 32층 (모든 시드):", bool(residual[32].max() < plain[32].min()))
    print("잔차 32층의 학습 오차 < 잔차 8층 (모든 시드):", bool((residual[32] < residual[8]).all()))


def _near(value: Tensor, other: Tensor) -> bool:
    return torch.allclose(value, other, atol=1e-5)


def _train_errors(block: Callable, depth: int) -> Tensor:
    """Training error in percent of three plain and then three residual networks."""
    seeds, steps, task = range(3), 300, load_digits()
    x = task.x_train.flatten(1)
    conditions = [Condition(skip=False), Condition(skip=True, init="zero")]
    model = _WithBlock(conditions, seeds, depth=depth, sizes=(64, 32, 10))
    model.answer = block
    batches = stacked_batches(x, task.y_train, conditions=2, seeds=seeds, batch=128, steps=steps)
    for _ in fit(model, batches, steps=steps, lr=0.01):
        pass
    return evaluate(model, x, task.y_train, networks=6)[1]
