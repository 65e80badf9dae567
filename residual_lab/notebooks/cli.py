"""``residual-lab notebooks [NAMES…] [--check | --times]``: write the notebooks from their sources, say what is stale or what it costs."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from residual_lab.paths import CHECKOUT

from .text import NotebookError, Source, find_sources


def run(args: argparse.Namespace, root: Path = CHECKOUT) -> int:
    """``args.names`` (all when empty), ``args.check``, ``args.times``; the exit status."""
    try:
        if args.times:
            from .times import measure

            return measure(root, find_sources(root, args.names))
        return _check(root, args.names) if args.check else _build_all(find_sources(root, args.names))
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 2


def _check(root: Path, names: list[str]) -> int:
    from .stale import problems

    found = problems(root, names)
    for line in found:
        print(line)
    if found:
        print(f"고칠 것 {len(found)}개. 'residual-lab notebooks'로 다시 만드세요.")
        return 1
    print("노트북이 모두 원본과 같습니다.")
    return 0


def _build_all(sources: list[Source]) -> int:
    """Two kernels at a time: each keeps to one thread, and the machines we aim at have two cores."""
    start = time.perf_counter()
    with ThreadPoolExecutor(max_workers=2) as pool:
        made = list(pool.map(_build_one, sources))
    failed = made.count(False)
    print(f"{len(made)}개 중 {len(made) - failed}개를 만들었습니다({time.perf_counter() - start:.1f}초).")
    return 1 if failed else 0


def _build_one(source: Source) -> bool:
    from .execute import build

    print(f"{source.name}: 실행합니다 …", flush=True)
    start = time.perf_counter()
    try:
        changed = build(source)
    except NotebookError as error:
        print(f"{source.name}: 실패했습니다. 저장된 노트북은 그대로 두었습니다.\n{error}", file=sys.stderr, flush=True)
        return False
    files = ", ".join(path.name if path.parent == source.path.parent else f"{path.parent.name}/{path.name}" for path in changed)
    print(f"{source.name}: {time.perf_counter() - start:.1f}초, " + (f"바뀐 파일: {files}" if changed else "바뀐 것이 없습니다."), flush=True)
    return True
