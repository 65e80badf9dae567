"""Lesson 09: the blocks against independent computations, dropped stacks against dense ones, the claims, and the checks."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from residual_lab.blocks.resnet import BasicBlock, ResNetCIFAR
from residual_lab.blocks.stochastic_depth import (
    StochasticDepth, StochasticDepthBlock, StochasticDepthResNet, drop_rates, linear_decay, poisson_binomial, stochastic_depth,
)
from residual_lab.checks import stochastic_depth as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.stochastic_depth import BlockPruning, DepthSchedule, StochasticTraining, removal_orders, scores, without
from residual_lab.training import Condition, StackedConvNet, fit, stacked_batches
from residual_lab.training.dropped import DroppedConvNet, DroppedMLP, Masks
from residual_lab.training.fit import cross_entropy
from residual_lab.training.stacked import affine

FRESH = 20


# Huang et al. 2016, §3: E = (3L − 1)/4 at p_L = 1/2, and the saving of §4; claims.md, tasks E9-1 and E9-2.
def test_linear_decay_has_the_papers_expected_depth():
    assert linear_decay(4, 0.5) == [0.875, 0.75, 0.625, 0.5]
    assert sum(linear_decay(54, 0.5)) == pytest.approx((3 * 54 - 1) / 4)
    for last, saved in ((0.5, 0.254630), (0.2, 0.407407)):
        assert 1 - sum(linear_decay(54, last)) / 54 == pytest.approx(saved, abs=1e-6)


def test_the_conventions_of_the_libraries_differ_as_the_lesson_says():
    assert drop_rates(4, 0.5, "timm") == pytest.approx(torch.linspace(0, 0.5, 4).tolist())
    assert 4 - sum(drop_rates(4, 0.5, "timm")) == pytest.approx(3.0)
    assert drop_rates(4, 0.5, "efficientnet") == [0, 0.125, 0.25, 0.375]
    assert drop_rates(1, 0.5, "timm") == [0]


def test_the_poisson_binomial_is_that_of_all_subnetworks():
    p = linear_decay(9, 0.3)
    counted = [0.0] * 10
    for mask in itertools.product((0, 1), repeat=9):
        counted[sum(mask)] += math.prod(q if b else 1 - q for b, q in zip(mask, p))
    assert poisson_binomial(p) == pytest.approx(counted, abs=1e-15)


@pytest.mark.parametrize("shape", [(4, 4, 1), (4, 8, 2)])
def test_the_block_is_the_basic_block_or_its_shortcut_in_training_and_scaled_in_evaluation(shape):
    torch.manual_seed(0)
    plain, x = BasicBlock(*shape), torch.randn(5, 4, 6, 6).relu()
    for survival, expected in ((1.0, plain(x)), (0.0, plain.shortcut(x).relu())):
        block = StochasticDepthBlock(*shape, survival=survival)
        block.load_state_dict(plain.state_dict())
        torch.testing.assert_close(block(x), expected)
        assert block.executed == survival
    plain.eval()
    block = StochasticDepthBlock(*shape, survival=0.3).eval()
    block.load_state_dict(plain.state_dict())
    branch = plain.bn2(plain.conv2(plain.bn1(plain.conv1(x)).relu()))
    torch.testing.assert_close(block(x), (0.3 * branch + plain.shortcut(x)).relu())


def test_a_dropped_branch_leaves_nothing_in_the_backward_pass():
    block = StochasticDepthBlock(4, 4, survival=0.0)
    block(torch.randn(2, 4, 5, 5).requires_grad_()).sum().backward()
    assert all(p.grad is None for p in block.parameters())


def test_blocks_survive_as_often_as_their_probability_says():
    torch.manual_seed(0)
    block, x = StochasticDepthBlock(1, 1, survival=0.3), torch.randn(1, 1, 2, 2)
    for _ in range(2000):
        block(x)
    assert block.executed / 2000 == pytest.approx(0.3, abs=0.04)


# He et al. 2015, table 6: 1.7M for 110 layers; dropping adds nothing (Huang et al. 2016).
def test_stochastic_depth_has_the_parameters_of_the_110_layer_resnet():
    for form in ("paper", "batch", "row"):
        shapes = [p.shape for p in StochasticDepthResNet(18, form=form).parameters()]
        assert shapes == [p.shape for p in ResNetCIFAR(18).parameters()]
    assert round(sum(s.numel() for s in shapes) / 1e6, 1) == 1.7


def test_only_the_papers_form_computes_fewer_branches():
    calls = dict.fromkeys(("paper", "batch", "row"), 0)
    for form in calls:
        torch.manual_seed(3)
        net = StochasticDepthResNet(3, last=0.2, form=form, width=2, in_channels=1)
        for stage in net.stages:
            for block in stage:
                block.conv1.register_forward_hook(lambda *_, form=form: calls.__setitem__(form, calls[form] + 1))
        for _ in range(10):
            net(torch.randn(2, 1, 8, 8)).sum().backward()
        if form == "paper":
            assert net.executed() == calls[form]
    assert calls["batch"] == calls["row"] == 90 > calls["paper"] + 15


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_library_function_is_a_mask_over_what_survives(mode, dtype):
    branch = torch.randn(6, 3, 2, dtype=dtype)
    given = branch.clone()
    y = stochastic_depth(branch, 0.25, mode, generator=torch.Generator().manual_seed(1))
    drawn = torch.rand(6 if mode == "row" else 1, dtype=dtype, generator=torch.Generator().manual_seed(1))
    for row in range(6):
        survives = drawn[row if mode == "row" else 0] >= 0.25
        torch.testing.assert_close(y[row], branch[row] / 0.75 if survives else torch.zeros(3, 2, dtype=dtype))
    assert torch.equal(branch, given) and y.dtype == dtype


def test_the_library_function_keeps_the_mean_and_has_its_variance():
    ones, g = torch.ones(4000, 1, dtype=torch.float64), torch.Generator().manual_seed(2)
    y = stochastic_depth(ones, 0.2, "row", generator=g)
    assert y.mean().item() == pytest.approx(1, abs=0.03) and y.var().item() == pytest.approx(0.2 / 0.8, abs=0.03)
    assert torch.equal(stochastic_depth(ones, 0.2, "row", training=False), ones)
    assert torch.equal(stochastic_depth(ones, 0, "batch"), ones) and not stochastic_depth(ones, 1, "row").any()
    assert torch.equal(StochasticDepth(0.9, "row").eval()(ones), ones)


@pytest.mark.parametrize(("p", "mode", "said"), [(1.5, "row", "0과 1"), (-0.1, "batch", "0과 1"), (0.5, "sample", "batch, row")])
def test_impossible_drops_are_refused(p, mode, said):
    with pytest.raises(ValueError, match=said):
        StochasticDepth(p, mode)


SCHEDULES, SEEDS = [[1.0] * 3, linear_decay(3, 0.2)], [0, 4]


def stack_of(kind, schedules=SCHEDULES, seeds=SEEDS, row=False):
    if kind == "mlp":
        return DroppedMLP(schedules, seeds, depth=6, sizes=(7, 8, 3), row=row)
    return DroppedConvNet(schedules, seeds, n=1, width=2, classes=3, row=row)


def inputs_of(kind, networks=4, batch=16):
    g = torch.Generator().manual_seed(9)
    x = torch.randn(batch, 7, generator=g) if kind == "mlp" else torch.randn(batch, 1, 8, 8, generator=g)
    return x.expand(networks, *x.shape), torch.randint(3, (batch,), generator=g).expand(networks, -1)


def dense(model, kept, x):
    """The training-mode forward pass that computes every branch and multiplies it with its mask."""
    if isinstance(model, DroppedMLP):
        first, *inner, last = model.layers
        h = affine(x, first).relu()
        for index, pair in enumerate(zip(inner[0::2], inner[1::2])):
            h = model._whole(pair, h, kept[:, index].float().unsqueeze(2))
        return affine(h, last)
    h = model.enter(x)
    for index, [block] in enumerate(model.stages):
        h = model._whole(block, h, kept[:, index].float().view(1, -1, 1, 1, 1))
    return model._classify(h)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_what_is_not_computed_would_have_changed_nothing(kind):
    model, twin, (x, y) = stack_of(kind), stack_of(kind), inputs_of(kind)
    with torch.no_grad():
        for p, q in zip(model.parameters(), twin.parameters()):
            q.copy_(p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))))
    for _ in range(4):
        for network in (model, twin):
            network.zero_grad()
        kept = twin.masks.draw(16)
        cross_entropy(model(x), y).sum().backward()
        cross_entropy(dense(twin, kept, x), y).sum().backward()
        for p, q in zip(model.parameters(), twin.parameters()):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.masks.executed, twin.masks.executed)
    assert not kept[2:].all()


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("row", [False, True])
def test_a_dropped_stack_trains_like_each_of_its_networks_alone(kind, row):
    def losses(schedules, seeds):
        g = torch.Generator().manual_seed(3)
        data = torch.randn(64, 7, generator=g) if kind == "mlp" else torch.randn(64, 1, 8, 8, generator=g)
        labels = torch.randint(3, (64,), generator=g)
        batches = stacked_batches(data, labels, conditions=len(schedules), seeds=seeds, batch=16, steps=6)
        model = stack_of(kind, schedules, seeds, row)
        return torch.stack([step.losses for step in fit(model, batches, steps=6, lr=0.05)]), model

    together, stack = losses(SCHEDULES, SEEDS)
    for column, (schedule, seed) in enumerate(itertools.product(SCHEDULES, SEEDS)):
        alone, single = losses([schedule], [seed])
        torch.testing.assert_close(together[:, column], alone[:, 0], rtol=2e-3, atol=1e-4)
        assert stack.masks.executed[column] == single.masks.executed[0]


def test_batch_norm_counts_only_the_networks_that_keep_a_block():
    model, (x, _) = stack_of("conv", [[1.0, 0.0, 1.0]], SEEDS), inputs_of("conv", networks=2)
    model(x)
    changed = [bool(block["bn1"].running_mean.any()) for [block] in model.stages]
    assert changed == [True, False, True]


def test_the_dropped_convnet_in_evaluation_is_the_papers_network():
    stack, (x, _) = DroppedConvNet([linear_decay(3, 0.5)], [7], n=1, width=4), inputs_of("conv", networks=1)
    for _ in range(3):
        stack(x)
    single = StochasticDepthResNet(1, width=4, in_channels=1)
    own = {name: value for name, value in stack.state_dict().items() if not name.startswith(("skip", "head"))}
    renamed = dict(zip([name for name in single.state_dict() if not name.startswith("head")], own.values()))
    single.load_state_dict({**renamed, "head.weight": stack.head[0].T, "head.bias": stack.head_bias[0, 0]})
    torch.testing.assert_close(stack.eval()(x)[0], single.eval()(x[0]), rtol=1e-4, atol=1e-5)


def test_a_stack_that_drops_nothing_is_the_stack_of_lesson_01():
    x, _ = inputs_of("conv", networks=2)
    nothing = DroppedConvNet([[1.0] * 3], SEEDS, n=1, width=2, classes=3)
    torch.testing.assert_close(nothing(x), StackedConvNet([Condition(skip=True)], SEEDS, n=1, width=2, classes=3)(x))


def test_masks_of_one_seed_differ_only_by_their_probabilities():
    masks = Masks([[0.8] * 6, [0.3] * 6], range(3))
    for _ in range(30):
        often, seldom = masks.draw(1)[..., 0].chunk(2)
        assert (often >= seldom).all()
    assert masks.executed[:3].float().mean() / 180 == pytest.approx(0.8, abs=0.08)
    with pytest.raises(ValueError, match="블록 수"):
        Masks([[0.5], [0.5, 0.5]], [0])


def test_scores_remove_and_rescale_and_put_everything_back():
    model, (x, y) = stack_of("mlp", [[0.5] * 3], SEEDS), inputs_of("mlp", networks=1)
    with torch.no_grad():
        for weight in model.weights:
            weight.add_(0.3)
    none, _ = scores(model, x[0], y[0], keep=torch.zeros(3))
    first, *_, last = model.layers
    h = affine(x.expand(2, -1, -1), first).relu()
    torch.testing.assert_close(none, cross_entropy(affine(h, last), y.expand(2, -1)))
    assert not torch.allclose(scores(model, x[0], y[0])[0], scores(model, x[0], y[0], rescale=False)[0])
    assert torch.equal(model.factors, model.masks.survival)


def test_blocks_are_removed_as_the_orders_say():
    assert removal_orders("even")[0](8) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert removal_orders("last")[0](2) == [14, 15] and without(4, [1]).tolist() == [1, 0, 1, 1]
    for order in ("even", "random", "last"):
        for choose in removal_orders(order):
            assert all(len(set(choose(count))) == count for count in range(16))


@pytest.mark.parametrize("settings", [dict(blocks=54, last=0.5), dict(blocks=12, last=0.2, rule="uniform")], ids=str)
def test_sampled_depths_follow_the_exact_distribution(settings):
    result = DepthSchedule.run(**settings)
    found, [expected] = result.number("depth", "drawn"), result.numbers["depth"]["expected"]
    assert (found - expected).abs().max() < 0.3
    depth = result.profiles["depth"]
    assert max(abs(a - b) for a, b in zip(depth["exact"], depth["drawn"])) < 0.02


class FewMasks(DepthSchedule):
    steps = DepthSchedule.slice


# A path takes block l with probability p_l/2: the mixture of binomials over the depth (lesson 04's paths).
def test_the_path_lengths_are_a_mixture_over_the_depths():
    p = linear_decay(54, 0.5)
    depth, path = poisson_binomial(p), FewMasks.run(blocks=54).profiles["path"]["dropped"]
    mixture = [sum(depth[s] * math.comb(s, k) * 0.5**s for s in range(k, 55)) for k in range(1, 55)]
    assert path == pytest.approx(mixture, abs=1e-12)
    assert sum(k * q for k, q in enumerate(path, 1)) == pytest.approx(40.25 / 2)


def test_dropping_helps_where_everything_is_learnt_by_heart():
    numbers = StochasticTraining.run(task="small", steps=300, seed=FRESH).numbers
    loss, error = numbers["test_loss"], numbers["train_error"]
    assert max(error["full"]) < 1 and max(error["dropped"]) < 2
    assert all(d < f - 0.02 for d, f in zip(loss["dropped"], loss["full"]))
    assert all(r > d + 0.05 for r, d in zip(loss["raw"], loss["dropped"]))
    assert sum(numbers["executed"]["dropped"]) / 5 == pytest.approx((3 * 16 - 1) / 4 / 16, abs=0.02)
    assert numbers["executed"]["full"] == [1.0] * 5


def test_dropping_hurts_where_there_is_still_much_to_learn():
    numbers = StochasticTraining.run(task="fashion", steps=300, seed=FRESH).numbers
    loss, train = numbers["test_loss"], numbers["train_error"]
    assert min(train["full"]) > 10 and sum(train["dropped"]) > sum(train["full"])
    assert all(d > f for d, f in zip(loss["dropped"], loss["full"]))


class ShorterPruning(BlockPruning):
    steps = 300


def test_a_network_that_was_trained_without_its_blocks_can_lose_them():
    numbers = ShorterPruning.run(seed=FRESH).numbers
    eight = numbers["8"]
    assert all(full > uniform + 1 for full, uniform in zip(eight["full"], eight["uniform"]))
    assert sum(eight["full"]) > sum(eight["linear"]) + 5 * 0.5 > sum(eight["uniform"]) + 5 * 1
    assert sum(eight["uniform"]) - sum(numbers["0"]["uniform"]) < 5 * 3


def honest_block(x, branch, survival, training):
    if not training:
        return F.relu(x + survival * branch(x))
    return F.relu(x + branch(x) if bool(torch.rand(1) < survival) else x)


def honest_drop(branch, p, mode, training):
    return stochastic_depth(branch, p, mode, training)


def polynomial(p):
    chances = torch.ones(1, dtype=torch.float64)
    for q in p:
        chances = torch.cat([chances * (1 - q), torch.zeros(1)]) + torch.cat([torch.zeros(1), chances * q])
    return chances


@pytest.mark.parametrize(("check", "answers"), [
    (checks.check_schedules, [lambda L, p: 1 - torch.arange(1, L + 1) / L * (1 - p), lambda L, r: 1 - torch.linspace(0, r, L)]),
    (checks.check_depth_distribution, [polynomial]),
    (checks.check_depth_distribution, [lambda p: tuple(poisson_binomial(p))]),
    (checks.check_average_output, [lambda fs, p, x: checks._average(fs, p, x.float().double())]),
    (checks.check_block_step, [honest_block]),
    (checks.check_drop_path, [honest_drop]),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answers):
    check(*answers)


def schedules(L, last):
    return linear_decay(L, last)


def from_timm(L, rate):
    return [1 - r for r in drop_rates(L, rate, "timm")]


@pytest.mark.parametrize(("check", "answers", "said"), [
    (checks.check_schedules, [lambda L, p: None, from_timm], "return"),
    (checks.check_schedules, [lambda L, p: [0.875, 0.75, 0.625, 0.5], from_timm], "54개"),
    (checks.check_schedules, [lambda L, p: [1.0] * L if L > 54 else [p] * L, from_timm], "모든 블록이 같습니다"),
    (checks.check_schedules, [schedules, lambda L, r: drop_rates(L, r, "timm")], "드롭 확률을 돌려주었습니다"),
    (checks.check_schedules, [schedules, lambda L, r: [1 - v for v in drop_rates(L, r, "efficientnet")]], "L로 나누었습니다"),
    (checks.check_depth_distribution, [lambda p: p.clear() or [1.0]], "개를 돌려주어야|바뀌었습니다"),
    (checks.check_depth_distribution, [lambda p: [float("nan")] * (len(p) + 1)], "유한한"),
    (checks.check_depth_distribution, [lambda p: poisson_binomial(p)[1:]], "2개를"),
    (checks.check_average_output, [lambda fs, p, x: None], "텐서를"),
    (checks.check_average_output, [lambda fs, p, x: x.mul_(2)], "바뀌었습니다"),
    (checks.check_average_output, [lambda fs, p, x: checks._average(fs, [1 - q for q in p], x)], "바꾸어 썼습니다"),
    (checks.check_block_step, [lambda x, f, s, t: x + f(x)], "ReLU|다릅니다|곱하지"),
    (checks.check_block_step, [lambda x, f, s, t: (x + f(x) * (torch.rand(len(x), 1) < s if t else s)).relu()], "표본마다|불렀습니다"),
    (checks.check_block_step, [lambda x, f, s, t: x.relu() if t else (x + s * f(x)).relu()], "새로 뽑으세요|살아남았습니다"),
    (checks.check_drop_path, [lambda b, p, m, t: b], "모두 0"),
    (checks.check_drop_path, [lambda b, p, m, t: b * (1 - p) if t else b], "한 번도"),
    (checks.check_drop_path, [lambda b, p, m, t: stochastic_depth(b, p, "row", t)], "batch"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answers, said):
    with pytest.raises(NotYet, match=said):
        check(*answers)
