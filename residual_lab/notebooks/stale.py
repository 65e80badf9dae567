"""What is out of date: stored notebooks against what their sources say, without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .exercise import derive, read_tasks, without_wrong
from .text import STAMP, NotebookError, Source, dumps, find_sources, label, read_source


def problems(root: Path, names: Iterable[str] = ()) -> list[str]:
    """Korean sentences, one for each thing that is stale; empty when the course is in order."""
    names = list(names)
    sources = find_sources(root, names)
    found = [line for source in sources for line in _source_problems(source)]
    if not names:
        found += _orphans(root, sources)
    return found


def _source_problems(source: Source) -> list[str]:
    try:
        expected = without_wrong(read_source(source))
        if source.exercise:
            read_tasks(source)
    except NotebookError as error:
        return [str(error)]
    stored, found = _load(source.notebook, source.root)
    if stored is not None:
        found = _notebook_problems(source, stored, expected)
    if source.exercise and not found:
        exercise, found = _load(source.exercise, source.root)
        if exercise is not None:
            found = _exercise_problems(source, exercise, derive(stored))
    return found


def _load(path: Path, root: Path) -> tuple[NotebookNode | None, list[str]]:
    """The stored notebook, or what keeps it from being compared."""
    name = path.relative_to(root).as_posix()
    if not path.exists():
        return None, [f"{name}: 없습니다."]
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return None, [f"{name}: 노트북(JSON)으로 읽을 수 없습니다. {error}"]
    if not isinstance(raw, dict) or "nbformat" not in raw:
        return None, [f"{name}: 노트북이 아닙니다."]
    missing = [number for number, cell in enumerate(raw.get("cells", []), 1) if not cell.get("id")]
    if missing:
        return None, [f"{name}: {number}번째 셀에 id가 없습니다." for number in missing]
    return nbformat.reads(json.dumps(raw), as_version=4), []


def _notebook_problems(source: Source, stored: NotebookNode, expected: NotebookNode) -> list[str]:
    name = f"{source.name}.ipynb"
    if stored.metadata.get(STAMP) != source.stamp():
        return [f"{name}: 원본 {source.name}.md가 바뀐 뒤에 다시 만들지 않았습니다."]
    changed = _differing(stored, expected, lambda cell: (cell.cell_type, cell.source, cell.metadata))
    found = [f"{name}: 원본에 없는 변경이 있습니다(노트북을 직접 고쳤습니다): {cell}" for cell in changed]
    if not found and stored.metadata != expected.metadata:
        found.append(f"{name}: 노트북의 메타데이터가 원본에서 만든 것과 다릅니다.")
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    if not found and counts != list(range(1, len(counts) + 1)):
        found.append(f"{name}: 실행하지 않았거나 순서대로 실행하지 않은 셀이 있습니다.")
    return found


def _exercise_problems(source: Source, stored: NotebookNode, expected: NotebookNode) -> list[str]:
    name = source.exercise.relative_to(source.root).as_posix()
    found = [f"{name}: {source.name}에서 만든 것과 다릅니다: {cell}" for cell in _differing(stored, expected, dict)]
    if not found and source.exercise.read_text(encoding="utf-8") != dumps(expected):
        found.append(f"{name}: {source.name}에서 만든 것과 메타데이터나 적은 꼴이 다릅니다.")
    return found


def _differing(stored: NotebookNode, expected: NotebookNode, what) -> list[str]:
    """Cells (as messages name them) that only one side has, or that the two sides tell differently."""
    here = {cell.id: cell for cell in stored.cells}
    there = {cell.id: cell for cell in expected.cells}
    both = [key for key in there if key in here]
    changed = [label(there[key]) for key in both if what(here[key]) != what(there[key])]
    changed += [f"{label(there[key])} (빠짐)" for key in there if key not in here]
    changed += [f"{label(here[key])} (더 있음)" for key in here if key not in there]
    if not changed and list(here) != list(there):
        changed.append("셀의 순서")
    return changed


def _orphans(root: Path, sources: list[Source]) -> list[str]:
    """Notebooks that no source makes."""
    made = {path for source in sources for path in (source.notebook, source.exercise) if path}
    stored = [path for folder in ("lessons", "solutions", "exercises") for path in sorted((root / folder).glob("*.ipynb"))]
    return [f"{path.relative_to(root).as_posix()}: 이 노트북을 만드는 원본이 없습니다." for path in stored if path not in made]
