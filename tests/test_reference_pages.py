"""Glossary, bibliography, execution times: their data, and the links that the site makes of them."""

from __future__ import annotations

import csv
import re

import nbformat
import pytest
from docutils import nodes
from docutils.core import publish_doctree

from residual_lab.notebooks import times
from residual_lab.notebooks.text import find_sources
from residual_lab.paths import CHECKOUT
from residual_lab.site import benchmarks, bibliography, glossary, reference, sources
from residual_lab.site import times as times_page
from residual_lab.site.theme import terms

TEXTS = {path.name: path.read_text(encoding="utf-8") for folder in ("lessons", "solutions", "pages") for path in (CHECKOUT / folder).glob("*.md")}


def test_every_term_is_whole_and_none_is_called_two_things():
    found = glossary.terms()
    assert len(found) == len({term.id for term in found}) == 63
    assert all(term.definition.endswith("니다.") and re.search("[A-Za-z]", term.english) for term in found)
    forms = [form for term in found for group in term.groups for form in group]
    assert len(forms) == len(set(forms)), "a form means two things"
    assert all(form.rpartition(": ")[0] in ("", *term.forms) for term in found for form in (*term.avoid, *term.also))
    assert all(form in term.term or term.link for term in found for form in term.linked)


def test_the_page_has_every_term_in_the_korean_order():
    page = glossary.page()
    assert {term.anchor for term in glossary.terms()} == set(re.findall(r'<dt id="([^"]+)"', page))
    letters = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert letters == [*sorted(letters[:-1]), "A–Z"]
    places = [page.index(f'id="term-{name}"') for name in ("eigenvalue", "gradient", "bottleneck", "residual", "pre-ln")]
    assert places == sorted(places)


def linked(text: str) -> str:
    """The running text after linking, a link as [word]."""
    doctree = publish_doctree(text)
    terms.link_terms(doctree, "glossary.html")
    terms.link_papers(doctree)
    for link in list(doctree.findall(nodes.reference)):
        link.parent.replace(link, nodes.Text(f"[{link.astext()}]"))
    return "\n".join(paragraph.astext() for paragraph in doctree.findall(nodes.paragraph))


def test_a_term_is_linked_where_it_first_stands_and_only_there():
    assert linked("잔차 연결은 잔차를 더합니다.\n\n잔차 연결의 잔차입니다.") == "[잔차 연결]은 [잔차]를 더합니다.\n잔차 연결의 잔차입니다."


def test_the_longest_form_wins_and_a_word_must_begin_with_it():
    assert linked("그래디언트 소실은 그래디언트 폭발과 다릅니다.") == "[그래디언트 소실]은 [그래디언트 폭발]과 다릅니다."
    assert linked("재초기화와 초기화입니다.") == "재초기화와 [초기화]입니다."


def test_code_and_links_are_left_alone():
    assert linked("``잔차`` `지름길 <https://a.b>`_ 노름") == "잔차 [지름길] [노름]"


def test_an_arxiv_number_leads_to_the_paper():
    assert linked("He 등. arXiv:1512.03385.") == "He 등. [arXiv:1512.03385]."


def test_every_entry_of_the_bibliography_can_be_read_somewhere():
    without = {key for key, entry in bibliography.entries().items() if not {"doi", "eprint"} & set(entry.fields)}
    assert without == {"radford2019language", "elhage2021mathematical", "nostalgebraist2020interpreting"}
    assert all(bibliography.entries()[key].fields["url"].startswith("https://") for key in without), "published on the web alone"
    numbers = [entry.fields["eprint"] for entry in bibliography.entries().values() if "eprint" in entry.fields]
    assert len(numbers) == len(set(numbers)) and all(re.fullmatch(r"\d{4}\.\d{5}", number) for number in numbers)


def test_the_bibliography_has_everything_that_lessons_and_exercises_cite():
    known = {entry.fields.get("eprint") for entry in bibliography.entries().values()}
    assert {(name, number) for name, text in TEXTS.items() for number in bibliography.CITED.findall(text) if number not in known} == set()


def test_the_page_names_the_lessons_that_cite_a_work():
    [line] = [line for line in bibliography.page(CHECKOUT).split("\n") if "1702.08591" in line]
    assert "D. Balduzzi, M. Frean" in line and "[03](../lessons/03_gradient_flow.ipynb)" in line and "[01]" not in line


def test_the_times_are_of_notebooks_that_exist_and_within_what_is_promised():
    rows = times.read(CHECKOUT)
    assert set(rows) <= {source.name for source in find_sources(CHECKOUT)}
    assert all(0 < float(row["cpu_seconds"]) <= 45 for name, row in rows.items() if name.startswith("lessons/"))


def test_the_times_page_says_what_was_not_measured(monkeypatch):
    monkeypatch.setattr(times, "read", lambda root: {})
    assert times_page._notebooks(CHECKOUT).count("아직 재지 않았습니다") == len(find_sources(CHECKOUT))


def test_cpu_seconds_are_measured_and_kept(tmp_path):
    (tmp_path / "lessons").mkdir()
    (tmp_path / "assets").mkdir()
    (tmp_path / "lessons/01_x.md").write_text("---\njupytext:\n  text_representation:\n    format_name: myst\n---\n\n# 제목\n\n```{code-cell} ipython3\nprint(sum(range(10**6)))\n```\n", encoding="utf-8")
    assert times.measure(tmp_path, find_sources(tmp_path)) == 0
    assert float(times.read(tmp_path)["lessons/01_x"]["cpu_seconds"]) > 0.1


def test_every_page_stands_where_the_table_of_contents_says():
    toc = (CHECKOUT / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"- file: {sources.site_path(name)[:-3]}\n" in toc for name in reference.names(CHECKOUT))


@pytest.mark.parametrize("name", [source.name for source in find_sources(CHECKOUT) if source.folder == "lessons"])
def test_a_cell_that_is_linked_to_has_its_anchor(name, tmp_path):
    (tmp_path / "lessons").mkdir()
    sources._write_page(nbformat.read(CHECKOUT / f"{name}.ipynb", as_version=4), f"{name}.ipynb", CHECKOUT, tmp_path)
    made = (tmp_path / f"{name}.ipynb").read_text(encoding="utf-8")
    wanted = {place.partition("#")[2] for place in sources.ledger.cells_shown(CHECKOUT) if place.startswith(f"{name}#")}
    assert wanted and all(f'<div id=\\"{cell}\\"' in made for cell in wanted)


def test_a_lesson_states_the_time_that_was_measured():
    measured = times.read(CHECKOUT)
    for source in find_sources(CHECKOUT):
        if source.exercise is None:
            assert abs(times_page.stated(source) - float(measured[source.name]["cpu_seconds"])) <= 5, source.name


def test_benchmarks_show_the_newest_row_beside_the_one_before(tmp_path):
    rows = [("stacked", "나", "2", "배", "2026-01-01"), ("stacked", "가", "4", "배", "2026-01-01"), ("stacked", "나", "9", "배", "2026-02-01"),
            *(("growth", f"MLP · 깊이 · {depth}", f"{depth * 1e-3}", "초", "2026-01-01") for depth in (4, 8, 16))]
    path = tmp_path / "benchmarks.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, benchmarks.COLUMNS, restval="1")
        table.writeheader()
        table.writerows({"section": section, "what": what, "median": value, "unit": unit, "date": day} for section, what, value, unit, day in rows)
    page = benchmarks.page(path)
    assert re.search(r"\| 나 \| 9배 \|.*\| 2배 \| 2026-02-01", page) and page.count("| 나 |") == 1
    assert "기하 평균은 6.00배이고 가장 작은 것은 4.00배" in page
    assert re.search(r"\| MLP \| 깊이 \| 4, 8, 16 \| 4, 8, 16 \| 1\.00 \| 1\.00 \| 1 \|", page)
    assert benchmarks.page(tmp_path / "none.csv") == ""
