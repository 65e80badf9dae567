"""The real exercises: every task can be graded, solutions get everything, untouched exercises nothing, wrong answers are told apart."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from residual_lab.grading import sandbox
from residual_lab.grading.compose import reference_notebook
from residual_lab.grading.exercise import read_exercise
from residual_lab.grading.grade import Grader
from residual_lab.grading.verdict import without_running
from residual_lab.notebooks import execute, exercise, text
from residual_lab.paths import CHECKOUT

SOLUTIONS = [text.Source(CHECKOUT, "solutions", path.stem) for path in sorted((CHECKOUT / "solutions").glob("*.md"))]
each_solution = pytest.mark.parametrize("source", SOLUTIONS, ids=lambda source: source.slug)


@each_solution
def test_every_task_has_a_grade_cell(source):
    missing = [task.name for task in exercise.read_tasks(source) if task.grade is None]
    assert not missing, f"{source.name}.md: 과제 {', '.join(missing)}에 채점 셀이 없습니다. CONTRIBUTING.md의 「채점 셀」을 보십시오."


@each_solution
def test_an_untouched_exercise_gets_nothing_without_a_kernel(source):
    graded = read_exercise(source)
    grader = Grader({graded.slug: graded}, sandbox.Protection("plain"))
    _, submission = grader.open(source.exercise)
    assert [without_running(task, submission).status for task in graded.tasks] == ["untouched"] * len(graded.tasks)
    assert submission.notes == []


@each_solution
def test_wrong_answers_show_other_values_and_the_solution_the_same_again(source):
    """One trusted kernel: the reference's own search for seeds, then the grade cell after every wrong answer, then the solution's."""
    graded = read_exercise(source)
    wrong = {task.name: task.wrong for task in exercise.read_tasks(source)}
    notebook = reference_notebook(graded, {task.name: list(range(1, 201)) for task in graded.tasks})
    given = len(notebook.cells)
    about = []
    for task in graded.tasks:
        again = f"print(_json.dumps(_residual_lab_again({task.name!r}, {task.grade!r})))"
        for answer in [*(cell.source for cell in wrong[task.name]), task.solution]:
            notebook.cells += [new_code_cell(answer), new_code_cell(again)]
            about.append((task.name, answer))
    for task in graded.tasks:
        cell = next(each for each in notebook.cells if each.id == f"grade-{task.name}")
        cell.source = f"_found = _residual_lab_search(range(1, 201), {task.grade!r}); _kept[{task.name!r}] = _found; print(_json.dumps(_found))"
    notebook.cells[given - len(graded.tasks) - 1].source += AGAIN
    done = execute.run_cells(notebook, source, allow_errors=True).cells
    for cell in done[:given]:
        assert not [output for output in cell.outputs if output.output_type == "error"], cell.outputs
        if cell.id.startswith("grade-"):
            found = json.loads(cell.outputs[0].text)
            assert found["seed"] is not None and found["text"].strip(), f"{cell.id}: {found['text']}"
    accepted = []
    for (task, answer), cell in zip(about, done[given + 1 :: 2], strict=True):
        same = json.loads(cell.outputs[0].text)
        solution = next(each.solution for each in graded.tasks if each.name == task)
        if same != (answer == solution):
            accepted.append(f"{task}: {answer}")
    assert not accepted, "\n\n".join(accepted)


AGAIN = """
_kept = {}

def _residual_lab_again(task, body):
    try:
        return _residual_lab_grade(_kept[task]["seed"], body, globals()) == _kept[task]["text"]
    except Exception:
        return False
"""


def test_a_solution_gets_every_point_in_the_sandbox(tmp_path):
    """End to end on an exercise with torch: a kernel for each task under nbval, in bubblewrap."""
    source = next(source for source in SOLUTIONS if source.slug.startswith("07_"))
    graded = read_exercise(source)
    path = tmp_path / "학습자 하나.ipynb"
    nbformat.write(nbformat.read(source.notebook, as_version=4), path)
    result = Grader({graded.slug: graded}, sandbox.choose("bwrap")).result(path)
    assert [(task.task, task.status, task.reason) for task in result.tasks] == [(task.name, "passed", "") for task in graded.tasks]
    assert (result.points, result.maximum) == (graded.points, graded.points)
