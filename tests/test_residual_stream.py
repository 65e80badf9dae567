"""Lesson 10: the new blocks against independent computations, the lesson's claims, and the checks of its exercise."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residual_lab.blocks.ssm import DiagonalSSM, SSMLanguageModel
from residual_lab.blocks.unet import SKIPS, UNet1d
from residual_lab.checks import residual_stream as checks
from residual_lab.checks.base import NotYet
from residual_lab.experiments import design_card, skip_families
from residual_lab.experiments import residual_stream as stream
from residual_lab.paths import CHECKOUT
from residual_lab.training.stacked_modules import StackedModules


# Blocks.


def test_the_ssm_is_its_recurrence():
    torch.manual_seed(0)
    block, x = DiagonalSSM(6).double(), torch.randn(2, 9, 6, dtype=torch.float64)
    u, gate = block.read(x).chunk(2, -1)
    a, h, expected = torch.sigmoid(block.logit), torch.zeros(2, 6, dtype=torch.float64), []
    for t in range(9):
        h = a * h + (1 - a) * u[:, t]
        expected.append(block.c * h + block.direct * u[:, t])
    torch.testing.assert_close(block(x), block.write(torch.stack(expected, 1) * gate * torch.sigmoid(gate)))


def test_an_ssm_sees_nothing_that_comes_later_and_its_shortcut_is_an_addition():
    model = SSMLanguageModel(7, 8, 3, seed=0)
    one = torch.randint(7, (1, 6), generator=torch.Generator().manual_seed(1))
    other = one.clone()
    other[0, 4] = (one[0, 4] + 1) % 7
    difference = (model(one) - model(other)).abs().amax((0, 2))
    assert difference[:4].max() == 0 and difference[4] > 1e-4
    x = model.tokens(one)
    for norm, mixer in zip(model.norms, model.mixers):
        x = x + mixer(norm(x))
    torch.testing.assert_close(model(one), model.unembedding(model.norms[-1](x)))


def unet_by_hand(net, x, skip):
    h, levels = x[:, None], []
    for conv in net.encoder:
        levels.append(conv(h).relu())
        h = levels[-1].unflatten(-1, (-1, 2)).mean(-1)
    h = net.bottom(h).relu()
    for conv in net.decoder:
        level, up = levels.pop(), F.interpolate(h, scale_factor=2, mode="nearest")
        parts = {"concat": (up, level), "add": (up + level, 0 * up), "none": (up, 0 * up)}[skip]
        h = conv(torch.cat(parts, 1)).relu()
    return net.head(h)[:, 0]


@pytest.mark.parametrize("skip", SKIPS)
def test_the_u_net_is_what_it_says(skip):
    net = UNet1d(3, 4, skip, seed=0)
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(x), unet_by_hand(net, x, skip))
    assert sum(p.numel() for p in net.parameters()) == (3 * 4 + 4) + 2 * (3 * 16 + 4) + (3 * 16 + 4) + 3 * (3 * 32 + 4) + 5
    with pytest.raises(ValueError, match="나누어떨어져야"):
        net(x[:, :12])


def test_an_unknown_skip_is_refused():
    with pytest.raises(ValueError, match="skip"):
        UNet1d(skip="dense", seed=0)


def test_stacked_modules_are_the_modules_themselves():
    nets = [UNet1d(2, 4, skip, seed=seed) for skip in SKIPS for seed in (0, 1)]
    stack, x = StackedModules(nets), torch.randn(6, 3, 16, generator=torch.Generator().manual_seed(2))
    y = stack(x)
    for k, net in enumerate(nets):
        torch.testing.assert_close(y[k], net(x[k]))
        torch.testing.assert_close(stack.member(k)(x[k]), net(x[k]))
    y.square().sum().backward()
    for k, net in enumerate(nets):
        net(x[k]).square().sum().backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(stack.stacked[stack.names.index(name)].grad[k], parameter.grad, rtol=1e-4, atol=1e-5)


# Reading the stream.


def test_writes_add_up_and_the_lens_ends_at_the_models_output():
    stack = stream.language_model(2, [0, 1])
    tokens, labels = stream.text_windows(2)
    *_, last = stack.stream(tokens)
    torch.testing.assert_close(sum(stream.writes(stack, tokens)), last)
    torch.testing.assert_close(stream.lens(stack, tokens)[-1], stack(tokens))
    torch.testing.assert_close(stream.lens(stack.member(1), tokens[1])[1], stream.lens(stack, tokens)[1][1])
    torch.testing.assert_close(stream.lens(stack.member(1), tokens[1], norm=False)[1], stream.lens(stack, tokens, norm=False)[1][1])
    assert torch.equal(tokens[0, 1:, 0], labels[0, :-1, -1])


def train(layers, seeds, **more):
    steps = more.pop("steps", 200)
    stack = stream.repeater(layers, seeds, **more)
    for _ in stream.train_to_repeat(stack, steps=steps):
        pass
    return stack


@pytest.fixture(scope="module")
def pair():
    return train(2, range(5))


def test_the_second_layers_keys_read_where_the_first_writes(pair):
    untrained = stream.repeater(2, range(5))
    for k in range(5):
        after, before = (stream.composition_scores(stack.member(k)) for stack in (pair, untrained))
        assert after["key"] > 1.2 * before["key"] and after["key"] > 1.3 * max(after["query"], after["value"])
        assert all(score == pytest.approx(48**-0.5, rel=0.2) for score in before.values())


def test_a_cut_is_a_member_that_reads_something_else(pair):
    tokens, _ = stream.fresh_repeats(5, batch=4)
    model = pair.member(3)
    for where in ("query", "key", "value", "sum"):
        torch.testing.assert_close(stream.cut(pair, tokens, where)[3], checks.hidden_from(model, tokens[3], where), rtol=1e-4, atol=1e-4)


def test_attention_by_distance_and_the_scores_are_means_of_the_pattern(pair):
    tokens, labels = stream.fresh_repeats(5, batch=4)
    previous, induction = stream.head_scores(pair, tokens, labels)
    x0, x1, _ = pair.stream(tokens)
    first, second = pair.pattern(0, x0)[:, :, 0], pair.pattern(1, x1)[:, :, 0]
    periods = [int((labels[0, b] < 0).sum()) for b in range(4)]
    before = [[first[k, b, t, t - 1] for b in range(4) for t in range(1, periods[b])] for k in range(5)]
    torch.testing.assert_close(previous, torch.stack([torch.stack(values).mean() for values in before]))
    found = [[sum(second[k, b, t, j] for j in range(t - periods[b] + 1, 0, -periods[b])) for b in range(4) for t in range(periods[b], 24)] for k in range(5)]
    torch.testing.assert_close(induction, torch.stack([torch.stack(values).mean() for values in found]))
    shares = stream.by_distance(pair, 1, first=8, last=15)
    assert shares.shape == (5, 12) and (shares.argmax(1) == 6).all()


def test_the_first_layer_looks_back_only_where_the_second_will_look_it_up(pair):
    passage, repetition = (stream.by_distance(pair, 0, first=first, last=last) for first, last in ((1, 8), (16, 23)))
    assert passage[:, 0].min() > 0.45 and repetition[:, 0].max() < 0.12
    untrained = stream.by_distance(stream.repeater(2, [0]), 0, first=1, last=4, far=6)[0]
    uniform = [sum(1 / (t + 1) for t in range(max(1, back), 5)) / 4 for back in range(1, 7)]
    torch.testing.assert_close(untrained, torch.tensor(uniform), rtol=0.3, atol=0.02)


def test_without_shortcuts_two_layers_learn_more_slowly_but_learn():
    tokens, labels = stream.fresh_repeats(2)
    later = train(2, [0, 1], skip=False, steps=600)
    assert stream.accuracy(later(tokens), labels).min() > 0.9


# Other families.


def test_errors_by_distance_from_a_jump():
    clean = torch.tensor([[0.0, 0, 0, 0, 5, 5, 5, 5]])
    error = torch.tensor([[[1.0, 2, 3, 4, 5, 6, 7, 8]]])
    means = [(16 + 25) / 2, (9 + 36) / 2, (4 + 49) / 2, (1 + 64) / 2]
    torch.testing.assert_close(skip_families.error_by_distance(error, clean), torch.tensor([means]))


def test_signals_are_constant_between_jumps():
    noisy, clean = skip_families.steps_with_noise(64, 0.3, torch.Generator().manual_seed(0))
    jumps = (clean.diff(dim=1) != 0).float().mean()
    assert 0.05 < jumps < 0.15 and (noisy - clean).std() == pytest.approx(0.3, rel=0.1)


def test_neither_network_always_stands_noise_better():
    errors = skip_families.noise_errors(4, (0.0, 1.0), range(10))
    growth = {key: values[:, 1] - values[:, 0] for key, values in errors.items()}
    better = (growth["residual"] < growth["plain"]).sum()
    assert 1 <= better <= 9


# The design card.


@pytest.mark.parametrize("placement", ["none", "pre", "post"])
@pytest.mark.parametrize(("depth", "scale"), [(6, 1.0), (48, 48**-0.5), (100, 0.1)])
def test_predictions_hold_in_real_networks(placement, depth, scale):
    card = design_card.predict(placement, depth, scale)
    growth = {"none": (1 + scale**2) ** depth, "pre": 1 + scale**2 * depth, "post": 1.0}[placement]
    assert card.forward[-1] == pytest.approx(growth) and card.gradient[0] == pytest.approx(growth**0.5)
    for seed in range(3):
        found = design_card.measure(placement, depth, scale, seed)
        assert abs(math.log(found.forward[-1] / growth)) < 0.6 and abs(math.log(found.gradient[0] / growth**0.5)) < 0.4


def test_expected_depth_is_what_survives():
    for depth, last in ((1, 0.5), (12, 0.5), (54, 0.5), (48, 1.0)):
        expected = design_card.expected_depth(depth, last)
        assert expected == pytest.approx(depth - (1 - last) * (depth + 1) / 2)
        assert design_card.simulated_depth(depth, last, 0) == pytest.approx(expected, rel=0.06)
    assert design_card.expected_depth(54, 0.5) == pytest.approx(40.25)


# The exercise.


def measure(card, weights, x, g):
    def network(h):
        for weight in weights:
            read = nn.LayerNorm(h.shape[-1], elementwise_affine=False)(h) if card["placement"] == "pre" else h
            h = h + card["scale"] * torch.relu(read) @ weight
            h = F.layer_norm(h, h.shape[-1:]) if card["placement"] == "post" else h
        return h

    y, gradient = torch.autograd.functional.vjp(network, x, g)
    return torch.stack([y.pow(2).mean(), gradient.norm() / g.norm()])


@pytest.mark.parametrize(("check", "answer"), [
    (checks.check_attribution, lambda pieces, gamma, U: checks.attribution(pieces, gamma, U)),
    (checks.check_predict, lambda card: torch.tensor(checks.predicted(card))),
    (checks.check_measure, measure),
    (checks.check_design, lambda N: dict(depth=N, placement="none", scale=N**-0.5, survival=0.4)),
    (checks.check_design, lambda N: dict(depth=N, placement="post", scale=N**-0.5, survival=0.5, note="더 적어도 됩니다")),
], ids=lambda value: getattr(value, "__name__", "answer"))
def test_honest_variants_pass(check, answer):
    check(answer)


def spoil(pieces, gamma, U):
    pieces[0].zero_()
    return checks.attribution(pieces, gamma, U)


@pytest.mark.parametrize(("check", "answer", "said"), [
    (checks.check_attribution, lambda p, g, U: None, "텐서 하나를"),
    (checks.check_attribution, lambda p, g, U: checks.attribution(p, g, U).sum(0), "모양"),
    (checks.check_attribution, lambda p, g, U: checks.attribution(p, g, U).float().half(), "10⁻⁹|다릅니다"),
    (checks.check_attribution, spoil, "제자리에서"),
    (checks.check_hide, lambda m, t, w: None, "텐서를"),
    (checks.check_hide, lambda m, t, w: m.embed(t), "모양"),
    (checks.check_hide, lambda m, t, w: m(t), "아무것도 가리지"),
    (checks.check_predict, lambda c: None, "세 수를"),
    (checks.check_predict, lambda c: c.clear(), "바뀌었습니다"),
    (checks.check_predict, lambda c: checks.predicted(c)[::-1], "순서"),
    (checks.check_predict, lambda c: [value**sign for value, sign in zip(checks.predicted(c), (1, -1, 1))], "뒤집"),
    (checks.check_measure, lambda c, w, x, g: 1.0, "두 수를"),
    (checks.check_measure, lambda c, w, x, g: checks.predicted(c)[:2], "이어야 하는데"),
    (checks.check_design, lambda N: None, "카드"),
    (checks.check_design, lambda N: dict(depth=N), "빠진"),
    (checks.check_design, lambda N: dict(depth=8, placement="pre", scale=0.3, survival=0.5), "depth가 24"),
    (checks.check_design, lambda N: dict(depth=N, placement="pre", scale=N**-0.5, survival=1.5), "확률"),
    (checks.check_design, lambda N: dict(depth=N, placement="pre", scale=N**-0.5, survival=0.1), "너무 많이"),
])
def test_garbage_and_tricks_are_told_in_korean(check, answer, said):
    with pytest.raises(NotYet, match=said):
        check(answer)


def test_the_course_writes_formulas_with_dollars_only():
    r"""Source 004 writes ``$\[ … \]$``, which no renderer of the course shows; its quotes are left out."""
    for path in [*CHECKOUT.glob("lessons/*.md"), *CHECKOUT.glob("solutions/*.md")]:
        kept = re.sub(r"`[^`\n]*`|“[^”\n]*”", "", re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M))
        assert not re.search(r"\$\\[\[(]", kept), path.name
