"""A solution's tasks: what the learner writes, what checks it, what must be rejected, and the exercise that follows."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from nbformat import NotebookNode

from .text import TASK, NotebookError, Source, label, read_source, tags

ROLES = ("answer", "check", "grade", "wrong", "solution-only")
HIDDEN = {"wrong", "grade"}
"""Roles of cells that no notebook shows: the tests and the grader read them from the source."""

DEFAULT_STUB = 'raise NotImplementedError("여기를 채우세요")'

_BEGIN = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*$")
_END = re.compile(r"^[ \t]*### END SOLUTION[ \t]*$")


@dataclass
class Task:
    """One graded task of a solution, as the cells of its source."""

    name: str
    answer: NotebookNode
    check: NotebookNode
    wrong: list[NotebookNode]
    grade: NotebookNode | None = None
    """Prints the values that grading compares; a test says where it is missing."""


def read_tasks(source: Source) -> list[Task]:
    """Tasks of a solution in order; a mistake in the markers is an error that names the file and the cell."""
    found: dict[str, Task] = {}
    for cell in read_source(source).cells:
        role = _role(cell, source)
        if role in (None, "solution-only"):
            continue
        if cell.cell_type != "code":
            raise _error(source, cell, f"'{role}' 태그는 코드 셀에만 씁니다.")
        name = cell.metadata.get("task")
        if role == "answer":
            _check_answer(source, cell)
            if name in found:
                raise _error(source, cell, f"과제 {name}의 답 셀이 두 번 나옵니다.")
            found[name] = Task(name, cell, None, [])
            continue
        if name not in found:
            raise _error(source, cell, f"'{role}' 셀의 과제 번호(task) {name}에 해당하는 답 셀이 앞에 없습니다.")
        if role == "check":
            if found[name].check is not None:
                raise _error(source, cell, f"과제 {name}의 검사 셀이 두 번 나옵니다.")
            points = cell.metadata.get("points")
            if not isinstance(points, int) or points < 1:
                raise _error(source, cell, "검사 셀에 배점(points, 1 이상의 정수)이 없습니다.")
            found[name].check = cell
        elif role == "grade":
            if found[name].grade is not None:
                raise _error(source, cell, f"과제 {name}의 채점 셀이 두 번 나옵니다.")
            found[name].grade = cell
        else:
            if not str(cell.metadata.get("says", "")).strip():
                raise _error(source, cell, "오답 셀에 기대하는 오류 문구(says)가 없습니다.")
            found[name].wrong.append(cell)
    for task in found.values():
        if task.check is None:
            raise _error(source, task.answer, f"과제 {task.name}의 검사 셀(check)이 없습니다.")
        if not task.wrong:
            raise _error(source, task.answer, f"과제 {task.name}에 오답 셀(wrong)이 하나도 없습니다.")
    if not found:
        raise NotebookError(f"{source.name}.md: 과제가 하나도 없습니다.")
    return list(found.values())


def _role(cell: NotebookNode, source: Source) -> str | None:
    roles = [role for role in ROLES if role in tags(cell)]
    if len(roles) > 1:
        raise _error(source, cell, f"태그 {', '.join(roles)}를 한 셀에 같이 쓸 수 없습니다.")
    if not roles and any(_BEGIN.match(line) or _END.match(line) for line in cell.source.split("\n")):
        raise _error(source, cell, "풀이 표시(### BEGIN/END SOLUTION)가 있지만 answer 태그가 없습니다.")
    return roles[0] if roles else None


def _check_answer(source: Source, cell: NotebookNode) -> None:
    if not TASK.match(cell.source):
        raise _error(source, cell, "답 셀의 첫 줄이 '# 과제 1-1' 꼴이 아닙니다.")
    try:
        regions = stub_out(cell.source, "")[1]
    except ValueError as error:
        raise _error(source, cell, str(error)) from error
    if not regions:
        raise _error(source, cell, "답 셀에 ### BEGIN SOLUTION / ### END SOLUTION이 없습니다.")


def _error(source: Source, cell: NotebookNode, what: str) -> NotebookError:
    return NotebookError(f"{source.name}.md, 셀 {label(cell)}: {what}")


def stub_out(code: str, stub: str) -> tuple[str, int]:
    """The code with every marked region replaced by the stub at the marker's indentation, and how many there were."""
    lines: list[str] = []
    regions, inside, content = 0, False, False
    for line in code.split("\n"):
        if begin := _BEGIN.match(line):
            if inside:
                raise ValueError("### BEGIN SOLUTION이 끝나기 전에 또 나옵니다.")
            inside, content, regions = True, False, regions + 1
            lines += [f"{begin[1]}{row}" if row.strip() else "" for row in stub.rstrip("\n").split("\n")]
        elif _END.match(line):
            if not inside:
                raise ValueError("### END SOLUTION 앞에 ### BEGIN SOLUTION이 없습니다.")
            if not content:
                raise ValueError("### BEGIN SOLUTION과 ### END SOLUTION 사이가 비어 있습니다.")
            inside = False
        elif inside:
            content = content or bool(line.strip())
        else:
            lines.append(line)
    if inside:
        raise ValueError("### BEGIN SOLUTION에 짝이 되는 ### END SOLUTION이 없습니다.")
    return "\n".join(lines), regions


def without_wrong(notebook: NotebookNode) -> NotebookNode:
    """The notebook as learners may see it: without wrong answers (for the tests) and grade cells (for the grader)."""
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if not HIDDEN & set(tags(cell))]
    return shown


def derive(solution: NotebookNode) -> NotebookNode:
    """The exercise of an executed solution: stubs for answers, checks locked and keeping their outputs."""
    exercise = copy.deepcopy(solution)
    exercise.cells = [cell for cell in exercise.cells if "solution-only" not in tags(cell)]
    for cell in exercise.cells:
        if "answer" in tags(cell):
            cell.source, _ = stub_out(cell.source, cell.metadata.pop("stub", DEFAULT_STUB))
            cell.outputs, cell.execution_count = [], None
        elif "check" in tags(cell):
            cell.metadata.update(editable=False, deletable=False)
    return exercise


def wrong_answers(source: Source) -> list[tuple[str, str, str]]:
    """(task, code, a fragment of what its check must say) for every wrong answer of a solution."""
    return [(task.name, cell.source, str(cell.metadata.says)) for task in read_tasks(source) for cell in task.wrong]


def with_answer(source: Source, task: str, code: str) -> NotebookNode:
    """The solution, ready to run, with one task answered by ``code``."""
    notebook = without_wrong(read_source(source))
    for cell in notebook.cells:
        if "answer" in tags(cell) and cell.metadata.task == task:
            cell.source = code
            return notebook
    raise NotebookError(f"{source.name}.md에 과제 {task}이(가) 없습니다.")
