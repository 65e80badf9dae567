"""A page of the site in a real browser that is cut off from every other server, in the words of the tests."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from residual_lab.paths import CHECKOUT
from residual_lab.site import reference, sources

LESSON, EXERCISE = "lessons/01_degradation", "exercises/01_degradation"
LESSONS, EXERCISES = ([f"{folder}/{path.stem}" for path in sorted((CHECKOUT / folder).glob("*.ipynb"))] for folder in ("lessons", "exercises"))
REFERENCE = [sources.site_path(name).removesuffix(".md") for name in reference.names(CHECKOUT)]
PAGES = ["index", *LESSONS, *EXERCISES, *REFERENCE, "search"]

BROWSER_ARGUMENTS = [
    "--disable-gpu", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE_MS = 30_000
NARROW = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 1000}

DRAWN = """(lab) => [...lab.querySelectorAll('.rl-plot')].some((plot) => plot.querySelector('.rl-cell, .rl-column[d*="M"]')
    || [...plot.querySelectorAll('.rl-mean')].some((path) => path.getTotalLength() > 5))"""
"""Whether a lab has a chart with a line, a column or a cell in it."""
_SCROLL = """async () => {
    const next = () => Promise.race([new Promise(requestAnimationFrame), new Promise((done) => setTimeout(done, 100))]); // a frame may never come
    for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
        scrollTo({top: y, behavior: 'instant'});
        await next();
    }
    const there = (mount) => 'alive' in mount.dataset || mount.querySelector('.residual-lab-problem');
    for (const mount of document.querySelectorAll('.residual-lab-mount')) {
        if (!there(mount)) mount.scrollIntoView({behavior: 'instant'});
        for (let i = 0; i < 100 && !there(mount); i++) await next();
    }
    for (const image of document.images) image.loading = 'eager';
}"""
_ALL_THERE = """() => !document.documentElement.matches('.unfolding') && [...document.images].every((image) => image.complete)
    && [...document.querySelectorAll('.residual-lab-mount')].every((mount) => 'alive' in mount.dataset || mount.querySelector('.residual-lab-problem'))"""
_TOP_THERE = """() => [...document.querySelectorAll('.residual-lab-mount')].every((mount) => 'alive' in mount.dataset
    || mount.getBoundingClientRect().top > innerHeight)"""
_THIN_OUT = """() => {
    const seen = new Set(), again = (kind) => seen.has(kind) || !seen.add(kind);
    for (const token of document.querySelectorAll('pre span')) if (again(token.className)) token.replaceWith(...token.childNodes);
    for (const formula of document.querySelectorAll('math')) if (again(`math ${formula.getAttribute('display')}`)) formula.replaceWith('x');
    document.body.normalize();
    const place = (part) => part === document.body ? '' : `${place(part.parentElement)}>${part.tagName}.${part.getAttribute('class')}`;
    for (const part of document.querySelectorAll('body :is(p, li, strong, em, code, td, dd, dt, span, div, pre, small)')) {
        const texts = [...part.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
        if (!texts.length || part.closest('a, button, label, legend, summary, h1, h2, h3, h4, th, caption, [role]:not([role=main])')) continue;
        const {color, opacity, backgroundColor, fontSize, fontWeight} = getComputedStyle(part);
        if (again([place(part), color, opacity, backgroundColor, fontSize, fontWeight].join())) for (const text of texts) text.remove();
    }
}"""
"""Of the coloured words of code, of the formulas, and of text that looks the same inside the same parts, one of each kind stays:
thousands more, all alike, take axe most of its time."""


class Visit:
    """A browser page for one visit after another, and what went wrong on it; ending a visit with something wrong is an error.

    A page of one's own for every visit would start a process and compile what all pages have in common: two thirds of a visit's time.
    """

    def __init__(self, browser: Browser, site: str, html: Path):
        self.site, self.html = site, html
        self.problems: list[str] = []
        self.requested: list[str] = []
        self.context = browser.new_context(viewport=WIDE, locale="ko-KR")
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(f"error {error}"))
        self.page.on("console", lambda line: line.type == "error" and self.problems.append(f"console {line.text} {line.location}"))
        self.page.on("request", lambda request: self._note(request.url))

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_) -> None:
        self.context.close()

    @contextmanager
    def begin(self) -> Iterator[Visit]:
        """A visit that finds nothing of those before: nothing kept in the browser, nothing told to it, nothing noted."""
        self.requested.clear()
        self.problems.clear()
        try:
            yield self
        finally:
            self.page.unroute_all()
            self.context.unroute_all()
            self.context.clear_cookies()
            self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
            self.page.emulate_media(media="screen", color_scheme="light", reduced_motion="no-preference")
            self.page.set_viewport_size(WIDE)
        assert self.problems == []

    def _note(self, url: str) -> None:
        if url.startswith(f"{self.site}/"):
            self.requested.append(unquote(urlsplit(url).path).lstrip("/"))
        elif not url.startswith(("data:", "blob:")):
            self.problems.append(f"asked another server: {url}")

    def open(self, name: str, query: str = "") -> Page:
        """Open a page and wait until what is seen of it can be used."""
        self.page.goto(f"{self.site}/{name}.html{query}")
        self.page.wait_for_function(_TOP_THERE)
        return self.page

    def scroll_through(self) -> None:
        """As a reader does, so that everything that waits to be seen is loaded."""
        self.page.evaluate(_SCROLL)
        self.page.wait_for_function(_ALL_THERE)
        self.page.evaluate("() => { scrollTo({top: 0, behavior: 'instant'}); return document.fonts.ready.then(() => true); }")

    def weights(self) -> dict[str, int]:
        """What every file weighs that was loaded so far, in kB (thousands of bytes), compressed as web servers do."""
        return {name: _packed(self.html / (name or "index.html")) / 1000 for name in dict.fromkeys(self.requested)}

    def grave_problems(self, *rules: str) -> dict[str, list[str]]:
        """What axe-core calls serious or critical, by rule; of the named rules only, where there are names. Much text is gone afterwards."""
        self.page.evaluate(_THIN_OUT)
        options = {"preload": False, "resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = Axe().run(self.page, options=options).response["violations"]
        return {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found if rule["impact"] in ("serious", "critical")}

    def mounts(self, kind: str) -> Locator:
        return self.page.locator(f".residual-lab-mount[data-kind={kind}]")


@cache
def _packed(file: Path) -> int:
    body = file.read_bytes()
    return min(len(body), len(gzip.compress(body)))
