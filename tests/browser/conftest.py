"""JupyterLab, today's and Colab's, with a real Chromium in front of it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

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


@pytest.fixture(scope="session")
def profile(tmp_path_factory):
    """The browser's folder. What it keeps of JupyterLab's scripts, compiled, spares every later page seconds."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def context(chromium_path: str, profile: Path):
    """One browser for the tests of a file."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium_path, args=BROWSER_ARGUMENTS, viewport={"width": 1280, "height": 1000},
            permissions=["clipboard-read", "clipboard-write"])
        yield context
        context.close()
    expect.set_options(timeout=None)
