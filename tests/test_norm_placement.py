"""Lesson 07: the probes of the stream against independent computations, the lesson's claims, and the checks of its exercise."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from residual_lab import figures, stream_probes, transformer_diagrams
from residual_lab.blocks.transformer import Design, Sizes
from residual_lab.checks import norm_placement as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments.norm_placement import (
    DepthUse, LastLayerGradient, TokenUniformity, WarmupMap, fixed_windows, is_stuck, loglog_slope, second_half_share, transformers, windows,
)
from residual_lab.text import load_jamo
from residual_lab.training.stacked_transformer import StackedTransformer


def small(design=Design("pre"), seeds=(0, 1)):
    stack = StackedTransformer(Sizes(11, 7, 12, 3, 3), [design], seeds).double()
    x = torch.randint(11, (len(seeds), 4, 7), generator=torch.Generator().manual_seed(1))
    return stack, x, x.roll(-1, dims=2)


# The probes, one network and one pair of positions at a time.


def test_uniformity_is_the_mean_cosine_of_pairs():
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in range(2):
        pairs = [F.cosine_similarity(x[k, b, i], x[k, b, j], dim=0) for b in range(3) for i in range(5) for j in range(5) if i != j]
        assert stream_probes.uniformity(x)[k].item() == pytest.approx(torch.stack(pairs).mean().item())
    assert stream_probes.cosines(x).diagonal(dim1=1, dim2=2).allclose(torch.ones(2, 5, dtype=torch.float64))


def test_a_lesion_is_the_loss_without_one_block():
    stack, x, y = small()
    whole, cost = stream_probes.lesions(stack, x, y)
    model = stack.member(1)
    del model.blocks[1]
    model.sizes = Sizes(11, 7, 12, 3, 2)
    without = F.cross_entropy(model(x[1]).flatten(0, 1), y[1].flatten())
    assert cost.shape == (2, 3) and (whole + cost[:, 1])[1].item() == pytest.approx(without.item())


def test_the_step_of_the_response_is_adams_first_and_is_taken_back():
    stack, x, y = small(seeds=(0,))
    before = [p.detach().clone() for p in stack.parameters()]
    stream_probes.backward(stack, x, y)
    response = stream_probes.step_response(stack, x, 1e-3)
    for parameter, old in zip(stack.parameters(), before):
        torch.testing.assert_close(parameter.detach(), old)
    moved = copy.deepcopy(stack)
    optimizer = torch.optim.Adam(moved.parameters(), lr=1e-3, eps=1e-30)
    stream_probes.backward(moved, x, y)
    optimizer.step()
    logits, after = stack(x), moved(x)
    assert response.item() == pytest.approx(((after - logits).norm() / logits.norm()).item(), rel=1e-6)


def test_the_slope_of_a_power_is_its_exponent():
    depths = [2, 4, 8, 16]
    values = torch.tensor([[depth**-0.5 for depth in depths], [3 * depth**2.0 for depth in depths]])
    assert loglog_slope(depths, values).tolist() == pytest.approx([-0.5, 2.0], abs=1e-5)
    assert second_half_share(torch.tensor([[1.0, 1.0, 1.0, 5.0]])).tolist() == [0.75]


def test_a_model_that_knows_only_frequencies_is_called_stuck():
    text = load_jamo()
    assert is_stuck(torch.tensor([text.entropy, text.entropy + 0.1, text.entropy - 0.3])).tolist() == [True, True, False]
    (x, _), (again, _) = fixed_windows(1, [0]), fixed_windows(1, [0])
    assert torch.equal(x, again) and not torch.equal(x[:, :8], next(windows(1, [0], 1))[0])


# The lesson's claims with other seeds than the lesson's, whose own verdicts nbval compares: a few, for their time.


class Gradients(LastLayerGradient):
    depths = (2, 32)
    seeds_per_run = 3


def test_the_last_gradient_falls_only_where_a_final_norm_divides_a_growing_stream():
    run = Gradients.run(seed=10)
    slope = {key: run.number("slope", key) for key in LastLayerGradient.series}
    for key in ("pre", "peri", "olmo2"):
        assert ((slope[key] > -0.75) & (slope[key] < -0.3)).all()
    assert (slope["post"] > -0.1).all() and (slope["bare"] > 0).all()
    response = {key: run.curve("response", key) for key in ("pre", "post")}
    growth = {key: values[:, -1] / values[:, 0] for key, values in response.items()}
    assert (growth["post"] > 15).all() and (growth["pre"] < growth["post"]).all()
    assert (response["post"][:, -1] > 1.4 * response["pre"][:, -1]).all()
    first, *_, last = run.profiles["profile"]["post"]
    assert first > last / 3


class ThreeRates(WarmupMap):
    rates = (0.003, 0.01, 0.03)
    seeds_per_run = 1
    steps = 100


def test_warm_up_rescues_post_ln_at_one_rate_and_what_is_stuck_has_one_token():
    run = ThreeRates.run(seed=10)
    loss = {cell: run.number("loss", cell) for cell in run.numbers["loss"]}
    alike = {cell: run.number("uniformity", cell) for cell in loss}
    gone = {cell for cell in loss if is_stuck(loss[cell]).any()}
    assert gone == {"other/0/0.01", "other/0/0.03", "other/75/0.03"}
    for cell in loss:
        assert is_stuck(loss[cell]).all() if cell in gone else not is_stuck(loss[cell]).any()
        assert (alike[cell] > 0.99).all() if cell in gone else (alike[cell] < 0.7).all()
    assert (loss["pre/75/0.003"] > loss["pre/0/0.003"]).all()
    assert min(v.mean() for k, v in loss.items() if k.startswith("pre")) < min(v.min() for k, v in loss.items() if k.startswith("other"))


@pytest.mark.parametrize("ffn", [True, False])
def test_without_shortcuts_all_tokens_become_one(ffn):
    run = TokenUniformity.run(seed=10, ffn=ffn)
    cosine = {key: run.number("cosine", key) for key in TokenUniformity.networks}
    assert (cosine["noskip"] > 0.999).all()
    assert (cosine["post"] > cosine["pre"] + 0.1).all() and (cosine["pre"] < 0.75).all()
    assert run.curve("cosine", "noskip")[:, 0].max() < 0.1


class Shorter(DepthUse):
    steps, warmup, every = 100, 25, 100  # as in the lesson
    seeds_per_run = 3


def test_pre_ln_grows_and_uses_its_later_blocks_less():
    run = Shorter.run(seed=10)
    share = {key: run.number("share", key) for key in ("pre", "post")}
    assert (run.number("growth", "pre") > 1.5).all()
    assert (share["pre"] < 0.45).all() and (share["pre"] < share["post"]).all()


def test_a_stream_of_post_ln_has_the_size_one_after_every_block():
    model = transformers([Design("post")], [0], depth=3, width=16)
    x, _ = next(windows(1, [0], 1))
    sizes = [stream_probes.rms(state).item() for state in list(model.stream(x))[1:]]
    assert sizes == pytest.approx([1.0] * 6, abs=1e-3)


def test_the_diagram_can_be_drawn():
    figures.use()
    assert figures.png(transformer_diagrams.norm_placements())[1:4] == b"PNG"


# The checks of the exercise.


def placed(x, f, where, n1, n2):
    return {"post": lambda: n1(x + f(x)), "pre": lambda: x + f(n1(x)), "peri": lambda: x + n2(f(n1(x))), "olmo2": lambda: x + n1(f(x))}[where]()


def cosine(x):
    t = x.shape[1]
    pairs = [F.cosine_similarity(x[:, i], x[:, j], dim=-1) for i in range(t) for j in range(t) if i != j]
    return torch.stack(pairs).mean()


@pytest.mark.parametrize(("check", "answer"), [
    (checks.check_sublayer, placed),
    (checks.check_sublayer, lambda x, f, w, a, b: placed(x, f, w, a, b).float()),
    (checks.check_ln_jacobian, lambda z: torch.func.jacrev(checks._layer_norm)(z)),
    (checks.check_ln_jacobian, lambda z: torch.autograd.functional.jacobian(lambda v: F.layer_norm(v, v.shape, eps=1e-6), z.float())),
    (checks.check_identity_path, lambda w, n, v: torch.tensor((1 + v) ** (-n / 2) if w == "post" else 1 / math.sqrt(1 + n * (v if w == "pre" else 1)))),
    (checks.check_uniformity, cosine),
    (checks.check_uniformity, lambda x: cosine(x.float()).item()),
    (checks.check_noam, lambda s, d, w: (d**-0.5) * (s * w**-1.5 if s < w else s**-0.5)),
])
def test_honest_variants_pass(check, answer):
    check(answer)


@pytest.mark.parametrize(("check", "answer", "said"), [
    (checks.check_sublayer, lambda x, f, w, a, b: None, "텐서를"),
    (checks.check_sublayer, lambda x, f, w, a, b: placed(x.add_(1), f, w, a, b), "바꾸었습니다"),
    (checks.check_sublayer, lambda x, f, w, a, b: f(x) * 0 + placed(x, f, w, a, b), "2번"),
    (checks.check_sublayer, lambda x, f, w, a, b: placed(x, f, "pre", a, b), "‘pre’의 식을"),
    (checks.check_sublayer, lambda x, f, w, a, b: placed(x, f, w, b, a), "norm_1 대신"),
    (checks.check_sublayer, lambda x, f, w, a, b: -placed(x, f, w, a, b), "다릅니다"),
    (checks.check_ln_jacobian, lambda z: z, "모양"),
    (checks.check_ln_jacobian, lambda z: torch.eye(len(z)), "다릅니다"),
    (checks.check_identity_path, lambda w, n, v: 0.7, "이어야"),
    (checks.check_identity_path, lambda w, n, v: None, "아무것도"),
    (checks.check_uniformity, lambda x: "하나", "수 하나를"),
    (checks.check_uniformity, lambda x: 0.123, "이어야"),
    (checks.check_noam, lambda s, d, w: d**-0.5 * s**-0.5, "워밍업이 없습니다"),
    (checks.check_noam, lambda s, d, w: d**-0.5 * min(1.0, s / w), "줄지 않습니다"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answer, said):
    with pytest.raises(NotYet, match=said):
        check(answer)
