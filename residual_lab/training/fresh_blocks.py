"""The stream of Transformers at initialisation, block by block: a thousand layers without holding the network.

The weights of a block are drawn, used and forgotten. They are the draws of `residual_lab.blocks.transformer.Transformer`
with the same seed, which ``tests/test_scaling.py`` compares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from residual_lab.blocks.transformer import Design, Sizes
from residual_lab.training.stacked_transformer import StackedTransformer

QKV = 2**-0.5  # one Xavier draw of W^Q, W^K, W^V together
WEIGHTS = (
    ("attention.branch.query", lambda design: QKV),
    ("attention.branch.key", lambda design: QKV),
    ("attention.branch.value", lambda design: QKV * design.inner_gain),
    ("attention.branch.output", lambda design: design.output_gain),
    ("ffn.branch.up", lambda design: design.inner_gain),
    ("ffn.branch.down", lambda design: design.output_gain),
)
"""A block's weights in the order in which they are drawn, with the factors that a design puts on them."""


@torch.no_grad()
def fresh_stream(sizes: Sizes, designs: Sequence[Design], seeds: Sequence[int], tokens: Tensor) -> Iterator[Tensor]:
    """x_0, then the stream after every block, (K, B, T, d) each in float64, K = designs × seeds.

    Args:
        sizes: of a network with feed-forward branches (``hidden`` is not 0).
        designs: of one stack (see `StackedTransformer`), with Xavier initialisation. All share the draws of a seed.
        tokens: (K, B, T).
    Raises:
        ValueError: another initialisation, or no feed-forward branches.
    """
    if not sizes.feed_forward or any(design.init != "xavier" for design in designs):
        raise ValueError("블록을 그때그때 뽑는 계산은 FFN이 있고 Xavier로 초기화하는 망만 지원합니다.")
    stack = StackedTransformer(dataclasses.replace(sizes, depth=1), designs, seeds).double()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = stack.embed(tokens)
    yield x
    for _ in range(sizes.depth):
        redraw(stack, generators)
        for index in range(2):
            x = stack.sublayer(index, x)
        yield x


def redraw(stack: StackedTransformer, generators: Sequence[torch.Generator]) -> None:
    """New Xavier weights for the one block of a stack, the same draw of a seed for all designs."""
    designs = [design for design, _ in stack.members]
    for name, gain in WEIGHTS:
        weight = stack.parameter(f"blocks.{name}.weight")
        bound = (6 / sum(weight.shape[2:])) ** 0.5
        drawn = torch.stack([torch.empty(weight.shape[2:]).uniform_(-bound, bound, generator=g) for g in generators])
        gains = torch.tensor([gain(design) for design in designs], dtype=weight.dtype).view(-1, 1, 1, 1)
        weight.copy_(gains * drawn.to(weight.dtype).repeat(len(designs) // len(generators), 1, 1)[:, None])
