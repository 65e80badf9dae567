"""A page can be used soon: what is not seen yet is laid out afterwards, nothing is laid out twice, the theme's style sheet is shorter.

The scripts are in ``templates/static/webpack-macros.html``. A page opened at its top has the class ``unfolding``: the browser
passes over its sections that are out of sight (``course.css``). After the page is loaded they are laid out one by one whenever
nothing else is to be done, or after half a second of waiting, and then the page is as if it had never been folded. A page
opened elsewhere (at a heading, again, backwards) is laid out at once, and so is one whose reader jumps: what stands above must
have its height.

The theme would undo this by measuring every block of code when the page is loaded: it has to wait for ``unfolded``. Its mode of
colours is settled before the first element is there, because it would otherwise change the style of all of them.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_MEASURES = re.compile(r'"complete"===document\.readyState\?(\w+)\(\):window\.addEventListener\("load",\1\)')
_ICON = re.compile(r"(?<=\})(?:\.fa-[\w-]+:before,?)+\{[^}]*\}")
"""The characters of Font Awesome's icon fonts, which are not used (``icons.py``)."""


def _change(file: Path, pattern: re.Pattern, new: str) -> None:
    changed, count = pattern.subn(new, file.read_text(encoding="utf-8"))
    if not count:
        raise RuntimeError(f"{file.name} of the theme has changed: what quick.py changes in it was not found")
    file.write_text(changed, encoding="utf-8")


def _trim(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    _change(static / "scripts/pydata-sphinx-theme.js", _MEASURES, r'window.addEventListener("unfolded",\1)')
    _change(static / "styles/pydata-sphinx-theme.css", _ICON, "")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", _trim)
