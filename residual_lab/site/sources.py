"""The book's source folder, made from the course: lessons as they are, exercises with their solutions folded, reference pages."""

from __future__ import annotations

import copy
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from residual_lab.address import BRANCH, REPO_URL, SITE_URL
from residual_lab.site import ledger, reference

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_OUTSIDE_IMAGE = re.compile(r"!\[([^\]]*)\]\(https?://[^)\s]+\)")
_STILL = re.compile(r'(data-kind="lab" data-src="(\w+)".*?)src="data:image/png;base64,[^"]+"', re.DOTALL)
_MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", re.MULTILINE)


class SiteError(Exception):
    """The site cannot be built; the message says in Korean why."""


def gather(root: Path, target: Path) -> None:
    """Write everything that Jupyter Book reads to the empty folder ``target``."""
    if not (root / "_config.yml").exists():
        raise SiteError(f"{root}에 _config.yml이 없습니다. 사이트는 내려받은 저장소에서만 만들 수 있습니다.")
    target.mkdir(parents=True)
    config = yaml.safe_load(_read(root / "_config.yml"))
    config["repository"] = {"url": REPO_URL, "branch": BRANCH}
    config["html"]["baseurl"] = SITE_URL
    _write(target / "_config.yml", yaml.safe_dump(config, allow_unicode=True))
    _write(target / "_toc.yml", _read(root / "_toc.yml"))
    _write(target / "index.md", site_links(_read(root / "index.md"), "index.md", root))
    for page, text in reference.pages(root).items():
        (target / site_path(page)).parent.mkdir(exist_ok=True)
        _write(target / site_path(page), site_links(text, page, root))
    (target / "assets").mkdir()
    for picture in (root / "assets").glob("*.png"):
        shutil.copy(picture, target / "assets")
    for lesson in sorted((root / "lessons").glob("*.ipynb")):
        page = nbformat.read(lesson, as_version=4)
        _write_page(page, f"lessons/{lesson.name}", root, target)
    for solution in sorted((root / "solutions").glob("*.ipynb")):
        exercise = root / "exercises" / solution.name
        if not exercise.exists():
            raise SiteError(f"연습 노트북 {exercise}이(가) 없습니다. 먼저 'residual-lab notebooks'를 실행하세요.")
        page = exercise_page(nbformat.read(solution, as_version=4), nbformat.read(exercise, as_version=4))
        _write_page(page, f"exercises/{solution.name}", root, target)


def exercise_page(solution: NotebookNode, exercise: NotebookNode) -> NotebookNode:
    """What the learner gets, each stub followed by its answer, and the discussions, behind a toggle."""
    stubs = {cell.id: cell for cell in exercise.cells}
    page = copy.deepcopy(solution)
    page.cells = []
    for cell in copy.deepcopy(solution.cells):
        tags = cell.metadata.get("tags", [])
        if "answer" in tags:
            page.cells += [stubs[cell.id], _folded_answer(cell)]
        elif "solution-only" in tags and cell.cell_type == "markdown":
            cell.source = f"<details>\n<summary>풀이 해설</summary>\n\n{cell.source}\n\n</details>"
            page.cells.append(cell)
        elif "solution-only" in tags:
            page.cells.append(_fold(cell, "풀이에만 있는 셀"))
        else:
            page.cells.append(cell)
    return page


def _folded_answer(cell: NotebookNode) -> NotebookNode:
    cell.id = f"{cell.id}-solution"
    cell.source = _MARKER.sub("", cell.source)
    return _fold(cell, f"과제 {cell.metadata.task}의 풀이")


def _fold(cell: NotebookNode, what: str) -> NotebookNode:
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-cell"]
    cell.metadata["mystnb"] = {"code_prompt_show": f"{what} 펼치기", "code_prompt_hide": f"{what} 접기"}
    return cell


def site_path(path: str) -> str | None:
    """Where a file of the repository is part of the site: ``pages/`` at its root, a solution in its exercise; else None."""
    folder, _, name = path.rpartition("/")
    if folder in ("lessons", "exercises", "solutions") and name.endswith(".ipynb"):
        return f"{'exercises' if folder == 'solutions' else folder}/{name}"
    if folder == "pages" and name.endswith(".md"):
        return name
    as_it_is = path == "index.md" or (folder == "instructors" and name.endswith(".md")) or (folder == "assets" and name.endswith(".png"))
    return path if as_it_is else None


def site_links(text: str, page: str, root: Path) -> str:
    """Markdown whose relative links reach a page of the site, or else the file in the repository.

    Pictures that lie elsewhere (the badges) are replaced by their alternative text: the site loads nothing from others.
    """

    def reach(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[1]))
        if not (root / path).exists():
            raise SiteError(f"{page}의 링크가 가리키는 파일이 없습니다: {match[1]}")
        there = site_path(path)
        if there is None:
            return f"{REPO_URL}/blob/{BRANCH}/{path}"
        return posixpath.relpath(there, posixpath.dirname(site_path(page)) or ".") + (match[2] or "")

    return _LINK.sub(reach, _OUTSIDE_IMAGE.sub(r"\1", text))


def _write_page(page: NotebookNode, name: str, root: Path, target: Path) -> None:
    here = f"{name.removesuffix('.ipynb')}#"
    page.cells = list(_anchored(page.cells, {place.removeprefix(here) for place in ledger.cells_shown(root) if place.startswith(here)}))
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = site_links(cell.source, name, root)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = _linked_stills(output.data["text/html"])
    (target / name).parent.mkdir(exist_ok=True)
    nbformat.write(page, target / name)


def _anchored(cells: list[NotebookNode], wanted: set[str]) -> Iterator[NotebookNode]:
    """The cells, those that are linked to by their id behind an anchor of that name."""
    for cell in cells:
        anchor = f'<div id="{cell.id}" class="cell-anchor"></div>'
        if cell.id in wanted and cell.cell_type == "markdown":
            cell.source = f"{anchor}\n\n{cell.source}"
        elif cell.id in wanted:
            yield nbformat.v4.new_markdown_cell(anchor, id=f"{cell.id}-anchor")
        yield cell


def _linked_stills(html: str) -> str:
    """A lab's still picture as the file that lies beside its recording: inside the page it would delay everything."""
    return _STILL.sub(r'\1loading="lazy" src="../_static/residual-lab/recordings/\2.png"', html)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
