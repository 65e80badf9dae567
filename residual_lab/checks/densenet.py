"""Checks of exercise 06."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from residual_lab import memory
from residual_lab.blocks.densenet import DenseBlock, DenseLayer, DenseNet
from residual_lab.checks.base import NotYet, call, passed, require


def _whole(value: Any, name: str) -> int:
    if isinstance(value, (Tensor, np.ndarray, np.number)) and np.ndim(value) == 0:
        value = value.item()
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    require(number, f"`{name}`은(는) 정수 하나를 돌려주어야 합니다(return이 없거나 정수가 아닙니다).")
    return int(value)


def check_dense_channels(dense_channels: Callable[[int, int, int], Sequence[int]]) -> None:
    """Task 6-1: what every layer of a block reads, and what the block gives, against a real block."""
    for k0, k, layers in ((8, 12, 4), (16, 12, 12), (24, 12, 16), (5, 3, 1), (64, 32, 6)):
        with torch.device("meta"):
            block = DenseBlock(layers, k0, k)
        expected = [*(layer.bn.num_features for layer in block.layers), block.out_channels]
        value = call(dense_channels, k0, k, layers)
        require(isinstance(value, (list, tuple, Tensor, np.ndarray)), "채널 수의 리스트를 돌려주어야 합니다.")
        value = [_whole(one, "리스트의 원소") for one in value]
        said = f"k₀={k0}, k={k}, L={layers}:"
        require(value != expected[:-1], f"{said} 층이 읽는 것은 맞습니다. 블록이 내보내는 채널이 맨 뒤에 하나 더 있어야 합니다.")
        require(value != expected[1:], f"{said} 하나씩 밀렸습니다. 첫 층은 블록의 입력 k₀채널만 읽습니다.")
        require(len(value) == layers + 1, f"{said} 수가 {layers + 1}개(층마다 하나, 그리고 출력)여야 하는데 {len(value)}개입니다.")
        require(value != [k0 + k * (i + 1) for i in range(layers + 1)], f"{said} 하나씩 밀렸습니다. 첫 층은 블록의 입력 k₀채널만 읽습니다.")
        require(layers == 1 or value != [k0, *[k] * layers], f"{said} k는 새로 만드는 채널입니다. 읽는 것은 앞에서 만든 것 모두입니다.")
        require(value != [k * (i + 1) for i in range(layers + 1)], f"{said} 블록의 입력 k₀채널을 빠뜨렸습니다. 모든 층이 그것도 읽습니다.")
        require(value[:-1] != expected[:-1] or value[-1] not in (k, k * layers), f"{said} 층이 읽는 것은 맞습니다. 블록의 출력에는 블록의 입력 k₀채널과 모든 층의 k채널이 함께 들어 있습니다.")
        require(value == expected, f"{said} {expected}이어야 하는데 {value}입니다.")
        print(f"{said} 읽는 채널 {expected[0]}~{expected[-2]}, 출력 {expected[-1]}채널, 직접 연결 {layers * (layers + 1) // 2}개")
    passed("6-1")


PAPER = {(40, 12, False): "1.0M", (100, 12, False): "7.0M", (100, 12, True): "0.8M", (250, 24, True): "15.3M", (190, 40, True): "25.6M"}


def _closed_form(
    depth: int, growth: int, bc: bool, *,
    bn: int = 2, wide: int = 4, theta: float = 0.5, per_layer: int = 2, first: int = 2, head: int = 10, last_bn: bool = True,
    between: bool = True, biases: int = 0, colours: int = 3, middle_bn: int = 2, transitions: int = 2,
) -> int:
    """Parameters of the network; every option is one likely mistake."""
    count = (depth - 4) // (3 * (per_layer if bc else 1))
    channels = first * growth if bc else 16
    total = 9 * colours * channels + biases * channels
    for block in range(4):
        if 0 < block <= transitions:
            out = int(channels * theta) if bc else channels
            total += (bn * channels + channels * out + biases * out) if between else 0
            channels = out
        for _ in range(count if block < 3 else 0):
            middle = wide * growth
            total += bn * channels + (channels * middle + min(bn, middle_bn) * middle + 9 * middle * growth if bc else 9 * channels * growth)
            total += biases * (growth + (middle if bc else 0))
            channels += growth
    return total + (bn * channels if last_bn else 0) + 10 * channels + head


MISTAKES = {
    "BN의 γ와 β를 세지 않았습니다. 채널마다 둘입니다.": dict(bn=0),
    "BN의 파라미터를 채널마다 하나로 셌습니다. γ와 β, 둘입니다.": dict(bn=1),
    "합성곱에는 편향이 없습니다. 바로 뒤에 BN이 오거나 이어 붙인 다음 BN을 지나기 때문입니다.": dict(biases=1),
    "출력층의 편향 10개가 빠졌습니다.": dict(head=0),
    "마지막 BN(출력층 바로 앞)이 빠졌습니다.": dict(last_bn=False),
    "전이층이 빠졌습니다. BN과 1×1 합성곱이 블록 사이에 둘 있습니다.": dict(between=False),
    "블록 셋 뒤마다 전이층을 두었습니다. 전이층은 블록 사이에만 있으므로 둘입니다.": dict(transitions=3),
    "전이층이 채널을 절반으로 줄이지 않았습니다(θ = 0.5).": dict(theta=1.0),
    "병목의 1×1 합성곱이 k채널을 만듭니다. 4k채널이어야 합니다.": dict(wide=1),
    "BC의 층에서 두 합성곱 사이의 BN(4k채널)이 빠졌습니다.": dict(middle_bn=0),
    "첫 합성곱의 입력은 3채널입니다(CIFAR-10은 컬러 그림입니다).": dict(colours=1),
    "BC의 층은 합성곱이 둘이므로 블록마다 (L − 4)/6개입니다.": dict(per_layer=1),
    "BC의 첫 합성곱은 16채널이 아니라 2k채널을 만듭니다.": dict(first=0),
}


@functools.cache
def _parameters(depth: int, growth: int, bc: bool) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in DenseNet.cifar(depth, growth, bc=bc).parameters())


def check_densenet_params(densenet_params: Callable[[int, int, bool], int]) -> None:
    """Task 6-2: parameters of DenseNet(L, k) and DenseNet-BC(L, k), against the real networks and Huang 2017, table 2."""
    for depth, growth, bc in ((10, 12, False), (22, 8, True), (40, 12, True), (100, 24, False), (100, 7, True), *PAPER):
        value, name = call(densenet_params, depth, growth, bc), f"{'DenseNet-BC' if bc else 'DenseNet'}({depth}, {growth})"
        halves = isinstance(value, float) and value != value // 1
        require(not halves, f"{name}: 파라미터 수가 정수가 아닙니다. 전이층의 채널 ⌊m/2⌋는 `m // 2`로 구합니다.")
        value, expected = _whole(value, "densenet_params"), _parameters(depth, growth, bc)
        if value != expected:
            for message, mistake in MISTAKES.items():
                wrong = _closed_form(depth, growth, bc, **mistake) if mistake != dict(first=0) else _with_stem_of_16(depth, growth)
                applies = wrong != expected and (bc or mistake != dict(first=0))
                require(not (applies and value == wrong), f"{name}: {message}")
            more = value - expected
            raise NotYet(f"{name}: {abs(more):,}개가 {'많습니다' if more > 0 else '모자랍니다'}(여러분의 답 {value:,}개).")
        if (depth, growth, bc) in PAPER:
            print(f"{name}: {value:,}개 (논문의 표 2: {PAPER[depth, growth, bc]})")
    passed("6-2")


@functools.cache
def _with_stem_of_16(depth: int, growth: int) -> int:
    """DenseNet-BC whose first convolution gives 16 channels."""
    with torch.device("meta"):
        count = (depth - 4) // 6
        net = DenseNet(nn.Conv2d(3, 16, 3, bias=False), 16, [count] * 3, growth)
    return sum(p.numel() for p in net.parameters())


class _Concatenations(TorchDispatchMode):
    """Counts the concatenations that run while it is on."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function._overloadpacket in (torch.ops.aten.cat, torch.ops.aten.stack)
        return function(*args, **(kwargs or {}))


_CUTTING = {
    "expected input": "출처마다 채널 수가 다릅니다. weight의 입력 채널을 출처의 채널 수대로 잘라야 합니다.",
    "split_with_sizes": "weight에서 자를 것은 둘째 차원(입력 채널)입니다. `split(…, 1)`처럼 차원을 적으세요.",
}


def check_read_separately(
    read_separately: Callable[[list[Tensor], Tensor], Tensor], tied_weight: Callable[[Tensor, int], Tensor],
) -> None:
    """Task 6-3: a convolution of concatenated sources as a sum over sources; and the weight that makes it read their sum."""
    generator = torch.Generator().manual_seed(63)
    for widths, out, size in (((8, 12, 12), 5, 3), ((4, 4), 6, 1), ((3, 7, 2, 9), 4, 3), ((6,), 2, 3)):
        sources = [torch.randn(2, c, 6, 5, generator=generator, dtype=torch.float64) for c in widths]
        weight = torch.randn(out, sum(widths), size, size, generator=generator, dtype=torch.float64)
        given = [s.clone() for s in sources]
        with _Concatenations() as seen:
            value = call(read_separately, list(sources), weight.clone(), hints=_CUTTING)
        require(isinstance(value, Tensor), "`read_separately`는 텐서를 돌려주어야 합니다.")
        require(all(torch.equal(a, b) for a, b in zip(sources, given)), "받은 텐서를 제자리에서 바꾸었습니다. 새 텐서를 만드세요.")
        expected = F.conv2d(torch.cat(sources, 1), weight, padding=size // 2)
        require(value.shape == expected.shape, f"출력의 모양이 {tuple(expected.shape)}이어야 하는데 {tuple(value.shape)}입니다. 크기를 지키려면 padding=size // 2입니다.")
        if not torch.allclose(value.double(), expected, atol=1e-4):
            require(not torch.allclose(value.double() * len(widths), expected, atol=1e-4), "출처의 수로 나누었습니다(평균). 더하기만 하면 됩니다.")
            backwards = sum(F.conv2d(s, w, padding=size // 2) for s, w in zip(sources, _cut(weight.flip(1), widths)))
            require(not torch.allclose(value.double(), backwards, atol=1e-4), "weight의 입력 채널을 뒤에서부터 잘랐습니다. 이어 붙인 차례대로입니다.")
            raise NotYet("이어 붙인 것에 합성곱을 한 결과와 다릅니다. 조각마다 어느 출처의 것인지 보세요.")
        require(seen.count == 0, "이어 붙였습니다(cat이나 stack). 이 과제에서는 이어 붙이지 않고 출처마다 따로 읽어서 더합니다.")
        print(f"출처 {len(widths)}개 {widths}: 이어 붙이지 않고 같은 값")
    for count in (2, 5):
        sources = [torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64) for _ in range(count)]
        weight = torch.randn(3, 4, 3, 3, generator=generator, dtype=torch.float64)
        tied = call(tied_weight, weight.clone(), count)
        taller = isinstance(tied, Tensor) and tied.shape == (3 * count, 4, 3, 3)
        require(not taller, "출력 채널(첫째 차원)이 늘었습니다. 이어 붙인 것을 읽으려면 입력 채널(둘째 차원)이 n배여야 합니다.")
        require(isinstance(tied, Tensor) and tied.shape == (3, 4 * count, 3, 3), f"`tied_weight`의 모양이 (3, {4 * count}, 3, 3)이어야 합니다.")
        value = F.conv2d(torch.cat(sources, 1), tied.double(), padding=1)
        expected = F.conv2d(sum(sources), weight, padding=1)
        if not torch.allclose(value, expected, atol=1e-4):
            require(not torch.allclose(value * count, expected, atol=1e-4), "n으로 나누었습니다. 그러면 합이 아니라 평균을 읽습니다.")
            interleaved = weight.repeat_interleave(count, 1)
            require(not torch.allclose(tied.double(), interleaved), "채널을 하나씩 되풀이했습니다(repeat_interleave). 출처마다 weight 전체가 한 번씩 와야 합니다.")
            raise NotYet("이어 붙인 것을 tied_weight로 읽은 값이 더한 것을 weight로 읽은 값과 다릅니다.")
        print(f"출처 {count}개를 더한 것 = 이어 붙여 묶은 가중치로 읽은 것")
    passed("6-3")


def _cut(weight: Tensor, widths: Sequence[int]) -> Sequence[Tensor]:
    return weight.split(list(widths), 1)


def check_saved_bytes(saved_bytes: Callable[[Callable[[], Tensor], list[Tensor]], int]) -> None:
    """Task 6-4: bytes stored for the backward pass, each storage once and parameters not at all."""
    torch.manual_seed(64)
    x, w = torch.randn(100, 50).requires_grad_(), torch.randn(50, 50).requires_grad_()
    y = torch.randn(40, 30, dtype=torch.float64).requires_grad_()
    block, image = DenseBlock(3, 8, 4), torch.randn(2, 8, 6, 6)
    cases = {
        "x.exp()": (lambda: x.exp(), []),
        "float64인 y.exp()": (lambda: y.exp(), []),
        "같은 x를 두 번 저장": (lambda: x.sin() + x.cos(), []),
        "x의 한 조각만 저장": (lambda: x[:10].sin(), []),
        "x @ w (w는 파라미터)": (lambda: x @ w, [w]),
        "파라미터의 전치": (lambda: x @ w.T, [w]),
        "DenseBlock(3, 8, 4)": (lambda: block(image), list(block.parameters())),
        "저장하지 않는 x + 1": (lambda: x + 1, []),
    }
    for name, (forward, parameters) in cases.items():
        value = _whole(call(saved_bytes, forward, parameters), "saved_bytes")
        expected = memory.saved_bytes(forward, but=parameters)
        if value != expected:
            _explain_bytes(name, value, expected, forward, parameters)
        print(f"{name}: {value:,} 바이트")
    passed("6-4")


def _explain_bytes(name: str, value: int, expected: int, forward: Callable, parameters: list[Tensor]) -> None:
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        forward()
    own = {p.untyped_storage().data_ptr() for p in parameters}
    others = [t for t in saved if t.untyped_storage().data_ptr() not in own]
    said = f"‘{name}’: {expected:,} 바이트여야 하는데 {value:,}입니다."
    require(value != memory.saved_bytes(forward), f"{said} 파라미터를 빼지 않았습니다. 저장소의 주소로 견주면 전치한 것도 알아볼 수 있습니다.")
    require(value * 4 != expected, f"{said} 수의 개수를 셌습니다. float32는 하나가 4바이트, float64는 8바이트입니다.")
    require(all(t.element_size() == 4 for t in others) or value != 4 * sum(t.numel() for t in others), f"{said} 값 하나를 4바이트로 셌습니다(element_size를 보세요).")
    require(value not in (sum(t.numel() * t.element_size() for t in others), sum(t.numel() * t.element_size() for t in saved)),
            f"{said} 같은 저장소를 여러 번 셌거나, 조각의 크기를 셌습니다. `tensor.untyped_storage()`를 주소마다 한 번만 세세요.")
    require(value != sum(t.untyped_storage().nbytes() for t in others), f"{said} 같은 저장소를 여러 번 셌습니다. 주소(data_ptr)마다 한 번만 셉니다.")
    everything = sum(p.untyped_storage().nbytes() for p in parameters)
    require(not parameters or value != memory.saved_bytes(forward) - everything,
            f"{said} 저장되지도 않은 파라미터까지 뺐습니다. 저장된 저장소 가운데 파라미터의 것만 빼세요.")
    require(value != 0, f"{said} pack 훅이 불리지 않았습니다. `with saved_tensors_hooks(pack, unpack):` 안에서 forward()를 부르세요.")
    require(value > expected or name != "DenseBlock(3, 8, 4)",
            f"{said} pack이 받은 텐서나 저장소를 어딘가에 담아 두지 않으면 순전파하는 동안 지워지고, 그 주소가 다시 쓰여 덜 세게 됩니다.")
    raise NotYet(said)


_LAYERS = {
    "but got list": "층은 특성을 리스트가 아니라 하나씩 받습니다. `*features`로 풀어서 넘기세요.",
    "running_mean should contain": "층은 앞의 특성을 모두 받습니다. `*features`로 모두 넘기세요.",
}


def check_recomputed_block(recomputed_block: Callable[[nn.ModuleList, Tensor], Tensor]) -> None:
    """Task 6-5: the block's output and gradients, with linear memory: stored, and alive at most."""
    saved, peak, kept = {}, {}, {}
    for layers in (1, 8, 16):
        torch.manual_seed(layers)
        block = DenseBlock(layers, 16, 12)
        x = torch.randn(8, 16, 8, 8).requires_grad_()
        parameters = [*block.parameters()]
        out, expected = call(recomputed_block, block.layers, x, hints=_LAYERS), block(x)
        require(isinstance(out, Tensor), "텐서를 돌려주어야 합니다.")
        require(out.shape == expected.shape, f"출력의 모양이 {tuple(expected.shape)}이어야 하는데 {tuple(out.shape)}입니다. 블록의 입력까지 모두 이어 붙입니다.")
        require(torch.allclose(out, expected, atol=1e-4), "출력이 DenseBlock과 다릅니다. 이어 붙이는 차례는 x₀, x₁, …입니다.")
        require(out.requires_grad, "그래디언트가 끊겼습니다(detach나 no_grad). 출력에서 역전파할 수 없습니다.")
        pairs = [_backwards(out, [x, *parameters]), _gradients(expected.square().sum(), [x, *parameters])]
        for mine, true in zip(*pairs):
            require(mine is not None, "그래디언트를 받지 못하는 파라미터가 있습니다. 층마다 입력의 그래디언트까지 이어지는지 보세요.")
            require(torch.allclose(mine, true, rtol=1e-3, atol=1e-3 * float(true.abs().max())), "그래디언트가 DenseBlock과 다릅니다. 앞의 특성을 detach하지 않았는지 보세요.")
        del out, expected, pairs
        forward = lambda: recomputed_block(block.layers, x)
        step = lambda run: _gradients(run().sum(), [x, *parameters])
        saved[layers] = memory.saved_bytes(forward, but=parameters)
        peak[layers] = memory.peak_bytes(lambda: step(forward), but=[x, *parameters])
        kept[layers] = memory.peak_bytes(lambda: step(lambda: block(x)), but=[x, *parameters])
    copies = 4 * 8 * 64 * sum(16 + 12 * i for i in range(16))
    require(saved[16] < 2 * copies, "아무것도 다시 계산하지 않습니다. 저장량이 DenseBlock과 같습니다.")
    require(saved[16] < copies, "저장량이 여전히 2차입니다. 이어 붙인 것이 checkpoint의 입력이 되어 저장됩니다. 이어 붙이기를 checkpoint 안에서 하세요.")
    require(saved[16] < 2.5 * saved[8], f"8층에서 16층으로 갈 때 저장량이 {saved[16] / max(saved[8], 1):.1f}배가 되었습니다. 2배쯤이어야 합니다.")
    require(peak[16] < 0.7 * kept[16], "저장량은 작지만, 역전파하는 동안 잡는 양이 DenseBlock만큼 큽니다. 블록을 통째로 다시 계산하면 그때 모든 것이 한꺼번에 생깁니다. 층마다 따로 checkpoint하세요.")
    print("출력과 그래디언트가 DenseBlock과 같습니다")
    print("8층 → 16층에서 저장량이 2배쯤입니다:", saved[16] < 2.5 * saved[8])
    print("한순간에 가장 많이 잡는 양이 DenseBlock의 7할보다 작습니다:", peak[16] < 0.7 * kept[16])
    passed("6-5")


def _backwards(out: Tensor, of: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of the learner's block; what goes wrong when it is computed again becomes a `NotYet`."""
    try:
        return _gradients(out.square().sum(), of)
    except Exception as problem:
        again = any(part in str(problem) for part in ("should contain", "recompute"))
        require(not again, "역전파하며 다시 계산한 것이 순전파와 다릅니다. checkpoint에 준 함수는 그때 한 번 더 불립니다. "
                           "그 사이에 바뀌는 변수를 함수 안에서 쓰지 말고, 필요한 특성을 checkpoint의 입력으로 넘기세요.")
        raise NotYet(f"역전파하다가 오류가 났습니다. {type(problem).__name__}: {problem}") from problem


def _gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients by ``backward``, which every kind of checkpoint allows."""
    for tensor in of:
        tensor.grad = None
    loss.backward()
    gradients = [tensor.grad for tensor in of]
    for tensor in of:
        tensor.grad = None
    return gradients
