"""Lesson 03: the probes against independent computations, the lesson's claims, and the checks of its exercise."""

import math

import numpy as np
import pytest
import torch

from residual_lab import probes
from residual_lab.checks import gradient_flow as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.gradient_flow import (
    GradientByLayer, ScalarChain, ShatteredGradients, SingularFan, carriers, fan, shattered_product, shattered_theory,
)

GROUPS = pytest.mark.parametrize("seed", [0, 10])


def chain(depth=6, width=8, seeds=(0, 1), init="he", **form):
    return probes.Chain(probes.draw_weights(init, depth=depth, width=width, seeds=seeds), **form)


def through(network, h):
    for index in range(len(network.weights)):
        h = network.layer(index, h)
    return h


FORMS = [dict(skip=skip, scale=0.5, activation=activation, norm=norm)
         for skip in (True, False) for activation in ("relu", "tanh") for norm in ("none", "batch", "fixed")]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_walking_back_layer_by_layer_is_autograd_through_the_whole_network(form):
    network = chain(**form)
    x, v = (probes.gaussian(5, 8, seeds=(0, 1), offset=offset) for offset in (1, 2))
    gradients = list(network.back(network.states(x), v))
    h = x.requires_grad_()
    assert len(gradients) == 6
    torch.testing.assert_close(gradients[-1], torch.autograd.grad(through(network, h), h, v)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_bound_bounds_what_a_branch_does_to_any_gradient(form):
    network = chain(depth=1, **form)
    x, v = (probes.gaussian(5, 8, seeds=(0, 1), offset=offset) for offset in (1, 2))
    h = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.branch(0, h), h, v)
    factor = network.scale if network.skip else 1.0
    ratio = factor * probes.norms(gradient) / probes.norms(v)
    assert (ratio <= network.bound(0, x)).all() and (ratio > 0.02 * network.bound(0, x)).all()


def test_the_jacobian_is_torchs():
    network = chain(scale=0.3)
    x = probes.gaussian(1, 8, seeds=(0, 1), offset=3)
    of_seed_1 = torch.autograd.functional.jacobian(lambda row: network.layer(2, torch.stack([x[0], row[None]]))[1, 0], x[1, 0])
    torch.testing.assert_close(network.jacobian(2, x)[1], of_seed_1)


def test_batch_norm_is_torchs_and_fixing_its_statistics_changes_only_the_gradient():
    h = probes.gaussian(7, 4, seeds=[0], offset=4)
    layer = torch.nn.BatchNorm1d(4, eps=1e-12, affine=False).double()
    for norm in ("batch", "fixed"):
        torch.testing.assert_close(probes.normalised(h, norm)[0], layer(h[0]))
    sums = {}
    for norm in ("batch", "fixed"):
        x = h.clone().requires_grad_()
        sums[norm] = torch.autograd.grad(probes.normalised(x, norm), x, probes.gaussian(7, 4, seeds=[0], offset=5))[0].sum(1).abs().max()
    assert sums["batch"] < 1e-12 < 0.1 < sums["fixed"]


@pytest.mark.parametrize(("init", "variance"), [("he", 2), ("xavier", 1), ("default", 1 / 3), ("orthogonal", 1)])
def test_weights_have_the_variance_of_their_name(init, variance):
    [w] = probes.draw_weights(init, depth=1, width=100, seeds=[0])
    assert w.var().item() * 100 == pytest.approx(variance, rel=0.05)
    if init == "orthogonal":
        torch.testing.assert_close(w[0] @ w[0].T, torch.eye(100, dtype=w.dtype))


def test_the_correlation_is_that_of_pairs():
    g = probes.gaussian(4, 9, seeds=[0, 1], offset=6) + 0.5
    inner = torch.einsum("kid,kjd->kij", g, g)
    pairs = torch.stack([inner[:, i, j] for i in range(4) for j in range(4) if i != j]).mean(0)
    torch.testing.assert_close(probes.correlation(g), pairs / inner.diagonal(dim1=1, dim2=2).mean(1))


# Closed forms of claims.md, tasks E3-1 and E3-4.
def test_scalar_chains_vanish_and_explode_with_shortcuts():
    for slope, depth, expected in ((-0.1, 100, 2.656e-5), (0.1, 100, 13780.61), (-0.9, 20, 1e-20), (-0.5, 50, 0.5**50)):
        result = ScalarChain.run(slope=slope, depth=depth, spread=0.0).number("gradient", "residual")
        assert result.tolist() == pytest.approx([expected] * 5, rel=1e-3)
    assert not ScalarChain.run(slope=-1.0, spread=0.0).number("gradient", "residual").any()


@GROUPS
def test_which_networks_vanish_explode_and_keep_their_gradients(seed):
    def log_ratio(**settings):
        return GradientByLayer.run(depth=56, seed=seed, **settings).number("log_ratio", "gradient")

    assert (log_ratio(skip="plain", init="default") < -20).all()
    assert (log_ratio(skip="plain").abs() < 1.3).all()
    assert (log_ratio(skip="plain", norm="batch") > 4.2).all()
    assert (log_ratio(skip="residual") > 7).all()
    assert (log_ratio(skip="sqrt") - 28 * math.log10(1 + 1 / 56)).abs().max() < 0.05


@pytest.mark.parametrize(("skip", "norm", "factor"), [("residual", "none", 2), ("plain", "batch", math.pi / (math.pi - 1))])
def test_explosions_have_the_rate_that_the_lesson_derives(skip, norm, factor):
    for depth in (56, 200):
        found = GradientByLayer.run(depth=depth, skip=skip, norm=norm).number("log_ratio", "gradient")
        assert (found / (depth / 2 * math.log10(factor)) - 1).abs().max() < 0.13


@pytest.mark.parametrize("settings", [dict(skip="sqrt"), dict(skip="inverse", norm="batch"), dict(skip="residual", activation="tanh"), dict(skip="plain")], ids=str)
def test_gradients_stay_between_the_bounds(settings):
    result = GradientByLayer.run(depth=20, **settings)
    size = result.curve("gradient", "gradient")
    assert (size <= result.curve("gradient", "upper")).all()
    has_lower = settings["skip"] in ("sqrt", "inverse")
    assert ("lower" in result.curves["gradient"]) == has_lower
    if has_lower:
        assert (size >= result.curve("gradient", "lower")).all()


@GROUPS
def test_the_norm_hides_what_the_fan_shows(seed):
    tanh, scaled = (SingularFan.run(kind=kind, seed=seed).numbers for kind in ("tanh", "sqrt"))
    assert min(tanh["log_value"]["rms"]) > -1.6 and max(tanh["log_value"].get("median", [-11])) < -8 and "smallest" not in tanh["log_value"]
    assert max(tanh["directions"]["carriers"]) <= 5 and min(scaled["directions"]["carriers"]) > 15
    assert min(scaled["log_value"]["smallest"]) > -0.9 and max(scaled["log_value"]["largest"]) < 0.9
    orthogonal = SingularFan.run(kind="orthogonal").numbers["log_value"]
    assert max(abs(value) for values in orthogonal.values() for value in values) < 1e-12


def test_values_that_are_rounding_are_left_out_and_carriers_are_counted():
    values = torch.full((2, 64), 0.5, dtype=torch.float64)
    values[:, 0], values[1, 50:] = 1.0, 1e-13
    found = fan(values)
    assert set(found) == {"largest", "rms", "high", "median"} and found["median"].tolist() == [0.5, 0.5]
    assert found["rms"][0].item() == pytest.approx(math.sqrt((1 + 63 / 4) / 64))
    squares = torch.tensor([[4.0, 3.0, 2.0, 1.0], [9.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    assert carriers(squares.sqrt(), 0.85).tolist() == [3, 1]


@GROUPS
def test_masks_follow_the_products(seed):
    numbers = ShatteredGradients.run(mode="mask", deepest=16, seed=seed).numbers
    for kind in ("plain", "residual", "residual_bn"):
        for depth in (4, 16):
            mean = sum(numbers[str(depth)][kind]) / 5
            assert mean == pytest.approx(shattered_theory(kind, depth), abs=0.06)


def test_the_product_is_near_its_closed_form_and_falls_with_the_power_that_the_lesson_names():
    for beta, depth in ((1.0, 16), (0.3, 64), (0.1, 64)):
        assert 1 < shattered_product(depth, beta) / (1 + beta**2 * depth) ** -0.5 < 1.13
    for added in (1.0, 1 - 1 / math.pi):
        slope = math.log2(shattered_product(8000, added=added) / shattered_product(4000, added=added))
        assert slope == pytest.approx(-1 / (2 * added), rel=0.01)


@GROUPS
def test_real_networks_shatter_as_the_lesson_says(seed):
    found = ShatteredGradients.run(mode="fixed", deepest=64, seed=seed).numbers
    for depth, row in found.items():
        assert row["plain_bn"] == pytest.approx([0.5 ** int(depth)] * 5, abs=0.06)
    assert max(found["16"]["plain_bn"]) < 0.03
    assert sum(found["64"]["residual_bn"]) > 0.25 * sum(found["16"]["residual_bn"])
    assert min(found["16"]["plain"]) > 100 * 0.5**16 and sum(found["16"]["residual"]) / 5 > 4 * 0.75**16
    for depth in (16, 64):
        mean, corrected = sum(found[str(depth)]["residual_bn"]) / 5, shattered_product(depth, added=1 - 1 / math.pi)
        assert abs(mean - corrected) < abs(mean - shattered_product(depth))


@GROUPS
def test_masks_overlap_more_and_more_without_batch_norm(seed):
    seeds = range(seed, seed + 5)
    x = probes.gaussian(32, 128, seeds=seeds, offset=700_000)
    for skip in (False, True):
        for norm in ("none", "fixed"):
            states = chain(32, 128, seeds, skip=skip, norm=norm).states(x)
            first, last = (probes.both_on(states[index], norm) for index in (0, 31))
            assert (first - 0.25).abs().max() < 0.03
            assert (last > 0.3).all() if norm == "none" else ((last - 0.25).abs() < 0.03).all()


def test_both_on_counts_pairs():
    h = probes.gaussian(4, 3, seeds=[0, 1], offset=8)
    pairs = torch.stack([((h[:, i] > 0) & (h[:, j] > 0)).double().mean(1) for i in range(4) for j in range(4) if i != j]).mean(0)
    torch.testing.assert_close(probes.both_on(h), pairs)


def test_forgetting_to_fix_the_statistics_gives_a_flat_line():
    numbers = ShatteredGradients.run(mode="batch", deepest=16).numbers
    for found in numbers.values():
        assert found["plain_bn"] == pytest.approx([-1 / 31] * 5, abs=1e-10)


@GROUPS
def test_gradients_along_a_line_are_white_only_in_the_plain_network_with_batch_norm(seed):
    seeds = range(seed, seed + 5)
    lag = {
        (skip, norm): probes.lag_one(probes.along_a_line(chain(50, 128, seeds, skip=skip, norm=norm), seeds, width=128))
        for skip in (True, False) for norm in ("none", "fixed")
    }
    assert lag[False, "fixed"].abs().max() < 0.25
    assert min(lag[False, "none"].min(), lag[True, "none"].min(), lag[True, "fixed"].min()) > 0.25


def test_the_derivative_along_a_line_is_a_difference_quotient():
    network = chain(2, 16, [0], activation="tanh", scale=0.5)
    fine = probes.along_a_line(network, [0], width=16, points=4001)
    u, b, v = probes.gaussian(3, 16, seeds=[0], offset=900_000).split(1, dim=1)
    [w] = probes.draw_weights("he", depth=1, width=16, seeds=[500_000])
    t = torch.linspace(-2, 2, 4001, dtype=torch.float64).view(1, -1, 1)
    y = (through(network, (t * u + b).relu() @ w) * v).sum(2)
    slopes = (y[:, 1:] - y[:, :-1]) / (4 / 4000)
    assert ((slopes - (fine[:, 1:] + fine[:, :-1]) / 2).abs() < 1e-3).double().mean() > 0.99


def shatter(variances, beta, skip):
    gains = beta**2 / torch.as_tensor(variances)
    return ((float(skip) + gains / 2) / (float(skip) + gains)).prod()


def variances_of(L, beta):
    return torch.arange(L) * beta**2 + 1


def through_all(blocks, x, v):
    """The gradients by autograd through the whole network at once."""
    states = checks._states(blocks, x)
    return list(torch.autograd.grad(states[-1], states, v))


def carried(step):
    """An answer to task 3-3 that goes back with its own step(J, g)."""
    def carry_back(blocks, x, v):
        points, gradients = [state.detach() for state in checks._states(blocks, x)], [v]
        for block, point in reversed(list(zip(blocks, points))):
            gradients.insert(0, step(torch.autograd.functional.jacobian(block, point), gradients[0]))
        return gradients
    return carry_back


def through_matrices(blocks, x, v):
    return torch.stack([torch.func.jacrev(lambda h: checks._states(blocks[i:], h)[-1])(state).T @ v for i, state in enumerate(checks._states(blocks, x))])


def norm_bounds(eps, n):
    return (0.0 if eps >= 1 else (1 - eps) ** n), (1 + eps) ** n


@pytest.mark.parametrize(("check", "answers"), [
    (checks.check_scalar_chain, [lambda f, r: torch.tensor([float(r) + v for v in f], dtype=torch.float64).prod()]),
    (checks.check_scalar_chain, [lambda f, r: torch.prod(torch.tensor(f) + float(r))]),
    (checks.check_cancelling_branch, [lambda x: 3 - x, lambda e, n: [max(0, 1 - e) ** n, (1 + e) ** n]]),
    (checks.check_cancelling_branch, [lambda x: x - 2 * x, lambda e, n: torch.tensor(norm_bounds(e, n))]),
    (checks.check_cancelling_branch, [lambda x: -x, lambda e, n: np.array(norm_bounds(e, n))]),
    (checks.check_carry_back, [through_all]),
    (checks.check_carry_back, [carried(lambda j, g: (torch.eye(len(g)) + j).T @ g)]),
    (checks.check_carry_back, [carried(lambda j, g: g @ j + g)]),
    (checks.check_shatter_corr, [variances_of, shatter]),
    (checks.check_shatter_corr, [lambda L, b: tuple(variances_of(L, b).tolist()), lambda v, b, s: shatter(v, b, s).item()]),
    (checks.check_fixed_batch_norm, [lambda h: (h - h.mean(0).detach()) / (h.var(0, unbiased=False) + 1e-5).sqrt().detach()]),
    (checks.check_fixed_batch_norm, [lambda h: probes.normalised(h[None], "fixed")[0]]),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answers):
    check(*answers)


def low_precision(blocks, x, v):
    return [g.float() for g in through_all(blocks, x, v)]


def forward_differences(blocks, x, v):
    def whole(i):
        def column(h, k):
            return (checks._states(blocks[i:], h + 1e-7 * torch.eye(len(h), dtype=h.dtype)[k])[-1] - checks._states(blocks[i:], h)[-1]) / 1e-7
        return column
    states = [state.detach() for state in checks._states(blocks, x)]
    return [torch.stack([whole(i)(state, k) @ v for k in range(len(v))]).detach() for i, state in enumerate(states)]


def summed(blocks, x, v):
    points, gradients = [state.detach() for state in checks._states(blocks, x)], [v]
    for block, point in reversed(list(zip(blocks, points))):
        gradients.insert(0, gradients[0] + torch.autograd.functional.jacobian(block, point).T @ v)
    return gradients


def without_shortcut(blocks, x, v):
    points = [x]
    for block in blocks:
        points.append(block(points[-1]))
    gradients = [v]
    for block, point in reversed(list(zip(blocks, points))):
        gradients.insert(0, gradients[0] + torch.autograd.functional.jacobian(block, point).T @ gradients[0])
    return gradients


@pytest.mark.parametrize(("check", "answers", "said"), [
    (checks.check_scalar_chain, [lambda f, r: None], "아무것도"),
    (checks.check_scalar_chain, [lambda f, r: f.pop()], "바뀌었습니다"),
    (checks.check_scalar_chain, [lambda f, r: "많이"], "수 하나를"),
    (checks.check_cancelling_branch, [lambda x: None, norm_bounds], "텐서로"),
    (checks.check_cancelling_branch, [lambda x: x, norm_bounds], "부호"),
    (checks.check_cancelling_branch, [lambda x: -x.sum(0), norm_bounds], "모양"),
    (checks.check_cancelling_branch, [lambda x: -0.5 * x, norm_bounds], "0이 아닙니다"),
    (checks.check_cancelling_branch, [lambda x: -x, lambda e, n: 0.5], "두 수를"),
    (checks.check_cancelling_branch, [lambda x: -x, lambda e, n: norm_bounds(e, n)[::-1]], "순서"),
    (checks.check_scalar_chain, [lambda f, r: math.prod((1 - v if r else v) for v in f)], "1 − f′을"),
    (checks.check_cancelling_branch, [torch.zeros_like, norm_bounds], "F = 0이면"),
    (checks.check_cancelling_branch, [lambda x: -x.detach(), norm_bounds], "detach"),
    (checks.check_cancelling_branch, [lambda x: -x, lambda e, n: (math.exp(-n * e), math.exp(n * e))], "어림이고"),
    (checks.check_carry_back, [lambda blocks, x, v: None], "리스트를"),
    (checks.check_carry_back, [lambda blocks, x, v: [1.0]], "텐서를"),
    (checks.check_carry_back, [lambda blocks, x, v: through_all(blocks, x, v)[:-1]], "출력의 v도"),
    (checks.check_carry_back, [lambda blocks, x, v: through_all(blocks, x, v)[:1]], "1개입니다|출력의 v도"),
    (checks.check_carry_back, [lambda blocks, x, v: [x[:2]] * (len(blocks) + 1)], "모양"),
    (checks.check_carry_back, [low_precision], "float32"),
    (checks.check_carry_back, [forward_differences], "차분"),
    (checks.check_carry_back, [carried(lambda j, g: (1 + j).T @ g)], "수 1을"),
    (checks.check_carry_back, [carried(lambda j, g: (torch.eye(len(g)) + j).T * g)], "`@`"),
    (checks.check_carry_back, [carried(lambda j, g: torch.eye(len(g)) @ g + j.T @ g)], "자료형"),
    (checks.check_carry_back, [summed], "ΣJ"),
    (checks.check_carry_back, [without_shortcut], "지름길을 빠뜨렸습니다"),
    (checks.check_carry_back, [lambda blocks, x, v: (blocks.pop(), [v, v])[1]], "바뀐"),
    (checks.check_shatter_corr, [lambda L, b: 1.0, shatter], "리스트를"),
    (checks.check_shatter_corr, [lambda L, b: [1 + b * l for l in range(L)], shatter], "제곱하지"),
    (checks.check_shatter_corr, [lambda L, b: [(1 + b * b) ** l for l in range(L)], shatter], "더합니다"),
    (checks.check_shatter_corr, [variances_of, lambda v, b, s: {}[s]], "오류가 났습니다"),
    (checks.check_shatter_corr, [variances_of, lambda v, b, s: [0.5]], "수 하나를"),
    (checks.check_shatter_corr, [variances_of, lambda v, b, s: shatter(v, 1.0, s)], "β를 쓰지"),
    (checks.check_shatter_corr, [variances_of, lambda v, b, s: shatter(v, b, False)], "지름길을"),
    (checks.check_shatter_corr, [variances_of, lambda v, b, s: shatter(v, b, True)], "skip=False"),
    (checks.check_fixed_batch_norm, [lambda h: (h.detach() - h.mean(0)) / h.std(0, unbiased=False).detach()], "분자의"),
    (checks.check_fixed_batch_norm, [lambda h: None], "텐서를"),
    (checks.check_fixed_batch_norm, [lambda h: h.detach().clone().requires_grad_()], "순전파"),
    (checks.check_fixed_batch_norm, [lambda h: h - h.mean(0).detach()], "순전파"),
    (checks.check_fixed_batch_norm, [lambda h: (h - h.mean(0)) / h.std(0, unbiased=False).detach()], "더하면 0"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answers, said):
    with pytest.raises(NotYet, match=said):
        check(*answers)
