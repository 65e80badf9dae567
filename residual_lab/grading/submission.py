"""A learner's file, opened read-only: the source of the answer cells, and nothing else of it.

Tags, ids, outputs, metadata and every other cell are the learner's to change and are not believed. A cell is found by
its id, by its tag and task, or by its first line (``# 과제 3-1``): Colab gives cells new ids.
"""

from __future__ import annotations

import ast
import json
import re
import stat
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from residual_lab.notebooks.text import TASK
from residual_lab.paths import PACKAGE

from .exercise import Exercise, GradedTask

MAX_BYTES = 100_000_000
LARGE_BYTES = 20_000_000
MAX_ANSWER = 100_000
"""Characters of one answer: the longest that we know has 3,000."""


class Unreadable(Exception):
    """Korean: why nothing can be graded in this file."""


@dataclass
class Submission:
    """The answers of one file; a task that is missing from ``answers`` was not found or not changed."""

    answers: dict[str, str] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    importing: set[str] = field(default_factory=set)
    """Tasks whose answer imports the course's package."""
    notes: list[str] = field(default_factory=list)
    """Korean: what an instructor should know of the file."""


def read_cells(path: Path) -> tuple[list[dict], str | None, list[str]]:
    """Code cells of a notebook of any format since 3, the source that its metadata names, and notes.

    Raises:
        Unreadable: not a notebook, or too large.
    """
    notes = []
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):  # to the solution, perhaps, or to another learner's file
            raise Unreadable("다른 파일을 가리키는 링크라서 열지 않았습니다. 링크가 아니라 노트북 파일을 내야 합니다.")
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("보통 파일이 아닙니다.")
        size = about.st_size
        if size > MAX_BYTES:
            raise Unreadable(f"파일이 {size / 1e6:.0f} MB로 너무 큽니다({MAX_BYTES / 1e6:.0f} MB까지). 출력을 지우고 다시 내야 합니다.")
        if size > LARGE_BYTES:
            notes.append(f"파일이 큽니다({size / 1e6:.0f} MB). 저장된 출력은 채점에 쓰지 않습니다.")
        raw = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"파일을 읽을 수 없습니다({error.strerror}).") from error
    try:
        notebook = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unreadable("UTF-8로 적힌 노트북이 아닙니다.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        cut = raw.lstrip().startswith(b"{") and not raw.rstrip().endswith(b"}")
        raise Unreadable("노트북이 중간에서 잘렸습니다(다 올라가지 않은 파일입니다)." if cut else "노트북(JSON)이 아닙니다.") from error
    if not isinstance(notebook, dict) or not ("cells" in notebook or "worksheets" in notebook):
        raise Unreadable("JSON이지만 주피터 노트북이 아닙니다.")
    cells, version = _cells(notebook), notebook.get("nbformat")
    if version != 4:
        notes.append(f"오래된 노트북 형식(nbformat {str(version)[:20]})입니다. 셀의 첫 줄(# 과제 …)로 답을 찾았습니다.")
    metadata = notebook.get("metadata")
    stamp = metadata.get("residual_lab") if isinstance(metadata, dict) else None
    named = stamp.get("source") if isinstance(stamp, dict) else None
    return cells, named if isinstance(named, str) else None, notes


def _cells(notebook: dict) -> list[dict]:
    found = notebook.get("cells")
    if not isinstance(found, list):
        sheets = notebook.get("worksheets")
        sheets = [sheet for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else []
        found = [cell for sheet in sheets if isinstance(sheet.get("cells"), list) for cell in sheet["cells"]]
    return [cell for cell in found if isinstance(cell, dict) and cell.get("cell_type") == "code"]


def source_of(cell: dict) -> str:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str):
        return ""
    return source.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\x00", "")


def which_exercise(cells: list[dict], named: str | None, path: Path, exercises: dict[str, Exercise], only: str | None = None) -> tuple[Exercise, list[str]]:
    """The exercise to grade a file as (``only``, or what it answers), and notes on whatever in it is another's.

    What it answers is told by the tasks of its cells, by its metadata, by its name.
    """
    owner = {task.name: slug for slug, exercise in exercises.items() for task in exercise.tasks}
    votes = Counter(owner[task] for cell in cells if (task := _marker(cell)) in owner)
    said = {"답 셀": votes.most_common(1)[0][0] if votes else None,
            "노트북의 정보": next((slug for slug in exercises if named == f"solutions/{slug}.md"), None),
            "파일 이름": next((slug for slug in exercises if slug in path.name), None)}
    chosen = only or next(filter(None, said.values()), None) or next((slug for slug in exercises if slug in path.as_posix()), None)
    if chosen is None:
        raise Unreadable("어느 연습의 노트북인지 알 수 없습니다. '# 과제 1-1'처럼 시작하는 답 셀이 하나도 없습니다.")
    others = [f"{what}: {slug}" for what, slug in said.items() if slug not in (None, chosen)]
    note = f"다른 연습의 것으로 보이는 데가 있습니다({', '.join(others)}). {chosen}(으)로 채점했습니다. 맞는 파일을 냈는지 확인하십시오."
    return exercises[chosen], [note] if others else []


def _marker(cell: dict) -> str | None:
    """The task that a cell's first line names; only blank lines, comments and cell magics (``%%time``) may come before it."""
    for line in map(str.strip, source_of(cell)[:MAX_ANSWER].split("\n")):
        if match := TASK.match(line):
            return match[1]
        if line and not line.startswith(("#", "%%")):
            return None
    return None


def take_answers(cells: list[dict], exercise: Exercise, notes: list[str]) -> Submission:
    taken = Submission(notes=list(notes))
    for task in exercise.tasks:
        found = _candidates(cells, task)
        changed = [source for source in found if _plain(source) != _plain(task.stub) and source.strip()]
        if not found:
            taken.notes.append(f"과제 {task.name}의 답 셀이 없습니다(지웠거나 첫 줄 '# 과제 {task.name}'을(를) 바꾸었습니다).")
        elif not changed:
            taken.untouched.add(task.name)
        elif len(changed[0]) > MAX_ANSWER:
            taken.notes.append(f"과제 {task.name}의 답이 {len(changed[0]):,}자로 너무 깁니다({MAX_ANSWER:,}자까지).")
        else:
            taken.answers[task.name] = changed[0]
            if imports_course(changed[0]):
                taken.importing.add(task.name)
            if len({_plain(source) for source in changed}) > 1:
                taken.notes.append(f"과제 {task.name}의 답 셀이 {len(changed)}개라서 맨 앞의 것을 채점했습니다.")
    return taken


def _candidates(cells: list[dict], task: GradedTask) -> list[str]:
    """Sources of the cells that can be a task's answer, the surest first."""
    def tagged(cell: dict) -> bool:
        metadata = cell.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        tags = metadata.get("tags")
        return isinstance(tags, list) and "answer" in tags and str(metadata.get("task")) == task.name

    ways = (lambda cell: cell.get("id") == task.cell_id, tagged, lambda cell: _marker(cell) == task.name)
    found = dict.fromkeys(number for way in ways for number, cell in enumerate(cells) if way(cell))
    # An id survives when a learner overwrites one task's cell with another's text: the first line is the better witness then.
    return [source_of(cells[number]) for number in found if _marker(cells[number]) in (None, task.name)]


def _plain(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().split("\n"))


def imports_course(source: str) -> bool:
    """Whether an answer imports the course's package, as far as can be seen. What is no Python (it has magics) does if it names it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return PACKAGE.name in source
    return any(name.partition(".")[0] == PACKAGE.name for node in nodes for name in _imported(node))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
        return [given.value for given in (*node.args, *(more.value for more in node.keywords))
                if isinstance(given, ast.Constant) and isinstance(given.value, str)]
    return []


_FUNCTION = re.compile(r"(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")
_IMPORT = re.compile(r"(?:from[ \t]+\S+[ \t]+)?import[ \t]+(.+)")
_TARGETS = re.compile(r"([\w \t,()*]+)(?::.*)?")


def _defines(source: str) -> set[str]:
    """Names that a cell may define. By lines: a learner's text must not make it slow, and magics are no Python."""
    names: set[str] = set()
    for line in source.split("\n"):
        head, equals, rest = line.partition("=")
        if match := _FUNCTION.match(line) or _IMPORT.match(line):
            names.update(re.findall(r"\w+", match[1]))
        elif equals and not rest.startswith("=") and (match := _TARGETS.fullmatch(head)):
            names.update(re.findall(r"\w+", match[1]))
    return names


def needed(task: str, answers: dict[str, str]) -> list[str]:
    """Tasks whose answers this one uses by name, in order and with it last: no more is run in its kernel."""
    defined = {name: _defines(source) for name, source in answers.items()}
    wanted, todo = {task}, [task]
    while todo:
        used = set(re.findall(r"\w+", answers.get(todo.pop(), "")))
        more = [other for other in answers if other not in wanted and defined[other] & used]
        wanted.update(more)
        todo += more
    return [name for name in answers if name in wanted and name != task] + [task]
