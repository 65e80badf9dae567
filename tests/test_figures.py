"""Figures: every letter has a glyph, series can be told apart, bytes do not change, a description is not optional."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("agg")
from matplotlib import font_manager, pyplot

from residual_lab import figures
from residual_lab.paths import ASSETS, CHECKOUT, PACKAGE


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        figures.use()
        yield
    pyplot.close("all")


def lesson_figure():
    """Everything that is hard for a font: Korean, minus signs on linear and log axes, symbols in mathtext."""
    noise = np.random.default_rng(0).uniform(0.5, 1.5, (5, 40))
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(9, 3))
    labels = ["플레인 8층", "플레인 56층", "잔차 8층", "잔차 56층", "항등 층 48개", "기준선"]
    figures.curves(left, range(40), {label: noise * 10.0**-i for i, label in enumerate(labels)})
    left.set(yscale="log", title="학습 손실", xlabel="단계", ylabel=r"그래디언트 노름 $\|\nabla_W \ell\|$")
    figures.points(middle, [8, 16, 32], {"플레인": noise[:, :3] - 2, "잔차": noise[:, 3:6]})
    middle.set(title="−1과 ×10⁻³", xlabel="깊이 (층)", ylabel="학습 오차 (%)")
    figures.heat(right, [0.01, 0.1], ["얕은", "깊은"], [[1e-3, 2], [0.5, np.nan]], label="마지막 학습 손실", log=True)
    right.set(title="학습률과 깊이", xlabel="학습률", ylabel="망")
    return figure


def test_every_letter_has_a_glyph():
    figures.png(lesson_figure())


@pytest.mark.parametrize("text", ["학습 \U0001f9e0", "\u13a0", "∇와 $x$"])
def test_a_letter_without_a_glyph_is_an_error(text):
    figure, axes = pyplot.subplots()
    axes.set_title(text)
    with pytest.raises(ValueError, match="글꼴에 없는 글자"):
        figures.png(figure)


def test_korean_is_drawn_with_the_bundled_font():
    figures.use()
    for weight in ("Regular", "Bold"):
        wanted = font_manager.FontProperties(family="Pretendard", weight=weight.lower())
        assert str(font_manager.findfont(wanted)) == str(ASSETS / f"fonts/Pretendard-{weight}.otf")
    assert "SIL Open Font License" in (ASSETS / "fonts/Pretendard-LICENSE.txt").read_text(encoding="utf-8")


def test_same_figure_same_small_file_in_another_process():
    code = "import hashlib, test_figures as t; t.figures.use(); print(hashlib.sha256(t.figures.png(t.lesson_figure())).hexdigest())"
    there = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT / "tests", env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                           capture_output=True, text=True, check=True).stdout
    image = figures.png(lesson_figure())
    assert there.strip() == hashlib.sha256(image).hexdigest()
    assert len(image) < 60_000
    assert Image.open(io.BytesIO(image)).info.keys() <= {"dpi"}, "no version or date in the file"


def displayed(monkeypatch, **options):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, **more: shown.append((data, more)))
    figure, axes = pyplot.subplots()
    axes.plot([0, 1])
    figures.show(figure, **options)
    return figure, shown


def test_show_says_what_the_picture_shows(monkeypatch):
    figure, [(picture, more), (below, _)] = displayed(monkeypatch, alt="손실 < 1로 준다", caption="학습 손실, $L=8$")
    assert picture["text/plain"] == "그림: 손실 < 1로 준다"
    assert more["metadata"]["image/png"]["alt"] == "손실 < 1로 준다"
    assert "학습 손실, $L=8$" in below["text/markdown"] and "손실 &lt; 1로 준다" in below["text/markdown"]
    assert not pyplot.fignum_exists(figure.number), "an open figure would be shown a second time"


@pytest.mark.parametrize("options", [{"alt": "", "caption": "그림"}, {"alt": "그림", "caption": " "}])
def test_a_description_is_not_optional(monkeypatch, options):
    with pytest.raises(ValueError, match="alt"):
        displayed(monkeypatch, **options)


def test_curves_show_mean_and_range_and_leave_diverged_values_out():
    _, axes = pyplot.subplots()
    figures.curves(axes, [0, 1, 2], {"플레인": [[1, 2, np.inf], [3, 4, 5]], "잔차": [1, 1, 1]})
    mean = axes.lines[0].get_ydata()
    assert list(mean) == [2, 3, 5]
    [band] = axes.collections
    assert band.get_datalim(axes.transData).ymin == 1 and band.get_datalim(axes.transData).ymax == 5
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle(), "colour is not the only cue"


# How a colour is seen without the green or the red cones (Machado, Oliveira and Fernandes 2009, severity 1), linear RGB.
SIGHT = {
    "full": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
XYZ = np.array([[0.4124, 0.3576, 0.1805], LUMINANCE, [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    channel = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def cielab(rgb: np.ndarray) -> np.ndarray:
    share = XYZ @ rgb.clip(0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    low, high = sorted(LUMINANCE @ linear(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def theme(shade: int) -> dict[str, str]:
    """The widgets' colour tokens in the light (0) or dark (1) theme."""
    style = (PACKAGE / "lab/front/theme.css").read_text(encoding="utf-8")
    return {name: (light, dark)[shade] for name, light, dark in re.findall(r"--rl-(\S+): light-dark\((#\w+), (#\w+)\)", style)}


PALETTES = {
    "figures": (figures.PALETTE, "#ffffff"),
    "light widgets": ([theme(0)[f"s{i}"] for i in range(1, 7)], theme(0)["paper"]),
    "dark widgets": ([theme(1)[f"s{i}"] for i in range(1, 7)], theme(1)["paper"]),
}


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", PALETTES)
def test_series_can_be_told_apart(palette, sight):
    seen = {colour: cielab(np.array(SIGHT[sight]) @ linear(colour)) for colour in PALETTES[palette][0]}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, f"{one} and {other} look alike"


@pytest.mark.parametrize("palette", PALETTES)
def test_series_stand_out_from_the_paper(palette):
    colours, paper = PALETTES[palette]
    for colour in colours:
        assert contrast(colour, paper) >= 3, colour


def test_figures_and_widgets_use_the_same_colours():
    assert list(figures.PALETTE) == PALETTES["light widgets"][0]


def test_a_heat_map_leaves_the_cells_of_short_rows_empty():
    fig, ax = pyplot.subplots()
    figures.heat(ax, ["a", "b", "c"], ["1", "2"], [[1.0, float("inf")], [2.0, 3.0, 4.0]], label="z")
    written = {(int(text.get_position()[0]), int(text.get_position()[1])): text.get_text() for text in ax.texts}
    pyplot.close(fig)
    assert written == {(0, 0): "1", (1, 0): "발산", (0, 1): "2", (1, 1): "3", (2, 1): "4"}
