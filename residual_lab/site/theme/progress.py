"""What a reader has done so far: the course map shows it, and a lesson notes that it was read. `progress.mjs` does both."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from sphinx.application import Sphinx

from residual_lab import course


def _load(app: Sphinx, pagename, templatename, context, doctree) -> None:
    lessons = course.lessons(Path(app.srcdir)) if pagename == "index" else []
    if lessons:
        packed = json.dumps([asdict(lesson) for lesson in lessons], ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        context["body"] += f'<script type="application/json" id="course-lessons">{packed}</script>'
        app.add_css_file("progress.css")
    if lessons or pagename.startswith("lessons/"):
        app.add_js_file("progress.mjs", type="module")


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _load)
