"""Build the site: sources, Jupyter Book, then what only the site has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from residual_lab.lab import frontend
from residual_lab.paths import CHECKOUT
from residual_lab.site.sources import SiteError, gather

VIEWS = ("lab", "quiz", "predict")


def build(root: Path = CHECKOUT) -> Path:
    """Build the course at ``root`` into ``root/_build/html``, from nothing; the folder of the pages."""
    work = root / "_build"
    for made in ("src", "html", ".doctrees"):
        shutil.rmtree(work / made, ignore_errors=True)
    gather(root, work / "src")
    _run_jupyter_book(work / "src", root)
    html = work / "html"
    _add_front_end(root, html / "_static" / "residual-lab")
    for notebook in (root / "exercises").glob("*.ipynb"):  # what one downloads is the exercise, without solutions
        shutil.copy(notebook, html / "_sources" / "exercises" / notebook.name)
    (html / ".nojekyll").touch()  # GitHub Pages leaves out folders that begin with _ otherwise
    return html


def _run_jupyter_book(source: Path, output: Path) -> None:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source), "--path-output", str(output)]
    strict = ["-W", "--keep-going", "-n"]
    paths = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, *strict],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if done.returncode:
        raise SiteError(f"{done.stdout}\nJupyter Book이 사이트를 만들지 못했습니다. 까닭은 위에 있습니다(경고도 오류로 다룹니다).")


def _add_front_end(root: Path, target: Path) -> None:
    """The labs' modules and recordings. Modules end in .mjs: Jupyter Book would put every .js on every page."""
    (target / "recordings").mkdir(parents=True)
    for name in (*VIEWS, "site"):
        (target / f"{name}.mjs").write_text(frontend.esm(name), encoding="utf-8")
    for name in VIEWS:
        (target / f"{name}.css").write_text(frontend.css(name), encoding="utf-8")
    for recorded in (root / "assets" / "recordings").glob("*.*"):
        shutil.copy(recorded, target / "recordings")
