"""Drawings of the five residual units of He et al. 2016 (arXiv:1603.05027), Fig. 4."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from residual_lab.figures import INK, PALETTE

_CONV, _BN, _RELU = "합성곱", "BN", "ReLU"
_UNITS = (
    ("원조", (_CONV, _BN, _RELU, _CONV, _BN, "+", _RELU)),
    ("더한 뒤 BN", (_CONV, _BN, _RELU, _CONV, "+", _BN, _RELU)),
    ("더하기 전 ReLU", (_CONV, _BN, _RELU, _CONV, _BN, _RELU, "+")),
    ("ReLU만 앞으로", (_RELU, _CONV, _BN, _RELU, _CONV, _BN, "+")),
    ("완전 사전 활성화", (_BN, _RELU, _CONV, _BN, _RELU, _CONV, "+")),
)
_COLOURS = {_CONV: "#e4e8ee", _BN: "#cfe3f1", _RELU: "#f6ddc6"}


def five_units() -> Figure:
    """The five orders of table 2 side by side: branch at the left, shortcut at the right, signal from top to bottom."""
    fig, axes = plt.subplots(1, len(_UNITS), figsize=(9.2, 4.6))
    for ax, (name, parts) in zip(axes, _UNITS):
        _unit(ax, parts)
        ax.set_title(name, loc="center", fontsize=10.5)
    return fig


def _unit(ax, parts: tuple[str, ...]) -> None:
    ax.axis("off")
    ax.set(xlim=(-1.1, 1.5), ylim=(-len(parts) - 0.4, 0.9))
    line = {"color": INK, "linewidth": 1.4, "linestyle": "-", "marker": "none"}
    ax.plot([0, 0], [0.75, -len(parts) - 0.15], zorder=0, **line)
    ax.text(-0.18, 0.6, "$x$", ha="right", va="center")
    join = -parts.index("+")
    ax.plot([0, 1.15, 1.15, 0.25], [0.5, 0.5, join - 0.5, join - 0.5], **(line | {"color": PALETTE[0], "linewidth": 2.4}))
    for place, part in enumerate(parts):
        at = -place - 0.5
        if part == "+":
            ax.text(0, at, "+", ha="center", va="center", fontsize=12, bbox={"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": INK})
        else:
            box = {"boxstyle": "round,pad=0.32", "facecolor": _COLOURS[part], "edgecolor": INK, "linewidth": 0.8}
            ax.text(0, at, part, ha="center", va="center", fontsize=9.5, bbox=box)
