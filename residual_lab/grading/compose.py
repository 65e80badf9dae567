"""The notebooks that nbval runs: one for each task, with its values beside the grade cell, and one for a trusted kernel."""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from .exercise import PRELUDE, Exercise, GradedTask
from .submission import needed
from .wire import ANSWER, CHECK, GRADE

IGNORED = {"tags": ["nbval-ignore-output"]}


def grade_source(task: GradedTask, seed: int) -> str:
    """The prelude comes as one string: IPython splits a cell into tokens, twice, which takes longer than most tasks do. A learner may
    have given ``print`` another meaning, so it is asked for by its full name."""
    prelude = PRELUDE.read_text(encoding="utf-8")
    return (f"import builtins as _py\n_py.exec({prelude!r}, _py.globals())\n"
            f"_py.print(_residual_lab_grade({seed}, {task.grade!r}, _py.globals()), end='')")


def task_notebook(exercise: Exercise, task: GradedTask, answers: dict[str, str], seed: int, expected: str) -> NotebookNode:
    """Setup, the answers that the task needs, its own, the grade cell with the expected output, the learner's own check."""
    *others, _ = needed(task.name, answers)
    cells = [new_code_cell(source, metadata=IGNORED) for source in exercise.setup]
    cells += [new_code_cell(answers[name], metadata=IGNORED) for name in others]
    cells.append(new_code_cell(answers[task.name], metadata=IGNORED, id=ANSWER))
    shown = new_output("stream", name="stdout", text=expected)
    cells.append(new_code_cell(grade_source(task, seed), id=GRADE, execution_count=1, outputs=[shown]))
    cells.append(new_code_cell(task.check, metadata=IGNORED, id=CHECK))
    return new_notebook(cells=cells)


_SEARCH = """
import json as _json

def _residual_lab_search(seeds, body):
    tried = []
    for seed in seeds:
        try:
            return {"seed": seed, "text": _residual_lab_grade(seed, body, globals(), careful=1e-5)}
        except ArithmeticError as problem:
            tried.append(str(problem))
    return {"seed": None, "text": tried[-1]}
"""


def reference_notebook(exercise: Exercise, seeds: dict[str, list[int]]) -> NotebookNode:
    """The solution, then for every task the first of its seeds whose values round with a margin, as JSON."""
    cells = [new_code_cell(source) for source in exercise.setup]
    cells += [new_code_cell(task.solution) for task in exercise.tasks]
    cells.append(new_code_cell(PRELUDE.read_text(encoding="utf-8") + _SEARCH))
    for task in exercise.tasks:
        cells.append(new_code_cell(f"print(_json.dumps(_residual_lab_search({seeds[task.name]}, {task.grade!r})))", id=f"grade-{task.name}"))
    return new_notebook(cells=cells)
