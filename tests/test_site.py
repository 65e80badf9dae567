"""The built site in a real browser, cut off from every other server: pages, labs, exercises, search, both themes."""

from __future__ import annotations

import gzip
import json
import posixpath
import re
import shutil
import threading
import urllib.request
from html import unescape
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

import search_measure
from residual_lab import address
from residual_lab.paths import CHECKOUT
from residual_lab.site import reference, sources
from residual_lab.site.build import build
from residual_lab.site.serve import make_server

LESSON, EXERCISE = "lessons/01_degradation", "exercises/01_degradation"
REFERENCE = [sources.site_path(name).removesuffix(".md") for name in reference.names(CHECKOUT)]
PAGES = ["index", LESSON, EXERCISE, "ledger", "glossary", "search"]
"""One page of each kind; what differs from lesson to lesson is looked at on all of them."""
LESSONS, EXERCISES = ([f"{folder}/{path.stem}" for path in sorted((CHECKOUT / folder).glob("*.ipynb"))] for folder in ("lessons", "exercises"))
every_page = pytest.mark.parametrize("name", ["index", *LESSONS, *EXERCISES, *REFERENCE, "search"])
every_lesson = pytest.mark.parametrize("name", LESSONS)
MOST_KB = 300
"""What a page may weigh as web servers send it, before its labs' recordings; formulas (MathJax, 280 kB, once for all pages) and
figures come on top."""
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
    packed = {part: sum(size for url, (_, size) in weights.items() if part in url) / 1000 for part in ("/", "/recordings/", "/mathjax/", "/_images/")}
    print(f"\n{name}: {len(weights)} requests, kB compressed: {packed}")
    assert packed.pop("/") - sum(packed.values()) <= MOST_KB


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
    page = visit.open(name, "?lesson=09" if name == "ledger" else "")  # a few of its cards, all alike
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


def test_search_finds_first_what_readers_look_for(visit, site):
    """`tests/search_results.md` has every query, and the theme's own search beside ours."""
    found = search_measure.answers(visit.page, site)
    recall_at_5, rank, recall = search_measure.mean([search_measure.score(row, found[row["query"]]) for row in search_measure.queries()])
    assert recall_at_5 >= 0.95 and rank >= 0.85 and recall >= 0.97


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


def test_every_link_into_a_page_reaches_its_place(html):
    """The ledger's cells, the glossary's terms, headings: wherever a link names a place, the page has it."""
    texts = {path.relative_to(html).as_posix(): path.read_text(encoding="utf-8") for path in html.rglob("*.html") if "_static" not in path.parts}
    places = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    missing = set()
    for name, text in texts.items():
        for target, place in re.findall(r'href="([^":#]*)#([^"]+)"', text):
            page = posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if target else name
            if unquote(unescape(place)) not in places.get(page, ()):
                missing.add(f"{name} -> {page}#{unquote(place)}")
    assert missing == set()


@every_lesson
def test_terms_are_linked_once_and_papers_always(html, name):
    text = (html / f"{name}.html").read_text(encoding="utf-8")
    linked = re.findall(r'class="glossary-term[^"]*" href="\.\./glossary\.html#([\w-]+)"', text)
    assert len(linked) == len(set(linked)) >= 8
    assert not re.search(r"arXiv:\d{4}\.\d{5}(?!</a>)", re.sub(r"<script.*?</script>|data-spec='[^']*'", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("name", ["index", LESSON, EXERCISE, *REFERENCE])
def test_page_fits_a_narrow_screen(visit, name):
    visit.page.set_viewport_size({"width": 360, "height": 740})
    page = visit.open(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


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
