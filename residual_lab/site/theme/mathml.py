"""Formulas as MathML, made when the site is built: the browser draws them by itself, screen readers read them, nothing runs.

A formula that the converter does not know is a warning, which fails the build. The font is a part of STIX Two Math
(``static/STIXTwoMath.woff2``, made by ``make_math_font.py``).
"""

from __future__ import annotations

import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_CONVERTER = LatexToMathML(fancy_error=False)
_TALL_BASE = re.compile(r"(?<=<msup>|<msub>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)|(?<=<msubsup>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)")
_CLOSE_BEHIND = re.compile(r"<math>(?:(?!</math>).)*</math>[^\s<]{1,12}")


def mathml(latex: str, *, display: bool) -> str:
    """A ``<math>`` element.

    Raises:
        LatexError: a command that is unknown, or braces that do not match.
    """
    made = _CONVERTER.convert_with_local_state(latex.strip(), displaystyle=display)
    return _TALL_BASE.sub(r"<mrow>\g<0></mrow>", made)  # else Chromium draws a tall bracket small where it bears a superscript


def _written(node: nodes.math | nodes.math_block, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except LatexError as error:
        _LOGGER.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def _inline(writer, node: nodes.math) -> None:
    writer.body.append(_written(node, display=False))
    raise nodes.SkipNode


def _block(writer, node: nodes.math_block) -> None:
    scrolls = "pst-scrollable-table-container"  # the theme lets what overflows in it be scrolled by keyboard
    writer.body.append(f'<div class="formula {scrolls}">{_written(node, display=True)}</div>\n')
    raise nodes.SkipNode


def _hold_particles(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Keep what is written close behind a formula (a particle, a bracket) on its line: browsers may break the line there."""
    if "body" in context:
        context["body"] = _CLOSE_BEHIND.sub(r'<span class="held">\g<0></span>', context["body"])


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _hold_particles)
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
