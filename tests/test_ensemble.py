"""Lesson 04: lesions and path gradients against independent computations, the lesson's claims, and its checks."""

import copy
import itertools
import math

import pytest
import torch

from residual_lab import lesions, path_gradients
from residual_lab.blocks.resnet import ResNetCIFAR
from residual_lab.checks import ensemble as checks
from residual_lab.checks.base import NotYet
from residual_lab.data import load_digits
from residual_lab.experiments import ensemble, trained_networks
from residual_lab.training import Condition, StackedConvNet

SEEDS = range(2)


@pytest.fixture
def net():
    """A small stack whose BN statistics and scales are not those of the start."""
    stack = StackedConvNet([Condition(skip=True)], SEEDS, n=2, width=4)
    draw = torch.Generator().manual_seed(0)
    for module in stack.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
    return stack.eval()


@pytest.fixture
def one_seed(monkeypatch):
    """One seed, trained half as long as in the lesson: the claims hold there too."""
    monkeypatch.setattr(trained_networks, "EPOCHS", 6)
    for experiment in ensemble.EXPERIMENTS:
        monkeypatch.setattr(experiment, "seeds_per_run", 1)


def images(count=8):
    task = load_digits()
    return task.x_train[:count], task.y_train[:count]


def stacked(x):
    return x.expand(len(SEEDS), *x.shape)


@torch.no_grad()
def test_a_network_in_its_own_order_is_itself(net):
    x = stacked(images()[0])
    torch.testing.assert_close(lesions.Rearranged(net, lesions.trained_order(net))(x), net(x))


@torch.no_grad()
@pytest.mark.parametrize("block", range(6))
def test_a_removed_block_is_one_whose_branch_is_zero(net, block):
    x = stacked(images()[0])
    removed = lesions.Rearranged(net, lesions.without(net, [block]))(x)
    assert not torch.allclose(removed, net(x))
    last = net.stages[block // 2][block % 2]["bn2"]
    last.weight.zero_()
    last.bias.zero_()
    torch.testing.assert_close(removed, net(x))


@torch.no_grad()
def test_rearranging_never_changes_the_trained_network(net):
    before = copy.deepcopy(net.state_dict())
    for order in (lesions.without(net, [1]), ((1, 0), (0, 1), (0, 1))):
        lesions.error(net, order, load_digits(), reestimate=True)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module.training for module in net.modules())


@torch.no_grad()
def test_statistics_measured_anew_are_those_of_the_images(net):
    x = stacked(load_digits().x_train[:256])
    fresh = lesions.with_new_statistics(net, x)
    channels = net.stem(x.squeeze(2).transpose(0, 1))
    torch.testing.assert_close(fresh.stem_bn.running_mean, channels.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(fresh.stem_bn.running_var, channels.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert not fresh.training


def test_a_swap_keeps_every_block_and_moves_no_downsampling_block():
    stack = StackedConvNet([Condition(skip=True)], [0], n=4, width=2)
    order, draw = lesions.trained_order(stack), torch.Generator().manual_seed(3)
    for _ in range(30):
        new = lesions.swapped(stack, order, draw)
        assert new != order
        assert [sorted(stage) for stage in new] == [[0, 1, 2, 3]] * 3
        assert new[1][0] == new[2][0] == 0
        order = new


@pytest.mark.parametrize(("order", "tau"), [((0, 1, 2, 3), 1), ((3, 2, 1, 0), -1), ((2, 0, 3, 1), 0), ((1, 0, 2, 3), 2 / 3), ((1, 0), -1)])
def test_kendalls_tau(order, tau):
    assert lesions.kendall_tau(order) == pytest.approx(tau)


def input_gradient(net, x, y, taken=None):
    """The gradient at the first block's input; with ``taken``, only along that path."""
    h = start = net.enter(stacked(x)).detach().requires_grad_()
    for index, block in enumerate(b for stage in net.stages for b in stage):
        inside, past = lesions.branch(block, h), path_gradients.shortcut(net, block, h)
        if taken is not None:
            inside, past = (inside, past.detach()) if taken[index] else (inside.detach(), past)
        h = (inside + past).relu()
    torch.nn.functional.cross_entropy(net._classify(h).flatten(0, 1), y.repeat(len(SEEDS)), reduction="sum").div(len(y)).backward()
    return start.grad.unflatten(1, (len(SEEDS), -1))


def test_the_sums_by_length_are_those_of_all_paths_one_by_one(net):
    x, y = images(4)
    *_, sums = path_gradients.by_length(net, x, y)
    brute = [0] * 7
    for taken in itertools.product((0, 1), repeat=6):
        brute[sum(taken)] = brute[sum(taken)] + input_gradient(net, x, y, taken)
    torch.testing.assert_close(sums, torch.stack(brute), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(sums.sum(0), input_gradient(net, x, y), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(path_gradients.contributions(sums).sum(0), torch.ones(2))


@pytest.mark.parametrize("length", [0, 6])
def test_a_length_with_one_path_has_that_paths_norm(net, length):
    x, y = images(4)
    *_, sums = path_gradients.by_length(net, x, y)
    drawn = path_gradients.sampled_norms(net, x, y, length=length, paths=3, generator=torch.Generator().manual_seed(0))
    expected = sums[length].square().sum((2, 3, 4)).sqrt().mean(0)
    torch.testing.assert_close(drawn, expected.expand(3, -1), rtol=1e-3, atol=1e-7)


# Claims of the sources: Veit 2016, §3 and §5, as counted in the course's claims for 54 blocks.
def test_path_shares_of_the_110_layer_network():
    count = ensemble.binomial(54)
    assert count[19:36].sum().item() == pytest.approx(0.980166, abs=1e-6)
    assert count[5:18].sum().item() == pytest.approx(0.00453667, abs=1e-8)
    assert ensemble.binomial(54, 11 / 43)[5:18].sum().item() == pytest.approx(0.973553, abs=1e-6)
    assert ensemble.binomial(12).tolist() == pytest.approx([math.comb(12, k) / 4096 for k in range(13)])


def test_the_table_of_path_lengths():
    count, carried = ensemble.PathLengths.run(blocks=54, m=0.25).tables["final"]
    assert list(count[1:]) == ["27.0", "3.67", "20~34"]
    assert float(carried[1]) == pytest.approx(54 * 0.2, abs=0.05)


def test_a_network_is_trained_once_in_a_session_and_tells_the_same_again(one_seed):
    first = ensemble.Lesion.run(block=1)
    assert ensemble.Lesion.run(block=1).pictures() == first.pictures()
    assert ensemble.Lesion.run(block=9).pictures()["profiles"] == first.pictures()["profiles"]


# ---- checks


def mass(n, low, high, m=1.0):
    return sum(math.comb(n, k) * m**k for k in range(low, high + 1)) / (1 + m) ** n


@pytest.mark.parametrize("answer", [
    mass,
    lambda n, a, b: torch.tensor(mass(n, a, b)),
    lambda n, a, b: torch.distributions.Binomial(n, torch.tensor(0.5, dtype=torch.float64)).log_prob(torch.arange(a, b + 1).double()).exp().sum(),
], ids=["float", "float32", "torch"])
def test_any_way_to_count_paths_passes(answer):
    checks.check_path_mass(answer)


@pytest.mark.parametrize("answer", [
    lambda n, a, b: None, lambda n, a, b: "절반", lambda n, a, b: float("nan"), lambda n, a, b: 100 * mass(n, a, b),
    lambda n, a, b: {(54, 19, 35): 0.980166, (54, 5, 17): 0.00453667}.get((n, a, b), 0.5),
], ids=["nothing", "words", "nan", "percent", "table"])
def test_shares_that_are_none_are_told_in_korean(answer):
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_path_mass(answer)


def test_an_effective_factor_for_one_network_only_is_rejected():
    with pytest.raises(NotYet, match="effective_m"):
        checks.check_effective_m(lambda n, mean: 11 / 43, mass)


def brute_expansion(Js):
    sums = [torch.zeros_like(Js[0]) for _ in range(len(Js) + 1)]
    for taken in itertools.product((0, 1), repeat=len(Js)):
        product = torch.eye(len(Js[0]), dtype=Js[0].dtype)
        for J, goes in zip(Js, taken):
            product = J @ product if goes else product
        sums[sum(taken)] = sums[sum(taken)] + product
    return sums


@pytest.mark.parametrize("wrap", [list, tuple, torch.stack, lambda sums: [s.float() for s in sums]], ids=["list", "tuple", "tensor", "float32"])
def test_any_way_to_expand_passes(wrap):
    checks.check_expand_jacobian(lambda Js: wrap(brute_expansion(Js)))


@pytest.mark.parametrize(("answer", "said"), [
    (lambda Js: None, "리스트"),
    (lambda Js: [1.0] * (len(Js) + 1), "텐서여야"),
    (lambda Js: [J.mul_(1) * 0 for J in [Js[0]] * (len(Js) + 1)], "항등 행렬"),
    (lambda Js: brute_expansion([Js[0]] * len(Js)), "첫 행렬만"),
    (lambda Js: [Js.pop() for _ in range(1)] and brute_expansion(Js or [torch.eye(3).double()]), "바뀌었습니다"),
], ids=["nothing", "numbers", "zero", "first only", "popped"])
def test_wrong_expansions_are_named(answer, said):
    with pytest.raises(NotYet, match=said):
        checks.check_expand_jacobian(answer)


class Skipping(torch.nn.Module):
    """An honest other way: a module that leaves the block out when it runs."""

    def __init__(self, model, index):
        super().__init__()
        self.model, self.index = model, index

    def forward(self, x):
        return checks._run(self.model, x, without=self.index)


def refuse(model, index):
    n = len(model.stages[0])
    if not 0 <= index < 3 * n or (index and index % n == 0):
        raise ValueError("지울 수 없습니다")


def by_zero_branch(model, index):
    refuse(model, index)
    lesioned = copy.deepcopy(model)
    block = checks._blocks(lesioned)[index]
    block.bn2.weight.data.zero_()
    block.bn2.bias.data.zero_()
    return lesioned


def by_skipping(model, index):
    refuse(model, index)
    return Skipping(model, index).eval()


@pytest.mark.parametrize("answer", [by_zero_branch, by_skipping])
def test_any_way_to_delete_a_block_passes(answer):
    checks.check_delete_block(answer)


@pytest.mark.parametrize(("answer", "said"), [
    (lambda model, index: None, "망"),
    (lambda model, index: copy.deepcopy(model), "그대로 있습니다"),
    (lambda model, index: by_zero_branch(model, index).train(), "학습 모드"),
    (lambda model, index: ResNetCIFAR(n=len(model.stages[0]), width=4, in_channels=1).eval(), "다릅니다|그대로"),
], ids=["nothing", "whole", "training", "other"])
def test_wrong_deletions_are_named(answer, said):
    with pytest.raises(NotYet, match=said):
        checks.check_delete_block(answer)
