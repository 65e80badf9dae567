"""Links in the lessons' text: a term of the glossary where a lesson first uses it, and every arXiv number.

The notebooks' sources know nothing of this: JupyterLab and Colab show plain words.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx

from residual_lab.site import glossary
from residual_lab.site.bibliography import CITED

GLOSSARY = "glossary"
_NOT_PROSE = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.container)


def _texts(doctree: nodes.document, excluded: tuple[type, ...]) -> Iterator[nodes.Text]:
    for text in list(doctree.findall(nodes.Text)):
        above = text.parent
        while above is not None and not isinstance(above, excluded):
            above = above.parent
        if above is None:
            yield text


def _split(text: nodes.Text, pieces: list[nodes.Node]) -> None:
    text.parent.replace(text, pieces)


def link_terms(doctree: nodes.document, address: str) -> list[str]:
    """Link each term where it first stands in the running text; the terms' ids."""
    seen: list[str] = []
    for text in _texts(doctree, (*_NOT_PROSE, nodes.table)):
        said, pieces, at = text.astext(), [], 0
        for match in glossary.pattern().finditer(said):
            term = glossary.by_form()[match[0]]
            if term.id in seen:
                continue
            seen.append(term.id)
            link = nodes.reference("", match[0], internal=True, refuri=f"{address}#{quote(term.anchor)}", reftitle=term.definition, classes=["glossary-term"])
            pieces += [nodes.Text(said[at : match.start()]), link]
            at = match.end()
        if pieces:
            _split(text, [*pieces, nodes.Text(said[at:])])
    return seen


def link_papers(doctree: nodes.document) -> None:
    for text in _texts(doctree, _NOT_PROSE):
        said, pieces, at = text.astext(), [], 0
        for match in CITED.finditer(said):
            pieces += [nodes.Text(said[at : match.start()]), nodes.reference("", match[0], internal=False, refuri=f"https://arxiv.org/abs/{match[1]}")]
            at = match.end()
        if pieces:
            _split(text, [*pieces, nodes.Text(said[at:])])


def _link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if not docname.startswith("lessons/"):
        return
    link_papers(doctree)
    if GLOSSARY in app.env.found_docs:
        link_terms(doctree, app.builder.get_relative_uri(docname, GLOSSARY))


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", _link)
