"""The still picture of a lab: what stands where no front end runs (GitHub, a printed page)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from residual_lab import figures

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")


def picture(recording: dict) -> bytes:
    """A PNG of the recorded run with the experiment's own defaults."""
    spec = recording["spec"]
    run = next(run for run in recording["runs"] if run["values"] == spec["values"])
    panels = [panel for panel in spec["panels"] if panel["kind"] != "table"]
    figures.use()
    figure = Figure(figsize=(4.6 * len(panels), 3.7))
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for ax, panel in zip(axes, panels):
        _DRAW[panel["kind"]](ax, panel, run)
        ax.set(title=panel["title"], xlabel=panel["x"], ylabel=panel["y"])
        if ax.get_legend():
            _legend_below(ax, panel)
    for ax, panel, following in zip(axes, panels, panels[1:]):
        if "series" in panel and (panel["kind"], panel["series"]) == (following["kind"], following.get("series")):
            ax.get_legend().remove()  # the next picture's says the same
    return figures.png(figure)


def _legend_below(ax, panel: dict) -> None:
    """Under the axis, where it covers nothing."""
    long = max(len(series["label"]) for series in panel["series"]) > 14
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1 if long else 2)


def _lines(ax, panel: dict, run: dict) -> None:
    for series in panel["series"]:
        line = run["curves"][panel["key"]][series["key"]]
        figures.curves(ax, line["x"], {series["label"]: np.array(line["y"], dtype=float).T})
    _scale(ax, panel)


def _bars(ax, panel: dict, run: dict) -> None:
    profiles = run["profiles"][-1]["data"][panel["key"]]
    for place, series in enumerate(panel["series"]):
        heights = np.array(profiles[series["key"]], dtype=float)
        width = 0.8 / len(panel["series"])
        at = np.arange(1, len(heights) + 1) + (place - (len(panel["series"]) - 1) / 2) * width
        ax.bar(at, heights, width, label=series["label"],
               color=figures.PALETTE[place], hatch=HATCHES[place % len(HATCHES)])
    _scale(ax, panel)
    ax.legend()


def _scale(ax, panel: dict) -> None:
    """The panel's y axis. A logarithmic one of less than two decades has plain numbers, and more of them than powers of ten."""
    ax.set_yscale(panel["scale"])
    low, high = ax.get_ylim()
    if panel["scale"] == "log" and high < 100 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 10 * low else range(1, 10)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def _heat(ax, panel: dict, run: dict) -> None:
    matrix = run["matrices"][-1]["data"][panel["key"]]
    figures.heat(ax, matrix["xs"], matrix["ys"], [[np.nan if v is None else v for v in row] for row in matrix["z"]], label=panel["z"], log=panel["scale"] == "log")


_DRAW = {"lines": _lines, "bars": _bars, "heat": _heat}
