"""A decoder-only Transformer in which the normalisation, the shortcut and their scales can be placed as the papers do.

One sublayer has three slots for a LayerNorm; which of them are filled is the whole difference between the placements:

    post    x ← LN(α x + s F(x))        Vaswani et al. 2017 (arXiv:1706.03762), GPT-1; with α > 1 Wang et al. 2022 (arXiv:2203.00555)
    pre     x ← α x + s F(LN(x))        GPT-2, Xiong et al. 2020 (arXiv:2002.04745)
    peri    x ← α x + s LN(F(LN(x)))    Gemma 2, Kim et al. 2025 (arXiv:2502.02732)
    olmo2   x ← α x + s LN(F(x))        OLMo 2 (arXiv:2501.00656), together with normalised queries and keys
    none    x ← α x + s F(x)            Bachlechner et al. 2020, ReZero (arXiv:2003.04887)

F is causal self-attention or a feed-forward network. `residual_lab.training.StackedTransformer` trains many at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PLACEMENTS = ("post", "pre", "peri", "olmo2", "none")
GAINS = ("", "rezero", "skipinit", "layerscale")
INITS = ("xavier", "gpt2")


@dataclass(frozen=True)
class Sizes:
    """The shape of a Transformer.

    Attributes:
        depth: number of blocks N; a block is attention and feed-forward, so there are 2N additions.
        hidden: width of the feed-forward network; None for 4 · width, 0 for a model of attention only.
    Raises:
        ValueError: a width that the heads do not divide.
    """

    vocabulary: int
    context: int
    width: int = 32
    heads: int = 2
    depth: int = 6
    hidden: int | None = None

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"폭 {self.width}은(는) 헤드 수 {self.heads}로 나누어떨어져야 합니다.")

    @property
    def feed_forward(self) -> int:
        return 4 * self.width if self.hidden is None else self.hidden

    @property
    def additions(self) -> int:
        """How many branches are added to the stream: 2N, or N without feed-forward networks."""
        return self.depth * (2 if self.feed_forward else 1)


@dataclass(frozen=True)
class Design:
    """What the papers vary. `residual_lab.blocks.scaling` has the designs of the papers by name.

    Attributes:
        placement: see the top of the file.
        skip: False leaves the shortcut out.
        skip_scale: α on the shortcut (DeepNorm). branch_scale: the constant s on the branch.
        gain: a learned factor on the branch. "rezero": one number a block, shared by its two branches;
            "skipinit": one number a branch; "layerscale": one number a channel.
        gain_start: what the learned factor begins with.
        init: "xavier" (uniform; queries, keys and values as ``nn.MultiheadAttention`` draws them) or "gpt2" (N(0, 0.02²)).
        inner_gain: factor on the initial weights of values and of the first feed-forward layer.
        output_gain: factor on the initial weights that end a branch: W^O and the second feed-forward layer.
        embedding_std: of token embeddings; those of positions have half of it.
        final_norm: a LayerNorm before the output layer; None for where the placement needs it (pre, peri, olmo2).
        affine: LayerNorms have parameters. tied: the output layer is the token embedding.
    Raises:
        ValueError: a choice that an attribute does not have.
    """

    placement: str = "pre"
    skip: bool = True
    skip_scale: float = 1.0
    branch_scale: float = 1.0
    gain: str = ""
    gain_start: float = 0.0
    init: str = "xavier"
    inner_gain: float = 1.0
    output_gain: float = 1.0
    embedding_std: float = 1.0
    final_norm: bool | None = None
    affine: bool = True
    tied: bool = False

    def __post_init__(self):
        for name, allowed in (("placement", PLACEMENTS), ("gain", GAINS), ("init", INITS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}은 {', '.join(map(repr, allowed))} 가운데 하나여야 합니다: {getattr(self, name)!r}")

    @property
    def ends_with_norm(self) -> bool:
        return self.placement in ("pre", "peri", "olmo2") if self.final_norm is None else self.final_norm


class Attention(nn.Module):
    """Causal multi-head self-attention (Vaswani et al. 2017, §3.2), with LayerNorms on queries and keys in OLMo 2."""

    def __init__(self, sizes: Sizes, design: Design):
        super().__init__()
        d = sizes.width
        self.heads = sizes.heads
        self.query, self.key, self.value, self.output = (nn.Linear(d, d) for _ in range(4))
        qk_norm = design.placement == "olmo2"
        self.query_norm, self.key_norm = (_norm(qk_norm, d, design) for _ in range(2))

    def pattern(self, x: Tensor, x_key: Tensor | None = None) -> Tensor:
        """Who looks at whom: (B, T, d) → (B, heads, T, T); rows sum to 1 and see nothing after themselves."""
        q = self._split(self.query_norm(self.query(x)))
        k = self._split(self.key_norm(self.key(x if x_key is None else x_key)))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        future = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        return scores.masked_fill(future, -torch.inf).softmax(-1)

    def forward(self, x: Tensor, x_key: Tensor | None = None, x_value: Tensor | None = None) -> Tensor:
        """(B, T, d) → the same shape. Keys and values may read another stream than the queries (lesson 10)."""
        v = self._split(self.value(x if x_value is None else x_value))
        mixed = self.pattern(x, x_key) @ v
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """W2 relu(W1 x + b1) + b2, at every position alike (Vaswani et al. 2017, Eq. 2)."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.up = nn.Linear(sizes.width, sizes.feed_forward)
        self.down = nn.Linear(sizes.feed_forward, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, d) → the same shape."""
        return self.down(self.up(x).relu())


class Sublayer(nn.Module):
    """One branch and its shortcut: norm_sum(α x + s · gain · norm_branch(F(norm_input(x))))."""

    def __init__(self, branch: nn.Module, sizes: Sizes, design: Design, gain: nn.Parameter | None):
        super().__init__()
        place, d = design.placement, sizes.width
        self.branch, self.design, self.gain = branch, design, gain
        self.norm_input = _norm(place in ("pre", "peri"), d, design)
        self.norm_branch = _norm(place in ("peri", "olmo2"), d, design)
        self.norm_sum = _norm(place == "post", d, design)

    def write(self, x: Tensor, factor: float = 1.0, reads: Sequence[Tensor] = ()) -> Tensor:
        """What the branch adds to the stream. ``reads``: streams for queries, keys and values where they differ from x."""
        inputs = [self.norm_input(stream) for stream in (reads or (x,))]
        written = self.norm_branch(self.branch(*inputs))
        if self.gain is not None:
            written = self.gain * written
        return self.design.branch_scale * factor * written

    def forward(self, x: Tensor, factor: float = 1.0, reads: Sequence[Tensor] = ()) -> Tensor:
        """(B, T, d) → the same shape."""
        written = self.write(x, factor, reads)
        return self.norm_sum(self.design.skip_scale * x + written if self.design.skip else written)


class Block(nn.Module):
    """Attention, then the feed-forward network, each with its shortcut."""

    def __init__(self, sizes: Sizes, design: Design):
        super().__init__()
        gains = _gains(design, sizes.width)
        self.attention = Sublayer(Attention(sizes, design), sizes, design, gains[0])
        self.ffn = Sublayer(FeedForward(sizes), sizes, design, gains[1]) if sizes.feed_forward else None

    def sublayers(self) -> list[Sublayer]:
        return [self.attention] if self.ffn is None else [self.attention, self.ffn]


class Transformer(nn.Module):
    """Token and position embeddings, N blocks, a final LayerNorm where the placement needs it, an output layer without bias.

    Args:
        seed: of the initial weights; the same seed gives designs of one shape the same draws.
    """

    def __init__(self, sizes: Sizes, design: Design = Design(), *, seed: int | None = None):
        super().__init__()
        self.sizes, self.design = sizes, design
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.context, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes, design) for _ in range(sizes.depth))
        self.final_norm = _norm(design.ends_with_norm, sizes.width, design)
        self.unembedding = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        if design.tied:
            self.unembedding.weight = self.tokens.weight
        initialise(self, None if seed is None else torch.Generator().manual_seed(seed))

    def sublayers(self) -> list[Sublayer]:
        """The 2N sublayers in order: attention, feed-forward, attention, …"""
        return [sublayer for block in self.blocks for sublayer in block.sublayers()]

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) → the stream x_0, (B, T, d)."""
        return self.tokens(tokens) + self.positions.weight[: tokens.shape[-1]]

    def stream(self, tokens: Tensor, factors: Sequence[float] | None = None) -> Iterator[Tensor]:
        """x_0, then the stream after every sublayer, (B, T, d) each.

        Args:
            factors: one a block, on what its branches write; a block with factor 0 is passed over altogether (LayerDrop).
        """
        x = self.embed(tokens)
        yield x
        for block, factor in zip(self.blocks, factors or [1.0] * self.sizes.depth, strict=True):
            for sublayer in block.sublayers():
                x = sublayer(x, factor) if factor else x
                yield x

    def unembed(self, x: Tensor) -> Tensor:
        """The stream (…, d) → logits (…, vocabulary); of an inner x it is the logit lens."""
        return self.unembedding(self.final_norm(x))

    def forward(self, tokens: Tensor, factors: Sequence[float] | None = None) -> Tensor:
        """Token ids (B, T) → logits (B, T, vocabulary)."""
        *_, x = self.stream(tokens, factors)
        return self.unembed(x)


@torch.no_grad()
def initialise(model: Transformer, generator: torch.Generator | None) -> None:
    """Draw all weights as `Design` says; biases are 0."""
    design = model.design

    def draw(weight: Tensor, gain: float = 1.0) -> None:
        if design.init == "gpt2":
            weight.normal_(0.0, 0.02, generator=generator).mul_(gain)
        else:
            nn.init.xavier_uniform_(weight, generator=generator).mul_(gain)

    for sublayer in model.sublayers():
        branch = sublayer.branch
        if isinstance(branch, Attention):
            third = 2**-0.5 if design.init == "xavier" else 1.0  # one Xavier draw of W^Q, W^K, W^V together
            draw(branch.query.weight, third)
            draw(branch.key.weight, third)
            draw(branch.value.weight, third * design.inner_gain)
            draw(branch.output.weight, design.output_gain)
        else:
            draw(branch.up.weight, design.inner_gain)
            draw(branch.down.weight, design.output_gain)
    if not design.tied:
        draw(model.unembedding.weight)
    model.tokens.weight.normal_(0.0, design.embedding_std, generator=generator)
    model.positions.weight.normal_(0.0, design.embedding_std / 2, generator=generator)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()


def _norm(present: bool, width: int, design: Design) -> nn.Module:
    return nn.LayerNorm(width, elementwise_affine=design.affine) if present else nn.Identity()


def _gains(design: Design, width: int) -> list[nn.Parameter | None]:
    """The learned factors of a block's two branches."""
    if not design.gain:
        return [None, None]
    channels = width if design.gain == "layerscale" else 1
    gains = [nn.Parameter(torch.full((channels,), design.gain_start)) for _ in range(2)]
    return [gains[0]] * 2 if design.gain == "rezero" else gains
