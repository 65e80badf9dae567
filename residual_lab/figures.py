"""Still figures: bundled Korean font, colour-blind-safe series, small PNGs with a description that is not optional.

A lesson calls ``figures.use()`` once in its first cell, draws with matplotlib and ends a cell with
``figures.show(fig, alt="...", caption="...")``. Nothing here needs torch: whatever numpy can read is accepted.
"""

from __future__ import annotations

import base64
import html
import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib import font_manager, pyplot
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from PIL import Image

from residual_lab.paths import ASSETS

PALETTE = ("#0072b2", "#c75300", "#00805c", "#b04a86", "#5c4300", "#1b2430")
"""Okabe-Ito hues, darkened to 3:1 or more on white; the widgets' ``--rl-s1`` to ``--rl-s6``."""
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)), (0, (9, 3)), (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P")

INK = "#1b2430"
"""Of text and of what is neither series nor axis."""
_MUTED, _LINE = "#566171", "#dde2e8"
_UNSEEN = "display:inline-block;position:absolute;width:1px;height:1px;overflow:hidden;opacity:0"
_PIXELS_PER_INCH = 96
_STYLE = {
    "font.family": ["Pretendard", "DejaVu Sans"],
    "font.size": 10.5,
    "axes.unicode_minus": True,
    "figure.figsize": (6.8, 3.6),
    "figure.dpi": _PIXELS_PER_INCH,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=DASHES) + cycler(marker=MARKERS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.9,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
}


def use() -> None:
    """Register the bundled font and set the course's matplotlib style. Calling it again changes nothing."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for weight in ("Regular", "Bold"):
        font = str(ASSETS / "fonts" / f"Pretendard-{weight}.otf")
        if font not in known:
            font_manager.fontManager.addfont(font)
    matplotlib.rcParams.update(_STYLE)


def png(fig) -> bytes:
    """The figure as a small PNG: the same figure gives the same bytes. A letter that no font has is an error."""
    drawn = io.BytesIO()
    with _every_glyph():
        fig.savefig(drawn, dpi=1.6 * _PIXELS_PER_INCH, format="png")
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


@contextmanager
def _every_glyph():
    """Raise for a letter without a glyph: matplotlib warns of it in plain text, and only logs it beside a formula."""
    missing: list[str] = []
    log = logging.getLogger("matplotlib.mathtext")
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: missing.append(record.getMessage())
    log.addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        log.removeHandler(listener)
    for warning in warned:
        if re.match("Glyph .* missing from font", str(warning.message)):
            missing.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        raise ValueError(f"그림의 글꼴에 없는 글자가 있습니다. 수식 기호는 $…$ 안에 쓰십시오. ({missing[0]})")


def show(fig, *, alt: str, caption: str) -> None:
    """Display the figure with its caption, and close it.

    ``alt`` says what the picture shows to someone who cannot see it. It is the text/plain of the output and its
    ``alt`` metadata, from which the course's site makes the ``<img alt>``. JupyterLab and Colab have no way
    to give an image output an alt text, so the caption carries it for screen readers, out of sight.

    Raises:
        ValueError: an empty ``alt`` or ``caption``, or a letter that no font of the figure has (Korean).
    """
    if not alt.strip() or not caption.strip():
        raise ValueError("그림에는 alt(그림을 보지 못하는 사람을 위한 설명)와 caption(그림 설명)이 모두 있어야 합니다.")
    image = base64.b64encode(png(fig)).decode("ascii")
    pyplot.close(fig)
    width = round(fig.get_figwidth() * _PIXELS_PER_INCH)
    display(
        {"image/png": image, "text/plain": f"그림: {alt}"},
        metadata={"image/png": {"alt": alt, "width": width}},
        raw=True,
    )
    spoken = f'<span class="residual-lab-alt" style="{_UNSEEN}"> 그림 설명: {html.escape(alt)}</span>'
    display({"text/markdown": f"<small>{caption}</small>{spoken}", "text/plain": caption}, raw=True)


def curves(ax, steps: Sequence, series: Mapping[str, Sequence]) -> None:
    """Draw, for each label, the mean over seeds as a line and the smallest to largest seed as a band.

    Each value is an array ``[seeds, steps]`` (or one run, ``[steps]``); values that are not finite are left out.
    """
    steps = np.asarray(steps)
    for label, runs in series.items():
        runs = _finite(runs)
        (line,) = ax.plot(steps, runs.mean(axis=0), label=label, marker="none")
        if len(runs) > 1:
            low, high = runs.min(axis=0), runs.max(axis=0)
            ax.fill_between(steps, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    ax.legend()


def points(ax, xs: Sequence, series: Mapping[str, Sequence]) -> None:
    """Draw, for each label, every seed as a faint dot and the mean as a marker joined by a line.

    ``xs`` are conditions (depths, names), spaced evenly; each value is an array ``[seeds, xs]``.
    """
    for place, (label, runs) in enumerate(series.items()):
        runs = _finite(runs)
        at = np.arange(len(xs)) + 0.09 * (place - (len(series) - 1) / 2)
        (line,) = ax.plot(at, runs.mean(axis=0), label=label)
        dots = np.broadcast_to(at, runs.shape)
        ax.plot(dots.T, runs.T, color=line.get_color(), linestyle="none", marker=".", alpha=0.45)
    ax.set_xticks(range(len(xs)), [str(x) for x in xs])
    ax.legend()


def heat(
    ax, xs: Sequence, ys: Sequence, z: Sequence, *,
    label: str, log: bool = False, form: str = "{:.2g}", limits: tuple[float, float] | None = None,
) -> None:
    """Draw a map ``z[ys, xs]`` with its number in each cell; what is not finite is hatched and says 발산.

    A row may be short: the cells that it lacks stay empty.

    ``limits`` are the values at the two ends of the colours; maps that stand side by side need the same.
    """
    lengths = [len(row) for row in z]
    z = _finite([[*map(float, row), *[np.nan] * (len(xs) - len(row))] for row in z])
    low, high = limits or (None, None)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    picture = ax.imshow(z, cmap="cividis", norm=norm, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(z.filled(np.nan)):
        if column >= lengths[row]:
            continue
        known = np.isfinite(value)
        ax.text(
            column,
            row,
            form.format(value) if known else "발산",
            ha="center",
            va="center",
            color=_readable_on(picture.to_rgba(value)) if known else INK,
            fontsize=9.5,
        )
        if not known:
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=_LINE, linewidth=0))
    ax.set_xticks(range(len(xs)), [str(x) for x in xs])
    ax.set_yticks(range(len(ys)), [str(y) for y in ys])
    ax.grid(visible=False)
    bar = ax.figure.colorbar(picture, ax=ax, label=label)
    bar.outline.set_visible(False)


def _readable_on(color: Sequence[float]) -> str:
    """Black or white, whichever has the larger contrast with an sRGB colour: never less than 4.58:1 (WCAG 2, relative luminance)."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3])
    return "white" if 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179 else "black"


def _finite(values) -> np.ma.MaskedArray:
    """As a masked float array with at least two dimensions, without what is not finite."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.ma.masked_invalid(np.atleast_2d(np.asarray(values, dtype=float)))
