"""Checks of exercise 05."""

from __future__ import annotations

import copy
import dis
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.preact import PreActBasicBlock, PreActBottleneck
from residual_lab.checks.base import NotYet, call, number, passed, require

LIST_AS_COUNT = ("망을 만드니 TypeError가 났습니다: 'list' object cannot be interpreted as an integer. "
                 "블록의 수 자리에 리스트가 통째로 들어갔습니다. 네 줄을 나란히 놓고 다른 곳을 찾아보세요.")


def check_network(network: type[nn.Module]) -> None:
    """Task 5-1: the source's network, with every stage of the right length, width and stride."""
    for units, width in (((2, 2, 2, 2), 8), ((1, 3, 2, 4), 4)):
        net = _built(network, PreActBasicBlock, units, width)
        h = torch.randn(2, width, 16, 16, generator=torch.Generator().manual_seed(51))
        for index, count in enumerate(units):
            stage = getattr(net, f"layer{index + 1}", None)
            require(isinstance(stage, nn.Sequential), f"`self.layer{index + 1}`이(가) 없거나 `_make_layer`로 만든 것이 아닙니다.")
            require(len(stage) == count, f"layer{index + 1}의 블록이 {len(stage)}개입니다. num_blocks가 {list(units)}이면 {count}개여야 합니다.")
            h = call(stage, h, hints={"channels": f"layer{index + 1}이(가) 받는 채널 수가 앞 스테이지와 맞지 않습니다."})
            channels, side = width * 2**index, 16 // 2**index
            require(h.shape[1] == channels, f"layer{index + 1}의 출력 채널이 {h.shape[1]}개입니다. base_width의 {2**index}배인 {channels}개여야 합니다.")
            require(h.shape[2] == side, f"layer{index + 1}을(를) 지난 그림의 한 변이 {h.shape[2]}입니다. {side}이어야 합니다. 스트라이드를 보세요.")
        logits = call(net, torch.randn(2, 3, 16, 16))
        require(isinstance(logits, Tensor) and logits.shape == (2, 10), "망의 출력은 (배치, 클래스) 모양이어야 합니다.")
    print("폭 4인 작은 망의 출력:", tuple(logits.shape))
    for name, block, units, classes, expected in (
        ("PreActResNet18", PreActBasicBlock, (2, 2, 2, 2), 10, 11_172_170),
        ("PreActResNet50", PreActBottleneck, (3, 4, 6, 3), 1000, 25_541_672),
    ):
        with torch.device("meta"):
            net = _built(network, block, units, 64, classes)
        count = sum(p.numel() for p in net.parameters())
        require(count == expected, f"{name}의 파라미터가 {count:,}개입니다. {expected:,}개여야 합니다.")
        print(f"{name}: 파라미터 {count:,}개")
    passed("5-1")


def _built(network: type[nn.Module], block: type[nn.Module], units: Sequence[int], width: int, classes: int = 10) -> nn.Module:
    net = call(network, block, list(units), classes, width, hints={"cannot be interpreted as an integer": LIST_AS_COUNT})
    require(isinstance(net, nn.Module), "`PreActResNet(block, num_blocks, num_classes, base_width)`가 nn.Module을 만들어야 합니다.")
    return net


def check_simple_shortcut(simple_shortcut: Callable) -> None:
    """Task 5-2: the same shortcut with one question instead of two."""
    generator = torch.Generator().manual_seed(52)
    x, out = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
    projection = nn.Conv2d(3, 5, 1, bias=False)
    value = call(simple_shortcut, None, x, out, hints={"'NoneType' object is not callable": "투영이 없는데(projection이 None) 투영을 부릅니다."})
    require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(not torch.equal(value, out), "투영이 없으면 지름길은 x 그대로여야 하는데 out을 돌려줍니다.")
    require(torch.equal(value, x), "투영이 없으면 지름길은 x 그대로여야 합니다.")
    value = call(simple_shortcut, projection, x, out)
    require(isinstance(value, Tensor) and value.shape == (2, 5, 4, 4), "투영이 있으면 투영의 출력을 돌려주어야 합니다.")
    require(not torch.equal(value, projection(x)), "투영에 x를 넣었습니다. 원래 식에서는 BN–ReLU를 지난 out이 들어갑니다.")
    require(torch.equal(value, projection(out)), "투영의 출력이 원래 식과 다릅니다.")
    questions = _conditions(simple_shortcut)
    require(questions <= 1, f"조건이 아직 {questions}개입니다. 안쪽 조건은 언제 거짓이 될 수 있습니까?")
    print("투영이 없을 때: x 그대로")
    print("투영이 있을 때: projection(out)")
    passed("5-2")


def _conditions(function: Callable) -> int:
    """How many conditional jumps the function's code holds."""
    code = getattr(function, "__code__", None)
    require(code is not None, "`simple_shortcut`은 함수여야 합니다.")
    return sum("JUMP" in step.opname and "IF" in step.opname for step in dis.get_instructions(code))


def _bottleneck(in_channels: int, channels: int, stride: int, seed: int) -> PreActBottleneck:
    """A block with nothing at its default: affine parameters and running statistics are random too."""
    generator = torch.Generator().manual_seed(seed)
    block = PreActBottleneck(in_channels, channels, stride)
    with torch.no_grad():
        for p in block.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.5 if p.ndim == 1 else p[0].numel() ** -0.5))
        for bn in (block.bn1, block.bn2, block.bn3):
            bn.running_mean.normal_(generator=generator)
            bn.running_var.uniform_(0.5, 2, generator=generator)
    return block.double()


WHOLE = "block을 통째로 불렀습니다. block.bn1, block.conv1처럼 안에 있는 층을 차례로 부르세요."
_EMPTY = dict.fromkeys(("empty iterable", "list index out of range", "empty sequence"), "빈 리스트를 넣었습니다. 유닛이 하나도 없으면 신호는 그대로이므로 1입니다.")


def check_bottleneck(bottleneck: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """Task 5-3: the pre-activated bottleneck's forward pass, and the identity when its branch is zero."""
    shapes = ((8, 2, 1), (8, 4, 1), (8, 4, 2))
    for training in (False, True):
        for seed, (c_in, channels, stride) in enumerate(shapes):
            block = _bottleneck(c_in, channels, stride, 530 + seed).train(training)
            x = torch.randn(4, c_in, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            _compare_bottleneck(bottleneck, block, x)
    block = _in_parts(_bottleneck(8, 2, 1, 539).eval())
    nn.init.zeros_(block.conv3.weight)
    x = torch.randn(4, 8, 6, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    require(torch.equal(call(bottleneck, block, x, hints={WHOLE: WHOLE}), x), "가지의 마지막 합성곱이 0이면 출력은 정확히 x여야 합니다.")
    print("식과 같습니다: 항등 지름길, 투영 지름길, 스트라이드 2")
    print("가지가 0이면 y = x입니다")
    passed("5-3")


def _in_parts(block: PreActBottleneck) -> PreActBottleneck:
    """The block, which can no longer be called as a whole: that is what the task asks for."""
    def forward(x: Tensor) -> Tensor:
        raise RuntimeError(WHOLE)

    block.forward = forward
    return block


def _compare_bottleneck(bottleneck: Callable, block: PreActBottleneck, x: Tensor) -> None:
    received = x.clone()
    value = call(bottleneck, _in_parts(copy.deepcopy(block)), received, hints={
        WHOLE: WHOLE,
        "'NoneType' object is not callable": "투영이 없는 블록(block.projection이 None)에서도 투영을 부릅니다.",
        "must match": "지름길과 가지의 모양이 다릅니다. block.projection이 있으면 지름길에 써야 합니다.",
        "running_mean should contain": "BN이 받은 채널 수가 다릅니다. BN은 합성곱 앞에 있습니다. BN–ReLU–합성곱의 차례를 보세요.",
    })
    require(torch.equal(received, x), "받은 x를 제자리에서 바꾸었습니다. 새 텐서를 만드세요.")
    require(isinstance(value, Tensor), "텐서를 돌려주어야 합니다(return이 없거나 다른 것을 돌려줍니다).")
    require(value.requires_grad, "그래디언트가 끊겼습니다. detach나 .data를 쓰면 가중치를 배울 수 없습니다.")
    block = copy.deepcopy(block)
    bn = lambda layer, h: F.batch_norm(  # noqa: E731
        h, None if layer.training else layer.running_mean, None if layer.training else layer.running_var,
        layer.weight, layer.bias, layer.training, 0.0, layer.eps)
    through = block.projection

    def parts(relus: tuple[bool, bool, bool] = (True, True, True)) -> tuple[Tensor, Tensor, Tensor]:
        """What the first BN–ReLU gives, the branch and the shortcut; a ReLU can be left out."""
        h, first = x, None
        for layer, convolution, relu in zip((block.bn1, block.bn2, block.bn3), (block.conv1, block.conv2, block.conv3), relus):
            h = bn(layer, h)
            h = h.relu() if relu else h
            first = h if first is None else first
            h = convolution(h)
        return first, h, x if through is None else through(first)

    activated, branch, clean = parts()
    mistakes = {"더한 뒤에 ReLU를 지났습니다. 사전 활성화에서는 더한 뒤에 아무것도 없습니다.": (branch + clean).relu(),
                "지름길이 없습니다.": branch}
    if through is None:
        mistakes["항등 지름길에 BN–ReLU를 지난 값을 더했습니다. x 그대로를 더하세요."] = branch + activated
    else:
        mistakes["투영에 x를 넣었습니다. BN–ReLU를 지난 값을 넣으세요."] = branch + through(x)
    for place, missing in (("세 BN", (False, False, False)), ("bn1", (False, True, True)), ("bn2", (True, False, True)), ("bn3", (True, True, False))):
        mistakes[f"{place} 뒤의 ReLU가 빠졌습니다."] = sum(parts(missing)[1:])
    require(value.shape == branch.shape, f"출력의 모양이 {tuple(branch.shape)}이어야 하는데 {tuple(value.shape)}입니다.")
    if not torch.allclose(value, branch + clean, atol=1e-9):
        for message, wrong in mistakes.items():
            require(not torch.allclose(value, wrong, atol=1e-9), message)
        raise NotYet("출력이 식과 다릅니다. BN–ReLU–합성곱을 세 번 하고, 지름길을 더합니다.")


def check_signals(shortcut_gain: Callable[[Sequence[float]], float], is_monotone: Callable[[Sequence[Tensor]], bool]) -> None:
    """Task 5-4: the product of the shortcut's factors, and x_{l+1} ≥ x_l everywhere."""
    for lambdas in ([0.9] * 54, [0.5, 2.0, 3.0], [-1.0, 0.5, 0.5], [1.01] * 100, [0.7], []):
        expected, n = math.prod(lambdas), len(lambdas)
        value = number(call(shortcut_gain, list(lambdas), hints=_EMPTY), "shortcut_gain")
        if abs(value - expected) > 1e-5 * abs(expected):
            require(n > 0, "유닛이 하나도 없으면 신호는 그대로이므로 1을 돌려주어야 합니다.")
            shown = f"[{', '.join(map(str, lambdas[:3]))}{', …' if n > 3 else ''}]"
            require(abs(value - sum(lambdas)) > 1e-9, f"{shown}에서 배율을 더했습니다. 유닛을 지날 때마다 곱해집니다.")
            require(value != 0, f"{shown}의 답이 0으로 나왔습니다. 곱은 0이 아니라 1에서 시작합니다.")
            require(abs(value - lambdas[0] ** n) > 1e-9, f"{shown}에서 첫 배율만 거듭 곱했습니다. 배율은 유닛마다 다를 수 있습니다.")
            require(abs(value - abs(expected)) > 1e-9, f"{shown}에서 부호가 사라졌습니다.")
            raise NotYet(f"{shown}(유닛 {n}개)의 답은 {expected:.6g}이어야 하는데 {value:.6g}입니다.")
    one = torch.tensor
    cases = (
        ([one([1.0, -2.0]), one([1.0, -1.0]), one([3.0, 0.0])], True, "모든 값이 그대로이거나 커졌습니다. 음수도 있습니다. 부호까지 그대로, 값 하나하나를 비교하세요. 같은 값이 남는 것은 작아진 것이 아닙니다."),
        ([one([1.0, 1.0]), one([9.0, 0.5])], False, "합은 커졌지만 둘째 값이 작아졌습니다. 값 하나하나를 보세요."),
        ([one([0.0]), one([5.0]), one([2.0])], False, "0, 5, 2로 바뀌었으니 5에서 2로 작아진 곳이 있습니다. 이웃한 쌍을 끝까지 모두 비교하세요."),
        ([one([[1.0, 2.0], [3.0, 4.0]])], True, "하나뿐이면 작아진 것이 없습니다."),
        ([one([-1.0]), one([-2.0])], False, "−1에서 −2로 작아졌습니다. 크기(절댓값)가 아니라 값을 비교합니다."),
    )
    for states, expected, message in cases:
        verdict = call(is_monotone, [state.clone() for state in states], hints={"list index out of range": "텐서가 하나뿐인 리스트를 넣었습니다. 작아진 것이 없으므로 True입니다."})
        shown = " → ".join(str(state.tolist()) for state in states)
        require(_boolean(verdict) is expected, f"{shown}의 판정이 {verdict}로 나왔습니다. {message}")
    print(f"0.9를 54번: {float(shortcut_gain([0.9] * 54)):.2e}, 1.01을 1000번: {float(shortcut_gain([1.01] * 1000)):.1e}")
    print(f"0.99를 1000번: {float(shortcut_gain([0.99] * 1000)):.1e}, 0.5를 54번: {float(shortcut_gain([0.5] * 54)):.1e}")
    passed("5-4")


def _boolean(verdict: Any) -> bool:
    if isinstance(verdict, (np.bool_, Tensor)) and np.ndim(verdict) == 0:
        verdict = verdict.item()
    require(verdict is not None, "아무것도 돌려주지 않을 때가 있습니다(return이 빠졌습니다). True나 False 하나를 돌려주세요.")
    require(isinstance(verdict, bool), "True나 False 하나를 돌려주어야 합니다. 다른 값이라면 `bool(...)`로 감싸세요.")
    return verdict


class _Unit(nn.Module):
    """x + conv(relu(bn(x))) with an in-place ReLU, as in source 003; what stands before the ReLU is the argument."""

    def __init__(self, before: nn.Module):
        super().__init__()
        self.bn1, self.relu1, self.conv1 = before, nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.bn1(x))) + x


class _LastValue(nn.Module):
    """Turns the sign of a single number of its input, so many times: twice puts it back."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x.view(-1)[-1:].neg_()
        return torch.zeros(3)


class _Small(nn.Module):
    """Changes every number by a millionth."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(1 + 1e-6)


class _Turned(nn.Module):
    """The same numbers in other places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.copy_(x.flip(-1))


UNITS = (
    ("BN이 있는 유닛", lambda: _Unit(nn.BatchNorm2d(4)), False, "BN이 새 텐서를 만들어 주므로 입력은 그대로입니다. 출력이 아니라 입력을 비교했는지, True와 False가 뒤바뀌지 않았는지 보세요."),
    ("BN을 뺀 유닛", lambda: _Unit(nn.Identity()), True, "제자리 ReLU가 입력을 덮어씁니다. 부르기 전의 값을 clone()으로 따로 두고 비교하세요."),
    ("항등 층", nn.Identity, False, "출력이 입력과 같은 텐서라도 입력의 값이 바뀐 것은 아닙니다."),
    ("제자리가 아닌 ReLU", nn.ReLU, False, "출력은 입력과 다르지만 입력은 그대로입니다. 출력이 아니라 입력을 보세요."),
    ("값 하나만 바꾸는 층", lambda: _LastValue(1), True, "값 하나만 바뀌어도 바뀐 것입니다. 모든 값을 비교하세요."),
    ("값을 아주 조금만 바꾸는 층", _Small, True, "조금만 바뀌어도 바뀐 것입니다. allclose가 아니라 torch.equal로 비교하세요."),
    ("자리를 뒤집는 층", _Turned, True, "합이나 평균이 같아도 값은 바뀌었습니다. 자리마다 비교하세요."),
    ("바꾸었다가 되돌리는 층", lambda: _LastValue(2), False, "값이 되돌아왔으므로 바뀐 것이 아닙니다. 제자리에서 썼는지가 아니라 값을 비교하세요."),
)


def check_mutates_input(mutates_input: Callable[[nn.Module, Tensor], bool]) -> None:
    """Task 5-5: does a block write over its input? The answer itself must not."""
    generator = torch.Generator().manual_seed(55)
    for name, make, expected, message in UNITS:
        x = torch.randint(-9, 10, (2, 4, 5, 5), generator=generator).float()  # whole numbers: their sum is exact in any order
        given = x.clone()
        verdict = _boolean(call(mutates_input, make(), given))
        require(verdict is expected, f"‘{name}’의 판정이 {verdict}로 나왔습니다. {message}")
        require(torch.equal(given, x), f"‘{name}’을 검사하는 동안 받은 x가 바뀌었습니다. 블록에는 복사본을 넣으세요.")
        print(f"{name}: {'입력을 바꿈' if verdict else '입력을 바꾸지 않음'}")
    passed("5-5")
