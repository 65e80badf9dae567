"""MathJax from the site itself: the parts that a page of formulas needs, without the menu (a third of its weight)."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

PACKAGE = "sphinx-mathjax-offline"  # MathJax 3.2.2 as it is; its own extension would copy all 15 MB
PARTS = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)


def _configure(app: Sphinx, config: Config) -> None:
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {
        "loader": {"load": ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]},
        "options": {"enableMenu": False},
    }


def _only_where_needed(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Sphinx loads it also where only a page further down the table of contents has formulas: on the course map."""
    if 'class="math' not in context.get("body", ""):
        context["script_files"] = [file for file in context["script_files"] if "mathjax" not in str(file.filename)]


def _copy(app: Sphinx, error: Exception | None) -> None:
    if error:
        return
    origin = Path(find_spec(PACKAGE).origin).parent / "static" / "mathjax"
    target = Path(app.outdir, "_static", "mathjax")
    for part in PARTS:
        if (origin / part).is_dir():
            shutil.copytree(origin / part, target / part, dirs_exist_ok=True)
        else:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin / part, target / part)


def setup(app: Sphinx) -> None:
    app.connect("config-inited", _configure)
    app.connect("html-page-context", _only_where_needed, priority=900)  # after Sphinx has added it
    app.connect("build-finished", _copy)
