"""The expected values: the solution's, for seeds drawn afresh, from a kernel that has never seen a learner's code."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

from residual_lab.notebooks.text import NotebookError

from .compose import reference_notebook
from .exercise import Exercise

TRIES = 200
"""Seeds a task may need until every value rounds with a margin; the worst of the course keeps about one in thirty, in milliseconds each."""


@dataclass(frozen=True)
class Expected:
    seed: int
    text: str


def find_expected(exercise: Exercise, draw=secrets.randbits) -> dict[str, Expected]:
    """Seed and expected output of every task. The seeds are secret: no report and no file of a submission has them."""
    from residual_lab.notebooks.execute import run_cells  # jupyter_client and nbclient: only when something is graded

    seeds = {task.name: [draw(48) for _ in range(TRIES)] for task in exercise.tasks}
    done = run_cells(reference_notebook(exercise, seeds), exercise.source, allow_errors=True)
    found = {}
    for cell in done.cells:
        for output in cell.outputs:
            if output.output_type == "error":
                raise NotebookError(f"{exercise.source.name}.md: 풀이로 채점 값을 만들지 못했습니다({cell.id}). {output.ename}: {output.evalue}")
        if cell.id.startswith("grade-"):
            said = json.loads("".join(output.text for output in cell.outputs if output.get("name") == "stdout"))
            if said["seed"] is None:
                raise NotebookError(f"{exercise.source.name}.md: {cell.id}의 값을 반올림할 여유가 있는 시드를 찾지 못했습니다.")
            found[cell.id.removeprefix("grade-")] = Expected(said["seed"], said["text"])
    return found
