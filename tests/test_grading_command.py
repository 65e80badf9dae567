"""The command itself, as a process: killed in the middle it leaves nothing running, and it goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
from grading_course import RIGHT, write_course, write_submission

from residual_lab.grading.batch import STATE
from residual_lab.paths import CHECKOUT

COMMAND = "import sys; from pathlib import Path; from residual_lab import cli as top; from residual_lab.grading import cli; " \
          "sys.exit(cli.run(top.parser('grade').parse_args(['grade', *sys.argv[2:]]), Path(sys.argv[1])))"


def below(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def runs(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killed_it_leaves_nothing_running_and_goes_on(tmp_path):
    root, out = write_course(tmp_path / "course"), tmp_path / "out"
    for number in range(6):
        write_submission(root / "in" / f"학생{number}_01_small.ipynb", *RIGHT.values())
    line = [sys.executable, "-c", COMMAND, str(root), str(root / "in"), "--out", str(out), "--jobs", "1", "--sandbox", "bwrap"]
    given = {"env": {**os.environ, "PYTHONPATH": str(CHECKOUT)}, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    first = subprocess.Popen(line, **given)
    end = time.monotonic() + 120
    while not (kept := list((out / STATE).glob("*.json"))):
        assert first.poll() is None and time.monotonic() < end, first.communicate()[0]
        time.sleep(0.02)
    started = below(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    end = time.monotonic() + 20
    while left := [process for process in started if runs(process)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    assert started
    second = subprocess.run(line, **given, timeout=300)
    assert second.returncode == 0 and "지난번에 끝난" in second.stdout, second.stdout
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    assert [result["points"] for result in results] == [5] * 6 and len(kept) < 6
