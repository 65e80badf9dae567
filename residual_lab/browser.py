"""Find a Chromium-like browser for the browser tests (standard library only)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SHELL = "chromium-headless-shell"
"""Chromium without its windows, a package of Debian's: it shows the same pages in little more than half the CPU time."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
PLACES = {
    "darwin": (
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "win32": (
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    ),
}
ADVICE = (
    "Chromium이나 Chrome을 설치하십시오(Debian·Ubuntu: 'sudo apt install chromium', macOS: 'brew install --cask chromium'). "
    "다른 곳에 있으면 환경 변수 RESIDUAL_LAB_BROWSER에 실행 파일의 경로를 넣으십시오."
)


def find_browser(*, as_readers_have: bool = False) -> str | None:
    """Path of the browser: ``RESIDUAL_LAB_BROWSER``, else the first one on the PATH or in its usual place.

    Args:
        as_readers_have: one with windows, for measuring what a reader's machine has to do.
    """
    chosen = os.environ.get("RESIDUAL_LAB_BROWSER")
    if chosen:
        return chosen if Path(chosen).is_file() else None
    on_path = (shutil.which(name) for name in (NAMES if as_readers_have else (SHELL, *NAMES)))
    in_place = (place for place in PLACES.get(sys.platform, ()) if Path(place).is_file())
    return next((path for path in on_path if path), None) or next(in_place, None)
