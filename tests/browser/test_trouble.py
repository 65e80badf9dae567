"""A lab in JupyterLab when the page is loaded anew or closed, a second window is opened, or the kernel is restarted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import PROFILES
from browser.pages import NotebookPage

SET_UP = Path(__file__).with_name("small.py").read_text(encoding="utf-8")
NOTES_ITS_STEPS = """
class Noted(Small):
    def frames(self):
        for frame in super().frames():
            open("step.txt", "w").write(str(frame.step))
            yield frame


Lab(Noted, frames_wanted=400)
"""
LAB, QUIZ = 1, 2
IMPATIENT = """() => {
    const wait = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (ms) => wait(ms === 2000 ? 0 : ms);
}"""
"""anywidget gives a widget up after two seconds. Now it does at once, as if the machine had been busy all that time."""
NAME = "trouble.ipynb"


@pytest.fixture(scope="module", params=PROFILES)
def notebook(request, servers, context):
    server = servers(request.param)
    server.write(NAME, SET_UP, NOTES_ITS_STEPS, "from residual_lab.quiz import quiz\nquiz('01_degradation')")
    book = NotebookPage(context, server, NAME)
    book.run_cell(0)
    yield book
    book.page.close()
    server.forget()


@pytest.fixture
def book(notebook):
    """The page with an unused lab, saved: an output that is not in the file is not there after loading it anew."""
    notebook.run_cell(LAB)
    notebook.do("docmanager:save")
    yield notebook
    assert notebook.problems == []


def test_a_reloaded_page_finds_its_run_and_goes_on_as_if_nothing_had_happened(book):
    lab = book.lab(LAB)
    lab.press("start")
    lab.reaches("done")
    whole = lab.values()
    lab.press("start")
    lab.passes(20)
    lab.press("pin")
    book.reload()
    lab = book.lab(LAB)
    lab.reaches("paused")
    assert 20 < lab.step < 400
    assert lab.root.locator("[data-pin]").count() == 1
    lab.root.get_by_role("button", name="빼기").click()
    lab.press("pause")
    lab.reaches("done")
    assert lab.values() == whole
    assert book.wire.strays == []


def test_a_second_window_follows_and_takes_over_and_trains_no_more_when_it_is_closed(book, context):
    lab = book.lab(LAB)
    lab.knob("frames_wanted").locator("input").press("ArrowRight")  # 4000
    lab.press("start")
    other_book = NotebookPage(context, book.server, NAME)
    other = other_book.lab(LAB)
    other.reaches("following")
    assert other.notice.startswith("다른 창에서 학습 중입니다.")
    other.press("pause")
    other.reaches("running")
    lab.reaches("following")
    other_book.page.close()
    lab.reaches("paused")
    noted = book.server.root / "step.txt"
    assert unchanging(noted) == lab.step < 4000
    lab.press("pause")
    lab.passes(lab.step + 20)
    assert other_book.problems == []


def unchanging(noted: Path) -> int:
    """The last step that a lab noted, once a second has passed without another one."""
    for _ in range(30):
        before = noted.read_text()
        time.sleep(1)
        if noted.read_text() == before:
            return int(before)
    raise AssertionError("the kernel goes on training")


def test_a_restarted_kernel_is_reported_and_running_the_cells_again_helps(book):
    lab = book.lab(LAB)
    lab.knob("frames_wanted").locator("input").press("ArrowRight")
    lab.press("start")
    lab.passes(20)
    book.restart_kernel()
    lab.reaches("lost")
    assert lab.notice.startswith("커널이 아직 답하지 않습니다.")
    book.ready()
    book.run_all()
    lab = book.lab(LAB)
    lab.reaches("idle")
    lab.press("start")
    lab.reaches("done")
    assert lab.notice == ""


def test_a_lab_and_a_quiz_that_anywidget_gave_up_work_all_the_same(book):
    book.page.evaluate(IMPATIENT)
    before = book.given_up
    book.run_cell(LAB)
    book.run_cell(QUIZ)
    quiz = book.page.locator(".jp-Notebook .jp-Cell").nth(QUIZ).locator(".residual-lab")
    quiz.get_by_role("radio").first.check()
    quiz.get_by_role("button", name="답 확인").first.click()
    expect(quiz.locator("[data-state]")).to_have_count(1)
    lab = book.lab(LAB)
    lab.press("start")
    lab.reaches("done")
    assert lab.notice == ""
    assert book.given_up == before + 2
