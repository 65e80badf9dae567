"""A page with the lab's front end on it and a made-up host behind it, in a real browser."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lab_page import LabPage
from playwright.sync_api import Browser, Page, sync_playwright

from residual_lab.lab import frontend

HERE = Path(__file__).parent
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "mjs": "text/javascript"}


class Pages(BaseHTTPRequestHandler):
    """The joined module as notebooks load it, its single sources, and the test page."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/") or "mock.html"
        if path == "lab.mjs":
            text = frontend.esm("lab")
        elif path == "lab.css":
            text = frontend.css("lab")
        elif path.startswith("front/"):
            text = (frontend.FRONT / path.removeprefix("front/")).read_text(encoding="utf-8")
        else:
            text = (HERE / path).read_text(encoding="utf-8")
        self.send_response(200)
        self.send_header("Content-Type", TYPES[path.rsplit(".", 1)[-1]])
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")  # a second Playwright in one process is refused while this one runs
def browser(chromium_path: str):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str):
    """An empty test page; the test fails when anything is written to the console as a warning or an error."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(15_000)
    page, trouble = context.new_page(), []
    page.on("console", lambda message: trouble.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(address)
    page.wait_for_function("() => Boolean(window.mount)")
    yield page
    context.close()
    assert trouble == []


@pytest.fixture
def mount(page: Page):
    """``mount(total=60, …)`` puts a lab on the page, with the options of `MockHost`."""
    def put(**options: object) -> LabPage:
        page.evaluate("(options) => { window.lab = window.mount(options); }", options)
        lab = LabPage(page)
        lab.settle()
        return lab
    return put
