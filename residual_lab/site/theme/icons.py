"""The theme's icons as a small style sheet, instead of Font Awesome's script (1.5 MB) or its fonts (270 kB).

The shapes are taken from the script that the theme brings (Font Awesome Free, CC BY 4.0); only those that
the built pages use are written.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pydata_sphinx_theme
from sphinx.application import Sphinx

SCRIPT = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/scripts/fontawesome.js"

_USED = re.compile(r'<(?:i|span) class="([^"]*\bfa[bsr]? [^"]*|[^"]*\bfa-(?:solid|brands|regular)\b[^"]*)"')
_NAME = re.compile(r"\bfa-([\w-]+)")
_NOT_ICONS = {"solid", "brands", "regular", "lg", "fw"}
_SHAPE = re.compile(r'[{,]"?([\w-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"\w+","(M[^"]+)"\]')

_BASE = """/* Icons: Font Awesome Free, https://fontawesome.com, CC BY 4.0 */
i[class*="fa-"], span[class*="fa-"] { display: inline-block; width: 1.25em; height: 1em; vertical-align: -0.125em;
  background: currentColor; mask: var(--icon) center / contain no-repeat; }
i[class*="fa-"]::before, span[class*="fa-"]::before { content: none; } /* else the theme loads its icon fonts */
.fa-lg { font-size: 1.25em; }
@media (forced-colors: active) { i[class*="fa-"], span[class*="fa-"] { background: CanvasText; } }
"""


def _shapes() -> dict[str, tuple[str, str, str]]:
    """Width, height and path of every icon by each of its names; the last set, the solid one, wins."""
    shapes = {}
    for name, width, height, aliases, path in _SHAPE.findall(SCRIPT.read_text(encoding="utf-8")):
        for each in (name, *re.findall(r'"([\w-]+)"', aliases)):
            shapes[each] = (width, height, path)
    return shapes


def _write(app: Sphinx, error: Exception | None) -> None:
    if error:
        return
    out = Path(app.outdir)
    used = {
        name
        for page in out.rglob("*.html")
        for classes in _USED.findall(page.read_text(encoding="utf-8"))
        for name in _NAME.findall(classes)
    } - _NOT_ICONS
    shapes = _shapes()
    if unknown := used - shapes.keys():
        raise RuntimeError(f"icons not found in the theme's Font Awesome: {', '.join(sorted(unknown))}")
    rules = [_BASE]
    for name in sorted(used):
        width, height, path = shapes[name]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><path d="{path}"/></svg>'
        rules.append(f'.fa-{name} {{ --icon: url("data:image/svg+xml,{quote(svg)}"); }}\n')
    (out / "_static" / "icons.css").write_text("".join(rules), encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.add_css_file("icons.css")
    app.connect("build-finished", _write)
