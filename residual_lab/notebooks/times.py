"""``residual-lab notebooks --times``: what each notebook costs, in CPU seconds, kept in ``assets/execution_times.csv``.

CPU time of the kernel, not time on the clock: on a busy machine it hardly changes.
"""

from __future__ import annotations

import csv
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from .execute import run_cells
from .exercise import without_wrong
from .text import NotebookError, Source, read_source

COLUMNS = ("notebook", "cpu_seconds", "python", "torch", "machine")


def file_of(root: Path) -> Path:
    return root / "assets" / "execution_times.csv"


def read(root: Path) -> dict[str, dict[str, str]]:
    """The rows by the notebook's name (``lessons/01_degradation``)."""
    path = file_of(root)
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["notebook"]: row for row in csv.DictReader(file)}


def measure(root: Path, sources: list[Source]) -> int:
    """Run the sources one after another and write what they took; the other rows stay."""
    if sys.platform == "win32":
        raise NotebookError("Windows는 끝난 커널의 CPU 시간을 알려 주지 않아 잴 수 없습니다. Linux나 macOS에서 재십시오. 적어 둔 값은 그대로 두었습니다.")
    rows = read(root)
    for source in sources:
        seconds = cpu_seconds(source)
        rows[source.name] = {
            "notebook": source.name, "cpu_seconds": f"{seconds:.1f}", "python": platform.python_version(),
            "torch": version("torch"), "machine": platform.machine(),
        }  # fmt: skip
        print(f"{source.name}: CPU {seconds:.1f}초", flush=True)
        _write(root, rows)
    return 0


def cpu_seconds(source: Source) -> float:
    """CPU seconds, user's and system's, of a fresh kernel that runs every cell, its start included."""
    before = os.times()
    run_cells(without_wrong(read_source(source)), source)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _write(root: Path, rows: dict[str, dict[str, str]]) -> None:
    with open(file_of(root), "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows[name] for name in sorted(rows))
