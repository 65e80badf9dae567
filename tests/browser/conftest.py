"""JupyterLab, today's and Colab's, with a real Chromium in front of it."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect, sync_playwright

from browser.jupyter import JupyterServer
from browser.pages import BROWSER_ARGUMENTS, PATIENCE_MS

PROFILES = ("today", "colab")


@pytest.fixture(scope="session")
def servers(request):
    """``servers(profile)``: a server of each profile, started when it is first asked for."""
    with ExitStack() as stack:
        running: dict[str, JupyterServer] = {}

        def server(profile: str) -> JupyterServer:
            if profile not in running:
                python = sys.executable if profile == "today" else request.getfixturevalue("colab_python")
                running[profile] = stack.enter_context(JupyterServer(python))
            return running[profile]

        yield server


@pytest.fixture(scope="module")
def context(chromium_path: str):
    """One browser, whose cache spares the pages from loading JupyterLab again and again."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=BROWSER_ARGUMENTS)
        yield browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["clipboard-read", "clipboard-write"])
        browser.close()
    expect.set_options(timeout=None)
