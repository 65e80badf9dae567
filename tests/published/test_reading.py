"""What a reader does on the site: plays labs, predicts, answers, searches, prints, unfolds solutions, by keyboard alone too."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
from playwright.sync_api import expect

import search_measure
from published.visit import DRAWN, EXERCISE, LESSON, Visit
from residual_lab import address
from residual_lab.paths import CHECKOUT
from residual_lab.progress import Progress

def test_lab_plays_its_recording_to_the_end(visit):
    page = visit.open(LESSON)
    lab = visit.mounts("lab").first
    lab.scroll_into_view_if_needed()
    lab.get_by_role("button", name="시작").click()
    lab.get_by_text(re.compile(r"배속으로|같은 빠르기로")).wait_for()
    page.wait_for_function("(lab) => /끝|마쳤/.test(lab.textContent)", arg=lab.element_handle())


def test_answers_are_kept_in_this_browser(visit):
    page = visit.open(LESSON)
    visit.mounts("quiz").first.scroll_into_view_if_needed()
    question = page.locator("fieldset.rl-question").first
    question.get_by_role("radio").nth(1).check()
    question.get_by_role("button", name="답 확인").click()
    expect(question.locator(".rl-verdict")).not_to_be_empty()
    verdict = question.locator(".rl-verdict").inner_text()
    page.reload()
    visit.mounts("quiz").first.scroll_into_view_if_needed()
    expect(question.locator(".rl-verdict")).to_have_text(verdict)
    assert question.get_by_role("radio").nth(1).is_checked()


def test_prediction_is_there_when_it_is_checked(visit):
    page = visit.open(LESSON)
    visit.scroll_through()
    stores = visit.mounts("predict").evaluate_all(
        "(all) => all.map((m) => JSON.parse(m.dataset.spec)).filter((spec) => spec.form === 'choice').map((spec) => [spec.id, spec.options[0]])")
    assert stores, "the lesson has no prediction with choices"
    name, option = stores[0]
    guess = page.locator(f".residual-lab-mount[data-kind=predict][data-src='{name}']")
    guess.get_by_role("radio").first.check()
    guess.get_by_role("button", name="적어 두기").click()
    check = page.locator(f".residual-lab-mount[data-kind=check][data-src='{name}']")
    check.get_by_role("button", name="확인하기").click()
    check.locator("li", has_text=option).get_by_text("내 예측").wait_for()


def test_the_course_map_shows_what_was_read_predicted_and_answered(visit, tmp_path):
    page = visit.open("index")
    mine = page.locator(".course-progress")
    expect(mine.locator(".course-sum")).to_contain_text("아직 기록이 없습니다")
    visit.open(LESSON)
    visit.scroll_through()
    page.keyboard.press("End")
    guess = visit.mounts("predict").filter(has=page.get_by_role("radio")).first
    guess.get_by_role("radio").first.check()
    guess.get_by_role("button", name="적어 두기").click()
    question = page.locator("fieldset.rl-question").first
    for choice in question.get_by_role("radio").all():  # until it is the right one
        choice.check()
        question.get_by_role("button", name=re.compile("확인")).click()
    page.wait_for_function("Boolean(localStorage.getItem('residual-lab/read/01_degradation'))")
    row = page.locator("article tr", has_text="깊이와 성능 저하")
    visit.open("index")
    expect(row.locator(".course-done")).to_have_text(re.compile(r"읽음예측 1/\d퀴즈 1/\d"))
    with page.expect_download() as download:
        mine.get_by_role("button", name="파일로 내보내기").click()
    exported = download.value.path().read_bytes()
    store = Progress(tmp_path / "progress.json")
    assert store.merge(exported) >= 3 and store.merge(exported) == 0, "the notebooks read the same file"
    page.once("dialog", lambda dialog: dialog.accept())
    mine.get_by_role("button", name="모두 지우기").click()
    expect(page.locator(".course-done")).to_have_count(0)
    store.append("tasks/1-1", "passed")
    take_in(page, store.text())
    expect(mine.get_by_role("status")).to_contain_text("가져왔습니다")
    expect(row.locator(".course-done").last).to_have_text(re.compile(r"과제 1/\d"))
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('residual-lab/')).length") == len(store.records())
    take_in(page, '{"format": 1, "records": {"mode": [{"value": "x", "at": "y"}]}}')
    expect(mine.get_by_role("status")).to_contain_text("아니어서 가져오지 않았습니다")
    assert visit.grave_problems() == {}


def take_in(page, text: str) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="파일에서 가져오기").click()
    chooser.value.set_files({"name": "progress.json", "mimeType": "application/json", "buffer": text.encode()})


class Keyboard:
    """A reader without a mouse."""

    def __init__(self, page):
        self.page = page

    def walk_to(self, what: str, steps: int = 250) -> None:
        """Press Tab until the focus is on what matches a selector; it must be seen wherever it stops."""
        for _ in range(steps):
            self.page.keyboard.press("Tab")
            place = self.page.evaluate(FOCUS, what)
            assert place["seen"], f"nothing shows where the focus is: {place['html']}"
            if place["there"]:
                return
        pytest.fail(f"{what} cannot be reached with {steps} presses of Tab")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


FOCUS = """(what) => {
    const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
    const rung = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    const shown = rung || at.matches('input, select, .skip-link a, .rl-handle'); // what shows it in a way of its own
    return {there: at.matches(what), seen: at !== document.body && shown && box.bottom > 0 && box.top < innerHeight, html: at.outerHTML.slice(0, 200)};
}"""


def test_a_lesson_can_be_worked_through_by_keyboard_alone(visit):
    visit.page.emulate_media(reduced_motion="reduce")  # so that the place of the focus is there at once
    page, keyboard = visit.open(LESSON), Keyboard(visit.page)
    visit.scroll_through()
    keyboard.walk_to(".skip-link a")
    keyboard.press("Enter")
    predict, check, lab, quiz = (f".residual-lab-mount[data-kind={kind}]" for kind in ("predict", "check", "lab", "quiz"))
    keyboard.walk_to(f"{predict} input[type=radio]")
    keyboard.press("Space")
    keyboard.walk_to(f"{predict} button.rl-primary")
    keyboard.press("Enter")
    page.wait_for_function("Object.keys(localStorage).some((name) => name.startsWith('residual-lab/predictions/'))")
    keyboard.walk_to(f"{check} button")
    keyboard.press("Enter")
    visit.mounts("check").first.get_by_text("내 예측").first.wait_for()
    keyboard.walk_to(f"{lab} [data-knob] :is(input, select)")
    keyboard.press("ArrowDown")
    keyboard.walk_to(f"{lab} [data-act=start]")
    keyboard.press("Enter")
    page.wait_for_function(DRAWN, arg=visit.mounts("lab").first.locator(".rl-lab").element_handle())
    keyboard.walk_to(f"{quiz} input[type=radio]")
    keyboard.press("ArrowDown")
    keyboard.walk_to(f"{quiz} button.rl-primary")
    keyboard.press("Enter")
    expect(page.locator("fieldset.rl-question .rl-verdict").first).not_to_be_empty()
    keyboard.walk_to(".prev-next-area a.right-next")
    keyboard.press("Enter")
    page.wait_for_url("**/lessons/02_residual_math.html")


def test_picture_stays_and_says_why_when_the_recording_is_missing(visit):
    visit.context.route("**/recordings/*.json", lambda route: route.fulfill(status=404))
    visit.open(LESSON)
    mount = visit.mounts("lab").first
    mount.scroll_into_view_if_needed()
    mount.get_by_text("불러오지 못해").wait_for()
    assert mount.locator("img, figcaption").first.is_visible()
    assert visit.problems and all("404" in problem for problem in visit.problems)
    visit.problems.clear()


def test_exercise_hides_the_solution_until_asked(visit):
    page = visit.open(EXERCISE)
    stub = page.locator("div.cell.tag_answer", has_text="NotImplementedError").first
    assert stub.is_visible()
    folded = page.locator("details", has=page.get_by_text(re.compile("과제 1-1의 풀이 펼치기"))).first
    assert folded.get_attribute("open") is None
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").click()
    assert folded.locator("pre").first.is_visible()
    assert "SOLUTION" not in page.content()


def test_exercise_downloads_without_its_solution(site):
    with urllib.request.urlopen(f"{site}/_sources/{EXERCISE}.ipynb") as response:
        assert json.load(response) == json.loads((CHECKOUT / f"{EXERCISE}.ipynb").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [LESSON, EXERCISE])
def test_notebook_pages_open_in_colab_and_binder(visit, name):
    page = visit.open(name)
    links = page.locator(".dropdown-launch-buttons a").evaluate_all("(all) => all.map((a) => a.href)")
    assert sorted(links) == sorted([address.colab_url(f"{name}.ipynb"), address.binder_url(f"{name}.ipynb")])


def test_search_shows_a_page_that_says_the_word_with_a_particle(visit):
    page = visit.open("search", "?q=깊이와")
    page.locator(f"#search-results li a[href*='{LESSON}']").first.wait_for()


def test_search_finds_first_what_readers_look_for(visit, site):
    """`tests/search_results.md` has every query, and the theme's own search beside ours."""
    found = search_measure.answers(visit.page, site)
    recall_at_5, rank, recall = search_measure.mean([search_measure.score(row, found[row["query"]]) for row in search_measure.queries()])
    assert recall_at_5 >= 0.95 and rank >= 0.85 and recall >= 0.97


def test_search_says_nothing_of_what_is_not_there(visit):
    page = visit.open("search", "?q=두루마리구름")
    page.locator("#search-results .search-summary", has_text=re.compile("없|찾")).wait_for()
    assert page.locator("#search-results li").count() == 0


def test_ledger_shows_what_is_asked_for(visit):
    page = visit.open("ledger")
    cards, said = page.locator("article.claim:visible"), page.get_by_role("status")
    assert cards.count() == 179
    page.get_by_label("낱말").focus()
    page.keyboard.type("1202층")
    expect(said).to_have_text(re.compile(r"^문장 \d+개$"))
    few = cards.count()
    assert 0 < few < 20 and all("1202층" in text for text in cards.all_inner_texts())
    page.keyboard.press("Tab")  # to the first verdict
    page.keyboard.press("Space")
    assert page.get_by_role("checkbox").first.is_checked() is False and cards.count() < few
    assert "verdict=conditional.imprecise.wrong" in page.url and page.url.count("words=1202") == 1
    page.reload()
    assert cards.count() < few
    page.get_by_role("button", name="처음대로").click()
    expect(said).to_have_text("문장 179개")
    page.get_by_label("낱말").fill("두루마리구름")
    assert cards.count() == 0 and page.locator("article h2:visible").count() == 0
    page.evaluate("location.hash = '#S003-12'")
    page.locator("#S003-12").wait_for()
    page.locator("select[name=lesson]").select_option("04")
    page.locator("select[name=shown]").select_option("cell")
    assert {card.get_attribute("data-lesson") for card in cards.all()} == {"04"}


def test_ledger_reads_without_scripts(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/ledger.html")
    assert page.locator("article.claim:visible").count() == 179 and not page.locator("#claim-filter").is_visible()
    context.close()


def test_a_prime_is_not_raised_twice(visit):
    """The superscript raises it: the sign of the formulas' font itself begins near the line."""
    foot = visit.open("lessons/03_gradient_flow").evaluate("""() => document.fonts.load('100px "STIX Two Math"').then(() => {
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.font = '100px "STIX Two Math"';
        return -canvas.measureText('′').actualBoundingBoxDescent;
    })""")
    assert 0 < foot < 20


def test_all_has_its_height_before_a_reader_jumps(chromium, site, html):
    """Sections out of sight wait only while the reader is at the top."""
    with Visit(chromium, site, html) as reader, reader.begin() as visit:  # a script that starts with a page stays with it
        visit.page.add_init_script("window.requestIdleCallback = () => {}")  # the page never comes to rest
        for jump in (lambda page: page.keyboard.press("End"), lambda page: page.locator("#pst-page-toc-nav a").last.click()):
            page = visit.open(LESSON)
            assert page.locator("html.unfolding").count() == 1
            jump(page)
            assert page.locator("html.unfolding").count() == 0
            visit.open("index")
        page.goto(f"{visit.site}/{LESSON}.html#main-content")
        assert page.locator("html.unfolding").count() == 0


def test_a_page_is_laid_out_whole_in_the_end(visit):
    """What the theme measures only then can be scrolled by keyboard."""
    page = visit.open(LESSON)
    page.wait_for_selector("html:not(.unfolding)")
    assert page.locator(".bd-article section section").evaluate_all("(all) => all.every((s) => getComputedStyle(s).contentVisibility === 'visible')")
    page.wait_for_function("[...document.querySelectorAll('article pre')].every((code) => code.hasAttribute('tabindex'))")


def test_paper_has_the_text_and_nothing_to_press(visit):
    page = visit.open(LESSON)
    page.emulate_media(media="print")
    for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-area", ".copybtn"):
        assert not page.locator(part).first.is_visible(), part
    assert page.locator("h1:visible").count() == 1 and page.locator("article p").first.is_visible()


def test_nothing_moves_for_those_who_do_not_want_it(visit):
    visit.page.emulate_media(reduced_motion="reduce")
    page = visit.open(LESSON)
    assert page.evaluate("""[...document.querySelectorAll('*')].every((e) => ['transitionDuration', 'animationDuration']
        .every((p) => getComputedStyle(e)[p].split(',').every((time) => parseFloat(time) < 0.01)))""")
