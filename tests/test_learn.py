"""`residual-lab learn` in a real browser: JupyterLab in Korean at the course map, on another port when its own is taken."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest
from playwright.sync_api import expect, sync_playwright

from residual_lab import cli


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Where a JupyterLab answers that was started while its port was in use."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "residual_lab.cli", "learn", "--no-browser", "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
            said = next(found for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)/\S+", line)))
            assert int(said[1]) != port
            yield said[0]
            server.terminate()
            try:
                assert server.wait(60) == 0, "it ends when it is asked to"
            finally:
                server.kill()


def test_jupyterlab_opens_in_korean_at_the_course_map(address, chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        page = browser.new_page(locale="en-US")
        page.goto(address)
        expect(page.locator(".lm-MenuBar-itemLabel").first).to_have_text("파일", timeout=60_000)
        course_map = page.locator(".jp-MarkdownViewer")
        expect(course_map.get_by_role("heading", name="잔차 연결 실험실")).to_be_visible(timeout=60_000)
        course_map.get_by_role("link", name="깊이와 성능 저하").click()
        expect(page.get_by_role("tab", name="01_degradation.ipynb")).to_be_visible(timeout=60_000)
        browser.close()


def test_a_home_that_cannot_be_written_is_named_with_what_to_do(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESIDUAL_LAB_HOME", str(tmp_path / "file/home"))
    assert cli.main(["learn", "--no-browser"]) == 1
    said = capsys.readouterr()
    assert f"쓸 수 없습니다: {tmp_path / 'file/home'}" in said.err and "RESIDUAL_LAB_HOME" in said.err and not said.out
