"""One pytest process with nbval on a folder of task notebooks: what it said of every cell, as it says it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from residual_lab.paths import PACKAGE

from .sandbox import Limits, Protection, to_config
from .wire import EVENTS, OUTPUT, PROVISIONER

KERNEL = "residual-lab-grade"
SLACK = 90
"""Seconds beyond a cell's limit without any news after which the pytest process itself is taken to be stuck."""


class Stopped(Exception):
    """Grading was interrupted: what was not finished is not judged."""


Heard = dict[str, dict]
"""Cell (``answer``, ``grade``, ``check``) → what nbval said of it."""


def run(notebooks: Mapping[str, NotebookNode], protection: Protection, limits: Limits, on_done: Callable[[str, Heard], None],
        stop: threading.Event | None = None, warm: str | None = None) -> set[str]:
    """Run every notebook in a kernel of its own; ``on_done(name, heard)`` as soon as one is finished. The names that never were.

    A notebook that takes the process down with it (or makes it fall silent) is given up, and the rest goes on without it.
    """
    left = dict(notebooks)
    given_up: set[str] = set()
    while left:
        before = len(left)
        current = None
        for name, heard, finished in _one_process(left, protection, limits, stop or threading.Event(), warm):
            current = None if finished else name
            if finished:
                del left[name]
                on_done(name, heard)
        if left and (current or len(left) == before):
            name = current or next(iter(left))
            del left[name]
            given_up.add(name)
    return given_up


def _one_process(notebooks: Mapping[str, NotebookNode], protection: Protection, limits: Limits, stop: threading.Event,
                 warm: str | None) -> Iterator[tuple[str, Heard, bool]]:
    folder = Path(tempfile.mkdtemp(prefix="residual-lab-grade-"))
    process = None
    try:
        names = {}
        for number, (name, notebook) in enumerate(notebooks.items()):
            names[f"{number:06d}"] = name
            nbformat.write(notebook, folder / f"{number:06d}.ipynb")
        process = _start(folder, to_config(protection, limits, warm), limits)
        heard: dict[str, Heard] = {}
        for event in _events(folder / "events.jsonl", process, limits.cell_seconds + SLACK, stop):
            name = names[event.pop("file")]
            if event.get("done"):
                yield name, heard.pop(name, {}), True
            else:
                heard.setdefault(name, {})[event["cell"]] = event
                yield name, heard[name], False
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, config: dict, limits: Limits) -> subprocess.Popen:
    spec = folder / "jupyter/kernels" / KERNEL
    spec.mkdir(parents=True)
    provisioner = {"provisioner_name": PROVISIONER, "config": config}
    kernel = {"argv": [sys.executable, "-f", "{connection_file}"], "display_name": KERNEL, "language": "python",
              "interrupt_mode": "message", "metadata": {"kernel_provisioner": provisioner}}
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    own = {"JUPYTER_PATH": str(folder / "jupyter"), "JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_NO_CONFIG": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
           EVENTS: str(folder / "events.jsonl"), OUTPUT: str(limits.output_bytes), "PYTHONUTF8": "1",
           "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "NBVAL_", "COV_CORE_"))}
    arguments = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--no-header", "--no-summary", "-c", str(folder / "pytest.ini"), "--rootdir", str(folder), "--noconftest",
                 "-p", "no:cacheprovider", "-p", "residual_lab.grading.pytest_plugin", "-p", "nbval.plugin", "--nbval",
                 "--nbval-kernel-name", KERNEL, "--nbval-cell-timeout", str(limits.cell_seconds), str(folder)]
    log = (folder / "pytest.log").open("w")
    with log:
        return subprocess.Popen(arguments, cwd=folder, env={**inherited, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=os.name != "nt")


def _events(path: Path, process: subprocess.Popen, silence: float, stop: threading.Event) -> Iterator[dict]:
    """Lines of the events file as they come, until the process ends or says nothing for too long."""
    offset, last = 0, time.monotonic()
    while not stop.is_set():
        over = process.poll() is not None
        data = path.read_bytes()[offset:] if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            yield json.loads(line)
        if whole:
            offset, last = offset + len(whole), time.monotonic()
        elif over:
            return
        elif time.monotonic() - last > silence:
            return
        else:
            time.sleep(0.05)
    raise Stopped


def _end(process: subprocess.Popen) -> None:
    """The process and all that it started: bubblewrap's sandboxes die with their parent."""
    if process.poll() is None and os.name != "nt":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    elif process.poll() is None:
        process.kill()
    process.wait()
