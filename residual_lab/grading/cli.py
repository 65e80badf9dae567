"""``residual-lab grade PATH… [--out DIR]``: a table for a file, everything for a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from residual_lab.files import write_text
from residual_lab.notebooks.text import NotebookError
from residual_lab.paths import CHECKOUT

from . import html, lms, reports, sandbox
from .batch import Batch
from .cluster import Cluster, NoCluster
from .exercise import find_exercises
from .grade import Grader
from .roster import BadRoster, Learner, find_learner, normal, read_roster
from .sandbox import Limits, NoSandbox
from .verdict import LABELS, Result, TaskResult

MOST_JOBS = 8
"""At once, where nobody said how many: each takes memory too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="경로", help="연습 노트북(.ipynb)이나 제출을 모은 폴더")
    parser.add_argument("--out", type=Path, metavar="폴더", help="결과를 쓸 폴더. 제출을 모은 폴더를 채점할 때 필요합니다")
    parser.add_argument("--exercise", metavar="이름", help="이 연습으로만 채점합니다(예: 03_gradient_flow). 다른 연습의 노트북은 0점입니다")
    parser.add_argument("--roster", type=Path, metavar="CSV", help="명단(학번, 이름, 이메일, 아이디 가운데 있는 열)")
    parser.add_argument("--canvas", type=Path, metavar="CSV", help="Canvas에서 내보낸 성적표. 채워서 결과 폴더에 씁니다")
    parser.add_argument("--moodle", action="store_true", help="Moodle에 올릴 표도 씁니다")
    parser.add_argument("--gradescope", type=Path, metavar="파일", help="Gradescope의 results.json으로 씁니다(파일 하나를 채점할 때)")
    parser.add_argument("--classroom50", type=Path, metavar="파일", help="Classroom 50의 result.json으로 씁니다(파일 하나를 채점할 때)")
    parser.add_argument("--require-sandbox", action="store_true", help="샌드박스(bubblewrap이나 docker)가 없으면 채점하지 않습니다")
    parser.add_argument("--sandbox", choices=["bwrap", "docker", "plain"], metavar="이름", help="쓸 보호: bwrap, docker, plain(없으면 고릅니다)")
    parser.add_argument("--jobs", type=int, metavar="수", help=f"한꺼번에 채점할 수(기본: 코어 수, {MOST_JOBS}까지. --scheduler가 있으면 워커의 스레드 수)")
    parser.add_argument("--scheduler", metavar="주소", help="dask.distributed 스케줄러의 주소(예: tcp://10.0.0.5:8786). 그 워커들이 나누어 채점합니다")
    parser.add_argument("--cold", action="store_true", help="커널을 미리 데워 두지 않고 하나씩 새로 시작합니다(느리지만 결과는 같습니다)")
    parser.add_argument("--timeout", type=float, default=Limits.cell_seconds, metavar="초", help="셀 하나의 시간 제한(기본 60초)")


def run(args: argparse.Namespace, root: Path = CHECKOUT) -> int:
    paths = [Path(path) for path in args.paths]
    folders = [path for path in paths if path.is_dir()]
    if folders and (len(paths) > 1 or args.out is None):
        print("폴더는 하나만, --out 폴더와 함께 주십시오. 예: residual-lab grade submissions --out results", file=sys.stderr)
        return 2
    if (args.gradescope or args.classroom50) and (folders or len(paths) > 1):
        print("--gradescope와 --classroom50은 노트북 하나를 채점할 때만 씁니다. 노트북을 하나만 주거나 이 옵션을 빼십시오.", file=sys.stderr)
        return 2
    if (args.moodle or args.canvas) and args.out is None:
        print("--moodle과 --canvas의 표는 결과 폴더에 씁니다. --out 폴더를 함께 주십시오. 예: --out results", file=sys.stderr)
        return 2
    missing = [path for path in paths if not path.exists()]
    if missing:
        print(f"없는 파일입니다: {', '.join(map(str, missing))}", file=sys.stderr)
        return 2
    try:
        exercises, roster = find_exercises(root), read_roster(args.roster) if args.roster else []
        sheet = lms.read_canvas(args.canvas) if args.canvas else None
        if args.exercise and args.exercise not in exercises:
            print(f"연습 '{args.exercise}'이(가) 없습니다. --exercise에 다음 가운데 하나를 주십시오: {', '.join(exercises)}", file=sys.stderr)
            return 2
        limits = Limits(cell_seconds=args.timeout, cpu_seconds=int(2 * args.timeout))
        with Cluster(args.scheduler, args.sandbox, required=args.require_sandbox) if args.scheduler else nullcontext() as cluster:
            protection = cluster.protection if cluster else sandbox.choose(args.sandbox, required=args.require_sandbox)
            grader = Grader(exercises, protection, limits)
            grader.use_warm, grader.cluster, grader.only = not args.cold, cluster, args.exercise
            sandbox.keep_out(protection, [root / "solutions", *paths, *([args.out] if args.out else [])])
            print(f"보호: {protection.label}", flush=True)
            if args.out and not _prepare(args.out):
                return 1
            return _class(args, grader, paths[0], roster, sheet) if folders else _files(args, grader, paths, roster, sheet)
    except (NotebookError, NoSandbox, NoCluster, BadRoster) as problem:
        print(problem, file=sys.stderr)
        return 1


def _prepare(out: Path) -> bool:
    """Whether the result folder, made if need be, can be written to; told before a whole class is graded for nothing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return True
    except OSError as error:
        print(f"결과 폴더 {out}에 쓸 수 없습니다({error.strerror}). 쓸 수 있는 폴더를 --out에 주십시오.", file=sys.stderr)
        return False


def _files(args: argparse.Namespace, grader: Grader, paths: list[Path], roster: list[Learner], sheet: list[list[str]] | None) -> int:
    results = []
    for path in paths:
        print(f"\n{path}", flush=True)
        learner, doubt = find_learner(Path(path.name), grader.exercises, roster) if roster else (Learner(normal(path.stem)), None)
        result = grader.result(path, learner.label, _tell)
        result = replace(result, learner_id=learner.id, notes=[*([doubt] if doubt else []), *result.notes])
        results.append(result)
        for note in result.notes:
            print(f"※ {note}")
        if result.tasks:
            print(reports.table(result))
    problems: list[str] = []
    spelled = {place: spell(results[0]) for place, spell in ((args.gradescope, lms.gradescope), (args.classroom50, lms.classroom50)) if place}
    if args.out:
        spelled |= _reports(args, results, problems, grader, roster, sheet)
    written = _write(spelled)
    for problem in problems:
        print(f"※ {problem}")
    return 0 if written and all(result.tasks for result in results) else 1


def _tell(task: TaskResult) -> None:
    print(f"  {task.task}  {LABELS[task.status]}", flush=True)


def _class(args: argparse.Namespace, grader: Grader, folder: Path, roster: list[Learner], sheet: list[list[str]] | None) -> int:
    jobs = args.jobs or (grader.cluster.threads if grader.cluster else min(MOST_JOBS, os.cpu_count() or 1))
    batch = Batch(grader, folder, args.out, roster, max(1, jobs))
    start = time.monotonic()

    def progress(result: Result, done: int, total: int) -> None:
        fresh = done - batch.resumed
        left = f", 남은 시간 {(time.monotonic() - start) / fresh * (total - done):.0f}초쯤" if fresh > 2 and done < total else ""
        said = f"{result.points}/{result.maximum}점" if result.tasks else "채점하지 못함: " + " ".join(result.notes)
        print(f"[{done}/{total}] {result.learner} · {result.exercise or result.file}  {said}{left}", flush=True)
        for task in result.tasks:
            if task.note:
                print(f"  ※ {task.task}: {task.note}", flush=True)

    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        batch.run(progress)
    except KeyboardInterrupt:
        print(f"\n중단했습니다. 끝난 것 {len(batch.results)}개는 저장했습니다. 같은 명령을 다시 실행하면 이어서 채점합니다.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, old)
        written = not batch.results or _write(_reports(args, batch.ordered(), batch.problems, grader, roster, sheet))
    if batch.resumed:
        print(f"지난번에 끝난 {batch.resumed}개는 다시 채점하지 않았습니다.")
    for problem in batch.problems:
        print(f"※ {problem}")
    print(f"{len(batch.results)}개를 채점했습니다({time.monotonic() - start:.0f}초). 결과: {args.out}")
    return 0 if written else 1


def _reports(args: argparse.Namespace, results: list[Result], problems: list[str], grader: Grader, roster: list[Learner],
             sheet: list[list[str]] | None) -> dict[Path, str]:
    """Every report of the result folder; what found no place in Canvas's sheet is added to ``problems``."""
    out = args.out
    files = {out / "grades.csv": "\ufeff" + reports.grades_csv(results)}  # without the mark Excel takes Korean for something else
    files[out / "junit.xml"] = reports.junit_xml(results)
    files |= {out / "learners" / html.file_name(*who): html.learner_page(own) for who, own in reports.by_learner(results).items()}
    if args.moodle:
        files[out / "moodle.csv"] = lms.moodle(results, roster)
    if sheet:
        files[out / "canvas.csv"], unplaced = lms.canvas(sheet, results, roster)
        problems += unplaced
    files[out / "results.json"] = reports.results_json(results, problems, grader.protection.name)
    files[out / "index.html"] = html.class_page(results, problems, grader.protection)
    return files


def _write(files: dict[Path, str]) -> bool:
    """Whether all could be written; what cannot is told, and the others are still tried."""
    failed: dict[str, list[str]] = {}
    for path, text in files.items():
        try:
            write_text(path, text)
        except OSError as error:
            failed.setdefault(error.strerror, []).append(str(path))
    for why, paths in failed.items():
        more = f" 외 {len(paths) - 3}개" if len(paths) > 3 else ""
        print(f"쓰지 못한 결과가 있습니다({why}): {', '.join(paths[:3])}{more}. 디스크에 자리가 있고 폴더에 쓸 수 있는지, 다른 프로그램이 그 파일을 열고 있지 않은지 보고 "
              "같은 명령을 다시 실행하십시오.", file=sys.stderr)
    return not failed
