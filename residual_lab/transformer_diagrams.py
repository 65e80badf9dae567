"""Diagrams of Transformer blocks, in the style of `residual_lab.diagrams`."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from residual_lab.figures import INK, PALETTE

_PLACES = {
    "Post-LN": ("F", "+", "LN"),
    "Pre-LN": ("LN", "F", "+"),
    "Peri-LN": ("LN", "F", "LN", "+"),
    "OLMo 2": ("F", "LN", "+"),
}


def norm_placements() -> Figure:
    """One sublayer of the four placements, from the top to the bottom; what stands beside the shortcut is in the branch."""
    fig, axes = plt.subplots(1, 4, figsize=(8.4, 3.6))
    for ax, (title, pieces) in zip(axes, _PLACES.items()):
        ax.set(xlim=(-1.1, 2.3), ylim=(-0.4, 6.2), title=title)
        ax.axis("off")
        after_sum = pieces[pieces.index("+") + 1 :]
        before_sum = pieces[: pieces.index("+")]
        sum_height = 1.9 if after_sum else 1.0
        heights = [4.6 - i * (4.6 - sum_height - 0.95) / max(1, len(before_sum) - 1) for i in range(len(before_sum))]
        if len(before_sum) == 1:
            heights = [(5.1 + sum_height) / 2]
        ax.plot([0, 1.5, 1.5], [5.5, 5.5, sum_height], color=PALETTE[1], linestyle="-", marker="none", linewidth=2.2)
        _arrow(ax, (1.5, sum_height), (0.28, sum_height), color=PALETTE[1], width=2.2)
        for start, end in zip((6.0, *heights), (*heights, sum_height)):
            _arrow(ax, (0, start - (0.33 if start < 6 else 0)), (0, end + 0.33))
        for height, piece in zip(heights, before_sum):
            _box(ax, height, piece)
        ax.text(0, sum_height, "＋", ha="center", va="center", fontsize=13, color=INK,
                bbox={"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": INK})
        _arrow(ax, (0, sum_height - 0.33), (0, 0.95 if after_sum else -0.3))
        if after_sum:
            _box(ax, 0.65, "LN")
            _arrow(ax, (0, 0.32), (0, -0.3))
        ax.text(0.15, 5.85, "$x$", color=INK, va="center")
    return fig


def _box(ax, y: float, text: str) -> None:
    norm = text == "LN"
    ax.text(0, y, "LN" if norm else "가지 $F$", ha="center", va="center", color=INK if norm else "white",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white" if norm else PALETTE[0], "edgecolor": PALETTE[0]})


def _arrow(ax, start: tuple[float, float], end: tuple[float, float], *, color: str = INK, width: float = 1.4) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0})
