"""Lesson 02: its blocks against the paper's counts, its claims over their seeds, and its checks under honest and dishonest answers."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from residual_lab.blocks.residual import MLPBlock, ShortcutBlock, ShortcutResNet, same_shape
from residual_lab.checks import residual_math as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.residual_math import LinearChain, NearIdentity, ZeroStart
from residual_lab.training import Condition
from residual_lab.training.chains import StackedChain, fit_squares
from residual_lab.training.shortcuts import StackedShortcutNet


def count(net):
    return sum(p.numel() for p in net.parameters())


# He 2015, table 6: 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M parameters with option A.
@pytest.mark.parametrize(("n", "parameters"), [(3, 269_722), (5, 464_154), (7, 658_586), (9, 853_018), (18, 1_727_962), (200, 19_421_274)])
def test_option_a_has_the_papers_parameters(n, parameters):
    with torch.device("meta"):
        assert count(ShortcutResNet(n, option="A")) == parameters


@pytest.mark.parametrize("n", [1, 3, 9])
def test_options_b_and_c_add_the_projections_and_nothing_else(n):
    b = sum(c_in * c_out + 2 * c_out for c_in, c_out in ((16, 32), (32, 64)))
    same = [16] * n + [32] * (n - 1) + [64] * (n - 1)
    c = b + sum(channels**2 + 2 * channels for channels in same)
    assert [count(ShortcutResNet(n, option=o)) - count(ShortcutResNet(n)) for o in "BC"] == [b, c]


def test_an_unknown_option_is_refused_in_korean():
    with pytest.raises(ValueError, match="지름길의 종류"):
        ShortcutResNet(1, option="D")


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_a_shortcut_block_is_its_formula(option):
    block = ShortcutBlock(4, 8, stride=2, option=option).eval()
    x = torch.randn(3, 4, 6, 6)
    branch = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    if option == "A":
        shortcut = torch.cat([x[:, :, ::2, ::2], torch.zeros(3, 4, 3, 3)], dim=1)
    else:
        conv, bn = block.projection
        shortcut = torch.einsum("oi,bihw->bohw", conv.weight[:, :, 0, 0], x[:, :, ::2, ::2])
        shortcut = (shortcut - bn.running_mean.view(-1, 1, 1)) / (bn.running_var.view(-1, 1, 1) + bn.eps).sqrt()
    torch.testing.assert_close(block(x), (branch + shortcut).relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("option", "sizes"), [("A", (4, 7)), ("A", (7, 4)), ("B", (4, 7)), ("C", (5, 5))])
def test_an_mlp_block_that_begins_at_zero_is_its_shortcut(option, sizes):
    block = MLPBlock(*sizes, 9, option=option, zero=True)
    x = torch.randn(3, sizes[0])
    padded = F.pad(x, (0, max(0, sizes[1] - sizes[0])))[:, : sizes[1]]
    torch.testing.assert_close(block(x), padded if option == "A" else x @ block.projection.weight.T)


def test_what_only_broadcasting_would_add_is_refused():
    with pytest.raises(ValueError, match="모양"):
        same_shape(torch.zeros(4, 8), torch.zeros(4, 1))


def test_a_stack_of_chains_trains_like_one_chain_alone():
    def trained(seeds, rows):
        chain = StackedChain([Condition(skip=True)], seeds, blocks=3, sizes=(4, 6))
        generator = torch.Generator().manual_seed(0)
        data = [(torch.randn(2, 8, 4, generator=generator), torch.randn(2, 8, 4, generator=generator)) for _ in range(5)]
        return [s.losses for s in fit_squares(chain, [(x[rows], y[rows]) for x, y in data], steps=5, lr=0.01)]

    together, alone = trained([3, 7], slice(None)), trained([7], slice(1, 2))
    torch.testing.assert_close(torch.stack(together)[:, 1:], torch.stack(alone))


@pytest.mark.parametrize("option", ["plain", "A", "B", "C"])
def test_a_stacked_network_with_shortcuts_computes_what_one_network_does(option):
    stack = StackedShortcutNet(["plain", "A", "B", "C"], [0, 1], n=2, width=4).eval()
    at = 2 * stack.options.index(option) + 1
    net = ShortcutResNet(2, option="A" if option == "plain" else option, width=4, in_channels=1).eval()
    theirs = {name: p for name, p in stack.state_dict().items()}

    def part(name):
        return theirs[name].unflatten(0, (8, -1))[at]

    own = net.state_dict()
    own |= {"stem.weight": part("stem.weight"), "head.weight": theirs["head"][at].T, "head.bias": theirs["head_bias"][at, 0]}
    for name in own:
        if name.endswith(".weight") and "stages" in name and "conv" in name:
            own[name] = part(name)
        if "projection.0" in name:
            stage, index = name.split(".")[1:3]
            own[name] = part(f"projections.{stage}-{index}.0.weight")
    net.load_state_dict(own)
    if option == "plain":
        for block in net.modules():
            if isinstance(block, ShortcutBlock):
                block.skip = False
    assert stack.shortcut_parameters(option) == count(net) - count(ShortcutResNet(2, width=4, in_channels=1))
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(stack(x.expand(8, *x.shape))[at], net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 10])
def test_a_he_initialised_residual_chain_of_16_blocks_is_worse_than_a_plain_one_and_zero_start_is_best(seed, monkeypatch):
    monkeypatch.setattr(NearIdentity, "steps", 100)
    error = NearIdentity.run(blocks=16, lr=0.003, seed=seed).numbers["error"]
    assert min(error["residual"]) > 10 * max(error["plain"])
    assert 10 * max(error["zero"] + error["identity"]) < min(error["plain"])


def test_the_residual_form_loses_where_one_block_must_learn_minus_x_and_wins_with_four():
    one, four = (NearIdentity.run(blocks=n, target="opposite", lr=0.01).numbers["error"] for n in (1, 4))
    assert min(one["zero"]) > 1.5 * max(one["plain"])
    assert 1.5 * max(four["zero"]) < min(four["plain"])
    assert 5 * max(four["zero"]) < min(four["identity"]), "from the same start, only the network with shortcuts learns it"


def test_a_large_learning_rate_is_borne_by_the_residual_chain_from_the_identity_and_not_by_the_plain_one():
    error = NearIdentity.run(blocks=8, lr=0.03).numbers["error"]
    assert 2 * max(error["zero"]) < min(error["identity"])


def test_a_plain_chain_from_the_identity_is_the_identity():
    chain = StackedChain([Condition(skip=False, init="identity")], [0], blocks=5, sizes=(16, 32))
    x = torch.randn(1, 7, 16)
    assert torch.equal(chain(x), x)


@pytest.mark.parametrize(("first", "last", "activation", "moves"), [
    ("he", "zero", "relu", True), ("zero", "he", "relu", False), ("zero", "zero", "relu", False), ("zero", "he", "tanh", True),
    ("zero", "zero", "tanh", False), ("small", "small", "relu", True),
])
def test_which_start_ever_moves(first, last, activation, moves):
    moved = ZeroStart.run(first=first, last=last, activation=activation).numbers["moved"]
    assert all((a + b > 0) == moves for a, b in zip(moved["first"], moved["last"]))


def test_the_first_gradients_are_those_of_the_formula():
    first = ZeroStart.run(first="he", last="zero").numbers["first_gradient"]
    assert first["first"] == [0.0] * 5 and min(first["last"]) > 0


def test_a_linear_residual_chain_shares_the_work_and_cannot_learn_a_mirror():
    for layers in (2, 8):
        numbers = LinearChain.run(layers=layers).numbers
        assert max(numbers["loss"]["residual"]) < 1e-4
        assert all(0.9 < share < 1.2 for share in numbers["share"]["residual"])
    mirror = LinearChain.run(layers=2, target="mirror", lr=0.3).numbers["loss"]
    assert min(mirror["residual"]) > 0.49 and max(mirror["plain"]) < 1e-3


# The checks of exercise 02.
def gradients(w1, w2, x, g):
    pre = x @ w1.T
    return ((pre > 0) * (g @ w2)).T @ x, g.T @ pre.relu()


@pytest.mark.parametrize("answer", [
    gradients,
    lambda *a: list(gradients(*a)),
    lambda *a: tuple(d.numpy() for d in gradients(*a)),
    lambda *a: tuple(d.float() for d in gradients(*a)),
    lambda w1, w2, x, g: (sum(torch.outer((w2.T @ gi) * (w1 @ xi > 0), xi) for xi, gi in zip(x, g)),
                          sum(torch.outer(gi, (w1 @ xi).relu()) for xi, gi in zip(x, g))),
], ids=["solution", "list", "numpy", "float32", "sum over samples"])
def test_any_way_to_the_gradients_passes(answer):
    checks.check_block_gradients(answer)


@pytest.mark.parametrize("answer", [
    lambda *a: None, lambda *a: gradients(*a)[::-1], lambda *a: (1, 2), lambda *a: a[2].add_(1),
    lambda w1, w2, x, g: (torch.zeros_like(w1), torch.zeros_like(w2)),
], ids=["nothing", "swapped", "numbers", "in place", "zeros"])
def test_gradients_that_are_wrong_are_told_in_korean(answer):
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_block_gradients(answer)


@pytest.mark.parametrize("wrap", [int, float, np.int64, torch.tensor])
def test_a_count_may_be_any_kind_of_whole_number(wrap):
    checks.check_resnet_params(lambda n, option: wrap(checks._parameters(n, option)))


@pytest.mark.parametrize(("answer", "said"), [
    (lambda n, option: None, "정수 하나로"),
    (lambda n, option: checks._parameters(n, "A"), "지름길의 파라미터가"),
    (lambda n, option: checks._parameters(n, "B"), "A의 지름길에는"),
    (lambda n, option: checks._parameters(n, option) - 10, "편향 10개"),
    (lambda n, option: checks._parameters(n, option) if n < 10 else 0, "식으로 계산"),
], ids=["nothing", "always A", "always B", "no bias", "a few n only"])
def test_wrong_counts_are_named(answer, said):
    with pytest.raises(NotYet, match=said):
        checks.check_resnet_params(answer)


def refuse(x, f):
    raise ValueError("모양이 다릅니다")


@pytest.mark.parametrize(("answer", "said"), [
    (refuse, "모양이 .* 같은데"),
    (lambda x, f: x + f if x.numel() == f.numel() else refuse(x, f), "다른데|RuntimeError"),
    (lambda x, f: x + f if x.dim() == f.dim() else refuse(x, f), "다른데|RuntimeError"),
    (lambda x, f: x + f if len(x) == len(f) else refuse(x, f), "났습니다|다른데"),
    (lambda x, f: x if x.shape == f.shape else refuse(x, f), "x \\+ f를"),
    (lambda x, f: None, "없습니다"),
], ids=["refuses all", "numel", "dim", "len", "forgets f", "nothing"])
def test_unsafe_additions_are_named(answer, said):
    with pytest.raises(NotYet, match=said):
        checks.check_safe_residual(answer)


def test_any_order_of_the_new_neurons_passes():
    def reordered(w1, b1, w2, b2):
        eye = torch.eye(w1.shape[1], dtype=w1.dtype)
        zeros = torch.zeros(2 * len(eye), dtype=w1.dtype)
        return [torch.cat([-2 * eye, eye, w1]), torch.cat([zeros, b1]), torch.cat([-eye / 2, eye, w2], dim=1), b2]

    checks.check_as_plain(reordered)


@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a, lambda *a: (1, 2, 3, 4), lambda *a: a[:3]], ids=["nothing", "given", "numbers", "three"])
def test_blocks_that_are_not_the_same_function_are_told_in_korean(answer):
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_as_plain(answer)


def roots(M, L):
    return [torch.linalg.matrix_exp(M / L) - torch.eye(len(M), dtype=M.dtype)] * L


@pytest.mark.parametrize("answer", [
    roots, lambda M, L: tuple(roots(M, L)), lambda M, L: torch.stack(roots(M, L)), lambda M, L: [a.float() for a in roots(M, L)],
], ids=["list", "tuple", "tensor", "float32"])
def test_any_container_of_small_factors_passes(answer):
    checks.check_matrix_residuals(answer)


@pytest.mark.parametrize("answer", [lambda M, L: None, lambda M, L: roots(M, L)[:-1], lambda M, L: [0] * L, lambda M, L: roots(M, L + 1)],
                         ids=["nothing", "one less", "numbers", "one more"])
def test_wrong_factors_are_told_in_korean(answer):
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_matrix_residuals(answer)
