"""Predictions: committed before the run, kept, and shown beside the result."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from kept_page import Said, show
from playwright.sync_api import expect, sync_playwright

from residual_lab.mounted import Kept
from residual_lab.predictions import Choice, Curve, Number
from residual_lab.progress import Progress


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    fresh = Progress(tmp_path / "progress.json")
    monkeypatch.setattr(Kept, "store", fresh)
    return fresh


def choice():
    return Choice("t-who", "어느 쪽의 `학습 오차`가 클까요?", ["깊은 쪽", "얕은 쪽", "거의 같다"])


def number():
    return Number("t-error", "학습 오차는 몇 %일까요?", 0, 100, "%")


def curve():
    return Curve("t-depth", "깊이에 따라 어떻게 될까요?", [8, 16, 32], "깊이 (층)", "학습 손실", 0.001, 10, log=True)


KINDS = {"choice": (choice, "얕은 쪽", "모르겠다"), "number": (number, 35, 101), "curve": (curve, [1, 0.1, 0.01], [1, 2])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_guess_survives_a_restart_and_earlier_ones_stay(kind, store, monkeypatch):
    make, good, bad = KINDS[kind]
    first = {"choice": "깊은 쪽", "number": 3.5, "curve": [0.5, 0.5, 0.5]}[kind]
    said = Said(make())
    assert said.hear(type="hello")["value"] is None
    said.hear(type="commit", value=first)
    answer = said.hear(type="commit", value=good)
    assert answer["value"] == good and [entry["value"] for entry in answer["history"]] == [first, good]
    assert said.hear(type="commit", value=bad)["type"] == "error"

    monkeypatch.setattr(Kept, "store", Progress(store.file))
    again = make()
    assert again.value == good
    assert Said(again).hear(type="hello")["value"] == good


@pytest.mark.parametrize("value", [None, True, "5", float("nan"), 101, -1])
def test_a_number_outside_the_question_is_refused_in_korean(value):
    prediction = number()
    assert Said(prediction).hear(type="commit", value=value) == {"type": "error", "text": "0에서 100 사이의 수여야 합니다."}
    assert prediction.value is None


def test_a_kept_guess_that_no_longer_fits_is_not_used(store):
    store.append("predictions/t-who", "예전에 있던 보기")
    assert choice().value is None


def test_the_check_reads_the_guess_made_after_it_was_shown():
    prediction = number()
    check = Said(prediction.check([70, 72], text="까닭."))
    assert check.hear(type="hello")["value"] is None
    Said(prediction).hear(type="commit", value=35)
    assert check.hear(type="hello")["value"] == 35


def test_results_are_rounded_and_diverged_seeds_left_out():
    runs = [[0.12345, 2.3456, np.inf], [0.12355, 2.5, np.nan]]
    actual = curve().check(runs, text="까닭.").spec["actual"]
    assert actual == {"seeds": 2, "mean": [0.12, 2.4, None], "low": [0.12, 2.3, None], "high": [0.12, 2.5, None]}
    assert number().check(np.float32(70.44), text="까닭.", digits=3).spec["actual"]["mean"] == 70.4


def test_shown_output_is_stable_readable_and_holds_no_guess(store):
    prediction = curve()
    before = [bundle(prediction), bundle(prediction.check([1, 2, 3], text="까닭 < 이유"))]
    Said(prediction).hear(type="commit", value=[0.987, 0.5, 0.5])
    after = [bundle(curve()), bundle(curve().check([1, 2, 3], text="까닭 < 이유"))]
    assert before == after and "0.987" not in str(after)
    assert before[0]["text/plain"] == "예측: 깊이에 따라 어떻게 될까요?"
    assert "까닭 &lt; 이유" in before[1]["text/html"] and "<td>2</td>" in before[1]["text/html"]


def bundle(widget) -> dict:
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    return {kind: data[kind] for kind in ("text/plain", "text/html")}


def test_colab_gets_no_html_that_would_hide_the_widget(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    data, _ = choice()._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain"}


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Choice("a", "질문", ["하나"]), "두 개 이상"),
    (lambda: Choice("a b", "질문", ["하나", "둘"]), "이름"),
    (lambda: Choice("a", " ", ["하나", "둘"]), "질문"),
    (lambda: Number("a", "질문", 1, 1), "범위"),
    (lambda: Number("a", "질문", 0, 1, log=True), "로그"),
    (lambda: choice().check("모름", text="까닭."), "보기에 없는 결과"),
    (lambda: choice().check(3, text="까닭."), "보기에 없는 결과"),
    (lambda: curve().check([[1, 2]], text="까닭."), r"\[시드, 3\]"),
    (lambda: number().check(3, text=""), "text"),
])
def test_mistakes_of_an_author_are_told_in_korean(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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


def pair(page, prediction, actual):
    """The prediction and its check on one page."""
    cards = show(page, "predict", prediction.spec, prediction.check(actual, text="까닭입니다.").spec)
    return cards.nth(0), cards.nth(1)


def press(card, name):
    card.get_by_role("button", name=name, exact=True).click()


def test_commit_reload_change_and_check_a_choice(page):
    guess, check = pair(page, choice(), "깊은 쪽")
    press(guess, "적어 두기")
    expect(guess.get_by_text("보기를 하나 고르십시오.")).to_be_visible()
    guess.get_by_label("거의 같다").check()
    press(guess, "적어 두기")
    expect(guess.get_by_label("거의 같다")).to_be_disabled()
    page.reload()
    expect(guess.get_by_label("거의 같다")).to_be_checked()
    press(guess, "다시 적기")
    guess.get_by_label("깊은 쪽").check()
    press(guess, "적어 두기")
    expect(guess.get_by_text("전에 적은 예측 1개")).to_be_visible()
    press(check, "확인하기")
    expect(check.get_by_text("예측대로입니다.")).to_be_visible()
    expect(check.get_by_text("까닭입니다.")).to_be_visible()


def test_an_open_prediction_goes_on_after_the_records_were_cleared_on_another_page(page):
    guess, _ = pair(page, choice(), "깊은 쪽")
    guess.get_by_label("거의 같다").check()
    press(guess, "적어 두기")
    press(guess, "다시 적기")
    page.evaluate("() => localStorage.clear()")
    guess.get_by_label("깊은 쪽").check()
    press(guess, "적어 두기")
    expect(guess.get_by_text("적어 두었습니다.")).to_be_visible()


def test_a_guess_that_could_not_be_stored_goes_with_the_next_one_and_only_once(page):
    guess, _ = pair(page, choice(), "깊은 쪽")
    page.evaluate("""() => {
        const store = Storage.prototype.setItem;
        Storage.prototype.setItem = () => { Storage.prototype.setItem = store; throw new DOMException("full", "QuotaExceededError"); };
    }""")
    guess.get_by_label("거의 같다").check()
    press(guess, "적어 두기")
    expect(guess.get_by_text("이 브라우저에는 저장할 수 없어")).to_be_visible()
    press(guess, "다시 적기")
    guess.get_by_label("깊은 쪽").check()
    press(guess, "적어 두기")
    expect(guess.get_by_text("전에 적은 예측 1개")).to_be_visible()
    page.reload()
    expect(guess.get_by_text("전에 적은 예측 1개")).to_be_visible()


def test_nothing_predicted_shows_the_result_kindly(page):
    _, check = pair(page, choice(), "깊은 쪽")
    assert "결과" not in check.inner_text()
    press(check, "확인하기")
    expect(check.get_by_text("적어 둔 예측이 없어")).to_be_visible()
    expect(check.locator("li", has_text="깊은 쪽")).to_contain_text("결과")
    assert "다릅니다" not in check.inner_text()


def test_a_number_by_keyboard_alone(page):
    guess, check = pair(page, number(), [70.4, 65.2, 74.0])
    press(guess, "적어 두기")
    expect(guess.get_by_text("막대를 움직이거나 수를 적으십시오.")).to_be_visible()
    slider = guess.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == "아직 고르지 않음"
    slider.focus()
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "35 %"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(slider).to_be_disabled()
    press(check, "확인하기")
    expect(check.get_by_text("예측 35%, 결과 70%(시드 3개, 65~74). 35%p만큼 작게 보았습니다.")).to_be_visible()


def test_a_curve_by_pointer_and_keys(page):
    guess, check = pair(page, curve(), [[0.9, 0.1, np.inf], [1.1, 0.3, np.nan]])
    guess.get_by_role("slider", name="깊이 (층) 8").press("ArrowUp")
    press(guess, "적어 두기")
    expect(guess.get_by_text("아직 놓지 않은 점이 있습니다: 16, 32")).to_be_visible()
    box = guess.locator(".rl-sketch").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 120)
    page.mouse.up()
    points = [float(point.get_attribute("aria-valuenow")) for point in guess.get_by_role("slider").all()]
    assert points[0] > points[1] > points[2] > -3, "a quick stroke places the points it passes (exponents of ten)"
    guess.get_by_role("slider", name="깊이 (층) 32").press("Home")
    press(guess, "적어 두기")
    expect(guess.get_by_text("적어 두었습니다.")).to_be_visible()
    guess.get_by_role("slider", name="깊이 (층) 32").press("End")
    assert guess.get_by_role("slider", name="깊이 (층) 32").get_attribute("aria-valuenow") == "-3", "locked"
    press(check, "확인하기")
    expect(check.get_by_role("status").first).to_contain_text("빗나갔고")
    check.get_by_text("표로 보기").click()
    assert check.locator("tbody tr").all_inner_texts()[2].split() == ["32", "0.001", "발산"]


def test_a_phone_can_show_it_and_draw_on_it(chromium):
    context = chromium.new_context(viewport={"width": 360, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    guess, _ = pair(page, curve(), [1, 2, 3])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = guess.locator(".rl-sketch").bounding_box()
    for share in (0.3, 0.6, 0.9):
        page.touchscreen.tap(box["x"] + box["width"] * share, box["y"] + 80)
    press(guess, "적어 두기")
    expect(guess.get_by_text("적어 두었습니다.")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_accessible_in_both_themes(page, kind, scheme):
    make, good, _ = KINDS[kind]
    actual = {"choice": "깊은 쪽", "number": [70, 72], "curve": [[1, 2, 3], [2, 3, 4]]}[kind]
    page.emulate_media(color_scheme=scheme)
    _, check = pair(page, make(), actual)
    press(check, "확인하기")
    expect(check.get_by_text("까닭입니다.")).to_be_visible()
    found = Axe().run(page, context="main").response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []
