"""Join the front end's small ES modules to the single dependency-free module that anywidget and the site load.

The sources in ``front/`` import one another with single-line named imports; a widget's module must be
one text, because notebook hosts load it from a blob address where relative imports do not resolve.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

FRONT = Path(__file__).resolve().parent / "front"

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+)\.js";?[ \t]*\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)
_NAME = re.compile(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)


@cache
def esm(entry: str) -> str:
    """One ES module: ``front/{entry}.js`` with everything that it imports before it, in dependency order.

    Raises:
        ValueError: two of the joined files use one name at their top level.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for needed in _IMPORT.findall((FRONT / f"{name}.js").read_text(encoding="utf-8")):
            if needed not in order:
                visit(needed)
        if name not in order:
            order.append(name)

    visit(entry)
    joined = "\n".join(
        _EXPORT.sub("", _IMPORT.sub("", (FRONT / f"{name}.js").read_text(encoding="utf-8"))) for name in order
    )
    twice = [name for name, count in Counter(_NAME.findall(joined)).items() if count > 1]
    if twice:
        raise ValueError(f"{entry}.js and what it imports define a name twice: {', '.join(twice)}")
    return joined


@cache
def css(entry: str) -> str:
    """The shared theme and the style of one widget."""
    return "\n".join((FRONT / f"{name}.css").read_text(encoding="utf-8") for name in ("theme", entry))
