"""The claims ledger (``assets/ledger/claims.csv``) as a page: a card for every statement, with links to what shows it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from functools import cache
from html import escape
from pathlib import Path

import nbformat

from residual_lab.address import BRANCH, REPO_URL
from residual_lab.notebooks.text import find_sources

VERDICTS = {"correct": "맞음", "conditional": "조건부", "imprecise": "부정확", "wrong": "틀림"}
LITERATURE = "논문"
"""What ``shown`` says where only the literature answers a statement."""
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
_LITERATURE_ONLY, _NOT_YET = "논문으로만 확인", "레슨을 준비하고 있습니다"


def read(root: Path) -> list[dict[str, str]]:
    """The rows, in the order of the file: by lesson, then by statement."""
    with open(root / "assets/ledger/claims.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells_shown(root: Path) -> set[str]:
    """Every ``folder/name#cell-id`` that the ledger points at: the pages need an anchor there."""
    if not (root / "assets/ledger/claims.csv").exists():
        return set()
    return {place for row in read(root) for place in row["shown"].split() if "#" in place}


def page(root: Path) -> str:
    """The filter and the cards as Markdown, to stand after the page's introduction (``pages/ledger.md``)."""
    rows, lessons = read(root), _lessons(root)
    parts = [_filter(rows, lessons)]
    for number, title in lessons.items():
        cards = [_card(row, root) for row in rows if row["lesson"] == number]
        if cards:
            parts.append(f"## {title}\n\n" + "\n".join(cards))
    return "\n\n".join(parts) + "\n"


def _lessons(root: Path) -> dict[str, str]:
    """Every lesson's title ("01 · …") by its number."""
    return {source.slug[:2]: source.title for source in find_sources(root, ["lessons"])}


def _filter(rows: list[dict], titles: dict[str, str]) -> str:
    """Hidden until the page's script has come: without it the cards are simply all there."""
    count = Counter(row["verdict"] for row in rows)
    verdicts = "".join(
        f'<label><input type="checkbox" name="verdict" value="{key}" checked> {word} <span class="claim-count">{count[key]}</span></label>'
        for key, word in VERDICTS.items()
    )
    lessons = "".join(f'<option value="{number}">{title}</option>' for number, title in titles.items())
    kinds = {"cell": "실험으로 보인 것", "test": "시험으로 지키는 것", "literature": "논문으로 확인한 것"}
    shown = "".join(f'<option value="{key}">{word}</option>' for key, word in kinds.items())
    return (
        '<form id="claim-filter" class="claim-filter" role="search" aria-label="원장에서 찾기" hidden>'
        '<label class="claim-words">낱말 <input type="search" name="words" autocomplete="off" placeholder="예: 그래디언트 1001층"></label>'
        f'<fieldset><legend>판정</legend>{verdicts}</fieldset>'
        f'<label>레슨 <select name="lesson"><option value="">모두</option>{lessons}</select></label>'
        f'<label>근거 <select name="shown"><option value="">모두</option>{shown}</select></label>'
        '<button type="reset">처음대로</button>'
        f'<p role="status" class="claim-found">문장 {len(rows)}개</p></form>'
    )


def _card(row: dict[str, str], root: Path) -> str:
    document, line = row["document"].split(" ", 1)
    places = [_place(place, root) for place in row["shown"].split()] or [("soon", _NOT_YET)]
    if [kind for kind, _ in places] == ["literature"]:
        places = [("literature", _LITERATURE_ONLY)]
    kinds = " ".join(sorted({kind for kind, _ in places}))
    return (
        f'<article class="claim" id="{row["id"]}" data-lesson="{row["lesson"]}" data-verdict="{row["verdict"]}" data-shown="{kinds}">'
        f'<p class="claim-head"><span class="claim-verdict">{VERDICTS[row["verdict"]]}</span> '
        f'<a href="#{row["id"]}">{row["id"]}</a> <span class="claim-where">자료 {document} · {_lines(line)}</span></p>'
        f'<blockquote>{rich(row["quote"])}</blockquote><p class="claim-answer">{rich(row["corrected"])}</p>'
        f'<p class="claim-source"><b>출처</b> {rich(row["source"])}</p>'
        f'<p class="claim-shown"><b>보여 주는 곳</b> {" · ".join(text for _, text in places)}</p></article>'
    )


def _lines(where: str) -> str:
    """``L66-70`` as a reader says it."""
    return re.sub(r"L(\d+(?:[-–,]\d+)*)", r"\1행", where)


def _place(place: str, root: Path) -> tuple[str, str]:
    """What kind of evidence it is, and a link to it."""
    if place == LITERATURE:
        return "literature", LITERATURE
    if "::" in place:
        file, name = place.split("::")
        return "test", f'<a href="{REPO_URL}/blob/{BRANCH}/{file}#L{_line_of(root / file, name)}">시험 <code>{name}</code></a>'
    notebook, _, cell = place.partition("#")
    return "cell", f'<a href="{notebook}.html#{cell}">{notebook[8:10]} · {escape(_heading(root / f"{notebook}.ipynb", cell))}</a>'


@cache
def _headings(path: Path) -> dict[str, str]:
    """The heading above each cell of a notebook, by the cell's id; a markdown cell's own first heading comes before."""
    above, heading = {}, ""
    for cell in nbformat.read(path, as_version=4).cells:
        own = re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        above[cell.id] = own[0] if own else heading
        heading = own[-1] if own else heading
    return above


def _heading(path: Path, cell: str) -> str:
    return re.sub(r"[$`*]", "", _headings(path)[cell])


def _line_of(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").split("\n")
    return next(number for number, line in enumerate(lines, 1) if f"def {name}(" in line)


def rich(text: str) -> str:
    """The ledger's text as HTML: bold and code are marked as in Markdown, everything else, brackets too, is meant as it stands."""
    parts = re.split(r"`([^`]+)`", text)
    shown = [f"<code>{escape(part)}</code>" if i % 2 else re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(part, quote=False))
             for i, part in enumerate(parts)]  # fmt: skip
    return _ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', "".join(shown).replace("](", "]&#40;"))
