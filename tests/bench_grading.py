"""`make bench-grading`: the same submissions through `residual-lab grade`, plain nbval and nbgrader, one after another, several times.

Half of the learners hand in the solution, the others have one task wrong. nbgrader lies in an environment of its own beside
the checkout's; it sees torch and the course in the main one. Times are wall times and, beside them, CPU times of all
processes. The table is written to tests/bench_grading.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import nbformat

from residual_lab.notebooks.exercise import Task, read_tasks
from residual_lab.notebooks.text import Source, tags
from residual_lab.paths import CHECKOUT

NBGRADER = "0.9.6"
TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("system", "version", "exercise", "submissions", "repetitions", "wall_s", "wall_min_s", "wall_max_s", "cpu_s",
           "times_ours", "times_ours_min", "times_ours_max", "cores", "machine", "python")


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--submissions", type=int, default=100)
    given.add_argument("--repetitions", type=int, default=3)
    given.add_argument("--exercise", default="03_gradient_flow")
    given.add_argument("--only", nargs="*", help="systems to measure: ours nbval nbval-parallel nbgrader")
    args = given.parse_args()
    source = Source(CHECKOUT, "solutions", args.exercise)
    with tempfile.TemporaryDirectory(prefix="residual-lab-bench-") as folder:
        place = Path(folder)
        points = hand_in(source, args.submissions, place)
        systems: dict[str, tuple[str, Callable[[], None]]] = {
            "ours": (metadata.version("residual-lab"), lambda: ours(place, points)),
            "nbval": (metadata.version("nbval"), lambda: nbval(place)),
            "nbval-parallel": (metadata.version("nbval"), lambda: nbval(place, "-n", str(os.cpu_count()), "--dist", "loadfile")),
            "nbgrader": (NBGRADER, lambda: nbgrader(place)),
        }
        systems = {name: system for name, system in systems.items() if not args.only or name in args.only}
        if "nbgrader" in systems:
            prepare_nbgrader(place, args.exercise)
        times = measure({name: run for name, (_, run) in systems.items()}, args.repetitions)
    rows = []
    for name, taken in times.items():
        walls = [wall for wall, _ in taken]
        ratios = sorted(wall / mine for wall, (mine, _) in zip(walls, times["ours"])) if "ours" in times else [0]
        rows.append((name, systems[name][0], args.exercise, args.submissions, args.repetitions, *numbers(walls), f"{statistics.median(cpu for _, cpu in taken):.1f}",
                     *numbers(ratios, 2), os.cpu_count(), platform.machine(), platform.python_version()))
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows([COLUMNS, *rows])
    if not args.only:
        TABLE.write_text(made.getvalue(), encoding="utf-8")
    show(rows)
    return 0


def hand_in(source: Source, count: int, place: Path) -> int:
    """``submissions/학생NNN/…`` for ours and nbval, ``submitted/…`` with nbgrader's marks; the points that they are worth."""
    exercise, tasks, points = nbformat.read(source.exercise, as_version=4), read_tasks(source), 0
    mark(exercise, {task.name: task for task in tasks})
    (place / "source/hw").mkdir(parents=True)
    nbformat.write(exercise, place / "source/hw" / source.exercise.name)
    wrong = [(task, cell.source) for task in tasks for cell in task.wrong]
    for number in range(count):
        failed, instead = wrong[number // 2 % len(wrong)] if number % 2 else (None, "")
        for cell in exercise.cells:
            if "answer" in tags(cell):
                task = next(task for task in tasks if task.name == cell.metadata.task)
                cell.source = f"# 과제 {task.name}\n{instead}" if task is failed else task.answer.source
                points += 0 if task is failed else task.check.metadata.points
        for path in (place / "submissions" / f"학생{number:03d}", place / "submitted" / f"s{number:03d}" / "hw"):
            path.mkdir(parents=True)
            nbformat.write(exercise, path / source.exercise.name)
    return points


def mark(notebook: nbformat.NotebookNode, tasks: dict[str, Task]) -> None:
    """nbgrader's own metadata: answers are solutions, checks are locked tests with points."""
    for cell in notebook.cells:
        role = "answer" if "answer" in tags(cell) else "check" if "check" in tags(cell) else None
        if role:
            about = {"schema_version": 3, "grade_id": f"{role}-{cell.metadata.task}", "task": False, "locked": role == "check",
                     "grade": role == "check", "solution": role == "answer"}
            if role == "check":
                about["points"] = tasks[cell.metadata.task].check.metadata.points
            cell.metadata["nbgrader"] = about


def ours(place: Path, points: int) -> None:
    out = place / "results"
    shutil.rmtree(out, ignore_errors=True)
    run([sys.executable, "-m", "residual_lab.cli", "grade", str(place / "submissions"), "--out", str(out)], place)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    got = sum(result["points"] for result in results)
    assert got == points, f"{got} points instead of {points}"


def nbval(place: Path, *more: str) -> None:
    run([sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env",
         "--nbval-cell-timeout", "60", "--rootdir", str(place), *more, "submissions"], place, (0, 1))


def nbgrader(place: Path) -> None:
    shutil.rmtree(place / "autograded", ignore_errors=True)
    run([str(environment() / "bin/nbgrader"), "autograde", "hw", "--force", "--create", "--log-level=ERROR"], place, (0, 1))
    graded = len(list((place / "autograded").glob("*/hw/*.ipynb")))
    assert graded == len(list((place / "submitted").iterdir())), f"nbgrader graded {graded}"


def environment() -> Path:
    return CHECKOUT / ".venv-nbgrader"


def prepare_nbgrader(place: Path, exercise: str) -> None:
    """Its environment, where there is none, and the assignment that it keeps in its own database."""
    if not (environment() / "bin/nbgrader").exists():
        venv.create(environment(), with_pip=True, clear=True)
        python = environment() / "bin/python"
        here = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True)
        main = sysconfig.get_path("purelib")
        Path(here.stdout.strip(), "main-environment.pth").write_text(f"import site; site.addsitedir({main!r})\n", encoding="utf-8")
        run([str(python), "-m", "pip", "install", "-q", "-c", str(CHECKOUT / "constraints.txt"), f"nbgrader=={NBGRADER}"], place)
    (place / "nbgrader_config.py").write_text(f"c.CourseDirectory.root = {str(place)!r}\n", encoding="utf-8")
    run([str(environment() / "bin/nbgrader"), "generate_assignment", "hw", "--create", "--force", "--log-level=ERROR"], place)


def run(command: list[str], place: Path, allowed: tuple[int, ...] = (0,)) -> None:
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ["PATH"]])  # nbgrader calls its own database's program
    own = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "RESIDUAL_LAB_HOME": str(place / "home"), "PATH": path}
    done = subprocess.run(command, cwd=place, env={**os.environ, **own}, capture_output=True, text=True)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(command[:6])} …: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def measure(systems: dict[str, Callable[[], None]], repetitions: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every run; the systems take turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in systems}
    for number in range(repetitions):
        for name, start in systems.items():
            wall, cpu = time.monotonic(), cpu_of_children()
            start()
            times[name].append((time.monotonic() - wall, cpu_of_children() - cpu))
            print(f"{number + 1}/{repetitions} {name}: {times[name][-1][0]:.1f}초 (CPU {times[name][-1][1]:.1f}초, 부하 {os.getloadavg()[0]:.1f})", flush=True)
    return times


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def numbers(values: list[float], digits: int = 1) -> tuple[str, str, str]:
    return tuple(f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))


def show(rows: list[tuple]) -> None:
    print(f"\n{platform.machine()}, 코어 {os.cpu_count()}개, Python {platform.python_version()}, {rows[0][2]} {rows[0][3]}개, {rows[0][4]}번")
    for name, version, _, count, _, wall, least, most, cpu, times, fewest, largest, *_ in rows:
        print(f"{name:<15}{version:>8}  {wall:>7}초 ({least}~{most})  하나에 {float(wall) / count:.2f}초  CPU {cpu:>6}초  우리의 {times}배 ({fewest}~{largest})")


if __name__ == "__main__":
    sys.exit(main())
