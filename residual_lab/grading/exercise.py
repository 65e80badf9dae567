"""What is graded: an exercise's tasks, taken from the source of its solution."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from residual_lab.notebooks.exercise import DEFAULT_STUB, ROLES, read_tasks, stub_out
from residual_lab.notebooks.text import NotebookError, Source, read_source, tags

PRELUDE = Path(__file__).with_name("prelude.py")
_IMPORTED = re.compile(r"^(?:from|import)\s+([\w.]+)", re.MULTILINE)
_HEADING = re.compile(r"^##\s*과제\s+(\d+-\d+)\s*·\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class GradedTask:
    name: str
    title: str
    points: int
    cell_id: str
    """Id of the answer cell in the exercise that learners get."""
    solution: str
    stub: str
    grade: str
    """Code that shows the values to compare."""
    check: str
    """The learner's own check; what it says of a wrong answer is a hint, never a verdict."""


@dataclass(frozen=True)
class Exercise:
    slug: str
    title: str
    setup: tuple[str, ...]
    """Cells that are nobody's answer: imports and what is given."""
    tasks: tuple[GradedTask, ...]
    source: Source

    @property
    def points(self) -> int:
        return sum(task.points for task in self.tasks)

    @property
    def modules(self) -> set[str]:
        """Names that the exercise's own cells import."""
        cells = [*self.setup, *(source for task in self.tasks for source in (task.check, task.grade))]
        return {name for source in cells for name in _IMPORTED.findall(source)}

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the exercise's own source; what the package does with it is in `cluster.fingerprint`."""
        return hashlib.sha256(self.source.path.read_bytes()).hexdigest()


def find_exercises(root: Path) -> dict[str, Exercise]:
    """Every exercise of the course under ``root``, by its slug."""
    paths = sorted((root / "solutions").glob("[0-9][0-9]_*.md"))
    if not paths:
        raise NotebookError(f"{root}에 풀이(solutions/NN_이름.md)가 없습니다. 채점은 과정의 저장소에서 합니다.")
    return {path.stem: read_exercise(Source(root, "solutions", path.stem)) for path in paths}


def read_exercise(source: Source) -> Exercise:
    """An exercise of which every task can be graded; `NotebookError` names a task that cannot."""
    notebook = read_source(source)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    titles = dict(_HEADING.findall(text))
    tasks = []
    for task in read_tasks(source):
        if task.grade is None:
            raise NotebookError(f"{source.name}.md: 과제 {task.name}에 채점 셀(tags: [grade], task: {task.name})이 없습니다. "
                                "CONTRIBUTING.md의 「채점 셀」을 보십시오.")
        stub, _ = stub_out(task.answer.source, task.answer.metadata.get("stub", DEFAULT_STUB))
        tasks.append(GradedTask(task.name, titles.get(task.name, ""), task.check.metadata.points, task.answer.id,
                                task.answer.source, stub, task.grade.source, task.check.source))
    setup = [cell.source for cell in notebook.cells if cell.cell_type == "code" and not set(ROLES) & set(tags(cell))]
    heading = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    return Exercise(source.slug, heading[1].strip() if heading else source.slug, tuple(setup), tuple(tasks), source)
