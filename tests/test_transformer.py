"""The Transformer is what its papers say, and many trained at once are each of them trained alone."""

import math
import unicodedata

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residual_lab import text as texts
from residual_lab.blocks import scaling
from residual_lab.blocks.transformer import PLACEMENTS, Attention, Design, Sizes, Transformer
from residual_lab.data import DataError
from residual_lab.training.adam import cross_entropy, fit_adam, warmed
from residual_lab.training.stacked_transformer import StackedTransformer

SMALL = Sizes(vocabulary=11, context=7, width=12, heads=3, depth=2)
SEEDS = [3, 8]
DESIGNS = {
    **{placement: Design(placement) for placement in PLACEMENTS},
    "no skip": Design("pre", skip=False),
    "no skip after": Design("post", skip=False),
    "bare norms": Design("peri", affine=False),
    "bare OLMo": Design("olmo2", affine=False),
    "final norm": Design("post", final_norm=True),
    "tied": Design("pre", tied=True),
    "uniform": scaling.uniform(0.25),
    "deepnorm": scaling.deepnorm(2),
    "rezero": scaling.rezero(gain_start=0.3),
    "skipinit": scaling.skipinit(gain_start=0.3),
    "layerscale": scaling.layerscale(0.3),
    "gpt2": scaling.gpt2(2),
    "exact gpt2": scaling.gpt2(2, exact=True),
    "fixup": scaling.fixup(2),
}


def tokens(*shape, seed=0, vocabulary=SMALL.vocabulary):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def disturb(stack):
    """Biases and norms start at 0 and 1, where mistakes hide: move every parameter a little."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


@pytest.mark.parametrize("sizes", [SMALL, Sizes(11, 7, 12, 3, 2, hidden=0)], ids=["with FFN", "attention only"])
@pytest.mark.parametrize("name", DESIGNS)
def test_a_stack_has_the_outputs_and_gradients_of_each_network_alone(name, sizes):
    stack = StackedTransformer(sizes, [DESIGNS[name]], SEEDS).double()
    disturb(stack)
    x, y = tokens(2, 4, 6), tokens(2, 4, 6, seed=1)
    together = list(stack.stream(x))
    cross_entropy(stack.unembed(together[-1]), y).sum().backward()
    for k in range(2):
        model = stack.member(k)
        alone = list(model.stream(x[k]))
        assert len(alone) == len(together) == 1 + sizes.additions
        for one, many in zip(alone, together):
            torch.testing.assert_close(many[k], one)
        F.cross_entropy(model(x[k]).flatten(0, 1), y[k].flatten()).backward()
        for parameter, expected in model.named_parameters():
            inside = parameter.startswith("blocks.")
            block, rest = parameter.split(".", 2)[1:] if inside else (0, parameter)
            gradient = stack.parameter("blocks." + rest if inside else rest).grad[k]
            torch.testing.assert_close(gradient[int(block)] if inside else gradient, expected.grad, msg=parameter)


def test_a_stack_starts_as_its_members_do():
    stack = StackedTransformer(SMALL, [Design("pre"), Design("pre", output_gain=0.5)], SEEDS)
    for k, (design, seed) in enumerate(stack.members):
        fresh, kept = Transformer(SMALL, design, seed=seed), stack.member(k)
        assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), kept.parameters(), strict=True))


def test_designs_of_one_stack_may_differ_in_numbers():
    designs = [Design("pre"), Design("pre", skip=False), Design("pre", branch_scale=0.5), Design("pre", skip_scale=2.0)]
    stack = StackedTransformer(SMALL, designs, [1]).double()
    x = tokens(1, 3, 7).expand(4, -1, -1)
    for k in range(4):
        torch.testing.assert_close(stack(x)[k], stack.member(k)(x[k]))


def test_designs_of_one_stack_may_not_differ_in_layers():
    with pytest.raises(ValueError, match="같은 층"):
        StackedTransformer(SMALL, [Design("pre"), Design("post")], [0])


def test_dropped_and_weighted_blocks_and_cut_readers_are_those_of_the_single_network():
    stack = StackedTransformer(SMALL, [Design("pre")], SEEDS).double()
    x = tokens(2, 4, 6)
    for factors in ([0.0, 1.0], [2.0, 0.5], [0.0, 0.0]):
        for k in range(2):
            torch.testing.assert_close(stack(x, factors)[k], stack.member(k)(x[k], factors))
    torch.testing.assert_close(stack(x, [0.0, 0.0]), stack.unembed(stack.embed(x)))
    start, after, *_ = stack.stream(x)
    for cut in range(3):
        reads = [start if slot == cut else after for slot in range(3)]
        for k in range(2):
            alone = stack.member(k).sublayers()[2](after[k], reads=[stream[k] for stream in reads])
            torch.testing.assert_close(stack.sublayer(2, after, reads=reads)[k], alone)


def test_the_pattern_of_a_stack_is_the_one_it_mixes_with():
    for placement in ("pre", "olmo2"):
        stack = StackedTransformer(SMALL, [Design(placement)], SEEDS).double()
        x = stack.embed(tokens(2, 4, 6))
        for k in range(2):
            sublayer = stack.member(k).blocks[1].attention
            torch.testing.assert_close(stack.pattern(1, x)[k], sublayer.branch.pattern(sublayer.norm_input(x[k])))


# The placements, against computations that share no code with ours.


def test_attention_is_torchs_own():
    ours = Attention(SMALL, Design("pre")).double()
    theirs = nn.MultiheadAttention(SMALL.width, SMALL.heads, batch_first=True).double()
    copy_attention(ours, theirs)
    x = torch.randn(4, 6, SMALL.width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    expected, pattern = theirs(x, x, x, attn_mask=mask, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.pattern(x), pattern)


def copy_attention(ours, theirs):
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)


@pytest.mark.parametrize("placement", ["post", "pre"])
def test_a_block_is_torchs_encoder_layer(placement):
    stack = StackedTransformer(SMALL, [Design(placement)], [0]).double()
    disturb(stack)
    model = stack.member(0)
    layer = nn.TransformerEncoderLayer(SMALL.width, SMALL.heads, 48, 0.0, batch_first=True, norm_first=placement == "pre").double()
    x = model.embed(tokens(4, 6))
    expected = x
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    for block in model.blocks:
        copy_attention(block.attention.branch, layer.self_attn)
        slot = "norm_input" if placement == "pre" else "norm_sum"
        pairs = [(layer.linear1, block.ffn.branch.up), (layer.linear2, block.ffn.branch.down)]
        pairs += [(layer.norm1, getattr(block.attention, slot)), (layer.norm2, getattr(block.ffn, slot))]
        for target, source in pairs:
            target.load_state_dict(source.state_dict())
        expected = layer(expected, src_mask=mask)
    *_, last = model.stream(tokens(4, 6))
    torch.testing.assert_close(last, expected)


def layer_norm(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


FORMULAS = {
    "post": lambda x, f: layer_norm(1.5 * x + 0.5 * f(x)),
    "pre": lambda x, f: 1.5 * x + 0.5 * f(layer_norm(x)),
    "peri": lambda x, f: 1.5 * x + 0.5 * layer_norm(f(layer_norm(x))),
    "olmo2": lambda x, f: 1.5 * x + 0.5 * layer_norm(f(x)),
    "none": lambda x, f: 1.5 * x + 0.5 * f(x),
}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_sublayer_is_its_formula(placement):
    design = Design(placement, skip_scale=1.5, branch_scale=0.5, affine=False)
    model = Transformer(SMALL, design, seed=0).double()
    x = 3 * model.embed(tokens(4, 6)).detach() + 1
    for sublayer in model.sublayers():
        torch.testing.assert_close(sublayer(x), FORMULAS[placement](x, sublayer.branch))


@pytest.mark.parametrize(("placement", "final"), [("post", False), ("pre", True), ("peri", True), ("olmo2", True), ("none", False)])
def test_a_final_norm_stands_where_the_placement_needs_it(placement, final):
    assert isinstance(Transformer(SMALL, Design(placement)).final_norm, nn.LayerNorm) == final
    assert isinstance(Transformer(SMALL, Design(placement, final_norm=not final)).final_norm, nn.LayerNorm) != final


@pytest.mark.parametrize("name", DESIGNS)
def test_no_position_sees_what_comes_after_it(name):
    stack = StackedTransformer(SMALL, [DESIGNS[name]], [0])
    disturb(stack)
    model = stack.member(0)
    one, other = tokens(1, 7), tokens(1, 7)
    other[0, 4] = (one[0, 4] + 1) % SMALL.vocabulary
    for forward in (lambda t: model(t), lambda t: stack(t[None])[0]):
        difference = (forward(one) - forward(other)).abs().amax((0, 2))
        assert difference[:4].max() == 0 and difference[4] > 1e-4


# Parameters: GPT-1 (Radford et al. 2018) has Post-LN, 12 layers, 768, 512 positions and 40,478 tokens; GPT-2 small
# (Radford et al. 2019) Pre-LN, 1,024 positions and 50,257 tokens. The counts are those of the published checkpoints.
@pytest.mark.parametrize(
    ("sizes", "design", "count"),
    [
        (Sizes(40478, 512, 768, 12, 12), Design("post", tied=True), 116_534_784),
        (Sizes(50257, 1024, 768, 12, 12), scaling.gpt2(12, exact=True, tied=True), 124_439_808),
    ],
    ids=["GPT-1", "GPT-2 small"],
)
def test_the_parameters_of_the_papers_models(sizes, design, count):
    with torch.device("meta"):
        model = Transformer(sizes, design)
    assert sum(p.numel() for p in model.parameters()) == count


# Initialisation and scales.


def test_xavier_draws_queries_keys_and_values_as_torch_does():
    model = Transformer(Sizes(11, 7, 64, 4, 1), seed=0)
    attention = model.blocks[0].attention.branch
    bound = (6 / (4 * 64)) ** 0.5
    reference = nn.MultiheadAttention(64, 4).in_proj_weight.abs().max().item()
    for part in (attention.query, attention.key, attention.value):
        assert 0.98 * bound < part.weight.abs().max() <= bound
    assert reference == pytest.approx(bound, rel=0.01)


def test_designs_of_one_seed_share_their_draws():
    plain, scaled = (Transformer(SMALL, design, seed=4) for design in (Design("pre"), scaling.gpt2(2)))
    for a, b in zip(plain.sublayers(), scaled.sublayers()):
        assert torch.equal(a.branch.output.weight * 0.5 if hasattr(a.branch, "output") else a.branch.down.weight * 0.5,
                           b.branch.output.weight if hasattr(b.branch, "output") else b.branch.down.weight)  # fmt: skip
    assert torch.equal(plain.tokens.weight, scaled.tokens.weight)


def test_deepnorm_has_the_papers_constants():
    assert scaling.deepnorm_constants(12) == pytest.approx((2.213364, 0.319472), abs=1e-6)
    assert scaling.deepnorm_constants(1000) == pytest.approx((6.6874, 0.1057), abs=1e-4)
    encoder, decoder = scaling.deepnorm_encoder_decoder(12, 6)
    assert encoder == pytest.approx((1.6862, 0.4179), abs=1e-4)
    assert decoder == pytest.approx((2.0598, 0.3433), abs=1e-4)


@pytest.mark.parametrize("name", ["rezero", "fixup", "skipinit"])
def test_a_branch_that_starts_at_zero_leaves_the_stream_alone(name):
    model = Transformer(SMALL, getattr(scaling, name)(2) if name == "fixup" else getattr(scaling, name)(), seed=0)
    start, *later = model.stream(tokens(4, 6))
    assert all(torch.equal(x, start) for x in later)


def test_a_uniform_scale_under_pre_ln_is_a_smaller_embedding():
    scaled, plain = (Transformer(SMALL, design, seed=0).double() for design in (scaling.uniform(0.25), Design("pre")))
    with torch.no_grad():
        for part in (plain.tokens, plain.positions):
            part.weight.div_(0.25)
        for norm in (m for model in (scaled, plain) for m in model.modules() if isinstance(m, nn.LayerNorm)):
            norm.eps = 1e-14
    torch.testing.assert_close(scaled(tokens(4, 6)), plain(tokens(4, 6)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("field", ["placement", "gain", "init"])
def test_an_unknown_design_is_refused(field):
    with pytest.raises(ValueError, match=field):
        Design(**{field: "unknown"})


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="나누어떨어져야"):
        Sizes(11, 7, width=10, heads=3)


# Training: rates and warm-ups of their own, and losses that do not count everywhere.


def train(model, *, seeds, conditions, steps=10, **more):
    text = texts.load_jamo()
    batches = texts.jamo_batches(text.ids, conditions=conditions, seeds=seeds, context=8, batch=4, steps=steps)
    return torch.stack([step.losses for step in fit_adam(model, batches, steps=steps, **more)])


def language_model(designs, seeds=(3,)):
    return StackedTransformer(Sizes(len(texts.load_jamo().vocabulary), 8, 16, 2, 2), designs, seeds)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_rates_and_warm_ups_of_their_own_are_those_networks_trained_alone(schedule):
    rates, warmups = torch.tensor([1e-3, 1e-2, 1e-2]), torch.tensor([0, 0, 6])
    together = train(language_model([Design("post")] * 3), seeds=[3], conditions=3, lr=rates, warmup=warmups, schedule=schedule)
    for k in range(3):
        alone = train(language_model([Design("post")]), seeds=[3], conditions=1, lr=rates[k].item(), warmup=warmups[k].item(), schedule=schedule)
        torch.testing.assert_close(together[:, k], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_the_warm_up_grows_to_one():
    assert [warmed(step, 4) for step in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert warmed(3, torch.tensor([0, 3, 6])).tolist() == [1.0, 1.0, 0.5]
    assert warmed(1, 0) == 1.0


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule"):
        next(fit_adam(language_model([Design("pre")]), [], steps=1, lr=0.1, schedule="step"))


def test_positions_that_do_not_count_are_left_out_of_the_mean():
    logits = torch.randn(1, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[[1, texts.IGNORED, 2], [texts.IGNORED, texts.IGNORED, 4]]])
    expected = F.cross_entropy(logits.flatten(0, 2), labels.flatten())
    torch.testing.assert_close(cross_entropy(logits, labels)[0], expected)


def test_gradient_norms_are_those_of_every_block():
    model = language_model([Design("pre")], seeds=[1, 2])
    train(model, seeds=[1, 2], conditions=1, steps=1, lr=1e-3)
    weight = model.parameter("blocks.ffn.branch.down.weight").grad
    assert model.gradient_norms().shape == (2, 2)
    torch.testing.assert_close(model.gradient_norms()[1, 0], weight[1, 0].norm())


# The text and the sequences.


def test_the_text_is_letters_with_an_entropy():
    text = texts.load_jamo()
    assert 800 < len(text.ids) < 1200 and 40 < len(text.vocabulary) < 60
    whole = text.decode(text.ids)
    assert unicodedata.is_normalized("NFC", whole) and whole.startswith("산골 마을에는")
    shares = [unicodedata.normalize("NFD", whole).count(letter) / len(text.ids) for letter in text.vocabulary]
    assert text.entropy == pytest.approx(-sum(p * math.log(p) for p in shares))
    assert len(set(text.labels)) == len(text.vocabulary) and {"ㄱ", "-ㄱ", "ㅏ", "␣"} <= set(text.labels)


def test_windows_are_the_texts_and_each_seed_has_its_own():
    text = texts.load_jamo()
    whole = text.decode(text.ids)
    [(x, y)] = texts.jamo_batches(text.ids, conditions=2, seeds=[0, 1], context=12, batch=3, steps=1)
    assert x.shape == y.shape == (4, 3, 12)
    assert torch.equal(x[..., 1:], y[..., :-1]) and torch.equal(x[:2], x[2:]) and not torch.equal(x[0], x[1])
    inner = text.decode(text.ids)[20:60]
    assert inner in whole
    alone = next(texts.jamo_batches(text.ids, conditions=1, seeds=[1], context=12, batch=3, steps=1))
    assert torch.equal(alone[0][0], x[1])
    with pytest.raises(ValueError, match="길어야"):
        next(texts.jamo_batches(text.ids[:10], conditions=1, seeds=[0], context=10, batch=1, steps=1))


def test_a_missing_text_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "ASSETS", tmp_path)
    with pytest.raises(DataError, match="assets/data/.*다시 받거나"):
        texts.load_jamo.__wrapped__()


def test_repeated_sequences_repeat_and_count_only_where_the_past_tells():
    [(x, y)] = texts.repeated_sequences(conditions=2, seeds=[0, 1], batch=64, steps=1)
    assert x.shape == y.shape == (4, 64, 24) and torch.equal(x[:2], x[2:])
    periods = set()
    for row, labels in zip(x[0].tolist(), y[0].tolist()):
        period = labels.count(texts.IGNORED)
        periods.add(period)
        assert len(set(row[:period])) == period
        assert all(row[t] == row[t - period] for t in range(period, 24))
        assert labels[period:-1] == row[period + 1 :] and labels[-1] == row[24 - period]
    assert periods == set(range(5, 13))
    with pytest.raises(ValueError, match="주기"):
        next(texts.repeated_sequences(conditions=1, seeds=[0], batch=1, steps=1, periods=(5, 20)))
