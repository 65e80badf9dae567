"""Sphinx extension of the site: Korean interface, Korean search, formulas, figures and icons without a CDN."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

from residual_lab.site.theme import icons, korean, mathml, pictures, plain_code, progress, quick, search, terms

HERE = Path(__file__).parent
LAB_MODULE = "residual-lab/site.mjs"


def _use_own_files(app: Sphinx, config: Config) -> None:
    config.templates_path.insert(0, str(HERE / "templates"))
    config.html_static_path.append(str(HERE / "static"))
    config.html_favicon = str(HERE / "static" / "favicon.svg")


def _load_labs(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Load the labs' module on the pages that have something for it to mount, and on no other."""
    if "residual-lab-mount" in context.get("body", ""):
        app.add_js_file(LAB_MODULE, type="module")


def _load_ledger(app: Sphinx, pagename, templatename, context, doctree) -> None:
    if 'id="claim-filter"' in context.get("body", ""):
        app.add_css_file("ledger.css")
        app.add_js_file("ledger.mjs", type="module")


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", _use_own_files)
    app.connect("html-page-context", _load_labs)
    app.connect("html-page-context", _load_ledger)
    app.add_css_file("course.css")
    for part in (icons, korean, mathml, pictures, plain_code, progress, quick, search, terms):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
