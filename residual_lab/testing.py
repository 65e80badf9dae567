"""`make test`: the environments, then every stage that CI runs, then a summary (standard library only)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from residual_lab.bootstrap import say
from residual_lab.browser import ADVICE, find_browser
from residual_lab.paths import CHECKOUT


class Stage(NamedTuple):
    name: str
    command: tuple[str, ...]
    """Arguments of the main environment's Python, run in the checkout."""
    minutes: float = 40
    """A stage that takes longer is stuck; it is ended, so that a run always ends with a summary."""
    colab: bool = False
    """Run by the Python of the environment with Colab's versions."""


IN_PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--timeout", "600")
"""A file of tests or a notebook keeps to one process; two of them, as every process trains on one thread. They go in the folders'
order: browser tests and lessons, the longest, come first. A test that waits for ever (for a browser, a kernel) fails with the
traceback of every thread. That nothing is stale, and that the site builds without a warning, are tests too."""

STAGES = (
    Stage("시험", ("-m", "pytest", "-q", *IN_PARALLEL, "--durations", "25", "tests"), minutes=60),
    Stage("노트북 출력 비교", ("-m", "pytest", "-q", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "120",
                        *IN_PARALLEL, "lessons", "solutions")),
)


COLAB_STAGES = (
    Stage("Colab 판에서 모든 랩", ("-m", "pytest", "-q", *IN_PARALLEL, "--profile", "colab", "tests/browser", "-k", "colab or every_lab")),
    Stage("Colab 판에서 모든 레슨", ("-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "120",
                               *IN_PARALLEL, "lessons"), colab=True),
)
"""`make test` moves every lab in today's JupyterLab, and in Colab's versions those that stand for them; `make colab` moves all of them
there and runs every lesson (the numbers are compared by `make test`)."""


def main(prepare: Callable[[], tuple[Path, Path]], stages: tuple[Stage, ...] = STAGES) -> int:
    """Prepare the two environments, run every stage even after a failure, say what failed and what took how long."""
    if not find_browser():
        say(f"브라우저 시험에 쓸 Chromium을 찾지 못했습니다.\n{ADVICE}")
        return 1
    start = time.monotonic()
    python, colab = prepare()
    took = [("환경 준비", True, time.monotonic() - start)]
    with tempfile.TemporaryDirectory(prefix="residual-lab-") as home:
        environment = {**os.environ, "RESIDUAL_LAB_HOME": home, "RESIDUAL_LAB_COLAB_PYTHON": str(colab)}
        for number, stage in enumerate(stages, 1):
            say(f"── {number}/{len(stages)} {stage.name}")
            since = time.monotonic()
            took.append((stage.name, _passes(stage, str(colab if stage.colab else python), environment), time.monotonic() - since))
    return _summary(took)


def _passes(stage: Stage, python: str, environment: dict[str, str]) -> bool:
    try:
        return subprocess.run([python, *stage.command], cwd=CHECKOUT, env=environment, timeout=60 * stage.minutes).returncode == 0
    except subprocess.TimeoutExpired:
        say(f"‘{stage.name}’ 단계가 {stage.minutes:g}분이 지나도 끝나지 않아 중단했습니다.")
        return False


def _summary(took: list[tuple[str, bool, float]]) -> int:
    say("\n── 결과")
    for name, passed, seconds in took:
        say(f"{'통과' if passed else '실패'}  {seconds / 60:5.1f}분  {name}")
    say(f"      {sum(seconds for _, _, seconds in took) / 60:5.1f}분  모두")
    failed = [name for name, passed, _ in took if not passed]
    say(f"\n실패한 단계: {', '.join(failed)}. 위의 기록을 보십시오." if failed else "\n모두 통과했습니다.")
    return 1 if failed else 0
