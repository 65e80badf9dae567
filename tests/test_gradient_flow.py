"""Lesson 03: the probes against independent computations, the lesson's claims, and the checks of its exercise."""

import math

import pytest
import torch

from residual_lab import probes
from residual_lab.checks import gradient_flow as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.gradient_flow import (
    GradientByLayer, ScalarChain, ShatteredGradients, SingularFan, shattered_theory, shattered_with_batch_variance,
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
    tanh, scaled = (SingularFan.run(kind=kind, seed=seed).numbers["log_value"] for kind in ("tanh", "sqrt"))
    assert min(tanh["rms"]) > -1.6 and max(tanh["median"]) < -8
    assert min(scaled["smallest"]) > -0.9 and max(scaled["largest"]) < 0.9
    orthogonal = SingularFan.run(kind="orthogonal").numbers["log_value"]
    assert max(abs(value) for values in orthogonal.values() for value in values) < 1e-12


@GROUPS
def test_masks_follow_the_closed_forms(seed):
    numbers = ShatteredGradients.run(mode="mask", deepest=16, seed=seed).numbers
    for kind in ("plain", "residual", "normalised"):
        for depth in (4, 16):
            mean = sum(numbers[str(depth)][kind]) / 5
            assert mean == pytest.approx(shattered_theory(kind, depth), abs=0.08)


@GROUPS
def test_real_networks_shatter_as_the_lesson_says(seed):
    numbers = ShatteredGradients.run(mode="fixed", deepest=16, seed=seed).numbers
    for depth, found in numbers.items():
        assert found["plain"] == pytest.approx([0.5 ** int(depth)] * 5, abs=0.06)
    at = numbers["16"]
    assert max(at["plain"]) < 0.03 and min(at["normalised"]) > 0.13 and min(at["residual"]) > 2 * 0.75**16
    mean = sum(at["normalised"]) / 5
    assert abs(mean - shattered_with_batch_variance(16)) < abs(mean - shattered_theory("normalised", 16))


def test_forgetting_to_fix_the_statistics_gives_a_flat_line():
    numbers = ShatteredGradients.run(mode="batch", deepest=16).numbers
    for found in numbers.values():
        assert found["plain"] == pytest.approx([-1 / 31] * 5, abs=1e-10)


@GROUPS
def test_gradients_along_a_line_are_white_only_in_the_plain_network(seed):
    seeds = range(seed, seed + 5)
    lag = {
        skip: probes.lag_one(probes.along_a_line(
            chain(50, 128, seeds, skip=skip, scale=0.1 if skip else 1.0, norm="fixed"), seeds, width=128))
        for skip in (True, False)
    }
    assert lag[True].min() > 0.8 and lag[False].abs().max() < 0.2


def test_the_derivative_along_a_line_is_a_difference_quotient():
    network = chain(2, 16, [0], activation="tanh", scale=0.5)
    fine = probes.along_a_line(network, [0], width=16, points=4001)
    u, b, v = probes.gaussian(3, 16, seeds=[0], offset=900_000).split(1, dim=1)
    [w] = probes.draw_weights("he", depth=1, width=16, seeds=[500_000])
    t = torch.linspace(-2, 2, 4001, dtype=torch.float64).view(1, -1, 1)
    y = (through(network, (t * u + b).relu() @ w) * v).sum(2)
    slopes = (y[:, 1:] - y[:, :-1]) / (4 / 4000)
    assert ((slopes - (fine[:, 1:] + fine[:, :-1]) / 2).abs() < 1e-3).double().mean() > 0.99


def shatter(kind, L, beta):
    if kind == "plain":
        return 0.5**L
    return ((1 + beta**2 / 2) / (1 + beta**2)) ** L if kind == "res" else (1 + beta**2 * L) ** -0.5


def jacobians(blocks, x):
    return torch.func.jacrev(lambda h: checks._through(blocks, h))(x)


def norm_bounds(eps, n):
    return (0.0 if eps >= 1 else (1 - eps) ** n), (1 + eps) ** n


@pytest.mark.parametrize(("check", "answers"), [
    (checks.check_scalar_chain, [lambda f, r: torch.tensor([float(r) + v for v in f], dtype=torch.float64).prod()]),
    (checks.check_scalar_chain, [lambda f, r: torch.prod(torch.tensor(f) + float(r))]),
    (checks.check_cancelling_branch, [lambda x: 3 - x, lambda e, n: [max(0, 1 - e) ** n, (1 + e) ** n]]),
    (checks.check_cancelling_branch, [lambda x: x - 2 * x, lambda e, n: torch.tensor(norm_bounds(e, n))]),
    (checks.check_jacobian_product, [jacobians]),
    (checks.check_shatter_corr, [lambda k, L, b: torch.tensor(shatter(k, L, b))]),
    (checks.check_fixed_batch_norm, [lambda h: (h - h.mean(0).detach()) / (h.var(0, unbiased=False) + 1e-5).sqrt().detach()]),
    (checks.check_fixed_batch_norm, [lambda h: probes.normalised(h[None], "fixed")[0]]),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answers):
    check(*answers)


def low_precision(blocks, x):
    return jacobians(blocks, x).half()


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
    (checks.check_jacobian_product, [lambda blocks, x: None], "텐서를"),
    (checks.check_jacobian_product, [lambda blocks, x: x], "모양"),
    (checks.check_jacobian_product, [low_precision], "달라집니다|다릅니다|10⁻¹⁰"),
    (checks.check_jacobian_product, [lambda blocks, x: (blocks.pop(), torch.eye(len(x)))[1]], "바뀌었습니다"),
    (checks.check_shatter_corr, [lambda k, L, b: {}[k]], "오류가 났습니다"),
    (checks.check_shatter_corr, [lambda k, L, b: [0.5]], "수 하나를"),
    (checks.check_shatter_corr, [lambda k, L, b: shatter(k, L, 1.0)], "β를 쓰지"),
    (checks.check_fixed_batch_norm, [lambda h: None], "텐서를"),
    (checks.check_fixed_batch_norm, [lambda h: h.detach().clone().requires_grad_()], "순전파"),
    (checks.check_fixed_batch_norm, [lambda h: h - h.mean(0).detach()], "순전파"),
    (checks.check_fixed_batch_norm, [lambda h: (h - h.mean(0)) / h.std(0, unbiased=False).detach()], "더하면 0"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answers, said):
    with pytest.raises(NotYet, match=said):
        check(*answers)
