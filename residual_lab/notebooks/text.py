"""The text sources of the course (jupytext MyST) as notebooks whose every cell has a stable id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode

from residual_lab.files import write_bytes

MYST = {"extension": ".md", "format_name": "myst"}
STAMP = "residual_lab"
"""Key of the notebook's metadata that names its source and the source's hash."""

TASK = re.compile(r"#\s*과제\s+(\d+-\d+)\b")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GRADE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n:tags: \[grade\]\n.*?^```\n(?:\n|\Z)", re.MULTILINE | re.DOTALL)


class NotebookError(Exception):
    """Something is wrong with a source or a notebook; the message is Korean and names the file and the cell."""


@dataclass(frozen=True)
class Source:
    """One text source: ``lessons/01_degradation.md`` under the course folder ``root``."""

    root: Path
    folder: str
    slug: str

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.slug}"

    @property
    def path(self) -> Path:
        return self.root / self.folder / f"{self.slug}.md"

    @property
    def notebook(self) -> Path:
        return self.path.with_suffix(".ipynb")

    @property
    def exercise(self) -> Path | None:
        """The notebook derived from a solution; a lesson has none."""
        return self.root / "exercises" / f"{self.slug}.ipynb" if self.folder == "solutions" else None

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """Its heading: "01 · 깊이와 성능 저하"."""
        return re.search(r"^# (.+)$", self.text(), re.MULTILINE)[1]

    def stamp(self) -> dict[str, str]:
        """Of all that can change the notebooks: grade cells run only when a submission is graded."""
        digest = hashlib.sha256(_GRADE_CELL.sub("", self.text()).encode()).hexdigest()
        return {"source": f"{self.name}.md", "sha256": digest}


def find_sources(root: Path, names: Iterable[str] = ()) -> list[Source]:
    """Sources of the course, all of them or those that ``names`` mean: ``01``, ``lessons``, ``lessons/01_degradation``."""
    every = [
        Source(root, folder, path.stem)
        for folder in ("lessons", "solutions")
        for path in sorted((root / folder).glob("[0-9][0-9]_*.md"))
    ]
    if not every:
        raise NotebookError(f"{root}에 강의 원본(lessons/NN_이름.md)이 없습니다. 저장소 안에서 실행하세요.")
    wanted: set[Source] = set()
    for name in names:
        meant = {source for source in every if _means(name, source)}
        if not meant:
            known = ", ".join(source.name for source in every)
            raise NotebookError(f"'{name}'에 해당하는 원본이 없습니다. 있는 것: {known}")
        wanted |= meant
    return [source for source in every if source in wanted] if wanted else every


def _means(name: str, source: Source) -> bool:
    name = name.replace("\\", "/").removeprefix("./").strip("/")  # as a shell completes it, on Windows too
    plain = re.sub(r"^exercises\b", "solutions", re.sub(r"\.(md|ipynb)$", "", name))
    return plain == source.folder or any(
        full == plain or full.startswith(f"{plain}_") for full in (source.slug, source.name)
    )


def read_source(source: Source) -> NotebookNode:
    """The notebook a source describes, not executed: ids given, metadata normalised, hash of the source stored."""
    try:
        notebook = jupytext.reads(source.text(), fmt=MYST)
    except MystMetadataParsingError as error:
        raise NotebookError(f"{source.name}.md: 셀의 메타데이터를 읽지 못했습니다. {error}") from error
    for cell in notebook.cells:
        if "task" in cell.metadata:
            cell.metadata.task = str(cell.metadata.task)
        elif "answer" in tags(cell) and (marker := TASK.match(cell.source)):
            cell.metadata.task = marker[1]
    _give_ids(notebook, source)
    _normalise(notebook, source)
    return notebook


def _give_ids(notebook: NotebookNode, source: Source) -> None:
    """An id from the source wins; else a task's answer, check and grade cell are named by the task, other cells by their content."""
    taken: dict[str, NotebookNode] = {}
    unnamed: list[NotebookNode] = []
    for cell in notebook.cells:
        if "id" not in cell.metadata:
            unnamed.append(cell)
            continue
        name = str(cell.metadata.pop("id"))
        if not _ID.fullmatch(name):
            raise NotebookError(f"{source.name}.md: 셀 id '{name}'에 쓸 수 없는 글자가 있습니다(영문, 숫자, -, _ 64자까지).")
        if name in taken:
            raise NotebookError(f"{source.name}.md: 셀 id '{name}'가 두 번 나옵니다: {label(taken[name])}, {label(cell)}")
        cell.id = name
        taken[name] = cell
    for cell in unnamed:
        role = next((tag for tag in ("answer", "check", "grade") if tag in tags(cell) and "task" in cell.metadata), None)
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        plain = name = f"{role}-{cell.metadata.task}" if role else digest
        copies = 1
        while name in taken:
            copies += 1
            name = f"{plain}-{copies}"
        cell.id = name
        taken[name] = cell


def _normalise(notebook: NotebookNode, source: Source) -> None:
    """Metadata that every front end accepts and that says nothing about the machine it ran on."""
    notebook.metadata.pop("jupytext", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "pygments_lexer": "ipython3",
    }
    notebook.metadata[STAMP] = source.stamp()


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def label(cell: NotebookNode) -> str:
    """How messages name a cell: its first line, and its id where it has one."""
    first = cell.source.strip().split("\n")[0]
    return f"[{cell.get('id', 'id 없음')}] {first[:60]}"


def dumps(notebook: NotebookNode) -> str:
    """The one way a notebook of the course is spelled in a file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def write(notebook: NotebookNode, path: Path) -> bool:
    """Put the notebook at ``path`` in one step; False when the file already says the same."""
    content = dumps(notebook).encode()
    if path.exists() and path.read_bytes() == content:
        return False
    write_bytes(path, content)
    return True
