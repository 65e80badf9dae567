"""Part of `make bench`: starts, the whole course under nbval, and the site's pages."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from browser.jupyter import JupyterServer
from browser.pages import NotebookPage
from published.visit import PAGES, Visit
from residual_lab.notebooks import times
from residual_lab.notebooks.text import find_sources
from residual_lab.paths import CHECKOUT
from residual_lab.site.build import build
from residual_lab.site.serve import make_server

WITHOUT_TORCH = {
    "residual-lab --help": "residual_lab.cli",
    "노트북 도구": "residual_lab.notebooks.cli",
    "채점": "residual_lab.grading.cli",
}
FIRST_LAB = ("from residual_lab.experiments.degradation import MLPDepth\nfrom residual_lab.lab import Lab", "Lab(MLPDepth)")
READY = """() => document.readyState === 'complete' && [...document.querySelectorAll('.residual-lab-mount')].every((mount) =>
    'alive' in mount.dataset || !mount.checkVisibility({contentVisibilityAuto: true}) || mount.getBoundingClientRect().top > innerHeight)"""
"""What is seen of a page can be used."""


def processor_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of the processes that a call starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(repetitions: int) -> dict[str, list[float]]:
    """CPU seconds of a Python process that imports what a command needs; none of them may load torch."""
    found = {}
    for name, module in WITHOUT_TORCH.items():
        line = [sys.executable, "-c", f"import sys, {module}\nassert 'torch' not in sys.modules"]
        found[name] = [processor_seconds(lambda: subprocess.run(line, check=True)) for _ in range(repetitions)]
    return found


def first_chart(context, server: JupyterServer, repetitions: int) -> list[float]:
    """Seconds from a kernel that has just started to the first drawn line of a lab: the imports, the lab's cell, 시작."""
    server.write("first.ipynb", *FIRST_LAB)
    book = NotebookPage(context, server, "first.ipynb")
    took = []
    for repetition in range(repetitions + 1):
        if repetition:
            book.restart_kernel()
            book.ready()
        start = time.perf_counter()
        book.run_all()
        lab = book.lab(1)
        lab.press("start")
        lab.wait("root.querySelector('.rl-plot .rl-mean')?.getTotalLength() > 5")
        took.append(time.perf_counter() - start)
    book.page.close()
    return took[1:]  # the first reads the files from disk


def nbval(workers: int) -> float:
    """Seconds on the clock for every lesson and solution under strict nbval."""
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120", "-n", str(workers),
               "--dist", "loadfile", "lessons", "solutions"]
    start = time.perf_counter()
    subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start


def lessons() -> dict[str, float]:
    """CPU seconds of Run All for every lesson; also written to the table of the execution-time page."""
    sources = [source for source in find_sources(CHECKOUT) if source.name.startswith("lessons/")]
    times.measure(CHECKOUT, sources)
    return {name: float(row["cpu_seconds"]) for name, row in times.read(CHECKOUT).items() if name.startswith("lessons/")}


def pages(browser: Browser, repetitions: int) -> dict[str, dict[str, list[float]]]:
    """For every page what it weighs until it can be used (kB, compressed), and the milliseconds until then on localhost."""
    html = Path(os.environ["RESIDUAL_LAB_BUILT_SITE"]).resolve() if "RESIDUAL_LAB_BUILT_SITE" in os.environ else build(CHECKOUT)
    server = make_server(html, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = {}
    for name in PAGES:
        weights, waits = [], []
        for _ in range(repetitions):
            with Visit(browser, f"http://127.0.0.1:{server.server_port}", html) as visit:
                visit.page.goto(f"{visit.site}/{name}.html", wait_until="commit")
                visit.page.wait_for_function(READY, polling=20)
                waits.append(visit.page.evaluate("performance.now()"))
                weights.append(sum(visit.weights().values()))
        found[name] = {"kB": weights, "ms": waits}
    server.shutdown()
    return found
