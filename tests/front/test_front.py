"""The lab's front end in a real browser, with a made-up host: buttons, pins, pictures, and what can be taken away."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

LONG = {"total": 8000, "stride": 1}
PAUSE_EARLY = """() => new Promise((done) => {
  const look = setInterval(() => {
    if (window.lab.model.run.frames <= 50) return;
    clearInterval(look);
    document.querySelector('[data-act="pause"]').click();
    done();
  }, 1);
})"""
"""Pressed from within the page: a busy machine would press so late that the curve has more points than pixels and is thinned."""


# ---- the buttons

def test_a_run_goes_to_its_end_and_is_drawn(mount):
    lab = mount()
    assert lab.enabled == {"start", "step"}
    lab.run()
    lab.settle()
    assert lab.step == 300
    assert "단계 300/300" in lab.root.inner_text()
    assert lab.curve().count("L") == 59
    assert lab.panel("grad").locator(".rl-plot .rl-column").first.get_attribute("d").count("M") == 32
    assert "발산" in lab.panel("map").inner_text()
    assert "31.2" in lab.panel("final").inner_text()
    assert lab.enabled == {"start", "reset", "pin"}


def test_pause_holds_the_picture_and_resume_loses_nothing(mount, page):
    lab = mount(**LONG, delay=20)
    lab.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 5")
    assert lab.enabled == {"pause", "stop", "reset", "pin"}
    lab.press("pause")
    lab.settle()
    step, curve = lab.step, lab.curve()
    page.wait_for_timeout(150)
    assert lab.host("host.run.frames") > step, "slices were still under way when the pause came"
    assert (lab.step, lab.curve()) == (step, curve)
    assert lab.enabled == {"start", "pause", "step", "stop", "reset", "pin"}
    asked = lab.host("host.count('tick')")
    page.wait_for_timeout(100)
    assert lab.host("host.count('tick')") == asked
    lab.press("pause")
    page.wait_for_function("(step) => document.querySelector('.rl-meter').value > step + 5", arg=step)
    assert lab.host("host.count('hello')") == 1, "no frame was missed"
    assert lab.host("host.mostOwed") == 6, "a press is obeyed within three slices of two pictures, and the kernel never waits for the page"


def test_a_single_step_shows_exactly_one_frame(mount, page):
    lab = mount(**LONG, perTick=3)
    lab.press("step")
    page.wait_for_function("() => document.querySelector('.rl-meter').value === 1")
    assert lab.enabled == {"start", "pause", "step", "stop", "reset", "pin"}
    lab.press("pause")
    page.evaluate(PAUSE_EARLY)
    page.wait_for_timeout(60)
    lab.settle()
    for _ in range(30):  # through the frames held back by the pause (at most six pictures of three), and beyond
        before = lab.step
        lab.press("step")
        page.wait_for_function("(step) => document.querySelector('.rl-meter').value !== step", arg=before)
        assert lab.step == before + 1
        page.wait_for_function("(n) => document.querySelector('.rl-plot .rl-mean').getAttribute('d').split('L').length === n", arg=before + 1)
    assert lab.host("host.count('step')") > 1
    assert lab.host("host.count('hello')") == 1


def test_stop_ends_the_run_and_reset_clears_it(mount, page):
    lab = mount(**LONG)
    lab.knob("depth").locator("input").fill("1")
    lab.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 3")
    lab.press("stop")
    assert lab.enabled == {"start", "reset", "pin"}
    lab.settle()
    curve = lab.curve()
    page.wait_for_timeout(100)
    assert lab.curve() == curve != ""
    lab.press("reset")
    lab.settle()
    assert lab.curve() == ""
    assert "32층" in lab.knob("depth").inner_text()
    assert lab.enabled == {"start", "step"}


def test_settings_changed_during_a_run_wait_for_the_next_one(mount, page):
    lab = mount(**LONG)
    lab.press("start")
    page.wait_for_function("() => window.lab.model.run?.frames > 3")
    pending = lab.root.locator(".rl-pending")
    assert not pending.is_visible()
    lab.knob("depth").locator("input").fill("4")
    assert pending.inner_text() == "바꾼 설정은 다음 시작부터 적용됩니다."
    assert "깊이 L 32층" in lab.root.locator(".rl-runs").inner_text()
    lab.press("stop")
    lab.press("start")
    assert not pending.is_visible()
    assert lab.host("host.run.values.depth") == 64


def test_controls_offer_only_the_values_of_the_knobs(mount):
    lab = mount()
    seed = lab.knob("seed").locator("input")
    seed.fill("4711")
    seed.press("Enter")
    assert seed.input_value() == "99"
    lab.knob("seed").get_by_role("button", name="시드 줄이기").click()
    assert seed.input_value() == "98"
    lab.knob("seed").get_by_role("button", name="새 시드").click()
    assert seed.input_value() != "98"
    lab.knob("act").get_by_label("tanh").check()
    lab.knob("opt").locator("select").select_option(label="Adam")
    lab.knob("bn").locator("input").uncheck()
    lab.knob("lr").locator("input").fill("0")
    lab.press("start")
    values = lab.host("host.run.values")
    assert (values["act"], values["opt"], values["bn"], values["lr"]) == ("tanh", "adam", False, 0.001)


# ---- pins

def test_up_to_five_runs_are_pinned_and_can_be_taken_out(mount, page):
    lab = mount(total=8)
    for k in range(5):
        lab.knob("depth").locator("input").fill(str(k))
        lab.run()
        lab.press("pin")
        assert not lab.button("pin").is_enabled(), "one run is pinned once"
    lab.run()
    assert not lab.button("pin").is_enabled(), "no sixth pin"
    lab.settle()
    pins = lab.root.locator(".rl-runs [data-pin]")
    assert pins.count() == 5
    assert lab.panel("loss").locator(".rl-plot .rl-pin").count() == 5 * 4
    assert pins.nth(1).locator("strong").all_inner_texts() == ["깊이 L 8층"], "what differs stands out"
    pins.nth(1).get_by_role("button").click()
    lab.settle()
    assert pins.count() == 4 and lab.host("host.pins.length") == 4
    assert "깊이 L 8층" not in lab.root.locator(".rl-runs").inner_text()
    assert lab.button("pin").is_enabled()


def test_axes_stand_still_while_runs_are_compared(mount):
    lab = mount(total=20)
    ticks = lab.panel("loss").locator(".rl-tick")
    seen = []
    for rate in ("0", "2", "0"):  # slow learning needs a short axis, fast learning a long one
        lab.knob("lr").locator("input").fill(rate)
        lab.run()
        lab.settle()
        seen.append(ticks.all_text_contents())
        if len(seen) == 1:
            lab.press("pin")
    assert seen[0] != seen[1]
    assert seen[2] == seen[1]


# ---- reading values

def test_values_are_read_out_with_the_arrow_keys(mount, page):
    lab = mount(total=20)
    lab.run()
    lab.press("pin")
    plot = lab.panel("loss").locator(".rl-plot")
    plot.focus()
    page.keyboard.press("Home")
    assert plot.get_attribute("aria-valuetext").startswith("단계 5, 플레인 ")
    page.keyboard.press("ArrowRight")
    text = plot.get_attribute("aria-valuetext")
    assert text.startswith("단계 10, 플레인 ") and "~" in text and "① 고정" in text
    assert "단계 10" in lab.panel("loss").locator(".rl-tip").inner_text()
    bars = lab.panel("grad").locator(".rl-plot")
    bars.focus()
    page.keyboard.press("Home")
    assert bars.get_attribute("aria-valuetext").startswith("1번째 (층")
    cells = lab.panel("map").locator(".rl-plot")
    cells.focus()
    page.keyboard.press("Home")
    for key in ("ArrowDown",) * 3 + ("ArrowRight",) * 3:
        page.keyboard.press(key)
    assert cells.get_attribute("aria-valuetext") == "깊이 64, 학습률 0.03, 마지막 학습 손실 발산"


def test_hovering_shows_the_nearest_point(mount):
    lab = mount(total=20)
    lab.run()
    box = lab.panel("error").locator(".rl-plot").bounding_box()
    lab.panel("error").locator(".rl-plot").hover(position={"x": box["width"] - 14, "y": 80})
    assert "단계 100" in lab.panel("error").locator(".rl-tip").inner_text()


def test_the_log_switch_changes_the_axis(mount):
    lab = mount(total=20)
    lab.run()
    lab.settle()
    ticks = lab.panel("loss").locator(".rl-tick")
    assert "10−1" in ticks.all_text_contents()
    lab.panel("loss").get_by_label("로그 눈금").uncheck()
    assert "10−1" not in ticks.all_text_contents() and "0" in ticks.all_text_contents()


def test_curves_as_a_table(mount):
    lab = mount()
    lab.run()
    lab.settle()
    lab.panel("error").get_by_text("표로 보기").click()
    table = lab.panel("error").locator("table")
    table.wait_for()
    assert table.locator("thead th").all_inner_texts() == ["단계", "플레인", "잔차"]
    assert table.locator("tbody tr").count() == 20
    assert table.locator("tbody th").first.inner_text() == "5" and table.locator("tbody th").last.inner_text() == "300"


def test_diverged_seeds_are_said(mount):
    lab = mount()
    lab.knob("lr").locator("input").fill("3")
    lab.run()
    lab.settle()
    assert "시드 5개의 평균" in lab.panel("loss").inner_text()
    assert "발산한 시드: 플레인 2개" in lab.panel("loss").inner_text()


def test_long_runs_are_thinned_to_the_pixels(mount):
    lab = mount(total=3000, perTick=500)
    lab.run()
    lab.settle()
    assert 300 < lab.curve().count("L") < 1500


def test_numbers_have_three_digits(page):
    shown = {0.034149: "0.0341", -2: "−2", 1234.5: "1,230", 11173962: "1.12×10⁷", 123456: "123,456",
             0.00001234: "1.23×10⁻⁵", 0: "0", None: "발산", 0.5: "0.500"}
    assert page.evaluate("async (all) => { const { num } = await import('/front/numbers.js'); return all.map((one) => num(one)); }", list(shown)) == list(shown.values())


# ---- taking results away

def test_csv_carries_settings_and_one_row_per_point(mount, page):
    lab = mount(total=4)
    lab.knob("seed").locator("input").fill("7")
    lab.run()
    lab.press("pin")
    with page.expect_download() as download:
        lab.press("csv")
    raw = Path(download.value.path()).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"))))
    assert rows[0] == ["랩", "깊이와 성능 저하"]
    assert rows[2][1].startswith("깊이 L 32층 · 학습률 0.01") and rows[2][1].endswith("시드 7")
    head = rows.index(["실행", "패널", "계열", "가로축", "가로 값", "시드", "값"])
    loss = [row for row in rows[head:] if row[:3] == ["이번 실행", "학습 손실", "플레인"]]
    assert [(row[4], row[5]) for row in loss] == [(str(x), str(s)) for x in (5, 10, 15, 20) for s in range(7, 12)]
    assert all(float(row[6]) > 0 for row in loss)
    assert ["이번 실행", "학습률과 깊이", "깊이 64", "학습률", "0.1", "", "발산"] in rows
    assert ["고정 ①", "마지막 값", "플레인", "학습 오차 (%)", "", "", "31.2"] in rows
    assert download.value.suggested_filename.startswith("mock_depth32_lr0.01")


def test_the_saved_picture_shows_every_panel(mount, page):
    lab = mount(total=12)
    lab.run()
    lab.press("pin")
    with page.expect_download() as download:
        lab.press("png")
    picture = base64.b64encode(Path(download.value.path()).read_bytes()).decode()
    shares = page.evaluate("""async (picture) => {
      const image = await createImageBitmap(await (await fetch("data:image/png;base64," + picture)).blob());
      const canvas = new OffscreenCanvas(image.width, image.height);
      const paper = canvas.getContext("2d", { willReadFrequently: true });
      paper.drawImage(image, 0, 0);
      const inked = (x, y, w, h) => {
        const { data } = paper.getImageData(x * image.width, y * image.height, w * image.width, h * image.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) count += data[i] + data[i + 1] + data[i + 2] < 720;
        return count / (data.length / 4);
      };
      return [image.width, inked(0, 0, 1, 0.12), inked(0, 0.15, 0.5, 0.3), inked(0.5, 0.15, 0.5, 0.3), inked(0, 0.5, 0.5, 0.3), inked(0.5, 0.5, 0.5, 0.4)];
    }""", picture)
    assert shares[0] > 2000
    assert all(share > 0.005 for share in shares[1:]), shares
    assert lab.root.count() == 1, "the sheet it was composed on is gone"


def test_settings_are_copied_as_code_in_a_notebook(mount, page):
    lab = mount()
    lab.knob("depth").locator("input").fill("0")
    lab.press("copy")
    page.wait_for_function("() => document.querySelector('.rl-said').textContent === '복사했습니다.'")
    expected = 'Lab(MLPDepth, depth=4, lr=0.01, act="relu", opt="momentum", bn=True, seed=0)'
    assert page.evaluate("() => navigator.clipboard.readText()") == expected


def test_settings_are_copied_as_a_link_on_the_site(mount, page):
    lab = mount(host="recording", recording={"provenance": {"torch": "2.13.0", "seeds": [0, 1, 2]}})
    assert "기록한 실제 학습을 다시 보여 줍니다" in lab.root.inner_text()
    assert "torch 2.13.0 · 시드 0, 1, 2" in lab.root.inner_text()
    lab.knob("depth").locator("input").fill("0")
    lab.knob("bn").locator("input").uncheck()
    lab.press("copy")
    page.wait_for_function("() => document.querySelector('.rl-said').textContent === '복사했습니다.'")
    link = page.evaluate("() => navigator.clipboard.readText()")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_function("() => Boolean(window.mount)")
    lab = mount(host="recording")
    assert "4층" in lab.knob("depth").inner_text()
    assert not lab.knob("bn").locator("input").is_checked()


def test_text_that_may_not_be_copied_is_shown(mount, page):
    lab = mount()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    lab.press("copy")
    box = lab.root.get_by_label("복사할 내용")
    box.wait_for()
    assert box.input_value().startswith("Lab(MLPDepth, depth=32")
    assert page.evaluate("() => getSelection().toString()").startswith("Lab(")
