"""Every page of the site, each visited once: whole by itself, light, accessible in both themes, on a narrow screen too."""

from __future__ import annotations

import posixpath
import re
from html import unescape
from urllib.parse import unquote

import pytest

from published.visit import DRAWN, EXERCISE, LESSON, LESSONS, NARROW, PAGES, WIDE
from residual_lab.site.theme import make_math_font

MOST_KB = 300
"""What a page may weigh as web servers send it until it can be used, without its labs' recordings; and in all, without figures too."""
MODULES, RECORDINGS, FIGURES = "_static/residual-lab/", "_static/residual-lab/recordings/", "_images/"


@pytest.fixture(scope="module", params=PAGES)
def seen(reader, request):
    """A page that was scrolled through. Its name, and what had been loaded before, are kept with it."""
    with reader.begin() as visit:
        visit.name = request.param
        visit.open(visit.name, "?lesson=09" if visit.name == "ledger" else "")  # a few of its cards, all alike
        visit.at_first = visit.weights()
        visit.scroll_through()
        yield visit


def test_page_is_whole_by_itself(seen):
    """Nothing from another server, no error, every picture and formula there, every icon drawn."""
    found = seen.page.evaluate("""() => ({
        broken: [...document.images].filter((i) => !i.naturalWidth || !i.hasAttribute('alt')).map((i) => i.outerHTML.slice(0, 200)),
        badMath: document.querySelectorAll('merror').length,
        mathFont: document.querySelector('math') ? document.fonts.check('16px "STIX Two Math"') : true,
        missingFonts: [...document.fonts].filter((f) => f.status === 'error').map((f) => f.family),
        flatIcons: [...document.querySelectorAll('i[class*="fa-"], span[class*="fa-"]')]
            .filter((i) => getComputedStyle(i).maskImage === 'none').map((i) => i.className),
        stuck: document.querySelectorAll('.residual-lab-problem').length,
    })""")
    assert found == {"broken": [], "badMath": 0, "mathFont": True, "missingFonts": [], "flatIcons": [], "stuck": 0}
    assert seen.problems == []


def test_page_is_light(seen):
    def sum_of(weights: dict[str, float], *without: str) -> float:
        return sum(size for name, size in weights.items() if not name.startswith(without))

    first, rest = sum_of(seen.at_first, RECORDINGS), sum_of(seen.weights(), RECORDINGS, FIGURES)
    print(f"\n{seen.name}: {first:.0f} kB until it can be used, {rest:.0f} kB without recordings and figures, {sum_of(seen.weights()):.0f} kB in all")
    assert max(first, rest) <= MOST_KB


def test_labs_modules_load_only_where_there_is_something_for_them(seen):
    has_mounts = seen.page.locator(".residual-lab-mount").count() > 0
    assert any(name.startswith(MODULES) for name in seen.requested) == has_mounts


def test_page_fits_a_narrow_screen(seen):
    """Nothing is wider than the screen but what scrolls by itself, and that can be reached by keyboard."""
    seen.page.set_viewport_size(NARROW)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    seen.page.wait_for_function("""() => [...document.querySelectorAll('article *')].every((part) => part.scrollWidth <= part.clientWidth
        || !['auto', 'scroll'].includes(getComputedStyle(part).overflowX) || part.tabIndex === 0 || part.querySelector('a, button, input, select'))""")
    seen.page.set_viewport_size(WIDE)


ONE_OF_EACH_KIND = ("index", LESSON, EXERCISE, "ledger", "glossary", "search")


def test_everything_comes_alive_and_every_lab_of_a_lesson_plays(seen):
    for kind, least in {"lab": 2, "quiz": 1, "predict": 3, "check": 3}.items():
        assert seen.mounts(kind).count() >= (least if seen.name in LESSONS else 0)
        for mount in seen.mounts(kind).all():
            assert mount.locator(".residual-lab").first.inner_text().strip()
            assert mount.locator(".residual-lab-problem").count() == 0
    for lab in seen.mounts("lab").locator(".rl-lab").all():
        lab.get_by_role("button", name="시작").click()
        seen.page.wait_for_function(DRAWN, arg=lab.element_handle())
        lab.locator("[data-act=stop]").dispatch_event("click")


def test_interface_is_korean(seen):
    if seen.name not in ONE_OF_EACH_KIND:
        return
    said = seen.page.evaluate("""() => {
        const frame = document.body.cloneNode(true);
        for (const part of frame.querySelectorAll('article > section, nav, script, noscript, .prev-next-title, #jb-print-docs-body')) part.remove();
        const names = [...frame.querySelectorAll('*')].flatMap((e) => ['title', 'aria-label', 'placeholder', 'alt', 'data-bs-title'].map((a) => e.getAttribute(a)));
        return [frame.textContent, ...names].filter(Boolean).join('\\n');
    }""")
    allowed = {"Ctrl", "PDF", "CC", "BY", "MIT", "Binder", "Colab", "ipynb", "pdf", "md"}
    assert set(re.findall(r"[A-Za-z]{2,}", said)) <= allowed
    assert seen.page.locator("html").get_attribute("lang") == "ko"


def test_page_is_accessible(seen):
    assert seen.grave_problems() == {}


def test_page_is_readable_in_the_dark(seen):
    """One page of each kind, and more lessons, whose labs bring their own colours."""
    if seen.name not in (*ONE_OF_EACH_KIND, *LESSONS[::3]):
        return
    seen.page.emulate_media(color_scheme="dark")
    seen.page.wait_for_selector('html[data-theme="dark"]')
    seen.page.wait_for_function("document.getAnimations().every((one) => one.playState === 'finished')")  # colours change gradually
    assert seen.grave_problems("color-contrast", "link-in-text-block") == {}


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


def test_the_font_of_formulas_has_every_sign_that_they_use(html):
    formulas = [formula for page in html.rglob("*.html") for formula in re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), re.DOTALL)]
    signs = {sign for formula in formulas for sign in unescape(re.sub(r"<mtext>.*?</mtext>|<[^>]+>", "", formula)) if sign.isprintable() and not "가" <= sign <= "힣"}
    assert len(formulas) > 500 and signs - {*make_math_font.LETTERS, *make_math_font.SIGNS} == set()


@pytest.mark.parametrize("name", LESSONS)
def test_terms_are_linked_once_and_papers_always(html, name):
    text = (html / f"{name}.html").read_text(encoding="utf-8")
    linked = re.findall(r'class="glossary-term[^"]*" href="\.\./glossary\.html#([\w-]+)"', text)
    assert len(linked) == len(set(linked)) >= 8
    assert not re.search(r"arXiv:\d{4}\.\d{5}(?!</a>)", re.sub(r"<script.*?</script>|data-spec='[^']*'", "", text, flags=re.DOTALL))
