"""What each lesson asks of a learner, under the keys by which `progress` keeps it.

Predictions are read from the lesson's code, so that a learner may clear its outputs, the quiz from its file, tasks from the
exercise.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_PREDICTION = re.compile(r'\bpredictions\.\w+\(\s*"([^"]+)"')


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
    from residual_lab.quiz import load  # loads the widgets, for which the checks, which need only `task_key`, should not wait

    quiz = load(path.stem)
    checks = [cell["metadata"] for cell in _cells(exercise) if "check" in cell["metadata"].get("tags", [])] if exercise.exists() else []
    return Lesson(
        name=path.stem,
        title=re.search(r"^# (.+)$", _text(path, "markdown"), re.MULTILINE)[1],
        read=f"read/{path.stem}",
        predictions=tuple(f"predictions/{name}" for name in dict.fromkeys(_PREDICTION.findall(_text(path, "code")))),
        quiz=quiz["store"],
        answers={question["id"]: next(choice["text"] for choice in question["choices"] if choice["correct"]) for question in quiz["questions"]},
        tasks=tuple(task_key(metadata["task"]) for metadata in checks),
    )


def _cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _text(path: Path, kind: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == kind)
