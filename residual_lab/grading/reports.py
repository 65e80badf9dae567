"""Results written down: a table for the terminal, a long CSV, JSON, and JUnit XML."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from xml.etree import ElementTree

from .verdict import LABELS, PASSED, UNTOUCHED, Result

COLUMNS = ("learner", "learner_id", "exercise", "task", "title", "points", "max", "status", "reason", "hint", "file", "protection")


def by_learner(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Everything that one learner (name, id) handed in, in the order of the results."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.learner, result.learner_id), []).append(result)
    return found


def table(result: Result) -> str:
    """Task, points and reason, aligned for a terminal that shows Hangul two columns wide."""
    rows = [("과제", "점수", "결과", "이유")]
    for task in result.tasks:
        said = " ".join(filter(None, [task.hint or task.reason, task.note and f"※ {task.note}"]))
        rows.append((f"{task.task} {task.title}".strip(), f"{task.points}/{task.maximum}", LABELS[task.status], said))
    rows.append(("합계", f"{result.points}/{result.maximum}", "", ""))
    widths = [max(width(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(padded(row[column], widths[column]) for column in range(3)).rstrip() + (f"  {row[3]}" if row[3] else "") for row in rows)


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def cell(value: object) -> str:
    """A spreadsheet must not take a learner's words for a formula."""
    text = str(value)
    return f"'{text}" if text and text[0] in "=+-@\t\r" and not text.lstrip("-").replace(".", "", 1).isdigit() else text


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[cell(value) for value in row] for row in rows])
    return made.getvalue()


def grades_csv(results: Sequence[Result]) -> str:
    """One line for each learner and task; a file that could not be read has one line without a task."""
    rows = []
    for r in results:
        for t in r.tasks:
            rows.append((r.learner, r.learner_id, r.exercise, t.task, t.title, t.points, t.maximum, t.status, t.reason, t.hint, r.file, r.protection))
        if not r.tasks:
            rows.append((r.learner, r.learner_id, r.exercise, "", "", 0, 0, "unreadable", " ".join(r.notes), "", r.file, r.protection))
    return csv_text(COLUMNS, rows)


def results_json(results: Sequence[Result], problems: Sequence[str], protection: str) -> str:
    made = {"schema": "residual-lab/grades/v1", "protection": protection, "problems": list(problems), "results": [r.to_dict() for r in results]}
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def junit_xml(results: Sequence[Result]) -> str:
    root = ElementTree.Element("testsuites", name="residual-lab")
    for r in results:
        lost = [t for t in r.tasks if t.status != PASSED]
        suite = ElementTree.SubElement(root, "testsuite", name=f"{r.learner} · {r.exercise or r.file}", tests=str(max(len(r.tasks), 1)),
                                       failures=str(len(lost)), errors=str(int(not r.tasks)), skipped="0", file=r.file)
        for t in r.tasks:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{r.learner}.{r.exercise}", name=f"{t.task} {t.title}".strip(), time=f"{t.seconds:.2f}")
            if t.status != PASSED:
                ElementTree.SubElement(case, "failure", type=t.status, message=t.reason).text = t.hint
        if not r.tasks:
            case = ElementTree.SubElement(suite, "testcase", classname=r.learner, name=r.file)
            ElementTree.SubElement(case, "error", type="unreadable", message=" ".join(r.notes))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def mistakes(results: Sequence[Result], exercise: str, task: str) -> list[tuple[str, int]]:
    """What was wrong how often, the commonest first; blanks are not mistakes."""
    said: dict[str, int] = {}
    for r in results:
        for t in r.tasks:
            if r.exercise == exercise and t.task == task and t.status not in (PASSED, UNTOUCHED):
                what = t.hint or t.reason
                said[what] = said.get(what, 0) + 1
    return sorted(said.items(), key=lambda item: (-item[1], item[0]))
