"""Code without a tag around every name and comma: those have the colour of plain code, and were half of all elements of a lesson."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_PLAIN = re.compile(r'<span class="(?:n|nn|nx|p|w)">([^<]*)</span>')


def _unwrap(app: Sphinx, pagename, templatename, context, doctree) -> None:
    if "body" in context:
        context["body"] = _PLAIN.sub(r"\1", context["body"])


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _unwrap)
