"""The claims ledger: every statement of the sources is answered in its lesson with its verdict, and points at what shows it."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from residual_lab.paths import CHECKOUT
from residual_lab.site import ledger
from residual_lab.site.ledger import LITERATURE, VERDICTS

ROWS = ledger.read(CHECKOUT)
LESSONS = {path.stem[:2]: path for path in sorted((CHECKOUT / "lessons").glob("[0-9][0-9]_*.ipynb"))}

each_lesson = pytest.mark.parametrize("number", LESSONS)


def rows_of(number: str) -> list[dict]:
    return [row for row in ROWS if row["lesson"] == number]


def answers(path: Path) -> dict[str, str]:
    """The verdict of every table row of a lesson that begins with a statement's number."""
    cells = nbformat.read(path, as_version=4).cells
    said = [match for cell in cells if cell.cell_type == "markdown" for match in re.findall(r"^\| *(S\d{3}-\d\d) *\|.*?\| *(\S+) *\|", _closed(cell.source), re.M)]
    assert len(said) == len(dict(said)), "a statement is answered twice"
    return dict(said)


def _closed(markdown: str) -> str:
    """Without code spans, formulas and escaped bars, whose ``|`` are no borders of a table's cell."""
    return re.sub(r"`[^`\n]*`|\$[^$\n]*\$|\\\|", "…", markdown)


def test_the_ledger_is_whole_and_in_order():
    assert len(ROWS) == len({row["id"] for row in ROWS}) == 179
    assert [(row["lesson"], row["id"]) for row in ROWS] == sorted((row["lesson"], row["id"]) for row in ROWS)
    assert {row["verdict"] for row in ROWS} == set(VERDICTS)


@each_lesson
def test_every_statement_is_answered_in_its_lesson_with_its_verdict(number):
    said = answers(LESSONS[number])
    assert said == {row["id"]: VERDICTS[row["verdict"]] for row in rows_of(number)}


@each_lesson
def test_every_row_points_at_a_cell_or_a_test_that_exists(number):
    """``shown`` names, separated by spaces, ``folder/name#cell-id`` or ``tests/file.py::test``; or it says 논문."""
    missing = [f"{row['id']}: {place}" for row in rows_of(number) for place in row["shown"].split() or ["nothing"] if not exists(place)]
    assert missing == []


def exists(place: str) -> bool:
    if place == LITERATURE:
        return True
    if "::" in place:
        file, name = place.split("::")
        return (CHECKOUT / file).is_file() and f"def {name}(" in (CHECKOUT / file).read_text(encoding="utf-8")
    page, _, name = place.partition("#")
    return name in {cell.id for cell in cells(page)}


@each_lesson
def test_no_printed_verdict_contradicts_its_row(number):
    """``printed``: what each place in ``shown`` answered when the row was written, T for True and F for False in their order, - for none."""
    changed = {f"{row['id']}: {row['shown']}": (row["printed"], now) for row in rows_of(number) if row["printed"] != (now := printed(row))}
    assert changed == {}


def printed(row: dict) -> str:
    each = ["".join(word[0] for word in re.findall(r"\b(?:True|False)\b", said(place))) or "-" for place in row["shown"].split()]
    return " ".join(each) if set(each) != {"-"} else ""


def said(place: str) -> str:
    """What a cell printed; nothing for a test or the literature."""
    page, _, name = place.partition("#")
    return "".join(output.text for cell in cells(page) if cell.id == name for output in cell.get("outputs", ()) if output.output_type == "stream")


@cache
def cells(page: str) -> list:
    path = CHECKOUT / f"{page}.ipynb"
    return nbformat.read(path, as_version=4).cells if path.is_file() else []


def test_the_page_has_a_card_for_every_row_with_a_link_to_each_cell_and_test():
    page = ledger.page(CHECKOUT)
    assert re.findall(r'<article class="claim" id="([^"]+)"', page) == [row["id"] for row in ROWS]
    for row in ROWS:
        [card] = re.findall(rf'<article class="claim" id="{row["id"]}".*?</article>', page)
        places = row["shown"].split()
        assert card.count("<a href=") - card.count("https://arxiv.org") == 1 + sum(place != LITERATURE for place in places)
        assert ("레슨을 준비하고 있습니다" in card) == (not places) and ("논문으로만 확인" in card) == (places == [LITERATURE])
        assert VERDICTS[row["verdict"]] in card


def test_the_ledger_s_text_is_shown_as_it_stands():
    assert ledger.rich("a<b & **굵게** `x_1*2` x_2*3") == "a&lt;b &amp; <strong>굵게</strong> <code>x_1*2</code> x_2*3"
