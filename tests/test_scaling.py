"""Lesson 08: its claims over several seeds, and the checks of its exercise."""

import math

import pytest
import torch
from torch import nn

from residual_lab.blocks import scaling
from residual_lab.blocks.transformer import Design, Transformer
from residual_lab.checks import scaling as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.scaling import (
    FORMS, LABELS, DeepRescue, ReZeroGain, ScaleIsEmbedding, StreamMoment, batches, change_after_one_step, design,
    fit_embedding_rate, second_moments, shape,
)
from residual_lab.lab import recording
from residual_lab.training.adam import fit_adam
from residual_lab.training.fresh_blocks import fresh_stream
from residual_lab.training.stacked_transformer import StackedTransformer

def shortened(experiment, steps):
    """The same experiment, stopped earlier."""
    return type(experiment.__name__, (experiment,), {"steps": steps})


GROUPS = pytest.mark.parametrize("seed", [0, 10])


@pytest.mark.parametrize("form", [form for form in FORMS if form != "fixup"])
def test_blocks_drawn_one_by_one_are_those_of_the_whole_network(form):
    [(tokens, _)] = batches(1, [7, 8], batch=2, steps=1)
    start, *after = fresh_stream(shape(4), [design(form, 4)], [7, 8], tokens)
    for k, seed in enumerate((7, 8)):
        x = start[k]
        for index, sublayer in enumerate(Transformer(shape(4), design(form, 4), seed=seed).double().sublayers()):
            x = sublayer(x)
            if index % 2:
                torch.testing.assert_close(x, after[index // 2][k], rtol=1e-5, atol=1e-5)


def test_blocks_are_drawn_one_by_one_for_xavier_only():
    with pytest.raises(ValueError, match="Xavier"):
        next(fresh_stream(shape(2), [Design(init="gpt2")], [0], torch.zeros(1, 1, 4, dtype=torch.long)))


@GROUPS
def test_the_stream_grows_as_the_lesson_says(seed):
    *_, moments = second_moments(100, range(seed, seed + 5))
    assert moments["none"].min() > 1e22
    assert max(moments["none_sqrt"].max(), moments["pre_sqrt"].max()) < 3
    ratio = moments["source"] / moments["pre"]
    assert ((ratio > 8) & (ratio < 30)).all()  # √200 = 14.1


def test_post_ln_ends_at_one_and_gpt2_starts_as_the_scaled_network_does():
    stacks = (("pre_sqrt", "gpt2"), ("post", "deepnorm"))
    *_, moments = second_moments(12, range(5), stacks=stacks)
    torch.testing.assert_close(moments["pre_sqrt"], moments["gpt2"], rtol=1e-6, atol=0)
    for form in ("post", "deepnorm"):
        assert (moments[form] - 1).abs().max() < 1e-3


# The heart of the lesson, in float64 with LayerNorms whose ε does not matter.
@pytest.mark.parametrize("depth", [3, 12, 48])
@pytest.mark.parametrize("s", [0.05, 3.0])
def test_a_uniform_scale_is_a_smaller_embedding_in_outputs_and_in_gradients(depth, s):
    scaled, plain = (checks._exact(Transformer(shape(depth), d, seed=1)) for d in (scaling.uniform(s), Design("pre")))
    with torch.no_grad():
        for embedding in (plain.tokens, plain.positions):
            embedding.weight.div_(s)
    [(x, _)] = batches(1, [0], batch=2, steps=1)
    assert checks._outputs_and_gradients(scaled, plain, x[0]) < 1e-9


def test_training_is_the_same_too_where_the_embeddings_rate_is_divided():
    gap = ScaleIsEmbedding.run(scale=0.1, seed=10).numbers["gap"]  # the lesson shows seeds 0 to 2
    assert gap["embedding"][0] < 1e-3 < 0.04 < gap["start"][0] and gap["plain"][0] > 0.25


def test_without_the_final_norm_or_any_norm_the_scale_is_something_else():
    for placement in ("open", "none"):
        assert shortened(ScaleIsEmbedding, 8).run(scale=0.3, placement=placement).numbers["gap"]["embedding"][0] > 0.5


def test_one_rate_for_all_is_adams():
    def losses(fit, **rates):
        model = StackedTransformer(shape(2), [design("pre", 2)], [0, 1])
        steps = fit(model, batches(1, [0, 1], batch=4, steps=8), **rates)
        return torch.stack([found[1] for found in steps])

    rates = torch.full((2,), 0.003)
    torch.testing.assert_close(losses(fit_embedding_rate, lr=0.003, embedding_lr=rates), losses(fit_adam, steps=8, lr=rates))


def test_rezero_s_first_step_is_adam_s_rate_and_its_first_blocks_learn_more():
    run = ReZeroGain.run(depth=6)
    assert run.curve("alpha", "alpha")[:, 0].tolist() == pytest.approx([0.003] * 3, rel=1e-3)
    assert run.number("alpha", "first").mean() > run.number("alpha", "last").mean()


def test_the_recorded_factors_shrink_with_depth_and_follow_the_square_root_from_12_to_48():
    runs = {run["values"]["depth"]: run for run in recording.load("rezero_gain")["runs"] if run["values"]["lr"] == 0.003}
    alpha = {depth: run["curves"]["alpha"]["alpha"]["y"][-1] for depth, run in runs.items()}
    assert min(alpha[6]) > max(alpha[12]) and min(alpha[12]) > max(alpha[48])
    for depth in (12, 48):
        assert all(0.4 < value * depth**0.5 < 0.56 for value in alpha[depth])


def test_one_step_moves_gpt2_far_more_than_the_scaled_network_it_starts_as():
    change = {form: change_after_one_step(form, 48, range(3)) for form in ("gpt2", "pre_sqrt", "post", "deepnorm")}
    assert (change["gpt2"] > 15 * change["pre_sqrt"]).all()
    assert (change["deepnorm"] < 0.1 * change["post"]).all()


def test_deepnorm_learns_where_post_ln_does_not():
    short = shortened(DeepRescue, 40)
    post, deepnorm = (short.run(form=form, depth=12).number("loss", "final") for form in ("post", "deepnorm"))
    assert (deepnorm < post - 0.1).all()


def test_what_was_recorded_of_48_blocks_says_what_the_lesson_says():
    final = {}
    for run in recording.load("deep_rescue")["runs"]:
        if run["values"]["depth"] == 48:
            last = run["curves"]["loss"]["loss"]["y"][-5:]
            final[run["values"]["form"]] = [math.nan if None in row else sum(row) / 5 for row in zip(*last)]
    assert set(final) == set(LABELS)
    bare = ("rezero", "skipinit", "fixup", "none_sqrt")
    normed = ("pre_sqrt", "gpt2", "layerscale", "deepnorm", "pre", "source", "post")
    assert max(max(final[form]) for form in bare) < min(min(final[form]) for form in normed) - 0.1
    assert min(final["post"]) > 3.1 and max(final["deepnorm"]) < 2.6 and math.isnan(sum(final["none"]))
    for better, worse in (("pre_sqrt", "pre"), ("pre", "source"), ("source", "post")):
        assert all(a < b for a, b in zip(final[better], final[worse]))


# The checks: honest variants pass, garbage is told.


def moment(L, s, normed):
    value = torch.ones((), dtype=torch.float32)
    for _ in range(L):
        value = value + s**2 * (1 if normed else value)
    return value


def constants(encoder, decoder):
    return {side: list(pair) for side, pair in checks._deepnorm(encoder, decoder).items()}


def absorbed(state, s):
    copy = {name: value.clone() for name, value in state.items()}
    for name in ("tokens.weight", "positions.weight"):
        copy[name].mul_(1 / s)
    return copy


class OneAlpha(nn.Module):
    def __init__(self, attention, ffn):
        super().__init__()
        self.branches = nn.ModuleList([attention, ffn])
        self.resweight = nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, x):
        for branch in self.branches:
            x = torch.addcmul(x, self.resweight, branch(x))
        return x


def factor(name, depth, method):
    part = name.split(".")[-2]
    end, inner = part in ("output", "down"), part in ("value", "up")
    if method == "fixup":
        return torch.tensor(0.0 if end else (2 * depth) ** -0.5 if inner else 1.0)
    return {"gpt2": (2 * depth) ** (-0.5 * end), "deepnorm": (8 * depth) ** (-0.25 * (end or inner))}[method]


@pytest.mark.parametrize(("check", "answer"), [
    (checks.check_stream_moment, moment),
    (checks.check_deepnorm, constants),
    (checks.check_absorb_scale, absorbed),
    (checks.check_rezero_block, OneAlpha),
    (checks.check_initial_factor, factor),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answer):
    check(answer)


class Nothing(OneAlpha):
    def forward(self, x):
        return x


class Normed(OneAlpha):
    def __init__(self, attention, ffn):
        super().__init__(attention, ffn)
        self.norm = nn.LayerNorm(4)


class Forgetful(nn.Module):
    def __init__(self, attention, ffn):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))


class Leaky(OneAlpha):
    def forward(self, x):
        kept = super().forward(x)
        return kept + sum(b(x) - b(x).detach() for b in self.branches)


@pytest.mark.parametrize(("check", "answer", "said"), [
    (checks.check_stream_moment, lambda L, s, n: None, "아무것도"),
    (checks.check_stream_moment, lambda L, s, n: moment(L, s, not n), "바뀌었거나"),
    (checks.check_stream_moment, lambda L, s, n: moment(2 * L, s, n), "두 배로"),
    (checks.check_stream_moment, lambda L, s, n: float("nan"), "이어야"),
    (checks.check_deepnorm, lambda e, d: (2.2, 0.3), "딕셔너리"),
    (checks.check_deepnorm, lambda e, d: {"encoder": (1, 1), "decoder": (1, 1)}, "열쇠"),
    (checks.check_deepnorm, lambda e, d: {side: pair[::-1] for side, pair in constants(e, d).items()}, "순서"),
    (checks.check_deepnorm, lambda e, d: {side: pair[0] for side, pair in constants(e, d).items()}, "두 수"),
    (checks.check_absorb_scale, lambda state, s: None, "딕셔너리"),
    (checks.check_absorb_scale, lambda state, s: {}, "이름"),
    (checks.check_absorb_scale, lambda state, s: dict(state), "그대로입니다"),
    (checks.check_absorb_scale, lambda state, s: {n: v.float() for n, v in absorbed(state, s).items()}, "float64"),
    (checks.check_absorb_scale, lambda state, s: {n: v[:1] for n, v in state.items()}, "모양"),
    (checks.check_rezero_block, lambda a, f: None, "nn.Module"),
    (checks.check_rezero_block, Nothing, "그래디언트를 받지"),
    (checks.check_rezero_block, Normed, "정규화"),
    (checks.check_rezero_block, Forgetful, "저장"),
    (checks.check_rezero_block, Leaky, "거치지 않는"),
    (checks.check_initial_factor, lambda n, d, m: None, "아무것도"),
    (checks.check_initial_factor, lambda n, d, m: 1.0, "줄입니다|이어야|2N|β배|0에서"),
    (checks.check_initial_factor, lambda n, d, m: {}[n], "오류가 났습니다"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answer, said):
    with pytest.raises(NotYet, match=said):
        check(answer)
