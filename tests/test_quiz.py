"""Quizzes: complete files, an explanation for every choice, usable by keyboard, answers kept."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from kept_page import Said, show
from playwright.sync_api import expect, sync_playwright

from residual_lab.mounted import Kept
from residual_lab.progress import Progress
from residual_lab.quiz import QUIZZES, QuizError, load, quiz

GOOD = """
title = "시험"
[[question]]
id = "one"
text = "`x + 0`은?"
[[question.choice]]
text = "x"
correct = true
why = "맞는 까닭."
[[question.choice]]
text = "0"
why = "<틀린> 까닭."
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> dict:
        (tmp_path / "q.toml").write_text(text, encoding="utf-8")
        return load("q", tmp_path)

    return write


@pytest.mark.parametrize("name", sorted(path.stem for path in QUIZZES.glob("*.toml")))
def test_every_quiz_of_the_course_is_complete(name):
    questions = load(name)["questions"]
    assert 3 <= len(questions) <= 5
    assert all(3 <= len(question["choices"]) <= 4 for question in questions)
    assert not any("$" in str(question) for question in questions), "quizzes have no formula markup"


@pytest.mark.parametrize(("old", "new", "message"), [
    ('why = "<틀린> 까닭."', "", r"q.toml 문제 1 보기 2: 설명\(why\)"),
    ('why = "<틀린> 까닭."', 'why = " "', r"설명\(why\)"),
    ("correct = true", "", "정답.*0개"),
    ('text = "0"', 'text = "0"\ncorrect = true', "정답.*2개"),
    ('text = "0"', 'text = "x"', "서로 다른 보기"),
    ('id = "one"', "", r"이름\(id\)"),
    ('title = "시험"', "", r"제목\(title\)"),
    ("[[question]]", "[[question", "문법"),
    (GOOD, 'title = "시험"', r"문제.*없습니다"),
    (GOOD, GOOD + GOOD.split("\n", 2)[2], "id가 겹칩니다"),
])
def test_an_incomplete_file_says_where_and_why(written, old, new, message):
    assert old in GOOD
    with pytest.raises(QuizError, match=message):
        written(GOOD.replace(old, new, 1))


def test_an_unknown_name_lists_the_quizzes():
    with pytest.raises(QuizError, match="01_degradation"):
        quiz("99_nothing")


def test_tries_are_kept_and_the_output_holds_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Kept, "store", Progress(tmp_path / "p.json"))
    shown = quiz("01_degradation")._repr_mimebundle_()[0]
    first = shown["text/plain"], shown["text/html"]
    widget = quiz("01_degradation")
    question = widget.spec["questions"][0]
    answers = [{"question": question["id"], "choice": choice["text"]} for choice in question["choices"][:2]]
    said = Said(widget)
    for answer in answers:
        said.hear(type="commit", value=answer)
    assert said.hear(type="commit", value={"question": "none", "choice": "x"})["type"] == "error"
    monkeypatch.setattr(Kept, "store", Progress(tmp_path / "p.json"))
    again = quiz("01_degradation")
    assert [entry["value"] for entry in Said(again).hear(type="hello")["history"]] == answers
    shown = again._repr_mimebundle_()[0]
    assert (shown["text/plain"], shown["text/html"]) == first
    assert first[0] == "퀴즈: 스스로 확인: 깊이와 성능 저하 (5문제)"


def test_the_fallback_has_every_explanation(written):
    from residual_lab.quiz import Quiz

    page = Quiz(written(GOOD)).fallback()
    assert "<code>x + 0</code>" in page and "&lt;틀린&gt; 까닭." in page and "맞는 까닭." in page


# ---- in a browser


@pytest.fixture(scope="module")
def chromium(chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 700, "height": 900})
    page = context.new_page()
    page.set_default_timeout(5000)
    yield page
    context.close()
    assert page.problems == []


def test_answer_by_keyboard_read_why_and_find_it_again(page, written):
    card = show(page, "quiz", written(GOOD))
    group = card.get_by_role("group", name="x + 0")
    group.get_by_role("button", name="답 확인").click()
    expect(group.get_by_text("보기를 하나 고르십시오.")).to_be_visible()
    group.get_by_label("x", exact=True).focus()
    page.keyboard.press("ArrowDown")
    expect(group.get_by_text("<틀린> 까닭.")).to_have_count(0)  # choosing is not answering
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(group.get_by_role("status").filter(has_text="아닙니다. <틀린> 까닭.")).to_be_visible()
    expect(group.get_by_text("다른 보기가 아닌 까닭")).to_be_hidden()
    group.get_by_label("x", exact=True).check()
    group.get_by_role("button").click()
    expect(group.get_by_text("맞는 까닭.")).to_be_visible()
    expect(card.get_by_text("1문제 가운데 1문제를 맞혔습니다(첫 시도에 0문제).")).to_be_visible()
    page.reload()
    expect(group.get_by_text("맞는 까닭.")).to_be_visible()
    expect(group.get_by_role("status").filter(has_text="맞는 까닭.")).to_have_count(0)  # restored, not read out
    group.get_by_text("다른 보기가 아닌 까닭").click()
    expect(group.get_by_text("<틀린> 까닭.")).to_be_visible()


def test_an_open_quiz_goes_on_after_the_answers_were_cleared_on_another_page(page, written):
    card = show(page, "quiz", written(GOOD))
    group = card.get_by_role("group", name="x + 0")
    group.get_by_label("x", exact=True).check()
    group.get_by_role("button").click()
    expect(group.get_by_text("맞는 까닭.")).to_be_visible()
    page.evaluate("() => localStorage.clear()")
    group.get_by_label("0").check()
    group.get_by_role("button").click()
    expect(group.get_by_text("아닙니다. <틀린> 까닭.")).to_be_visible()
    expect(group.get_by_text("다른 보기가 아닌 까닭")).to_be_hidden()
    assert page.problems == []


def test_keys_stay_in_the_quiz_except_those_that_the_notebook_needs(page, written):
    card = show(page, "quiz", written(GOOD))
    page.evaluate("window.heard = []; addEventListener('keydown', (e) => heard.push(e.key))")
    card.get_by_role("button").focus()
    for key in ("ArrowDown", "x", "Escape", "Shift+Enter", "Control+s"):
        page.keyboard.press(key)
    assert [key for key in page.evaluate("heard") if key not in ("Shift", "Control")] == ["Escape", "Enter", "s"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_both_themes_and_on_a_phone(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 800})
    card = show(page, "quiz", load("01_degradation"))
    for index in range(2):  # one wrong, one right
        group = card.locator("fieldset").nth(0)
        group.get_by_role("radio").nth(1 - index).check()
        group.get_by_role("button").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = Axe().run(page, context="main").response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []
