"""Many Transformers of one shape trained at once: the network of `residual_lab.blocks.transformer` with a leading axis K.

The K members are drawn by `Transformer` itself and their parameters stacked, so that member k starts as that network
does, and `member(k)` gives it back. ``tests/test_transformer.py`` compares outputs and gradients in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residual_lab.blocks.transformer import Design, Sizes, Transformer


class StackedTransformer(nn.Module):
    """K = designs × seeds Transformers; all seeds of the first design, then of the second, …

    Parameters of blocks have shape (K, N, …), all others (K, …), where … is the shape in `Transformer`.

    Args:
        designs: may differ in what is a number (skip, scales, initial weights) but not in which layers there are
            (placement, kind of learned factor, final LayerNorm, affine, tied). Repeat a design for its several learning rates.
    Raises:
        ValueError: designs that have not the same layers.
    """

    def __init__(self, sizes: Sizes, designs: Sequence[Design], seeds: Sequence[int]):
        super().__init__()
        if len({_layers(design) for design in designs}) != 1:
            raise ValueError("한 스택의 망은 같은 층으로 이루어져야 합니다(placement, gain, final_norm, affine, tied).")
        self.sizes, self.design = sizes, designs[0]
        self.members = [(design, seed) for design in designs for seed in seeds]
        models = [Transformer(sizes, design, seed=seed) for design, seed in self.members]
        outer = [{n: p for n, p in model.named_parameters() if not n.startswith("blocks")} for model in models]
        inner = [[dict(block.named_parameters()) for block in model.blocks] for model in models]
        stacked = {name: torch.stack([o[name] for o in outer]) for name in outer[0]}
        for name in inner[0][0]:
            stacked["blocks." + name] = torch.stack([torch.stack([block[name] for block in blocks]) for blocks in inner])
        for name, value in stacked.items():
            self.register_parameter(_flat(name), nn.Parameter(value.detach()))
        self._inner = tuple(inner[0][0])
        for name in ("skip_scale", "branch_scale"):
            factors = [getattr(design, name) * (design.skip or name == "branch_scale") for design, _ in self.members]
            self.register_buffer(name, torch.tensor(factors).view(-1, 1, 1, 1))
        self._scaled = any(design.branch_scale != 1 for design in designs)

    def stream(self, tokens: Tensor, factors: Sequence[float] | None = None) -> Iterator[Tensor]:
        """x_0, then the stream after every sublayer, (K, B, T, d) each; see `Transformer.stream`.

        One factor a block for all members. The pieces are one graph: ``retain_grad`` works on any of them.
        """
        x = self.embed(tokens)
        yield x
        blocks = self._blocks()
        for weights, factor in zip(blocks, factors or [1.0] * self.sizes.depth, strict=True):
            for kind in self._kinds:
                x = self._sublayer(weights, kind, x, factor) if factor else x
                yield x

    def forward(self, tokens: Tensor, factors: Sequence[float] | None = None) -> Tensor:
        """Token ids (K, B, T) → logits (K, B, T, vocabulary)."""
        *_, x = self.stream(tokens, factors)
        return self.unembed(x)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (K, B, T) → x_0, (K, B, T, d)."""
        k, vocabulary, d = self.tokens_weight.shape
        places = tokens + vocabulary * torch.arange(k, device=tokens.device).view(-1, 1, 1)
        return F.embedding(places, self.tokens_weight.flatten(0, 1)) + self.positions_weight[:, None, : tokens.shape[2]]

    def unembed(self, x: Tensor) -> Tensor:
        """The stream (K, B, T, d) → logits (K, B, T, vocabulary)."""
        if self.design.ends_with_norm:
            x = _norm(x, getattr(self, "final_norm_weight", None), getattr(self, "final_norm_bias", None))
        weight = self.tokens_weight if self.design.tied else self.unembedding_weight
        return torch.bmm(x.flatten(1, 2), weight.mT).unflatten(1, x.shape[1:3])

    def sublayer(self, index: int, x: Tensor, factor: float = 1.0, reads: Sequence[Tensor] = ()) -> Tensor:
        """Sublayer 0 … 2N − 1 alone: (K, B, T, d) → the same shape; see `Sublayer.write` for ``reads``."""
        block, kind = divmod(index, len(self._kinds))
        return self._sublayer(self._blocks()[block], self._kinds[kind], x, factor, reads)

    def pattern(self, block: int, x: Tensor, x_key: Tensor | None = None) -> Tensor:
        """Attention of one block that reads the streams x: (K, B, T, d) → (K, B, heads, T, T)."""
        weights = self._blocks()[block]
        inputs = [self._slot(weights, "attention.norm_input", stream) for stream in (x, x if x_key is None else x_key, x)]
        q, k, _ = self._queries_keys_values(weights, inputs)
        return _pattern(q, k).unflatten(0, x.shape[:2])

    def gradient_norms(self, name: str = "ffn.branch.down.weight") -> Tensor:
        """Frobenius norm of the gradient of one weight of every block, (K, N)."""
        return self.parameter("blocks." + name).grad.flatten(2).norm(dim=2)

    def parameter(self, name: str) -> nn.Parameter:
        """A stacked parameter by its name in `Transformer`, without the block's number: "tokens.weight", "blocks.attention.gain"."""
        return getattr(self, _flat(name))

    @torch.no_grad()
    def member(self, k: int) -> Transformer:
        """Network k as a `Transformer` of its own, with a copy of its present weights."""
        design, seed = self.members[k]
        model = Transformer(self.sizes, design, seed=seed).to(self.tokens_weight.dtype)
        for name, target in model.named_parameters():
            if name.startswith("blocks."):
                _, block, rest = name.split(".", 2)
                target.copy_(self.parameter("blocks." + rest)[k, int(block)])
            else:
                target.copy_(self.parameter(name)[k])
        return model

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("attention", "ffn") if self.sizes.feed_forward else ("attention",)

    def _blocks(self) -> list[dict[str, Tensor]]:
        """The parameters of each block by name, (K, …) each."""
        pieces = {name: self.parameter("blocks." + name).unbind(1) for name in self._inner}
        return [{name: piece[block] for name, piece in pieces.items()} for block in range(self.sizes.depth)]

    def _sublayer(self, weights: dict, kind: str, x: Tensor, factor: float, reads: Sequence[Tensor] = ()) -> Tensor:
        inputs = [self._slot(weights, f"{kind}.norm_input", stream) for stream in (reads or (x,))]
        written = self._attention(weights, inputs) if kind == "attention" else self._feed_forward(weights, *inputs)
        written = self._slot(weights, f"{kind}.norm_branch", written)
        if self.design.gain:
            gain = weights["attention.gain"] if self.design.gain == "rezero" else weights[f"{kind}.gain"]
            written = gain[:, None, None] * written
        if self._scaled or factor != 1:
            written = written * (self.branch_scale * factor)
        return self._slot(weights, f"{kind}.norm_sum", torch.addcmul(written, x, self.skip_scale))

    def _slot(self, weights: dict, slot: str, x: Tensor) -> Tensor:
        """The LayerNorm of this slot, where the placement fills it."""
        filled = {"post": ("norm_sum",), "pre": ("norm_input",), "peri": ("norm_input", "norm_branch"), "olmo2": ("norm_branch",)}
        if slot.split(".")[1] not in filled.get(self.design.placement, ()):
            return x
        return _norm(x, weights.get(slot + ".weight"), weights.get(slot + ".bias"))

    def _attention(self, weights: dict, inputs: Sequence[Tensor]) -> Tensor:
        q, k, v = self._queries_keys_values(weights, inputs)
        mixed = (_pattern(q, k) @ v).transpose(1, 2).flatten(2).unflatten(0, inputs[0].shape[:2])
        return _linear(weights, "attention.branch.output", mixed)

    def _queries_keys_values(self, weights: dict, inputs: Sequence[Tensor]) -> list[Tensor]:
        """(K · B, heads, T, d / heads) each; one product where all three read the same stream."""
        names = [f"attention.branch.{name}" for name in ("query", "key", "value")]
        if len(inputs) == 1:
            weight, bias = (torch.cat([weights[f"{name}.{part}"] for name in names], 1) for part in ("weight", "bias"))
            projected = _linear({"all.weight": weight, "all.bias": bias}, "all", inputs[0]).chunk(3, -1)
        else:
            projected = [_linear(weights, name, stream) for name, stream in zip(names, inputs)]
        if self.design.placement == "olmo2":
            normed = ["attention.branch.query_norm", "attention.branch.key_norm"]
            q, k = (_norm(p, weights.get(n + ".weight"), weights.get(n + ".bias")) for p, n in zip(projected, normed))
            projected = [q, k, projected[2]]
        return [p.flatten(0, 1).unflatten(2, (self.sizes.heads, -1)).transpose(1, 2) for p in projected]

    def _feed_forward(self, weights: dict, x: Tensor) -> Tensor:
        return _linear(weights, "ffn.branch.down", _linear(weights, "ffn.branch.up", x).relu())


def _layers(design: Design) -> tuple:
    return design.placement, design.gain, design.ends_with_norm, design.affine, design.tied


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _linear(weights: dict, name: str, x: Tensor) -> Tensor:
    """x W^T + b for every member: (K, B, T, in) → (K, B, T, out)."""
    y = torch.baddbmm(weights[name + ".bias"].unsqueeze(1), x.flatten(1, 2), weights[name + ".weight"].mT)
    return y.unflatten(1, x.shape[1:3])


def _pattern(q: Tensor, k: Tensor) -> Tensor:
    """Causal attention of (…, T, d) queries to keys; for so few positions faster than torch's fused attention."""
    future = torch.full((q.shape[-2],) * 2, -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    return ((q / q.shape[-1] ** 0.5) @ k.mT + future).softmax(-1)


def _norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """LayerNorm over features, with (K, d) parameters where there are any."""
    y = F.layer_norm(x, x.shape[-1:])
    return y if weight is None else torch.addcmul(bias[:, None, None], y, weight[:, None, None])
