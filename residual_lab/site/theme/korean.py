"""The theme's own words in Korean: its catalogues have some of them, badly, and miss most."""

from __future__ import annotations

from gettext import NullTranslations
from pathlib import Path

from sphinx import locale
from sphinx.application import Sphinx
from sphinx.config import Config

WORDS = {
    # what every page shows
    "Skip to main content": "본문으로 건너뛰기",
    "Back to top": "맨 위로",
    "Search": "검색",
    "Color mode": "화면 밝기",
    "Light": "밝게",
    "Dark": "어둡게",
    "System Settings": "시스템 설정에 맞춤",
    "Site navigation": "사이트 메뉴",
    "Link to this heading": "이 제목의 주소",
    "On this page": "이 페이지의 내용",
    "Contents": "이 페이지의 내용",
    "Version warning": "판 안내",
    "previous": "이전",
    "next": "다음",
    "previous page": "이전 페이지",
    "next page": "다음 페이지",
    "© Copyright %(copyright)s.": "© %(copyright)s",
    # buttons above the article
    "Download this page": "이 페이지 내려받기",
    "Download notebook file": "노트북 파일 내려받기",
    "Download source file": "원본 파일 내려받기",
    "Print to PDF": "PDF로 인쇄",
    "Fullscreen mode": "전체 화면으로 보기",
    "Launch interactive content": "직접 실행하기",
    "Launch on": "실행할 곳:",
    "logo": "로고",
    "Source repository": "소스 저장소",
    "Repository": "저장소",
}

COPY_BUTTON = """
  'ko': {
    'copy': '복사',
    'copy_to_clipboard': '코드 복사',
    'copy_success': '복사했습니다',
    'copy_failure': '복사하지 못했습니다',
  },"""


class _Korean(NullTranslations):
    def gettext(self, message: str) -> str:
        return WORDS.get(message) or super().gettext(message)


def _speak_korean(app: Sphinx, config: Config) -> None:
    """Put our words before those of Sphinx ("sphinx", which pydata-sphinx-theme shares) and of the book theme."""
    for catalog in ("sphinx", "booktheme"):
        words = _Korean()
        words.add_fallback(locale.get_translator(catalog))
        locale.translators["general", catalog] = words
    app.translator = locale.get_translator()  # what templates translate with


def _teach_copy_button(app: Sphinx, error: Exception | None) -> None:
    """sphinx-copybutton takes its language from a table in its script that has no Korean and no option."""
    if error:
        return
    script = Path(app.outdir, "_static", "copybutton.js")
    before, table, after = script.read_text(encoding="utf-8").partition("const messages = {")
    if not table:
        raise RuntimeError("copybutton.js has changed: its table of messages was not found")
    script.write_text(before + table + COPY_BUTTON + after, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("config-inited", _speak_korean)
    app.connect("build-finished", _teach_copy_button)
