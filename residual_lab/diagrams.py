"""Block diagrams for the lessons, drawn with matplotlib in the style of the course's figures."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from residual_lab.figures import INK, PALETTE


def plain_and_residual_block() -> Figure:
    """A plain and a residual block side by side (He et al. 2015, Fig. 2)."""
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
    for ax, title, skip in zip(axes, ("플레인 블록", "잔차 블록"), (False, True)):
        ax.set(xlim=(-2.2, 3), ylim=(-0.5, 5.9), title=title)
        ax.axis("off")
        for y, text in ((4.2, "층 1"), (3.2, "ReLU"), (2.2, "층 2"), (0.2, "ReLU")):
            _box(ax, 0, y, text, filled=text.startswith("층"))
        for top, bottom in ((5.4, 4.5), (3.9, 3.5), (2.9, 2.5), (1.9, 1.45 if skip else 0.5), (-0.1, -0.5)):
            _arrow(ax, (0, top), (0, bottom))
        ax.text(0.2, 5.25, "$x$", color=INK, va="center")
        if skip:
            ax.text(0, 1.2, "＋", ha="center", va="center", fontsize=13, color=INK,
                    bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK})
            _arrow(ax, (0, 0.95), (0, 0.5))
            ax.plot([0, 1.7, 1.7], [5.0, 5.0, 1.2], color=PALETTE[1], linestyle="-", marker="none", linewidth=2.2)
            _arrow(ax, (1.7, 1.2), (0.23, 1.2), color=PALETTE[1], width=2.2)
            ax.text(1.85, 3.2, "지름길\n$x$", color=PALETTE[1], va="center")
            ax.text(-2.1, 3.2, "잔차 가지\n$F(x)$", color=PALETTE[0], va="center")
    return fig


def _box(ax, x: float, y: float, text: str, *, filled: bool) -> None:
    ax.text(x, y, text, ha="center", va="center", color="white" if filled else INK,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": PALETTE[0] if filled else "white", "edgecolor": PALETTE[0]})


def _arrow(ax, start: tuple[float, float], end: tuple[float, float], *, color: str = INK, width: float = 1.4) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0})
