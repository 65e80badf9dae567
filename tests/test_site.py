"""The built site in a real browser, cut off from every other server: pages, labs, exercises, search, both themes."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from residual_lab import address
from residual_lab.paths import CHECKOUT
from residual_lab.site import sources
from residual_lab.site.build import build
from residual_lab.site.serve import make_server

LESSON, EXERCISE = "lessons/01_degradation", "exercises/01_degradation"
PAGES = ["index", LESSON, EXERCISE, "search"]
"""One page of each kind; what differs from lesson to lesson is looked at on all of them."""
LESSONS, EXERCISES = ([f"{folder}/{path.stem}" for path in sorted((CHECKOUT / folder).glob("*.ipynb"))] for folder in ("lessons", "exercises"))
every_page = pytest.mark.parametrize("name", ["index", *LESSONS, *EXERCISES, "search"])
every_lesson = pytest.mark.parametrize("name", LESSONS)
DRAWN = """(lab) => [...lab.querySelectorAll('.rl-plot')].some((plot) => plot.querySelector('.rl-cell, .rl-column[d*="M"]')
    || [...plot.querySelectorAll('.rl-mean')].some((path) => path.getTotalLength() > 5))"""
LAUNCH = ["--disable-gpu", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def html():
    return build(CHECKOUT)


@pytest.fixture(scope="module")
def site(html):
    server = make_server(html, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def chromium(chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=LAUNCH)
        yield browser
        browser.close()


class Visit:
    """A page of the site, and what went wrong on it."""

    def __init__(self, context, site: str):
        self.site, self.problems, self.responses = site, [], []
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(f"error {error}"))
        self.page.on("console", lambda line: line.type == "error" and self.problems.append(f"console {line.text} {line.location}"))
        self.page.on("response", lambda response: self.responses.append(response))
        context.route(lambda url: not url.startswith((site, "data:", "blob:")), self._refuse)

    def _refuse(self, route):
        self.problems.append(f"asked another server: {route.request.url}")
        route.abort()

    def weights(self) -> dict[str, tuple[int, int]]:
        """Bytes of everything that was loaded, as it lies there and compressed as web servers do."""
        bodies = {r.url.removeprefix(self.site): r.body() for r in self.responses if r.url.startswith(self.site)}
        return {url: (len(body), min(len(body), len(gzip.compress(body)))) for url, body in bodies.items()}

    def open(self, name: str, query: str = ""):
        self.page.goto(f"{self.site}/{name}.html{query}")
        return self.page

    def scroll_through(self):
        """As a reader does, so that everything that waits to be seen is loaded."""
        self.page.evaluate("""async () => {
            for (let y = 0; y < document.body.scrollHeight; y += innerHeight / 2) {
                scrollTo(0, y);
                await new Promise((done) => requestAnimationFrame(done));
            }
        }""")
        self.page.wait_for_load_state("networkidle")


@pytest.fixture
def visit(chromium, site, request):
    context = chromium.new_context(color_scheme=getattr(request, "param", "light"), locale="ko-KR")
    visit = Visit(context, site)
    yield visit
    context.close()
    assert visit.problems == []


@every_page
def test_page_is_whole_by_itself(visit, name):
    """Nothing from another server, no error, every picture and formula there, every icon drawn."""
    page = visit.open(name)
    visit.scroll_through()
    page.wait_for_function("[...document.querySelectorAll('.math')].every((m) => m.querySelector('mjx-container'))")
    found = page.evaluate("""() => ({
        broken: [...document.images].filter((i) => !i.naturalWidth || !i.hasAttribute('alt')).map((i) => i.outerHTML.slice(0, 200)),
        badMath: document.querySelectorAll('mjx-merror, [data-mjx-error]').length,
        missingFonts: [...document.fonts].filter((f) => f.status === 'error').map((f) => f.family),
        flatIcons: [...document.querySelectorAll('i[class*="fa-"], span[class*="fa-"]')]
            .filter((i) => getComputedStyle(i).maskImage === 'none').map((i) => i.className),
    })""")
    assert found == {"broken": [], "badMath": 0, "missingFonts": [], "flatIcons": []}
    weights = visit.weights()
    raw, packed = (sum(sizes) / 1000 for sizes in zip(*weights.values()))
    print(f"\n{name}: {len(weights)} requests, {raw:.0f} kB, {packed:.0f} kB compressed")


def test_formulas_are_drawn_with_the_site_s_own_fonts(visit):
    page = visit.open(LESSON)
    page.wait_for_selector("mjx-container")
    loaded = page.evaluate("document.fonts.ready.then(() => [...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family))")
    assert any(family.startswith("MJX") for family in loaded)


@pytest.mark.parametrize("name", PAGES)
def test_interface_is_korean(visit, name):
    page = visit.open(name)
    said = page.evaluate("""() => {
        const frame = document.body.cloneNode(true);
        for (const part of frame.querySelectorAll('article > section, nav, script, noscript, .prev-next-title, #jb-print-docs-body')) part.remove();
        const names = [...frame.querySelectorAll('*')].flatMap((e) => ['title', 'aria-label', 'placeholder', 'alt', 'data-bs-title'].map((a) => e.getAttribute(a)));
        return [frame.textContent, ...names].filter(Boolean).join('\\n');
    }""")
    allowed = {"Ctrl", "PDF", "CC", "BY", "MIT", "Binder", "Colab", "ipynb", "pdf", "md"}
    assert set(re.findall(r"[A-Za-z]{2,}", said)) <= allowed
    assert page.locator("html").get_attribute("lang") == "ko"


@every_page
def test_page_is_accessible(visit, name):
    assert grave_problems(visit, name) == {}


@pytest.mark.parametrize("visit", ["dark"], indirect=True)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_in_the_dark(visit, name):
    assert grave_problems(visit, name) == {}


def grave_problems(visit, name):
    page = visit.open(name)
    visit.scroll_through()
    page.wait_for_function("[...document.querySelectorAll('.residual-lab-mount')].every((m) => 'alive' in m.dataset)")
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return {v["id"]: [node["html"][:200] for node in v["nodes"]] for v in found if v["impact"] in ("serious", "critical")}


def test_labs_modules_load_only_where_there_is_a_lab(visit):
    visit.open("index")
    visit.scroll_through()
    assert not [r.url for r in visit.responses if "/residual-lab/" in r.url]


def test_lab_plays_its_recording_to_the_end(visit):
    page = visit.open(LESSON)
    lab = page.locator(".residual-lab-mount[data-kind=lab][data-alive]").first
    page.locator(".residual-lab-mount[data-kind=lab]").first.scroll_into_view_if_needed()
    lab.get_by_role("button", name="시작").click()
    lab.get_by_text(re.compile(r"배속으로|같은 빠르기로")).wait_for()
    page.wait_for_function("(lab) => /끝|마쳤/.test(lab.textContent)", arg=lab.element_handle(), timeout=15_000)


@every_lesson
def test_every_mount_comes_alive_and_every_lab_plays(visit, name):
    page = visit.open(name)
    visit.scroll_through()
    for kind, least in {"lab": 2, "quiz": 1, "predict": 3, "check": 3}.items():
        mounts = page.locator(f".residual-lab-mount[data-kind={kind}]")
        assert mounts.count() >= least
        for mount in mounts.all():
            mount.scroll_into_view_if_needed()
            assert mount.locator(".residual-lab").first.inner_text().strip()
            assert mount.locator(".residual-lab-problem").count() == 0
    for lab in page.locator(".residual-lab-mount[data-kind=lab] .rl-lab").all():
        lab.get_by_role("button", name="시작").click()
        page.wait_for_function(DRAWN, arg=lab.element_handle())


def test_answers_are_kept_in_this_browser(visit):
    page = visit.open(LESSON)
    page.locator(".residual-lab-mount[data-kind=quiz]").first.scroll_into_view_if_needed()
    question = page.locator("fieldset.rl-question").first
    question.get_by_role("radio").nth(1).check()
    question.get_by_role("button", name="답 확인").click()
    expect(question.locator(".rl-verdict")).not_to_be_empty()
    verdict = question.locator(".rl-verdict").inner_text()
    page.reload()
    page.locator(".residual-lab-mount[data-kind=quiz]").first.scroll_into_view_if_needed()
    expect(question.locator(".rl-verdict")).to_have_text(verdict)
    assert question.get_by_role("radio").nth(1).is_checked()


def test_prediction_is_there_when_it_is_checked(visit):
    page = visit.open(LESSON)
    visit.scroll_through()
    stores = page.locator(".residual-lab-mount[data-kind=predict]").evaluate_all(
        "(all) => all.map((m) => JSON.parse(m.dataset.spec)).filter((spec) => spec.form === 'choice').map((spec) => [spec.id, spec.options[0]])")
    assert stores, "the lesson has no prediction with choices"
    name, option = stores[0]
    guess = page.locator(f".residual-lab-mount[data-kind=predict][data-src='{name}']")
    guess.get_by_role("radio").first.check()
    guess.get_by_role("button", name="적어 두기").click()
    check = page.locator(f".residual-lab-mount[data-kind=check][data-src='{name}']")
    check.get_by_role("button", name="확인하기").click()
    check.locator("li", has_text=option).get_by_text("내 예측").wait_for()


def test_picture_stays_and_says_why_when_the_recording_is_missing(chromium, site):
    page = chromium.new_page()
    page.route("**/recordings/*.json", lambda route: route.fulfill(status=404))
    page.goto(f"{site}/{LESSON}.html")
    mount = page.locator(".residual-lab-mount[data-kind=lab]").first
    mount.scroll_into_view_if_needed()
    mount.get_by_text("불러오지 못해").wait_for()
    assert mount.locator("img, figcaption").first.is_visible()
    page.close()


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


@pytest.mark.parametrize(("query", "name"), [("잔차", LESSON), ("학습 오차", LESSON), ("깊이와", LESSON), ("degradation", LESSON)])
def test_search_finds_words_with_their_particles(visit, query, name):
    page = visit.open("search", f"?q={query}")
    page.locator(f"#search-results li a[href*='{name}']").first.wait_for()


def test_search_says_nothing_of_what_is_not_there(visit):
    page = visit.open("search", "?q=두루마리구름")
    page.locator("#search-results .search-summary", has_text=re.compile("없|찾")).wait_for()
    assert page.locator("#search-results li").count() == 0


def test_warning_fails_the_build(tmp_path):
    for name in ("_config.yml", "_toc.yml", "index.md"):
        shutil.copy(CHECKOUT / name, tmp_path)
    (tmp_path / "index.md").write_text("# 지도\n\n### 건너뛴 제목\n", encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    with pytest.raises(sources.SiteError, match="경고도 오류로"):
        build(tmp_path)


def test_links_reach_pages_or_the_repository(tmp_path):
    for name in ("lessons/01_x.ipynb", "solutions/01_x.ipynb", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def shown(text: str) -> str:
        return sources.site_links(text, "lessons/01_x.ipynb", tmp_path)

    assert shown("[풀이](../solutions/01_x.ipynb#a)") == "[풀이](../exercises/01_x.ipynb#a)"
    assert shown("[안내](../README.md)") == f"[안내]({address.REPO_URL}/blob/{address.BRANCH}/README.md)"
    assert shown("[![열기](https://c.d/b.svg)](https://c.d)") == "[열기](https://c.d)"
    assert shown("[논문](https://arxiv.org/abs/1512.03385)") == "[논문](https://arxiv.org/abs/1512.03385)"
    with pytest.raises(sources.SiteError, match="없습니다: 02_y.ipynb"):
        shown("[다음](02_y.ipynb)")


def test_server_takes_the_next_free_port_and_serves_modules(tmp_path):
    (tmp_path / "a.mjs").write_text("export {};", encoding="utf-8")
    first = make_server(tmp_path, 0)
    second = make_server(tmp_path, first.server_port)
    threading.Thread(target=second.serve_forever, daemon=True).start()
    assert second.server_port > first.server_port
    with urllib.request.urlopen(f"http://127.0.0.1:{second.server_port}/a.mjs") as response:
        assert response.headers["Content-Type"] == "text/javascript"
    second.shutdown()
    for server in (first, second):
        server.server_close()
