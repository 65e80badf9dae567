"""Lesson 06: the blocks against the paper's counts and independent computations, the counters, the lesson's claims, the checks."""

import pytest
import torch
from torch.nn import functional as F

from residual_lab.blocks.densenet import DenseBlock, DenseNet
from residual_lab.checks import densenet as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.densenet import (
    SIZES, ChannelArithmetic, MemoryByDepth, cost, fashion, pair_of,
)
from residual_lab.memory import multiply_adds, peak_bytes, saved_bytes
from residual_lab.training import fit, stacked_batches
from residual_lab.training.dense import StackedDenseNet, ablated


def count(module):
    return sum(p.numel() for p in module.parameters())


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Huang et al. 2017, Table 2: 1.0M, 7.0M, 27.2M; 0.8M, 15.3M, 25.6M. The digits are a recount by hand (claims.md, lesson 06).
@pytest.mark.parametrize(("depth", "growth", "bc", "parameters"), [
    (40, 12, False, 1_019_722), (100, 12, False, 6_979_642), (100, 24, False, 27_249_082),
    (100, 12, True, 769_162), (250, 24, True, 15_324_406), (190, 40, True, 25_624_430),
])
def test_the_cifar_networks_have_the_papers_parameters(depth, growth, bc, parameters):
    with torch.device("meta"):
        assert count(DenseNet.cifar(depth, growth, bc=bc)) == parameters


# num_params of torchvision's densenet121, densenet169 and densenet201.
@pytest.mark.parametrize(("depth", "parameters"), [(121, 7_978_856), (169, 14_149_480), (201, 20_013_928)])
def test_the_imagenet_networks_have_torchvisions_parameters(depth, parameters):
    with torch.device("meta"):
        assert count(DenseNet.imagenet(depth)) == parameters


def test_the_imagenet_network_runs():
    assert DenseNet.imagenet(121)(noise(2, 3, 32, 32)).shape == (2, 1000)


def test_an_impossible_depth_is_refused_in_korean():
    for depth, bc in ((41, False), (101, True), (4, False)):
        with pytest.raises(ValueError, match="배수"):
            DenseNet.cifar(depth, 12, bc=bc)
    with pytest.raises(ValueError, match="121, 169"):
        DenseNet.imagenet(122)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_is_the_sum_of_what_each_layer_reads_of_each_source(bottleneck):
    """An independent computation: no concatenation, one convolution for every pair of layers."""
    block = DenseBlock(3, 5, 4, bottleneck=bottleneck)
    x = noise(6, 5, 7, 7)
    features = [x]
    for layer in block.layers:
        bn, conv = (layer.bn1, layer.conv1) if bottleneck else (layer.bn, layer.conv)
        edges = torch.tensor([0] + [f.shape[1] for f in features]).cumsum(0).tolist()
        read = 0
        for f, a, b in zip(features, edges, edges[1:]):
            hat = (f - f.mean((0, 2, 3), keepdim=True)) / (f.var((0, 2, 3), unbiased=False, keepdim=True) + bn.eps).sqrt()
            read = read + F.conv2d(hat.relu(), conv.weight[:, a:b], padding=conv.padding)
        if bottleneck:
            read = layer.conv2(F.batch_norm(read, None, None, training=True).relu())
        features.append(read)
    out = block(x)
    torch.testing.assert_close(out, torch.cat(features, 1), rtol=1e-4, atol=1e-4)
    assert out.shape[1] == block.out_channels == 5 + 3 * 4
    assert torch.equal(out[:, :5], x)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_recomputing_changes_neither_outputs_nor_gradients_nor_running_statistics(bottleneck):
    found = {}
    for checkpointed in (False, True):
        torch.manual_seed(0)
        net = DenseNet.cifar(22, 4, bc=bottleneck, in_channels=1, checkpointed=checkpointed)
        for _ in range(2):
            out = net(noise(4, 1, 8, 8))
            out.square().sum().backward()
        found[checkpointed] = [out, *(p.grad for p in net.parameters()), *(b for name, b in net.named_buffers() if "num" not in name)]
    for plain, again in zip(found[False], found[True], strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-6)


# Closed form of claims.md, task E6-3: each layer stores its concatenation, its ReLU, and four numbers of BN a channel.
@pytest.mark.parametrize(("layers", "nbytes"), [(2, 23_232), (4, 71_808), (8, 244_992), (16, 895_488), (32, 3_412_992)])
def test_a_block_stores_what_the_formula_says(layers, nbytes):
    block, x = DenseBlock(layers, 16, 12), noise(1, 16, 8, 8)
    assert saved_bytes(lambda: block(x), but=list(block.parameters())) == nbytes
    again = DenseBlock(layers, 16, 12, checkpointed=True)
    assert saved_bytes(lambda: again(x), but=list(again.parameters())) == 4 * 64 * (16 + 12 * (layers - 1))


def test_a_storage_counts_once_and_exceptions_do_not_count():
    x, w = noise(1000).requires_grad_(), noise(1000).requires_grad_()
    assert saved_bytes(lambda: x.exp().sum()) == 4000                      # its output
    assert saved_bytes(lambda: (x.view(10, 100).sin().sum() + x.sin().sum())) == 4000
    assert saved_bytes(lambda: (x * w).sum()) == 8000
    assert saved_bytes(lambda: (x * w).sum(), but=[w]) == 4000


def test_the_peak_is_what_is_alive_at_once_not_what_was_ever_made():
    x = noise(1000)

    def one_after_another():
        for _ in range(5):
            (x + 1).sum()

    def all_kept():
        return [x + i for i in range(5)]

    assert 4000 <= peak_bytes(one_after_another, but=[x]) <= 8008
    assert peak_bytes(all_kept, but=[x]) == 20_000


def test_multiply_adds_are_those_of_the_formula():
    x, w = noise(2, 3, 8, 8), noise(5, 3, 3, 3).requires_grad_()
    forward = 2 * 5 * 64 * 27
    assert multiply_adds(lambda: F.conv2d(x, w, padding=1)) == forward
    assert multiply_adds(lambda: F.conv2d(x, w, padding=1).sum().backward()) == 2 * forward
    assert multiply_adds(lambda: noise(4, 6) @ noise(6, 7)) == 4 * 6 * 7


def test_a_stack_is_its_networks_one_at_a_time():
    seeds, shape = [3, 8], dict(layers=2, growth=3, channels=4)
    task = fashion()
    together = StackedDenseNet(seeds, **shape)
    assert count(together) == 2 * count(StackedDenseNet([3], **shape))
    x = task.x_train[:20].expand(2, -1, -1, -1, -1)
    for place, seed in enumerate(seeds):
        torch.testing.assert_close(StackedDenseNet([seed], **shape)(x[:1])[0], together(x)[place], rtol=1e-4, atol=1e-4)
    batches = lambda chosen: stacked_batches(task.x_train, task.y_train, conditions=1, seeds=chosen, batch=64, steps=3)
    together = StackedDenseNet(seeds, **shape)
    losses = [step.losses for step in fit(together, batches(seeds), steps=3, lr=0.05)]
    alone = [step.losses for step in fit(StackedDenseNet([8], **shape), batches([8]), steps=3, lr=0.05)]
    torch.testing.assert_close(torch.stack(losses)[:, 1:], torch.stack(alone), rtol=1e-3, atol=1e-3)


def test_the_stack_is_the_papers_network():
    """The weights of one stacked network in the ordinary one give the same logits."""
    stack = StackedDenseNet([5], layers=2, growth=3, channels=4, compression=0.5)
    net = DenseNet(torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), 4, [2, 2, 2], 3, bottleneck=False, compression=0.5)
    with torch.no_grad():
        net.stem.weight.copy_(stack.stem.weight)
        for index, part in enumerate(net.body):
            layers = stack.blocks[index // 2] if index % 2 == 0 else [stack.transitions[index // 2]]
            convs = [m for m in part.modules() if isinstance(m, torch.nn.Conv2d)]
            for conv, layer in zip(convs, layers, strict=True):
                conv.weight.copy_(layer[2].weight)
        net.head.weight.copy_(stack.head[0].T)
        net.head.bias.zero_()
    x = noise(6, 1, 8, 8)
    torch.testing.assert_close(net(x), stack(x[None])[0], rtol=1e-4, atol=1e-5)


def test_an_ablated_layer_cannot_read_the_channels_and_recovers():
    net = StackedDenseNet([0, 1], layers=2, growth=3, channels=4)
    net.eval()
    layer, x = net.blocks[0][1], noise(5, 8, 8, 2, 7)
    images = x.flatten(3).permute(0, 3, 1, 2)
    whole = layer(images)
    weight = layer[2].weight.detach().clone()
    with torch.no_grad():
        layer[2].weight[:, 4:7] = 0.0
    expected = layer(images)
    with torch.no_grad():
        layer[2].weight.copy_(weight)
    with ablated(layer, slice(4, 7), networks=2, way="zero"):
        torch.testing.assert_close(layer(images), expected)
    with ablated(layer, slice(0, 7), networks=2, way="mean"):
        constant = layer(images)[..., 2:6, 2:6]
    torch.testing.assert_close(constant, constant[:1, :, :1, :1].expand_as(constant), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(images), whole)


def test_the_lab_counts_what_the_network_has():
    result = ChannelArithmetic.run(depth=100, growth=12, form="bc")
    assert result.numbers["count"]["parameters"] == [769_162.0]
    assert result.numbers["channels"]["input"] == [*range(24, 216, 12), *range(108, 300, 12), *range(150, 342, 12)]


def test_memory_is_quadratic_when_all_is_kept_and_linear_when_recomputed():
    run = MemoryByDepth.run(growth=12, deepest=32)
    for key in ("saved", "peak"):
        at_16, at_32 = ({form: run.curve(key, form)[0, i] for form in ("concat", "checkpoint", "add")} for i in (-2, -1))
        assert run.steps(key, "add")[-2:] == [16, 32]
        assert at_32["concat"] > 3.4 * at_16["concat"]
        assert at_32["checkpoint"] < 2.3 * at_16["checkpoint"] and at_32["add"] < 2.05 * at_16["add"]
    assert run.numbers["work"]["checkpoint"] == run.numbers["work"]["concat"]
    narrow = MemoryByDepth.run(growth=12, bottleneck=True, deepest=8).numbers["work"]
    assert narrow["concat"][0] < narrow["checkpoint"][0] < 1.25 * narrow["concat"][0]


def test_at_equal_parameters_a_densenet_multiplies_more():
    for size in SIZES:
        costs = {kind: cost(net, 1) for kind, net in pair_of(size, range(1)).items()}
        assert abs(costs["dense"][0] / costs["residual"][0] - 1) < 0.2
        assert costs["dense"][1] > 2 * costs["residual"][1]


def parameters_by_building(depth, growth, bc):
    with torch.device("meta"):
        net = DenseNet.cifar(depth, growth, bc=bc)
    return torch.tensor(count(net))


def read(features, weight):
    total, at = 0.0, 0
    for f in features:
        total = total + torch.nn.functional.conv2d(f, weight[:, at : at + f.shape[1]], padding=weight.shape[2] // 2)
        at += f.shape[1]
    return total


def tied(weight, n):
    return weight[:, None].expand(-1, n, -1, -1, -1).flatten(1, 2)


def reentrant(layers, x):
    features = [x]
    for layer in layers:
        features.append(torch.utils.checkpoint.checkpoint(lambda *f, layer=layer: layer(*f), *features, use_reentrant=True))
    return torch.cat(features, 1)


@pytest.mark.parametrize(("check", "answers"), [
    (checks.check_dense_channels, [lambda k0, k, L: tuple(torch.arange(k0, k0 + k * L + 1, k))]),
    (checks.check_dense_channels, [lambda k0, k, L: torch.arange(k0, k0 + k * L + 1, k)]),
    (checks.check_densenet_params, [parameters_by_building]),
    (checks.check_read_separately, [read, tied]),
    (checks.check_read_separately, [lambda f, w: read([x.float() for x in f], w.float()), lambda w, n: tied(w.float(), n)]),
    (checks.check_saved_bytes, [lambda forward, parameters: saved_bytes(forward, but=parameters)]),
    (checks.check_recomputed_block, [reentrant]),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answers):
    check(*answers)


def in_place(features, weight):
    features[0].mul_(2)
    return read(features, weight)


@pytest.mark.parametrize(("check", "answers", "said"), [
    (checks.check_dense_channels, [lambda k0, k, L: k0 + k * L], "리스트를"),
    (checks.check_dense_channels, [lambda k0, k, L: [8, 20, 32, 44, 56]], "수가 13개"),
    (checks.check_dense_channels, [lambda k0, k, L: [k * (i + 1) for i in range(L + 1)]], "k₀채널을 빠뜨렸습니다"),
    (checks.check_dense_channels, [lambda k0, k, L: [k0 + k * i + 0.5 for i in range(L + 1)]], "정수 하나를"),
    (checks.check_densenet_params, [lambda L, k, bc: None], "정수 하나를"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._closed_form(L, k, bc, biases=1)], "편향이 없습니다"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._closed_form(L, k, bc, head=0)], "출력층의 편향"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._closed_form(L, k, bc, last_bn=False)], "마지막 BN"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._closed_form(L, k, bc, between=False)], "전이층이 빠졌습니다"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._closed_form(L, k, bc, wide=1)], "4k채널"),
    (checks.check_densenet_params, [lambda L, k, bc: checks._with_stem_of_16(L, k) if bc else checks._closed_form(L, k, bc)], "2k채널을"),
    (checks.check_densenet_params, [lambda L, k, bc: {(40, 12, False): 1_019_722}.get((L, k, bc), 769_162)], "많습니다|모자랍니다"),
    (checks.check_read_separately, [lambda f, w: None, tied], "텐서를"),
    (checks.check_read_separately, [in_place, tied], "제자리에서"),
    (checks.check_read_separately, [lambda f, w: read(f, w) / len(f), tied], "평균"),
    (checks.check_read_separately, [read, lambda w, n: w], "모양이"),
    (checks.check_saved_bytes, [lambda forward, parameters: 20_000], "여야 하는데"),
    (checks.check_saved_bytes, [lambda forward, parameters: 0], "pack 훅이"),
    (checks.check_recomputed_block, [lambda layers, x: x], "모양이"),
    (checks.check_recomputed_block, [lambda layers, x: reentrant(layers, x).detach()], "끊겼습니다"),
    (checks.check_recomputed_block, [lambda layers, x: None], "텐서를"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answers, said):
    with pytest.raises(NotYet, match=said):
        check(*answers)
