"""Every exercise: untouched it fails every task, and each plausible wrong answer fails its own task with help.

That the solutions pass is what the nbval stage shows.
"""

import ast
import re

import nbval_report
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_notebook
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


def test_nbval_fails_an_untouched_exercise_at_its_checks_and_nowhere_else(tmp_path):
    """On one of them; `test_each_wrong_answer…` runs all."""
    source = SOLUTIONS[0]
    failed = {name for name, verdict in nbval_report.verdicts(source.exercise, tmp_path).items() if verdict == "failed"}
    assert failed == {task.check.id for task in exercise.read_tasks(source)}


@pytest.fixture(scope="module")
def faults(sources_that_want):
    """{source: faults} of all exercises that are asked for, one after another in one kernel: torch is imported once."""
    return faults_of(*sources_that_want("faults"))


@each_solution
def test_the_untouched_exercise_fails_and_each_wrong_answer_fails_its_own_task_and_says_why(source, faults):
    assert not faults[source], "\n".join(faults[source])


def faults_of(*sources):
    """{source: what is wrong with an exercise}, from one kernel."""
    steps = {source: [(new_code_cell("%reset -f"), "처음", None), *steps_of(source)] for source in sources}
    notebook = new_notebook(cells=[new_code_cell(cell.source) for all_steps in steps.values() for cell, _, _ in all_steps if cell.cell_type == "code"])
    done = iter(execute.run_cells(notebook, sources[0], allow_errors=True).cells)
    return {source: faults_in([(cell, about, says, error(next(done))) for cell, about, says in all_steps if cell.cell_type == "code"])
            for source, all_steps in steps.items()}


def steps_of(source):
    """(cell, about what, what it must say): the untouched exercise; the solution; per wrong answer that answer, the checks it can reach, and the right one again."""
    tasks = exercise.read_tasks(source)
    solution = exercise.without_wrong(text.read_source(source))
    reached = {task.name: names_behind(task.check, solution.cells) for task in tasks}
    checks = {task.check.id for task in tasks}
    steps = [(cell, "손대지 않은 연습", FAILS if cell.id in checks else None) for cell in exercise.derive(solution).cells]
    steps += [(cell, "풀이 그대로", None) for cell in solution.cells if cell.id not in checks]
    for task in tasks:
        for wrong in task.wrong:
            about = f"과제 {task.name}, 틀린 답 {text.label(wrong)}"
            steps.append((wrong, about, None))
            steps += [(other.check, about, str(wrong.metadata.says) if other is task else None)
                      for other in tasks if other is task or binds(wrong) & reached[other.name]]
            steps.append((task.answer, about, None))
    return steps


def faults_in(ran):
    """Where a cell said something else than it must."""
    faults = []
    for cell, about, says, said in ran:
        if says is None and said:
            faults.append(f"{about}: {text.label(cell)}도 실패했습니다: {said}")
        elif says is not None and not (said and says in said and (says == FAILS or re.search("[가-힣]", said))):
            faults.append(f"{about}: 자기 검사가 '{says}'라고 해야 하는데 {said!r}")
    return faults


FAILS = ""
"""What a check says of an untouched answer: anything."""


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


def test_a_solution_in_order_has_no_faults_but_that_of_its_stub(tmp_path):
    source = text.Source(write_course(tmp_path), "solutions", "01_small")
    [stub] = faults_of(source)[source]
    assert "answer-1-2" in stub and "여기를 채우세요" in stub, "this small solution's second stub stops Run All"


def test_useless_wrong_answers_are_found(tmp_path):
    """One that is right and spoils another task, and one whose check says something else."""
    spoiled = SOLUTION.replace("    return x\n", "    return x + x\n\nlimit = 0\n").replace("says: 10입니다", "says: 너무 작습니다")
    source = text.Source(write_course(tmp_path, solution=spoiled), "solutions", "01_small")
    _, accepted, other, *rest = faults_of(source)[source]
    assert "과제 1-1" in accepted and accepted.endswith("None")
    assert "check-1-2" in other and "한계는 10입니다." in other
    assert "너무 작습니다" in rest[-1] and "과제 1-2" in rest[-1]


def test_a_stub_that_stops_run_all_and_a_check_that_passes_are_found(tmp_path):
    loose = SOLUTION.replace('assert double(3) == 6, "두 배가 아닙니다."\nprint("double(3) =", double(3))', 'print("확인")')
    source = text.Source(write_course(tmp_path, solution=loose), "solutions", "01_small")
    faults = [fault for fault in faults_of(source)[source] if fault.startswith("손대지 않은 연습")]
    assert len(faults) == 2 and "answer-1-2" in faults[0] + faults[1] and "None" in faults[0] + faults[1]
