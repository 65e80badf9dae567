"""The real exercises: every task can be graded, solutions get everything, untouched exercises nothing, wrong answers are told apart."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from residual_lab.grading import sandbox
from residual_lab.grading.compose import reference_notebook
from residual_lab.grading.exercise import read_exercise
from residual_lab.grading.grade import Grader
from residual_lab.grading.submission import imports_course
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
def test_no_solution_needs_the_import_that_an_instructor_is_told_of(source):
    told = [task.name for task in read_exercise(source).tasks if imports_course(task.solution)]
    assert not told, f"{source.name}.md: 과제 {', '.join(told)}의 답 셀이 residual_lab을 불러옵니다. 주어진 셀에서 불러오십시오."


@each_solution
def test_an_untouched_exercise_gets_nothing_without_a_kernel(source):
    graded = read_exercise(source)
    grader = Grader({graded.slug: graded}, sandbox.Protection("plain"))
    _, submission = grader.open(source.exercise)
    assert [without_running(task, submission).status for task in graded.tasks] == ["untouched"] * len(graded.tasks)
    assert submission.notes == []


DRAWS = [range(start, start + 200) for start in (1, 1001, 5001)]
"""A wrong answer must be told apart for whatever seeds are drawn: one that passes for a third of them was found so."""
AGAIN = """
import json as _json

def _residual_lab_again(all_found, body):
    return [_residual_lab_same(found, body) for found in all_found]

def _residual_lab_same(found, body):
    try:
        return _residual_lab_grade(found["seed"], body, globals()) == found["text"]
    except Exception:
        return False
"""


def cells_of(source):
    """The reference's own search for seeds, then the grade cell after every wrong answer and after the solution; ids tell them apart."""
    graded = read_exercise(source)
    wrong = {task.name: [cell.source for cell in task.wrong] for task in exercise.read_tasks(source)}
    cells = [new_code_cell("%reset -f"), *reference_notebook(graded, {task.name: [] for task in graded.tasks}).cells, new_code_cell(AGAIN)]
    for number, task in enumerate(graded.tasks):
        search = next(cell for cell in cells if cell.id == f"grade-{task.name}")
        search.source = f"_found_{number} = [_residual_lab_search(seeds, {task.grade!r}) for seeds in {DRAWS}]; print(_json.dumps(_found_{number}))"
        for place, answer in enumerate([*wrong[task.name], task.solution]):
            kind = "again" if place == len(wrong[task.name]) else f"wrong-{place}"
            again = f"print(_json.dumps(_residual_lab_again(_found_{number}, {task.grade!r})))"
            cells += [new_code_cell(answer), new_code_cell(again, id=f"{kind}-{task.name}")]
    return cells


@pytest.fixture(scope="module")
def shown(sources_that_want):
    """{id: what the cell printed} of all exercises that are asked for, from one trusted kernel: torch is imported once."""
    sources = sources_that_want("shown")
    notebook = new_notebook(cells=[cell for source in sources for cell in cells_of(source)])
    done = execute.run_cells(notebook, sources[0], allow_errors=True).cells
    return {cell.id: "".join(output.get("text", f"{output.get('ename')}: {output.get('evalue')}") for output in cell.outputs) for cell in done}


@each_solution
def test_wrong_answers_show_other_values_and_the_solution_the_same_again(source, shown):
    accepted = []
    for task in exercise.read_tasks(source):
        for found in json.loads(shown[f"grade-{task.name}"]):
            assert found["seed"] is not None and found["text"].strip(), f"grade-{task.name}: {found['text']}"
        assert json.loads(shown[f"again-{task.name}"]) == [True] * len(DRAWS), shown[f"again-{task.name}"]
        accepted += [f"{task.name}: {cell.source}" for place, cell in enumerate(task.wrong) if any(json.loads(shown[f"wrong-{place}-{task.name}"]))]
    assert not accepted, "\n\n".join(accepted)


def test_a_solution_gets_every_point_in_the_sandbox(tmp_path):
    """End to end on an exercise with torch: a kernel for each task under nbval, in bubblewrap."""
    source = next(source for source in SOLUTIONS if source.slug.startswith("07_"))
    graded = read_exercise(source)
    path = tmp_path / "학습자 하나.ipynb"
    nbformat.write(nbformat.read(source.notebook, as_version=4), path)
    result = Grader({graded.slug: graded}, sandbox.choose("bwrap")).result(path)
    assert [(task.task, task.status, task.reason) for task in result.tasks] == [(task.name, "passed", "") for task in graded.tasks]
    assert (result.points, result.maximum) == (graded.points, graded.points)
