"""Figures load when a reader comes near them, and keep their place until then."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx

_PICTURE = re.compile(r'<img (?=[^>]*\bsrc="(?:\.\./)*_images/([^"]+)")')


def _wait_to_be_seen(app: Sphinx, pagename, templatename, context, doctree) -> None:
    files = {name: Path(app.srcdir, file) for file, name in app.builder.images.items()}

    def sized(match: re.Match) -> str:
        if match[1].endswith(".svg"):
            return '<img loading="lazy" '
        with Image.open(files[match[1]]) as picture:
            width, height = picture.size
        return f'<img loading="lazy" width="{width}" height="{height}" '

    if "body" in context:
        context["body"] = _PICTURE.sub(sized, context["body"])


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _wait_to_be_seen)
