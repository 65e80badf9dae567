"""The unravelled view of a residual network (Veit et al. 2016, Fig. 1)."""

from __future__ import annotations

from itertools import product

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from residual_lab.figures import INK, PALETTE


def unravelled() -> Figure:
    """Three residual blocks in a row, and beside them their eight paths, one a line, sorted by length."""
    fig, (chain, paths) = plt.subplots(1, 2, figsize=(9.2, 3.9), width_ratios=(1, 1.35))
    _chain(chain)
    _paths(paths)
    return fig


def _chain(ax) -> None:
    ax.set(xlim=(-1.9, 1.6), ylim=(-0.7, 6.9), title="블록 세 개")
    ax.axis("off")
    _line(ax, (0, 0), (0, 6.3), INK)
    ax.text(0, -0.35, "$x$", ha="center", va="center", color=INK)
    ax.text(0, 6.6, "출력", ha="center", va="center", color=INK)
    for number in (1, 2, 3):
        low, high = 2 * number - 1.7, 2 * number - 0.2
        for start, end in (((0, low), (-1.1, low)), ((-1.1, low), (-1.1, high)), ((-1.1, high), (0, high))):
            _line(ax, start, end, PALETTE[0])
        _box(ax, -1.1, (low + high) / 2, number)
        ax.text(0, high, "＋", ha="center", va="center", color=INK, fontsize=9,
                bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": INK})
    ax.text(0.15, 1.05, "지름길", va="center", color=INK, fontsize=9.5)
    ax.text(-1.8, 1.05, "가지", va="center", color=PALETTE[0], fontsize=9.5)


def _paths(ax) -> None:
    ax.set(xlim=(-0.9, 4.9), ylim=(-0.7, 7.9), title="펼친 경로 여덟 개")
    ax.axis("off")
    rows = sorted(product((0, 1), repeat=3), key=lambda taken: (sum(taken), [-t for t in taken]))
    for row, taken in enumerate(rows):
        y = 7 - row
        _line(ax, (-0.4, y), (3.4, y), INK)
        ax.text(-0.6, y, "$x$", ha="center", va="center", color=INK)
        for place, number in enumerate((1, 2, 3)):
            if taken[place]:
                _box(ax, 0.4 + 1.1 * place, y, number)
        ax.text(3.6, y, f"길이 {sum(taken)}", va="center", color=INK, fontsize=9.5)


def _box(ax, x: float, y: float, number: int) -> None:
    ax.text(x, y, f"$F_{number}$", ha="center", va="center", color="white", fontsize=10,
            bbox={"boxstyle": "round,pad=0.28", "facecolor": PALETTE[0], "edgecolor": PALETTE[0]})


def _line(ax, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    ax.plot(*zip(start, end), color=color, linestyle="-", marker="none", linewidth=1.6, zorder=0)
