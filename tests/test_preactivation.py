"""Lesson 05: blocks against the papers' counts and an independent computation, its claims over seeds, and its checks."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residual_lab.blocks.bottleneck import Bottleneck, resnet18, resnet50
from residual_lab.blocks.highway import HighwayLayer
from residual_lab.blocks.preact import PreActBasicBlock, PreActBottleneck, PreActResNet, preact_resnet18, preact_resnet50
from residual_lab.blocks.residual import ShortcutBlock
from residual_lab.checks import preactivation as checks
from residual_lab.checks.base import NotYet
from residual_lab.data import load_digits
from residual_lab.experiments.preactivation import ORDERS, InitialSignal
from residual_lab.training import Condition, StackedConvNet
from residual_lab.training.stacked_orders import ShortcutOnlyNet, StackedOrderNet, StackedShortcutKinds


def images(networks, count=8):
    return load_digits().x_train[:count].expand(networks, count, 1, 8, 8)


# Independently known: torchvision's ResNet-18 and -50 have 11,689,512 and 25,557,032 parameters.
@pytest.mark.parametrize(("make", "parameters"), [
    (preact_resnet18, 11_172_170),
    (preact_resnet50, 25_541_672),
    (resnet18, 11_173_962),
    (lambda: resnet18(1000, imagenet=True), 11_689_512),
    (resnet50, 25_557_032),
])
def test_parameter_counts(make, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in make().parameters()) == parameters


def bn(layer, x):
    return F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)


def conv(layer, x):
    return F.conv2d(x, layer.weight, stride=layer.stride, padding=layer.weight.shape[-1] // 2)


def drawn(block):
    """The block in float64 with random affine parameters, so that a BN in the wrong place cannot hide."""
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block.double()


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (6, 2)])
def test_an_original_basic_block_is_its_formula_and_leaves_its_input_alone(channels, stride):
    x, block = torch.randn(4, 8, 6, 6, dtype=torch.float64), drawn(ShortcutBlock(8, channels, stride, option="B"))
    given = x.clone().requires_grad_()
    branch = bn(block.bn2, conv(block.conv2, bn(block.bn1, conv(block.conv1, x)).relu()))
    shortcut = x if stride == 1 else bn(block.projection[1], conv(block.projection[0], x))
    torch.testing.assert_close(block(given), (branch + shortcut).relu())
    assert torch.equal(given, x)


@pytest.mark.parametrize(("channels", "stride"), [(2, 1), (3, 1), (3, 2)])
def test_bottlenecks_are_their_formulas(channels, stride):
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    post, pre = drawn(Bottleneck(8, channels, stride)), drawn(PreActBottleneck(8, channels, stride))
    assert post.conv2.stride == pre.conv2.stride == (stride, stride)
    branch = bn(post.bn2, conv(post.conv2, bn(post.bn1, conv(post.conv1, x)).relu())).relu()
    shortcut = x if channels == 2 else bn(post.shortcut[1], conv(post.shortcut[0], x))
    torch.testing.assert_close(post(x), (bn(post.bn3, conv(post.conv3, branch)) + shortcut).relu())
    activated = bn(pre.bn1, x).relu()
    branch = conv(pre.conv2, bn(pre.bn2, conv(pre.conv1, activated)).relu())
    shortcut = x if channels == 2 else conv(pre.projection, activated)
    torch.testing.assert_close(pre(x), conv(pre.conv3, bn(pre.bn3, branch).relu()) + shortcut)


@pytest.mark.parametrize("block", [PreActBasicBlock, PreActBottleneck])
def test_a_preactivated_block_with_a_zero_branch_is_the_identity(block):
    x = torch.randn(2, 8, 5, 5)
    made = block(8, 8 // block.expansion)
    nn.init.zeros_((made.conv3 if block is PreActBottleneck else made.conv2).weight)
    assert torch.equal(made(x), x)


def test_an_original_bottleneck_with_a_zero_branch_is_relu():
    x = torch.randn(2, 8, 5, 5)
    block = Bottleneck(8, 2)
    nn.init.zeros_(block.bn3.weight)
    assert torch.equal(block(x), x.relu())


def test_projections_see_the_activated_input_and_the_first_unit_activates_before_it_splits():
    x = torch.randn(2, 4, 6, 6)
    wider, first = PreActBasicBlock(4, 8, 2), PreActBasicBlock(4, 4, before_split=True)
    nn.init.zeros_(wider.conv2.weight)
    nn.init.zeros_(first.conv2.weight)
    activated = F.batch_norm(x, None, None, training=True).relu()
    torch.testing.assert_close(wider(x), F.conv2d(activated, wider.projection.weight, stride=2))
    torch.testing.assert_close(first(x), activated)


def test_small_networks_run_and_learn_from_every_parameter():
    for net in (PreActResNet(PreActBottleneck, (1, 2, 1, 1), width=4), PreActResNet(PreActBasicBlock, (1, 1, 1, 1), width=4)):
        net(torch.randn(3, 3, 16, 16)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_highway_layer_is_its_formula_and_carries_x_when_the_gate_is_shut():
    layer, x = HighwayLayer(6, bias=0.0), torch.randn(5, 6)
    t = torch.sigmoid(F.linear(x, layer.gate.weight, layer.gate.bias))
    torch.testing.assert_close(layer(x), t * F.relu(F.linear(x, layer.transform.weight, layer.transform.bias)) + (1 - t) * x)
    torch.testing.assert_close(HighwayLayer(6, bias=-100.0)(x), x)


def test_the_original_order_is_the_residual_network_of_lesson_01():
    order, lesson = StackedOrderNet("original", range(2), n=2, width=4), StackedConvNet([Condition(skip=True)], range(2), n=2, width=4)
    torch.testing.assert_close(order(images(2)), lesson(images(2)))
    torch.testing.assert_close(StackedShortcutKinds("identity", range(2), n=2, width=4)(images(2)), lesson(images(2)))


@pytest.mark.parametrize("order", ORDERS)
def test_orders_of_a_seed_share_their_convolutions_and_networks_do_not_mix(order):
    original, net = StackedOrderNet("original", range(3), n=1, width=4), StackedOrderNet(order, range(3), n=1, width=4)
    for a, b in zip(original.units(), net.units()):
        assert torch.equal(a["conv1"].weight, b["conv1"].weight) and torch.equal(a["conv2"].weight, b["conv2"].weight)
    x = images(3).clone()
    before = net(x)
    x[0] += 1
    after = net(x)
    assert torch.equal(before[1:], after[1:]) and not torch.equal(before[0], after[0])


def test_a_shut_gate_is_the_identity_and_an_open_one_halves():
    def out(kind, **more):
        return StackedShortcutKinds(kind, range(2), n=2, width=4, **more)(images(2))

    torch.testing.assert_close(out("gate", bias=-60.0), out("identity"))
    net = StackedShortcutKinds("gate", range(2), n=2, width=4, bias=0.0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.weight)
    torch.testing.assert_close(net(images(2)), out("half"))


def test_relu_before_addition_never_lets_the_stream_fall():
    states = StackedOrderNet("relu_before", range(3), n=3, width=4).stream(images(3))
    pairs = [(a, b) for a, b in zip(states, states[1:]) if a.shape == b.shape]
    assert len(pairs) == 7 and all((b >= a).all() for a, b in pairs)


def test_the_shortcut_alone_passes_the_gradient_unchanged_where_nothing_follows_the_addition():
    for order in ORDERS:
        net, alone = (kind(order, range(2), n=3, width=4) for kind in (StackedOrderNet, ShortcutOnlyNet))
        states = alone.stream(images(2))
        torch.testing.assert_close(states[-1], net.stream(images(2))[-1])
        first, third = torch.autograd.grad(states[3].square().sum(), [states[0], states[3]])
        assert torch.equal(first, third) == (order in ("relu_before", "relu_only", "full"))


class TwoSeeds(InitialSignal):
    seeds_per_run = 2


def test_the_initial_signal_tells_the_orders_apart_on_seeds_the_lesson_does_not_show():
    result = TwoSeeds.run(depth=110, seed=5)
    growth, gradient = ({key: result.number(name, key) for key in ORDERS} for name in ("growth", "gradient"))
    for key in ORDERS:
        if key != "relu_before":
            assert growth["relu_before"].min() > 1.5 * growth[key].max()
        if key != "bn_after":
            assert 1.5 * growth["bn_after"].max() < growth[key].min()
            assert gradient["bn_after"].min() > 1.5 * gradient[key].max()
            assert result.number("shortcut", key).min() > 0.02
    assert result.number("shortcut", "bn_after").max() < 1e-3


def good_bottleneck(block, x):
    activated = F.relu(block.bn1(x))
    h = block.conv3(F.relu(block.bn3(block.conv2(F.relu(block.bn2(block.conv1(activated)))))))
    h = h + (block.projection(activated) if block.projection is not None else x)
    return h


def test_honest_variants_pass():
    checks.check_bottleneck(good_bottleneck)
    checks.check_simple_shortcut(lambda projection, x, out: projection(out) if projection else x)

    def with_if(projection, x, out):
        if projection is None:
            return x
        return projection(out)

    checks.check_simple_shortcut(with_if)
    checks.check_signals(
        lambda lambdas: torch.tensor(lambdas, dtype=torch.float64).prod(),
        lambda states: torch.tensor([bool((b - a).min() >= 0) for a, b in zip(states, states[1:])]).all(),
    )

    def by_copy(block, x):
        y = torch.empty_like(x).copy_(x)
        block(y)
        return (y != x).any()

    checks.check_mutates_input(by_copy)


@pytest.mark.parametrize("returned", [None, "텐서", 3.0])
def test_garbage_is_told_in_korean(returned):
    for check in (checks.check_bottleneck, checks.check_simple_shortcut, checks.check_mutates_input):
        with pytest.raises(NotYet, match="[가-힣]"):
            check(lambda *arguments: returned)
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_signals(lambda lambdas: returned if returned != 3.0 else "", lambda states: True)
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_signals(math.prod, lambda states: returned)


def test_a_network_that_is_no_network_is_told_in_korean():
    for answer in (lambda *arguments: None, lambda *arguments: nn.Linear(1, 1)):
        with pytest.raises(NotYet, match="[가-힣]"):
            checks.check_network(answer)


def test_mistakes_in_the_bottleneck_are_named():
    with pytest.raises(NotYet, match="그래디언트가 끊겼습니다"):
        checks.check_bottleneck(lambda block, x: good_bottleneck(block, x).detach())
    with pytest.raises(NotYet, match="투영을 부릅니다"):
        checks.check_bottleneck(lambda block, x: block.projection(x))
