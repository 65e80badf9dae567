"""The execution-time page: what each notebook and each lab costs, and how quick everything is, as it was measured."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

from residual_lab.notebooks import times
from residual_lab.notebooks.text import Source, find_sources
from residual_lab.site import benchmarks

_STATED = re.compile(r"\*\*이 노트북의 CPU 시간\*\* 약 (\d+)초")
_LAB = re.compile(r'data-kind=\\?"lab\\?" data-src=\\?"(\w+)')


def page(root: Path) -> str:
    """Tables as Markdown, to stand after the introduction (``pages/execution_time.md``)."""
    return f"{_notebooks(root)}\n{_labs(root)}\n{benchmarks.page()}"


def _notebooks(root: Path) -> str:
    rows, measured = ["| 노트북 | CPU 시간 |", "|---|---:|"], times.read(root)
    for source in find_sources(root):
        link = f"../{source.exercise.relative_to(root).as_posix() if source.exercise else source.notebook.relative_to(root).as_posix()}"
        took = f"{float(measured[source.name]['cpu_seconds']):.0f}초" if source.name in measured else "아직 재지 않았습니다"
        rows.append(f"| [{source.title}{' (풀이까지)' if source.exercise else ''}]({link}) | {took} |")
    environments = sorted({f"Python {row['python']}, torch {row['torch']}, {row['machine']}" for row in measured.values()})
    total = sum(float(row["cpu_seconds"]) for row in measured.values())
    note = f"모두 합하면 {total / 60:.1f}분입니다. 잰 환경은 {' · '.join(environments)}이고, 스레드는 하나입니다." if measured else ""
    return "## 노트북\n\n" + "\n".join(rows) + f"\n\n{note}\n"


def stated(source: Source) -> int:
    """CPU seconds that a lesson's header states."""
    return int(_STATED.search(source.text())[1])


def _labs(root: Path) -> str:
    rows = ["| 레슨 | 랩 | 기록한 설정 | 설정 하나의 시간(중앙값) | 가장 긴 것 |", "|---|---|---:|---:|---:|"]
    for lesson in sorted((root / "lessons").glob("*.ipynb")):
        for name in dict.fromkeys(_LAB.findall(lesson.read_text(encoding="utf-8"))):
            recording = json.loads((root / f"assets/recordings/{name}.json").read_text(encoding="utf-8"))
            seconds = [run["seconds"] for run in recording["runs"]]
            rows.append(
                f"| [{lesson.stem[:2]}](../lessons/{lesson.name}) | {recording['spec']['title']} | {len(seconds)}개 "
                f"| {_short(statistics.median(seconds))} | {_short(max(seconds))} |"
            )
    return "## 랩\n\n" + "\n".join(rows) + "\n"


def _short(seconds: float) -> str:
    return f"{seconds:.1f}초" if seconds < 9.95 else f"{seconds:.0f}초"
