"""How the papers scale the residual branches of a Transformer: their constants, and the `Design` of each by name.

N is the number of blocks, so that 2N branches are added to the stream.
"""

from __future__ import annotations

from typing import NamedTuple

from residual_lab.blocks.transformer import Design


class DeepNorm(NamedTuple):
    """α on the shortcut, β on the initial weights of values, W^O and feed-forward layers."""

    alpha: float
    beta: float


def deepnorm_constants(layers: int) -> DeepNorm:
    """An encoder alone or a decoder alone with N layers (Wang et al. 2022, arXiv:2203.00555, Fig. 2)."""
    return DeepNorm((2 * layers) ** 0.25, (8 * layers) ** -0.25)


def deepnorm_encoder_decoder(encoder: int, decoder: int) -> tuple[DeepNorm, DeepNorm]:
    """N encoder and M decoder layers: the constants of the encoder and those of the decoder (the same figure)."""
    mixed = encoder**4 * decoder
    return (
        DeepNorm(0.81 * mixed ** (1 / 16), 0.87 * mixed ** (-1 / 16)),
        DeepNorm((3 * decoder) ** 0.25, (12 * decoder) ** -0.25),
    )


def deepnorm(layers: int, **more) -> Design:
    """LN(α x + F(x)): Post-LN with a larger shortcut and smaller initial weights in the branch."""
    alpha, beta = deepnorm_constants(layers)
    return Design("post", skip_scale=alpha, inner_gain=beta, output_gain=beta, **more)


def uniform(scale: float, placement: str = "pre", **more) -> Design:
    """One constant s on all branches."""
    return Design(placement, branch_scale=scale, **more)


def rezero(**more) -> Design:
    """x + α F(x) with α = 0 at first, no normalisation (Bachlechner et al. 2020, arXiv:2003.04887)."""
    return Design("none", gain="rezero", **more)


def skipinit(placement: str = "pre", **more) -> Design:
    """A learned number on every branch, 0 at first (De & Smith 2020, arXiv:2002.10444, there for ResNets)."""
    return Design(placement, gain="skipinit", **more)


def layerscale(start: float = 1e-4, **more) -> Design:
    """A learned number on every channel of a branch, small at first (Touvron et al. 2021, arXiv:2103.17239), under Pre-LN."""
    return Design("pre", gain="layerscale", gain_start=start, **more)


def gpt2_output_scale(layers: int) -> float:
    """1/√(2N), GPT-2's factor on the *initial* weights that end a branch (Radford et al. 2019, §2.3)."""
    return (2 * layers) ** -0.5


def gpt2(layers: int, *, exact: bool = False, **more) -> Design:
    """Pre-LN with `gpt2_output_scale`; ``exact`` also takes N(0, 0.02²) for all weights, meant for a width of 768 and more."""
    literal = {"init": "gpt2", "embedding_std": 0.02} if exact else {}
    return Design("pre", output_gain=gpt2_output_scale(layers), **literal, **more)


def fixup(layers: int, **more) -> Design:
    """Fixup (Zhang et al. 2019, arXiv:1901.09321) carried over to attention: no normalisation, the last weights of every
    branch at 0, the ones before times (2N)^(−1/(2m−2)) with m = 2 of them, and a learned number on the branch."""
    return Design("none", gain="skipinit", gain_start=1.0, inner_gain=(2 * layers) ** -0.5, output_gain=0.0, **more)
