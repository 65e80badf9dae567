"""Every exercise: untouched it fails every task, and each plausible wrong answer fails its own task with help.

That the solutions pass is what the nbval stage shows.
"""

import ast
import re

import nbval_report
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell
from test_notebooks import SOLUTION, write_course

from residual_lab.notebooks import execute, exercise, text
from residual_lab.paths import CHECKOUT

SOLUTIONS = [text.Source(CHECKOUT, "solutions", path.stem) for path in sorted((CHECKOUT / "solutions").glob("*.md"))]
each_solution = pytest.mark.parametrize("source", SOLUTIONS, ids=lambda source: source.slug)


def test_exercise_01_is_tested():
    assert any(source.slug.startswith("01_") for source in SOLUTIONS)


@each_solution
def test_every_task_has_two_wrong_answers(source):
    assert [task.name for task in exercise.read_tasks(source) if len(task.wrong) < 2] == []


@each_solution
def test_the_untouched_exercise_fails_every_check_and_nothing_else(source, tmp_path):
    said = nbval_report.verdicts(source.exercise, tmp_path)
    failed = {name for name, verdict in said.items() if verdict == "failed"}
    assert failed == {task.check.id for task in exercise.read_tasks(source)}


@each_solution
def test_each_wrong_answer_fails_its_own_task_and_says_why(source):
    faults = faults_of_wrong_answers(source)
    assert not faults, "\n".join(faults)


def faults_of_wrong_answers(source):
    """One kernel: the solution once; then per wrong answer that answer, the checks it can reach, and the right answer again."""
    tasks = exercise.read_tasks(source)
    notebook = exercise.without_wrong(text.read_source(source))
    given = len(notebook.cells)
    reached = {task.name: names_behind(task.check, notebook.cells) for task in tasks}
    steps = []
    for task in tasks:
        for wrong in task.wrong:
            about = f"과제 {task.name}, 틀린 답 {text.label(wrong)}"
            steps.append((wrong, about, None))
            steps += [(other.check, about, str(wrong.metadata.says) if other is task else None)
                      for other in tasks if other is task or binds(wrong) & reached[other.name]]
            steps.append((task.answer, about, None))
    steps += [(task.check, "틀린 답을 모두 고친 뒤", None) for task in tasks]
    notebook.cells += [new_code_cell(cell.source) for cell, _, _ in steps]
    done = execute.run_cells(notebook, source, allow_errors=True).cells
    faults = [f"풀이 그대로인데 {text.label(cell)}: {error(cell)}" for cell in done[:given] if error(cell)]
    for (cell, about, says), ran in zip(steps, done[given:], strict=True):
        said = error(ran)
        if says is None and said:
            faults.append(f"{about}: {text.label(cell)}도 실패했습니다: {said}")
        elif says is not None and not (said and says in said and re.search("[가-힣]", said)):
            faults.append(f"{about}: 자기 검사가 '{says}'라고 해야 하는데 {said!r}")
    return faults


def names_behind(check, cells):
    """The names that a check reads, itself or by way of what the notebook's cells have bound."""
    names, before = reads(check), set()
    while names != before:
        before = names
        names = names.union(*(reads(cell) for cell in cells if binds(cell) & names))
    return names


def reads(cell):
    return {node.id for node in ast.walk(code(cell)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def binds(cell):
    """The global names that a cell's code binds."""
    definitions = (ast.FunctionDef, ast.ClassDef)
    statements = code(cell).body
    assigned = {node.id for statement in statements if not isinstance(statement, definitions)
                for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return assigned | {statement.name for statement in statements if isinstance(statement, definitions)}


def code(cell):
    return ast.parse(TransformerManager().transform_cell(cell.source) if cell.cell_type == "code" else "")


def error(cell):
    """What the cell's exception says, or None."""
    return next((output.evalue for output in cell.get("outputs", []) if output.output_type == "error"), None)


def test_a_solution_in_order_has_no_faults(tmp_path):
    source = text.Source(write_course(tmp_path), "solutions", "01_small")
    assert faults_of_wrong_answers(source) == []


def test_useless_wrong_answers_are_found(tmp_path):
    """One that is right and spoils another task, and one whose check says something else."""
    spoiled = SOLUTION.replace("    return x\n", "    return x + x\n\nlimit = 0\n").replace("says: 10입니다", "says: 너무 작습니다")
    source = text.Source(write_course(tmp_path, solution=spoiled), "solutions", "01_small")
    accepted, other, *rest = faults_of_wrong_answers(source)
    assert "과제 1-1" in accepted and accepted.endswith("None")
    assert "check-1-2" in other and "한계는 10입니다." in other
    assert "너무 작습니다" in rest[-1] and "과제 1-2" in rest[-1]


def test_a_stub_that_stops_run_all_and_a_check_that_passes_are_found(tmp_path):
    loose = SOLUTION.replace('assert double(3) == 6, "두 배가 아닙니다."\nprint("double(3) =", double(3))', 'print("확인")')
    source = text.Source(write_course(tmp_path, solution=loose), "solutions", "01_small")
    execute.build(source)
    assert nbval_report.verdicts(source.exercise, tmp_path) == {
        "answer-1-1": "passed",
        "check-1-1": "passed",
        "answer-1-2": "failed",
        "check-1-2": "failed",
    }
