"""The site, built once for all test processes, behind a server of this machine, with a Chromium in front of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright

from published.visit import BROWSER_ARGUMENTS, Visit
from residual_lab.paths import CHECKOUT
from residual_lab.site.build import build
from residual_lab.site.serve import make_server


@pytest.fixture(scope="session")
def html(tmp_path_factory, worker_id) -> Path:
    """The folder of the pages. Whoever comes first builds them, the other test process waits.

    ``RESIDUAL_LAB_BUILT_SITE`` names a site that is built already: for working on the tests themselves.
    """
    if built := os.environ.get("RESIDUAL_LAB_BUILT_SITE"):
        return Path(built).resolve()
    if worker_id == "master":
        return build(CHECKOUT)
    done = tmp_path_factory.getbasetemp().parent / "site-is-built"  # the parent belongs to this run of pytest, not to one process
    with FileLock(f"{done}.lock"):
        if not done.exists():
            build(CHECKOUT)
            done.touch()
    return CHECKOUT / "_build/html"


@pytest.fixture(scope="session")
def site(html):
    server = make_server(html, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")  # a second Playwright in one process is refused while this one runs
def chromium(chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reader(chromium, site, html):
    with Visit(chromium, site, html) as visit:
        yield visit


@pytest.fixture
def visit(reader):
    with reader.begin() as visit:
        yield visit
