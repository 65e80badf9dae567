"""One small lab in JupyterLab: every control, every button, what can be saved, and what happens when two want to train."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from browser.conftest import PROFILES
from browser.pages import LabView, NotebookPage
from browser.small import Small

CELLS = {
    "set-up": Path(__file__).with_name("small.py").read_text(encoding="utf-8"),
    "quick": "Lab(Small)",
    "long": "long = Lab(Small, frames_wanted=4000)\nlong",
    "long again": "long",
    "broken": "Lab(Small, breaks=True)",
}


@pytest.fixture(scope="module", params=PROFILES)
def notebook(request, servers, context):
    """The page that the tests of this file share; each runs its own cells anew."""
    server = servers(request.param)
    server.write("labs.ipynb", *CELLS.values())
    book = NotebookPage(context, server, "labs.ipynb")
    book.run_cell(0)
    yield book
    book.page.close()
    server.forget()


@pytest.fixture
def book(notebook: NotebookPage):
    yield notebook
    assert notebook.failures() == []
    assert notebook.problems == []
    assert notebook.wire.strays == [], "Colab shows only what lies inside an open request"


@pytest.fixture
def show(book: NotebookPage):
    """``show("quick", …)`` runs these cells and returns their labs."""
    def run(*names: str) -> list[LabView]:
        book.do("notebook:clear-all-cell-outputs")
        for name in names:
            book.run_cell(list(CELLS).index(name))
        return [book.lab(list(CELLS).index(name)) for name in names]
    return run


def saved_curves(lab: LabView) -> dict[tuple[str, int, int], float]:
    """The curves of this run in the CSV file, by series, step and seed."""
    rows = csv.reader(io.StringIO(lab.values()))
    return {(row[2], int(row[4]), int(row[5])): float(row[6]) for row in rows if row[:2] == ["이번 실행", "손실"]}


def headless_curves(**values: object) -> dict[tuple[str, int, int], float]:
    """The same of a run without a lab."""
    first, labels = Small(**values).seed, {"plain": "플레인", "residual": "잔차"}
    lines = Small.run(**values).pictures()["curves"]["loss"]
    return {(labels[key], step, first + i): value for key, line in lines.items()
            for step, values in zip(line["x"], line["y"]) for i, value in enumerate(values)}


def test_every_control_is_moved_by_keyboard_and_the_run_uses_it(show, book):
    [lab] = show("quick")
    keyboard, cells = book.page.keyboard, book.page.locator(".jp-Cell:visible").count()
    for name, keys in {"depth": ["ArrowRight"], "lr": ["ArrowLeft"], "method": ["ArrowDown", "ArrowDown"], "seed": ["ArrowUp", "ArrowUp", "Enter"]}.items():
        lab.knob(name).locator("input, select").first.focus()
        for key in keys:
            keyboard.press(key)
    lab.knob("kind").locator("input").first.focus()
    keyboard.press("ArrowDown")
    lab.knob("bn").locator("input").focus()
    keyboard.press("Space")
    lab.button("start").focus()
    keyboard.press("Enter")
    lab.reaches("done")
    shown = lab.root.locator(".rl-runs").inner_text()
    for setting in ("깊이 L 16층", "학습률 0.001", "망 나", "방법 Adam", "배치 정규화 끔", "시드 2"):
        assert setting in shown
    assert saved_curves(lab) == headless_curves(depth=16, lr=0.001, kind="b", method="adam", bn=False, seed=2)
    assert book.page.locator(".jp-Cell:visible").count() == cells, "JupyterLab took a key for its own"


def test_pause_resume_and_single_steps_lose_nothing(show, book):
    [lab] = show("quick")
    lab.knob("frames_wanted").locator("input").press("ArrowRight")  # 400
    lab.press("start")
    lab.passes(20)
    lab.press("pause")
    lab.reaches("paused")
    book.settle()
    step, picture, told = lab.step, lab.picture(), lab.root.inner_text()
    book.quiet()
    assert (lab.step, lab.picture(), lab.root.inner_text()) == (step, picture, told)
    for expected in range(step + 1, step + 31):  # through those that came during the pause, and beyond
        lab.press("step")
        lab.passes(expected - 1)
        assert lab.step == expected
    lab.press("pause")
    lab.passes(step + 60)
    lab.reaches("done")
    assert lab.step == 400
    assert saved_curves(lab) == headless_curves(frames_wanted=400)


def test_stop_ends_the_run_and_reset_clears_it(show, book):
    [lab] = show("long")
    lab.knob("depth").locator("input").press("ArrowRight")
    lab.press("start")
    lab.passes(20)
    lab.press("stop")
    lab.reaches("stopped")
    book.settle()
    assert lab.enabled == {"start", "reset", "pin"}
    assert lab.root.locator(".rl-summary").inner_text().startswith("정지했습니다.")
    step = lab.step
    book.quiet()
    assert lab.step == step >= 20
    lab.press("reset")
    lab.reaches("idle")
    assert lab.step == 0 and "8층" in lab.knob("depth").inner_text()
    assert lab.root.locator(".rl-plot .rl-mean[d*='L']").count() == 0


def test_runs_are_pinned_compared_and_taken_out(show, book):
    [lab] = show("quick")
    for _ in range(2):
        lab.press("start")
        lab.reaches("done")
        lab.press("pin")
        lab.knob("depth").locator("input").press("ArrowRight")
    pins = lab.root.locator("[data-pin]")
    assert pins.count() == 2
    lab.press("start")
    lab.reaches("done")
    book.settle()
    assert lab.panel("loss").locator(".rl-plot .rl-pin[d*='L']").count() >= 4, "two runs of two curves"
    pins.nth(0).get_by_role("button").click()
    book.settle()
    assert pins.count() == 1 and "깊이 L 16층" in pins.first.inner_text()
    ticks = lab.panel("loss").locator(".rl-tick")
    before = ticks.all_text_contents()
    lab.panel("loss").get_by_label("로그 눈금").uncheck()
    book.settle()
    assert ticks.all_text_contents() != before
    lab.panel("loss").get_by_label("로그 눈금").check()
    book.settle()
    assert ticks.all_text_contents() == before


def test_picture_values_and_code_can_be_taken_away(show, book):
    [lab] = show("quick")
    lab.knob("lr").locator("input").press("ArrowRight")
    lab.press("start")
    lab.reaches("done")
    assert saved_curves(lab) == headless_curves(lr=0.1)
    with book.page.expect_download() as download:
        lab.press("png")
    assert download.value.suggested_filename.endswith(".png")
    picture = Image.open(download.value.path()).convert("RGB")
    assert picture.width > 600 and len(picture.getcolors(2**24)) > 50
    lab.press("copy")
    lab.wait("root.querySelector('.rl-said').textContent === '복사했습니다.'")
    copied = book.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == ('Lab(Small, frames_wanted=40, depth=8, lr=0.1, kind="a", method="sgd", bn=True, breaks=False, seed=0)')


def test_running_the_cell_again_ends_the_run_that_it_replaces(show, book):
    [lab] = show("long")
    lab.press("start")
    lab.passes(20)
    book.run_cell(list(CELLS).index("long"))
    lab = book.lab(list(CELLS).index("long"))
    assert book.page.locator(".rl-lab").count() == 1
    assert lab.root.get_attribute("data-phase") == "idle" and lab.step == 0
    book.quiet()
    lab.press("start")
    lab.passes(20)


def test_views_of_one_lab_show_the_same_run(show, book):
    first, second = show("long", "long again")
    book.choose(list(CELLS).index("long"))
    book.do("notebook:create-output-view")
    third = LabView(book, book.page.locator(".jp-LinkedOutputView .rl-lab"))
    second.knob("depth").locator("input").press("ArrowRight")
    second.press("start")
    for lab in (first, second, third):
        lab.reaches("running")
        lab.passes(20)
        assert "16층" in lab.knob("depth").inner_text()
    third.press("pause")
    book.settle()
    assert first.step == second.step == third.step
    book.page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    first.press("pause")
    second.passes(second.step + 20)


def test_one_lab_trains_at_a_time_and_the_other_says_why_it_stopped(show, book):
    first, second = show("long", "quick")
    first.press("start")
    first.passes(20)
    second.press("start")
    first.reaches("paused")
    assert first.notice == "다른 랩 ‘작은 실험’이 학습을 시작해서 멈췄습니다. ‘계속’을 누르면 이어집니다."
    second.reaches("done")
    step = first.step
    first.press("pause")
    first.passes(step + 20)
    assert first.notice == ""
    assert first.root.get_attribute("data-phase") == "running"


def test_an_experiment_that_raises_says_so_and_the_lab_goes_on(show):
    [lab] = show("broken")
    lab.press("start")
    lab.reaches("error")
    assert lab.notice.startswith("실험 안에서 오류가 나서 학습을 멈췄습니다. RuntimeError: 일부러 낸 고장")
    lab.knob("breaks").locator("input").uncheck()
    lab.press("start")
    lab.reaches("done")
    assert lab.notice == ""


@pytest.mark.parametrize("notebook", ["today"], indirect=True)
def test_axe_finds_nothing_grave_in_either_theme(show, book):
    [lab] = show("quick")
    lab.press("start")
    lab.reaches("done")
    lab.press("pin")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        book.wear(theme)
        assert book.grave_problems() == []
