"""Predictions and quizzes in JupyterLab: what is written down outlives the page and the kernel."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from browser.conftest import PROFILES
from browser.pages import NotebookPage

CELLS = {
    "set-up": "from residual_lab import predictions\nfrom residual_lab.quiz import quiz",
    "curve": "curve = predictions.Curve('curve', '깊이에 따라 손실은?', x=[8, 16, 32, 64], x_label='깊이', y_label='손실', low=0.001, high=3, log=True)\ncurve",
    "choice": "choice = predictions.Choice('choice', '어느 쪽이 클까요?', ['20층', '56층'])\nchoice",
    "number": "number = predictions.Number('number', '학습 오차는?', low=0, high=100, unit='%')\nnumber",
    "curve result": "curve.check([[0.07, 0.2, 0.7, 1.2], [0.09, 0.3, 0.9, 1.6]], text='깊을수록 나쁩니다.')",
    "choice result": "choice.check('56층', text='성능 저하입니다.')",
    "number result": "number.check(12.5, text='생각보다 작습니다.')",
    "quiz": "quiz('01_degradation')",
}


@pytest.fixture(scope="module", params=PROFILES)
def notebook(request, servers, context):
    server = servers(request.param)
    server.write("kept.ipynb", *CELLS.values())
    book = NotebookPage(context, server, "kept.ipynb")
    book.run_all()
    yield book
    book.page.close()
    server.forget()


@pytest.fixture
def book(notebook: NotebookPage):
    yield notebook
    assert notebook.failures() == []
    assert notebook.problems == []


def part(book: NotebookPage, name: str) -> Locator:
    """The widget in the output of a cell."""
    widget = book.page.locator(".jp-Notebook .jp-Cell").nth(list(CELLS).index(name)).locator(".residual-lab")
    widget.scroll_into_view_if_needed()
    return widget


def commit(widget: Locator) -> None:
    widget.get_by_role("button", name="적어 두기").click()
    expect(widget.get_by_role("status").first).to_contain_text("적어 두었습니다")


def handles(book: NotebookPage) -> list[str]:
    return part(book, "curve").get_by_role("slider").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-valuetext'))")


def test_the_quiz_is_answered_by_keyboard_alone(book):
    keyboard = book.page.keyboard
    questions = part(book, "quiz").locator("fieldset")
    assert questions.count() == 5
    for question in questions.all():
        choices = question.get_by_role("radio")
        choices.first.focus()
        keyboard.press("Space")
        for answers in range(1, choices.count() + 1):
            keyboard.press("Tab")  # from the group of choices to its button
            keyboard.press("Enter")
            expect(question.locator("[data-state]")).to_have_count(answers)
            if question.locator(".rl-verdict").inner_text().startswith("맞습니다."):
                break
            keyboard.press("Shift+Tab")
            keyboard.press("ArrowDown")
    expect(part(book, "quiz")).to_contain_text("5문제 가운데 5문제를 맞혔습니다")


def test_what_is_written_down_outlives_the_page_and_the_kernel(book):
    mouse, keyboard = book.page.mouse, book.page.keyboard
    curve = part(book, "curve")
    axes = curve.locator("svg")
    box = axes.bounding_box()
    axes.hover(position={"x": box["width"] * 0.2, "y": box["height"] * 0.6})
    mouse.down()
    axes.hover(position={"x": box["width"] * 0.9, "y": box["height"] * 0.2})
    mouse.up()
    drawn = handles(book)
    assert len(set(drawn)) == 4 and "아직 놓지 않음" not in drawn
    commit(curve)
    choice = part(book, "choice")
    choice.get_by_role("radio").first.focus()
    keyboard.press("ArrowDown")
    commit(choice)
    number = part(book, "number")
    number.get_by_role("spinbutton").fill("40")
    commit(number)

    book.do("docmanager:save")
    book.page.reload()
    book.ready()
    assert_kept(book, drawn)
    book.restart_kernel()
    book.ready()
    book.run_all()
    assert_kept(book, drawn)

    for name, expected in {"curve": ["깊을수록 나쁩니다."], "choice": ["성능 저하입니다.", "56층"], "number": ["생각보다 작습니다.", "40", "12%"]}.items():
        result = part(book, f"{name} result")
        result.get_by_role("button", name="확인하기").click()
        for text in expected:
            expect(result).to_contain_text(text)
    paths = part(book, "curve result").locator("svg path")
    assert sum(path.count("L") >= 3 for path in paths.evaluate_all("(all) => all.map((one) => one.getAttribute('d') ?? '')")) >= 2, "guess and result"
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        book.wear(theme)
        assert book.grave_problems() == []


def assert_kept(book: NotebookPage, drawn: list[str]) -> None:
    for name in ("curve", "choice", "number"):
        expect(part(book, name).get_by_role("button", name="다시 적기")).to_be_visible()
    assert handles(book) == drawn
    assert part(book, "choice").get_by_role("radio", checked=True).input_value() == "56층"
    assert part(book, "number").get_by_role("spinbutton").input_value() == "40"
