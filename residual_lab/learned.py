"""``residual-lab progress [--export FILE] [--import FILE]``: what was predicted, answered and solved on this machine.

The site's course map writes and reads the same file: records can be carried from one to the other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from residual_lab import course
from residual_lab.files import write_text
from residual_lab.paths import CHECKOUT
from residual_lab.progress import Progress, progress


def run(arguments: argparse.Namespace, store: Progress = progress) -> int:
    """``arguments.export_to``, ``arguments.import_from`` (paths or None); the exit status."""
    if arguments.import_from:
        try:
            added = store.merge(Path(arguments.import_from).read_bytes())
        except OSError as problem:
            print(f"{arguments.import_from}을(를) 읽지 못했습니다: {problem.strerror}", file=sys.stderr)
            return 1
        except ValueError:
            print(f"{arguments.import_from}은(는) 이 과정의 기록 파일이 아닙니다.", file=sys.stderr)
            return 1
        if added is None:
            _show_notices(store)
            print("가져온 기록을 저장하지 못했습니다. 위의 문제를 해결하거나 환경 변수 RESIDUAL_LAB_HOME에 쓸 수 있는 폴더를 지정하고 다시 가져오십시오.",
                  file=sys.stderr)
            return 1
        print(f"새 기록 {added}개를 가져왔습니다.")
    if arguments.export_to:
        if Path(arguments.export_to).exists():
            print(f"{arguments.export_to}이(가) 이미 있어 그대로 두었습니다. 다른 이름으로 내보내십시오.", file=sys.stderr)
            return 1
        try:
            write_text(Path(arguments.export_to), store.text())
        except OSError as problem:
            print(f"{arguments.export_to}에 쓰지 못했습니다: {problem.strerror}", file=sys.stderr)
            return 1
        print(f"기록을 {arguments.export_to}에 적었습니다. 웹사이트의 코스 지도에서 가져올 수 있습니다.")
    _show_notices(store)
    if not (arguments.import_from or arguments.export_to):
        print(table(course.lessons(CHECKOUT), store))
    return 0


def _show_notices(store: Progress) -> None:
    for notice in store.notices():
        print(notice, file=sys.stderr)


def table(lessons: list[course.Lesson], store: Progress) -> str:
    """A line for each lesson."""
    records = store.records()
    lines = []
    for lesson in lessons:
        done = lesson.done(records)
        counts = {"예측": (done["predictions"], lesson.predictions), "퀴즈": (done["answers"], lesson.answers), "과제": (done["tasks"], lesson.tasks)}
        said = " · ".join(f"{name} {count}/{len(of)}" for name, (count, of) in counts.items())
        lines.append(f"{said} · {lesson.title}")
    return "\n".join([*lines, "", f"기록은 이 컴퓨터의 {store.file}에만 있습니다."])
