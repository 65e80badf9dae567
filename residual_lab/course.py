"""What each lesson asks of a learner, under the keys by which `progress` keeps it (standard library only).

Everything is read from the notebooks themselves: predictions and quizzes from the stored outputs, tasks from the exercise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

_MOUNT = re.compile(r'data-kind="(predict|quiz)" data-src="[^"]+" data-spec="([^"]*)"')


@dataclass(frozen=True)
class Lesson:
    """The keys of one lesson; ``answers`` has the right choice of every question of the quiz."""

    name: str
    title: str
    read: str
    predictions: tuple[str, ...]
    quiz: str
    answers: dict[str, str]
    tasks: tuple[str, ...]

    def done(self, records: dict[str, list[dict]]) -> dict[str, int]:
        """How much of it a learner's records have: ``read`` (0 or 1), ``predictions``, ``answers`` and ``tasks``."""
        said = [entry["value"] for entry in records.get(self.quiz, []) if isinstance(entry["value"], dict)]
        chosen = {(value.get("question"), value.get("choice")) for value in said}
        return {
            "read": int(bool(records.get(self.read))),
            "predictions": sum(bool(records.get(key)) for key in self.predictions),
            "answers": sum(pair in chosen for pair in self.answers.items()),
            "tasks": sum(bool(records.get(key)) for key in self.tasks),
        }


def task_key(task: str) -> str:
    return f"tasks/{task}"


def lessons(root: Path) -> list[Lesson]:
    """The lessons of the checkout, in their order."""
    return [_lesson(path, root / "exercises" / path.name) for path in sorted((root / "lessons").glob("*.ipynb"))]


def _lesson(path: Path, exercise: Path) -> Lesson:
    specs = [(kind, json.loads(unescape(spec))) for html in _html(path) for kind, spec in _MOUNT.findall(html)]
    [quiz] = [spec for kind, spec in specs if kind == "quiz"]
    checks = [cell["metadata"] for cell in _cells(exercise) if "check" in cell["metadata"].get("tags", [])] if exercise.exists() else []
    return Lesson(
        name=path.stem,
        title=_title(path),
        read=f"read/{path.stem}",
        predictions=tuple(dict.fromkeys(spec["store"] for kind, spec in specs if kind == "predict")),
        quiz=quiz["store"],
        answers={question["id"]: next(choice["text"] for choice in question["choices"] if choice["correct"]) for question in quiz["questions"]},
        tasks=tuple(task_key(metadata["task"]) for metadata in checks),
    )


def _cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _html(path: Path) -> Iterator[str]:
    for cell in _cells(path):
        for output in cell.get("outputs", []):
            yield "".join(output.get("data", {}).get("text/html", ""))


def _title(path: Path) -> str:
    text = "\n".join("".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == "markdown")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]
