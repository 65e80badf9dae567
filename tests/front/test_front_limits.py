"""The lab's front end for keyboard, screen reader and phone, and when the host, the network or another window misbehaves."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab_page import LabPage

LONG = {"total": 8000, "stride": 1}


# ---- screen readers and the keyboard

def test_the_summary_is_told_at_the_end_and_not_on_every_frame(mount, page):
    lab = mount(total=30, delay=10)
    summary = lab.root.locator(".rl-summary")
    assert (summary.get_attribute("role"), summary.get_attribute("aria-live")) == ("status", "polite")
    page.evaluate("""() => { window.told = []; new MutationObserver(() => told.push(document.querySelector('.rl-summary').textContent))
      .observe(document.querySelector('.rl-summary'), { childList: true, characterData: true, subtree: true }); }""")
    lab.run()
    lab.settle()
    assert page.evaluate("() => told.length") == 1
    text = summary.inner_text()
    for part in ("학습이 끝났습니다", "깊이 L 32층", "학습 손실: 플레인 ", "시드 5개의 평균", "~"):
        assert part in text
    lab.press("pin")
    assert summary.inner_text().startswith("①번으로 고정했습니다")


def test_everything_works_by_keyboard_and_the_host_gets_no_stray_keys(mount, page):
    lab = mount(**LONG)
    page.evaluate("() => { window.leaked = []; document.addEventListener('keydown', (e) => leaked.push((e.ctrlKey ? 'Ctrl+' : '') + e.key)); }")
    lab.knob("depth").locator("input").focus()
    page.keyboard.press("ArrowRight")
    assert "64층" in lab.knob("depth").inner_text()
    lab.button("start").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.rl-meter').value > 3")
    assert page.evaluate("() => document.activeElement.dataset.act") == "start", "the focus stays on a button that became unavailable"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    lab.reaches("paused")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert lab.root.locator("[data-pin]").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.ariaLabel") == "고정 ① 빼기"
    page.keyboard.press("Enter")
    assert lab.root.locator("[data-pin]").count() == 0
    assert page.evaluate("() => document.activeElement.dataset.act") == "pin"
    lab.panel("loss").locator(".rl-plot").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+b")
    assert set(page.evaluate("() => leaked")) == {"Escape", "Ctrl+Control", "Ctrl+b"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(mount, page, theme):
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    lab = mount(total=10, host="recording", recording={"provenance": {"torch": "2.13.0"}})
    assert Axe().run(page).response["violations"] == []
    lab.run()
    lab.press("pin")
    lab.knob("depth").locator("input").fill("1")
    for key in ("loss", "grad", "map"):
        lab.panel(key).locator("summary").click()
    lab.panel("loss").locator(".rl-plot").focus()
    lab.settle()
    assert Axe().run(page).response["violations"] == []


def test_a_phone_shows_everything_without_side_scroll_and_with_large_targets(mount, page):
    page.set_viewport_size({"width": 360, "height": 800})
    lab = mount(total=10)
    lab.run()
    lab.press("pin")
    lab.settle()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    small = lab.root.evaluate("""(root) => [...root.querySelectorAll('button, input:not([type=checkbox], [type=radio]), select, label, summary')]
      .filter((el) => el.checkVisibility()).map((el) => [el.outerHTML.slice(0, 80), el.getBoundingClientRect()])
      .filter(([, box]) => box.width < 24 || box.height < 24).map(([html]) => html)""")
    assert small == []


# ---- when things go wrong

def test_a_silent_kernel_is_reported_and_may_come_back(page, mount):
    page.clock.install()
    page.reload()
    page.wait_for_function("() => Boolean(window.mount)")
    lab = mount(**LONG)
    lab.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 3")
    lab.host("host.silent = true")
    lab.press("pin")
    page.clock.fast_forward(2000)
    page.clock.fast_forward(4500)
    lab.reaches("lost")
    assert "커널이 아직 답하지 않습니다. 실행 중인 셀이 끝나면 이어집니다." in lab.root.inner_text()
    assert lab.enabled == {"start", "pause", "reset"}
    lab.host("host.silent = false")
    lab.press("pause")
    lab.reaches("running")
    assert "답하지 않습니다" not in lab.root.inner_text()
    lab.press("pause")
    lab.reaches("paused")
    lab.settle()
    page.clock.fast_forward(9000)
    lab.settle()
    assert "답하지 않습니다" not in lab.root.inner_text(), "the answer that never came is not waited for again"


def test_an_error_of_the_experiment_is_shown_and_the_lab_goes_on(mount):
    lab = mount(total=10)
    lab.host("host.errorNext = '실험 안에서 오류가 나서 학습을 멈췄습니다.'")
    lab.press("start")
    lab.reaches("error")
    assert lab.root.locator(".rl-told").inner_text() == "실험 안에서 오류가 나서 학습을 멈췄습니다."
    assert lab.root.locator(".rl-summary").inner_text() == "실험 안에서 오류가 나서 학습을 멈췄습니다."
    assert lab.enabled == {"start", "reset"}
    lab.run()
    assert not lab.root.locator(".rl-told").is_visible()


def test_a_halted_run_says_why_and_can_be_resumed(mount, page):
    lab = mount(**LONG)
    lab.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 3")
    lab.host("host.halt('다른 랩이 학습을 시작해서 멈췄습니다.')")
    lab.reaches("paused")
    assert lab.root.locator(".rl-told").inner_text() == "다른 랩이 학습을 시작해서 멈췄습니다."
    step = lab.step
    lab.press("pause")
    page.wait_for_function("(step) => document.querySelector('.rl-meter').value > step + 5", arg=step)
    assert not lab.root.locator(".rl-told").is_visible()


def test_a_lost_message_is_made_up_for(mount):
    lab = mount(total=60, delay=5)
    lab.host("host.loses = 20")
    lab.run()
    lab.settle()
    assert lab.host("host.count('hello')") == 2
    assert lab.curve().count("L") == 59, "no point is missing"


def test_another_window_follows_and_takes_over(mount, page):
    first = mount(**LONG, delay=10)
    page.evaluate("() => { window.second = window.show(window.lab.model.otherWindow()); }")
    labs = page.locator(".rl-lab")
    first, second = LabPage(page, ".rl-lab >> nth=0"), LabPage(page, ".rl-lab >> nth=1")
    assert labs.count() == 2
    first.press("start")
    second.reaches("following")
    assert "다른 창에서 학습 중입니다" in second.root.inner_text()
    assert second.enabled == {"start", "pause"}
    page.wait_for_function("() => document.querySelectorAll('.rl-meter')[1].value > 10")
    second.press("pause")
    first.reaches("following")
    second.reaches("running")
    step = second.step
    page.wait_for_function("(step) => document.querySelectorAll('.rl-meter')[1].value > step + 10", arg=step)
    first.knob("depth").locator("input").fill("0")
    first.press("start")
    first.reaches("running")
    second.reaches("following")
    page.wait_for_function("() => document.querySelectorAll('.rl-meter')[1].value > 3")
    assert "깊이 L 4층" in second.root.locator(".rl-runs").inner_text()


def test_a_reloaded_page_finds_its_history_and_pins(mount, page):
    first = mount(**LONG, delay=10)
    first.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 20")
    first.press("pin")
    page.wait_for_timeout(50)
    page.evaluate("() => { window.lab.dispose(); window.show(window.lab.model.otherWindow()); }")
    lab = LabPage(page)
    lab.reaches("paused")
    lab.settle()
    assert lab.step == lab.host("host.run.frames") and lab.curve().count("L") == lab.step - 1
    assert lab.root.locator("[data-pin]").count() == 1
    step = lab.step
    lab.press("pause")
    page.wait_for_function("(step) => document.querySelector('.rl-meter').value > step + 5", arg=step)


def test_views_of_one_lab_act_together_and_the_last_one_stops_it(mount, page):
    mount(**LONG)
    page.evaluate("() => { window.second = window.show(window.lab.model); }")
    first, second = LabPage(page, ".rl-lab >> nth=0"), LabPage(page, ".rl-lab >> nth=1")
    second.knob("depth").locator("input").fill("0")
    assert "4층" in first.knob("depth").inner_text()
    first.press("start")
    second.reaches("running")
    page.evaluate("() => window.lab.dispose()")
    frames = second.host("host.run.frames")
    page.wait_for_function("(n) => window.lab.model.run.frames > n + 5", arg=frames)
    page.evaluate("() => window.second.dispose()")
    page.wait_for_timeout(60)
    frames = second.host("host.run.frames")
    page.wait_for_timeout(100)
    assert second.host("host.run.frames") == frames
    assert second.host("host.count('start')") == 1
