"""Checks of the exercises beyond each solution's own wrong answers: honest variants pass, tricks do not, errors are Korean."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from residual_lab.checks import degradation as checks
from residual_lab.checks import ensemble, scaling, stochastic_depth
from residual_lab.checks.base import NotYet


def good_block(h, w1, w2, skip):
    return ((h @ w1).relu() @ w2 + skip * h).relu()


@pytest.mark.parametrize("answer", [
    lambda w, k: [*w[:-1], *(torch.eye(w[-1].shape[0]) for _ in range(k)), w[-1]],
    lambda w, k: tuple(w[:-1]) + (torch.eye(w[-1].shape[0]),) * k + (w[-1],),
    lambda w, k: [w[0]] + [torch.eye(w[0].shape[1])] * k + list(w[1:]),
], ids=["generator", "tuple", "after the first layer"])
def test_any_way_to_embed_the_shallow_network_passes(answer):
    checks.check_embed_shallow(answer)


@pytest.mark.parametrize("answer", [
    lambda w, k: [w[0], w[1]] + [torch.eye(16)] * k + [w[2]],
    lambda w, k: w[:-1] + [torch.eye(w[-1].shape[0], dtype=torch.float64)] * k + w[-1:],
    lambda w, k: w[:-1] + [1] * k + w[-1:],
    lambda w, k: None,
], ids=["three layers only", "float64", "numbers", "nothing"])
def test_embedding_tricks_are_told_in_korean(answer):
    with pytest.raises(NotYet, match="[가-힣]"):
        checks.check_embed_shallow(answer)


@pytest.mark.parametrize("returned", [None, "절반", [1.0], 1j], ids=repr)
def test_a_gradient_that_is_no_number_is_told_in_korean(returned):
    with pytest.raises(NotYet, match="수 하나를"):
        checks.check_scalar_gradients(lambda w, L, t: returned, lambda u, L, t: 0.0)


def test_gradients_computed_with_float32_tensors_pass():
    def gradient(w, L, t):
        w = torch.tensor(w)
        return (w**L - t) * w ** (L - 1)

    checks.check_scalar_gradients(gradient, lambda u, L, t: gradient(1 + u, L, t))


@pytest.mark.parametrize("wrap", [bool, np.bool_, torch.tensor])
def test_a_verdict_may_be_any_kind_of_boolean(wrap):
    checks.check_is_degradation(lambda shallow, deep: wrap(min(deep["train"]) > max(shallow["train"])))


@pytest.mark.parametrize("answer", [
    lambda s, d: max(d["train"]) > max(s["train"]),
    lambda s, d: min(d["train"]) >= max(s["train"]),
    lambda s, d: all(a > b for a, b in zip(d["train"], s["train"])),
    lambda s, d: bool(np.median(d["train"]) > max(s["train"])),
    lambda s, d: 1,
], ids=["max", "ties", "pairs", "median", "no boolean"])
def test_verdicts_that_only_look_right_are_rejected(answer):
    with pytest.raises(NotYet):
        checks.check_is_degradation(answer)


def test_an_answer_that_empties_its_input_does_not_spoil_the_next_check():
    def destructive(shallow, deep):
        verdict = min(deep["train"]) > max(shallow["train"])
        shallow.clear()
        return verdict

    checks.check_is_degradation(destructive)
    checks.check_is_degradation(lambda s, d: min(d["train"]) > max(s["train"]))


@pytest.mark.parametrize(("answer", "said"), [
    (lambda h, w1, w2, skip: good_block(h, w1, w2, 1.0) if skip else good_block(h, w1, w2, 0.0), "if"),
    (lambda h, w1, w2, skip: good_block(h, w1, w2, skip).detach(), "그래디언트가 끊겼습니다"),
    (lambda h, w1, w2, skip: h.mul_(skip), "제자리에서"),
    (lambda h, w1, w2, skip: None, "텐서를 돌려주어야"),
    (lambda h, w1, w2, skip: good_block(h, w2, w1, skip), "순서가 바뀌었습니다"),
    (lambda h, w1, w2, skip: h.nothing, "오류가 났습니다"),
], ids=["if", "detach", "in place", "nothing", "swapped", "crash"])
def test_mistakes_in_the_block_are_named(answer, said):
    with pytest.raises(NotYet, match=said):
        checks.check_block(answer)


def test_a_block_that_is_right_only_for_the_formula_fails_on_its_training():
    def cheat(h, w1, w2, skip):
        return good_block(h, w1, w2, skip if h.shape[1] == 5 else 0 * skip)

    with pytest.raises(NotYet, match="순위가 다릅니다"):
        checks.check_block(cheat)


def test_jacobian_sums_may_be_arrays():
    def expand(Js):
        zero = np.zeros(Js[0].shape)
        sums = [np.eye(len(zero))]
        for J in Js:
            sums = [past + J.numpy() @ before for past, before in zip(sums + [zero], [zero] + sums)]
        return sums

    ensemble.check_expand_jacobian(expand)
    ensemble.check_expand_jacobian(lambda Js: np.stack(expand(Js)))


@pytest.mark.parametrize("form", [list, torch.tensor, np.array])
def test_deepnorms_pair_may_be_anything_that_holds_two_numbers(form):
    scaling.check_deepnorm(lambda encoder, decoder: {side: form(pair) for side, pair in scaling._deepnorm(encoder, decoder).items()})


def test_a_block_that_never_was_initialised_is_told_so():
    class Block(nn.Module):
        def __init__(self, attention, ffn):
            self.alpha = 0.0

    with pytest.raises(NotYet, match=r"super\(\).__init__\(\)"):
        scaling.check_rezero_block(Block)


def test_a_particle_after_a_name_that_is_filled_in_suits_every_name():
    folder = Path(checks.__file__).parent
    assert [found for path in folder.glob("*.py") for found in re.findall(r"\}`[은는이가을를과와] .*", path.read_text(encoding="utf-8"))] == []


def test_a_distribution_from_all_masks_is_refused_before_it_would_run_for_ever():
    def by_masks(p):
        chances = [0.0] * (len(p) + 1)
        for mask in itertools.product((0, 1), repeat=len(p)):
            chances[sum(mask)] += math.prod(q if b else 1 - q for q, b in zip(p, mask))
        return chances

    with pytest.raises(NotYet, match="마스크를 모두 늘어놓고 있습니다"):
        stochastic_depth.check_depth_distribution(by_masks)
