"""Grades in the forms that course platforms import."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from .reports import by_learner, cell, csv_text
from .roster import BadRoster, Learner, normal
from .verdict import LABELS, PASSED, Result


def read_canvas(exported: Path) -> list[list[str]]:
    """Rows of the grade sheet that Canvas exported, its headings first."""
    try:
        rows = list(csv.reader(io.StringIO(exported.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadRoster(f"Canvas에서 내보낸 표 {exported}을(를) 읽을 수 없습니다. Canvas에서 성적표를 다시 내보내 그 CSV를 그대로 주십시오.") from error
    if not rows or "Student" not in rows[0] or "ID" not in rows[0]:
        raise BadRoster(f"{exported}이(가) Canvas에서 내보낸 성적표가 아닙니다(첫 줄에 Student와 ID가 있어야 합니다).")
    return rows


def canvas(rows: list[list[str]], results: Sequence[Result], roster: Sequence[Learner]) -> tuple[str, list[str]]:
    """The sheet that Canvas exported, with our columns filled; and in Korean what found no place in it.

    A column is an exercise's if its heading has the slug or the number (``03_gradient_flow (1234)``, ``연습 03``). No
    column is added (Canvas would make a new assignment of it), and rows are neither added nor moved.
    """
    heads, problems = rows[0], []
    keys = [heads.index(name) for name in ("SIS User ID", "SIS Login ID", "ID", "Student") if name in heads]
    columns = {slug: _column(heads, slug) for slug in dict.fromkeys(r.exercise for r in results if r.exercise)}
    problems += [f"Canvas 표에 {slug}의 열이 없습니다. 과제를 먼저 만들고 다시 내보내십시오." for slug, column in columns.items() if column is None]
    for (learner, learner_id), own in _by_person(results).items():
        known = _listed(roster, learner, learner_id)
        names = {normal(key) for key in (*known.keys(), known.name) if key}
        places = [row for row in rows[1:] if any(place < len(row) and normal(row[place]) in names for place in keys)]
        if len(places) != 1:
            problems.append(f"Canvas 표에서 '{learner}'을(를) 찾지 못했습니다." if not places else f"Canvas 표에 '{learner}'이(가) 둘 이상입니다.")
            continue
        for slug, best in _best(own).items():
            if (column := columns.get(slug)) is not None:
                places[0].extend([""] * (column + 1 - len(places[0])))
                places[0][column] = str(best.points)
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows([[cell(value) for value in row] for row in rows])
    return made.getvalue(), problems


def _column(heads: Sequence[str], slug: str) -> int | None:
    number = slug[:2]
    exact = [place for place, head in enumerate(heads) if slug in head]
    return next(iter(exact + [place for place, head in enumerate(heads) if re.search(rf"(연습|exercise)\s*0*{int(number)}\b", head, re.IGNORECASE)]), None)


def _listed(roster: Sequence[Learner], learner: str, learner_id: str) -> Learner:
    """The roster's entry of a result's learner, or what the result itself knows."""
    return next((one for one in roster if (one.id, one.label) == (learner_id, learner)), Learner(learner, learner_id))


def _by_person(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """As `by_learner`, but all of one id together: a batch tells several submissions of one learner apart (``김하나 (2)``), a sheet has one row."""
    found: dict[tuple[str, str], list[Result]] = {}
    first: dict[str, tuple[str, str]] = {}
    for who, own in by_learner(results).items():
        found.setdefault(first.setdefault(who[1], who) if who[1] else who, []).extend(own)
    return found


def _best(own: Sequence[Result]) -> dict[str, Result]:
    """A learner's best submission of every exercise; of equal ones the first."""
    best: dict[str, Result] = {}
    for r in own:
        if r.exercise and (r.exercise not in best or r.points > best[r.exercise].points):
            best[r.exercise] = r
    return best


def moodle(results: Sequence[Result], roster: Sequence[Learner]) -> str:
    """A sheet to map at upload: identifiers, then for every exercise its points and feedback (Moodle wants both together)."""
    slugs = list(dict.fromkeys(r.exercise for r in results if r.exercise))
    columns = ["ID number", "Email address", "Full name"] + [name for slug in slugs for name in (slug, f"{slug} feedback")]
    rows = []
    for (learner, learner_id), own in _by_person(results).items():
        known = _listed(roster, learner, learner_id)
        best, row = _best(own), [known.id, known.email, known.name]
        for slug in slugs:
            said = "; ".join(f"{t.task} {LABELS[t.status]}" for t in best[slug].tasks) if slug in best else ""
            row += [best[slug].points if slug in best else "", said]
        rows.append(row)
    return csv_text(columns, rows)


def gradescope(result: Result) -> str:
    """``/autograder/results/results.json`` of one submission."""
    tests = [{"name": f"{t.task} {t.title}".strip(), "number": t.task, "score": t.points, "max_score": t.maximum,
              "status": "passed" if t.status == PASSED else "failed", "output": "\n".join(filter(None, [LABELS[t.status], t.reason, t.hint])),
              "visibility": "visible"} for t in result.tasks]
    return json.dumps({"score": result.points, "output": "\n".join(result.notes), "tests": tests}, ensure_ascii=False, indent=1) + "\n"


def classroom50(result: Result, environment: dict[str, str] | None = None) -> str:
    """``result.json`` of Classroom 50 (``classroom50/result/v1``); who and what comes from the workflow's environment."""
    given = os.environ if environment is None else environment
    repository = given.get("GITHUB_REPOSITORY", "")
    made = {
        "schema": "classroom50/result/v1", "classroom": given.get("CLASSROOM50_CLASSROOM", ""),
        "assignment": given.get("CLASSROOM50_ASSIGNMENT", result.exercise), "submission": given.get("CLASSROOM50_SUBMISSION", repository),
        "commit": given.get("GITHUB_SHA", ""), "release": given.get("CLASSROOM50_RELEASE", ""), "review": given.get("CLASSROOM50_REVIEW", ""),
        "datetime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "score": result.points, "max-score": result.maximum,
        "tests": [{"test-name": f"{t.task} {t.title}".strip(), "passed": t.status == PASSED, "score": t.points, "max-score": t.maximum} for t in result.tasks],
    }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"
