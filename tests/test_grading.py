"""Grading without kernels: which cells are taken, what is wrong with a file, what nbval's words come to, and the prelude."""

import json
import os
import time

import pytest
from grading_course import RIGHT, SOLUTION, WRONG, cell, exercise_of, write_course, write_submission

from residual_lab.grading import compose, reports, submission, verdict
from residual_lab.grading.exercise import PRELUDE, find_exercises, read_exercise
from residual_lab.grading.grade import Grader
from residual_lab.grading.sandbox import Protection
from residual_lab.grading.submission import Unreadable, needed
from residual_lab.notebooks import exercise as exercises
from residual_lab.notebooks.text import NotebookError, Source, read_source


@pytest.fixture
def grader(tmp_path):
    return Grader(find_exercises(write_course(tmp_path)), Protection("plain"))


def opened(grader, tmp_path, *sources, **more):
    return grader.open(write_submission(tmp_path / "in.ipynb", *sources, **more))[1]


def test_the_exercise_is_read_from_its_solution(tmp_path):
    exercise = exercise_of(write_course(tmp_path))
    assert (exercise.title, exercise.points, exercise.setup) == ("연습 01 · 작은 연습", 5, ("import math",))
    assert [(task.name, task.title, task.points, task.cell_id) for task in exercise.tasks] == [
        ("1-1", "두 배", 2, "answer-1-1"), ("1-2", "네 배", 3, "answer-1-2")]


def test_a_task_without_a_grade_cell_is_named(tmp_path):
    root = write_course(tmp_path)
    text = SOLUTION.replace(":tags: [grade]\n:task: 1-2", ":tags: [solution-only]\n:task: 1-2")
    (root / "solutions/01_small.md").write_text(text, encoding="utf-8")
    with pytest.raises(NotebookError, match="과제 1-2에 채점 셀"):
        read_exercise(Source(root, "solutions", "01_small"))


def test_grade_cells_are_in_no_notebook_and_change_no_stamp(tmp_path):
    source = exercise_of(write_course(tmp_path)).source
    shown = exercises.without_wrong(read_source(source))
    assert not any("draw" in each.source for each in shown.cells)
    before, ids = source.stamp(), [each.id for each in shown.cells]
    source.path.write_text(SOLUTION.replace("draw.uniform(1, 9)", "draw.uniform(2, 7)"), encoding="utf-8")
    assert source.stamp() == before
    assert [each.id for each in exercises.without_wrong(read_source(source)).cells] == ids
    source.path.write_text(SOLUTION.replace("두 배가 아닙니다.", "아닙니다."), encoding="utf-8")
    assert source.stamp() != before


@pytest.mark.parametrize("how", ["id", "tag", "marker"])
def test_an_answer_is_found_by_id_by_tag_or_by_its_first_line(grader, tmp_path, how):
    code = RIGHT["1-1"] if how == "marker" else RIGHT["1-1"].replace("# 과제 1-1\n", "")
    more = {"id": {"id": "answer-1-1"}, "tag": {"metadata": {"tags": ["answer"], "task": "1-1"}}, "marker": {}}[how]
    cells = [cell("x = 1"), cell(RIGHT["1-2"]), cell(code, **more)]
    assert opened(grader, tmp_path, cells=cells).answers == {"1-1": code, "1-2": RIGHT["1-2"]}


@pytest.mark.parametrize("before", ["%%time\n", "\n  \n%%capture out\n\n", "# 내 답입니다.\n\n"])
def test_a_magic_or_a_comment_may_come_before_the_first_line(grader, tmp_path, before):
    assert opened(grader, tmp_path, before + RIGHT["1-1"], RIGHT["1-2"]).answers == {"1-1": before + RIGHT["1-1"], "1-2": RIGHT["1-2"]}
    assert "1-1" not in opened(grader, tmp_path, f"{before}x = 1\n{RIGHT['1-1']}", RIGHT["1-2"]).answers


def test_untouched_and_missing_answers(grader, tmp_path):
    exercise = grader.exercises["01_small"]
    found = opened(grader, tmp_path, exercise.tasks[0].stub + "  \n")
    assert (found.answers, found.untouched) == ({}, {"1-1"})
    assert "과제 1-2의 답 셀이 없습니다" in found.notes[0] and "'# 과제 1-2'을(를)" in found.notes[0]
    results = [verdict.without_running(task, found) for task in exercise.tasks]
    assert [(r.status, r.points) for r in results] == [("untouched", 0), ("missing", 0)]


def test_a_copied_stub_does_not_hide_the_answer_and_two_answers_are_told(grader, tmp_path):
    stub = grader.exercises["01_small"].tasks[0].stub
    assert opened(grader, tmp_path, stub, RIGHT["1-1"]).answers["1-1"] == RIGHT["1-1"]
    two = opened(grader, tmp_path, WRONG["1-1"], RIGHT["1-1"])
    assert two.answers["1-1"] == WRONG["1-1"] and "맨 앞의 것" in " ".join(two.notes)
    assert not any("맨 앞" in note for note in opened(grader, tmp_path, RIGHT["1-1"], RIGHT["1-1"] + "\n").notes)


def test_a_cell_overwritten_with_another_tasks_text_is_that_tasks(grader, tmp_path):
    found = opened(grader, tmp_path, cells=[cell(RIGHT["1-2"], id="answer-1-1")])
    assert found.answers == {"1-2": RIGHT["1-2"]}


def test_an_old_notebook_is_read(grader, tmp_path):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [
        {"cell_type": "code", "input": RIGHT["1-1"].splitlines(keepends=True), "outputs": []}]}]}
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old), encoding="utf-8")
    found = grader.open(path)[1]
    assert found.answers == {"1-1": RIGHT["1-1"]} and "오래된" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "JSON"),
        (b'{"cells": [{"cell_type": "code", "sou', "잘렸습니다"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"[1, 2]", "주피터 노트북이 아닙니다"),
        (b'{"cells": [], "nbformat": 4}', "어느 연습"),
        (b'{"cells": 3, "nbformat": 4, "metadata": 7}', "어느 연습"),
        (b'{"cells": [3, null, {"cell_type": "code", "source": 5}], "nbformat": 4}', "어느 연습"),
        (b"[" * 100_000, "JSON"),
        (b"", "JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(grader, tmp_path, content, says):
    path = tmp_path / "한글 이름.ipynb"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=says):
        grader.open(path)
    result = grader.result(path)
    assert result.tasks == [] and says in result.notes[0]


def test_a_file_that_is_too_large_is_not_read(grader, tmp_path):
    path = tmp_path / "large.ipynb"
    with path.open("wb") as file:
        file.truncate(submission.MAX_BYTES + 1)
    with pytest.raises(Unreadable, match="너무 큽니다"):
        grader.open(path)
    assert "너무 깁니다" in opened(grader, tmp_path, "# 과제 1-1\n" + "x" * 200_000).notes[0]


def test_a_file_of_fifty_megabytes_of_outputs_is_graded(grader, tmp_path):
    heavy = [cell(RIGHT["1-1"], outputs=[{"output_type": "stream", "name": "stdout", "text": "x" * 50_000_000}])]
    found = opened(grader, tmp_path, cells=heavy)
    assert found.answers == {"1-1": RIGHT["1-1"]} and "파일이 큽니다" in found.notes[0]


def test_a_submission_is_opened_read_only(grader, tmp_path):
    path = write_submission(tmp_path / "in.ipynb", *RIGHT.values())
    before = path.read_bytes(), path.stat().st_mtime_ns
    path.chmod(0o400)
    grader.open(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before and os.listdir(tmp_path).count("in.ipynb") == 1


def test_only_answers_that_are_used_run_in_a_tasks_kernel():
    answers = {"1": "def a(x):\n    return x", "2": "import os, sys as system\nb, c = 1, 2", "3": "def d(x):\n    return a(x)", "4": "print(system, c)"}
    assert needed("1", answers) == ["1"]
    assert needed("3", answers) == ["1", "3"]
    assert needed("4", answers) == ["2", "4"]
    assert needed("5", {"5": "z", "6": "while True: pass"}) == ["5"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import residual_lab", True), ("import math, residual_lab.blocks.resnet as r", True), ("def f():\n    from residual_lab import memory", True),
        ("from residual_lab.checks.base import require", True), ("import importlib\nimportlib.import_module('residual_lab.blocks')", True),
        ("from importlib import import_module\nimport_module(name='residual_lab')", True), ("__import__('residual_lab.memory')", True),
        ("%matplotlib inline\nfrom residual_lab import memory", True), ("from residual_lab import memory\nx = " + "-" * 90_000 + "1", True),
        ("import math\n'\\d residual_lab'  # residual_lab", False), ("import residual_laboratory\nfrom . import x", False),
        ("open('residual_lab')\n__import__(name)", False), ("%matplotlib inline\nimport math", False), ("(" * 90_000, False),
    ],
)
def test_an_answer_that_imports_the_course_is_known(grader, tmp_path, recwarn, source, told):
    found = opened(grader, tmp_path, f"# 과제 1-1\n{source}", RIGHT["1-2"])
    assert found.importing == ({"1-1"} if told else set()) and not recwarn.list


@pytest.mark.parametrize("text", [" " * 90_000, "\n" * 90_000, "a, " * 30_000, "(" * 90_000, "x:" * 45_000, "import " * 12_000, "= " * 45_000])
def test_no_text_makes_the_search_for_names_slow(text):
    start = time.process_time()
    needed("2", {"1": text, "2": "y"})
    assert time.process_time() - start < 2


def test_many_small_cells_do_not_make_the_search_for_answers_slow(grader, tmp_path):
    cells = [cell("# 과제 1-1\nx", metadata={"tags": ["answer"], "task": "1-1"})] * 20_000
    start = time.process_time()
    assert opened(grader, tmp_path, cells=cells).answers
    assert time.process_time() - start < 3


def test_what_is_no_plain_file_is_not_opened(grader, tmp_path):
    os.mkfifo(tmp_path / "in.ipynb")
    with pytest.raises(Unreadable, match="보통 파일"):
        grader.open(tmp_path / "in.ipynb")


def test_a_link_is_not_followed(grader, tmp_path):
    write_submission(tmp_path / "other.ipynb", *RIGHT.values())
    (tmp_path / "in.ipynb").symlink_to(tmp_path / "other.ipynb")
    result = grader.result(tmp_path / "in.ipynb")
    assert result.tasks == [] and "링크라서 열지 않았습니다" in result.notes[0]


def test_the_notebook_of_a_task_holds_nothing_of_the_solution(tmp_path):
    exercise = exercise_of(write_course(tmp_path))
    notebook = compose.task_notebook(exercise, exercise.tasks[1], {**RIGHT, "1-2": "# 과제 1-2\nquadruple = double"}, 7, "expected\n")
    text = "".join(each.source for each in notebook.cells)
    assert "2 * x" not in text and "double(double(x))" not in text and "expected" not in text
    assert [each.id for each in notebook.cells][-3:] == ["answer", "grade", "check"]
    assert all(each.metadata.get("tags") == ["nbval-ignore-output"] for each in notebook.cells if each.id != "grade")


def test_points_come_from_the_grade_cell_alone(tmp_path):
    task = exercise_of(write_course(tmp_path)).tasks[0]

    def judged(**heard):
        return verdict.judge(task, heard, 60)

    assert judged(grade={"passed": True}, answer={"passed": False, "kind": "error"}).points == 2
    assert judged(grade={"passed": False, "kind": "differs"}, answer={"passed": True}, check={"passed": True}).points == 0
    hinted = judged(grade={"passed": False, "kind": "differs"}, check={"kind": "error", "ename": "NotYet", "evalue": "두 배가 아닙니다."})
    assert (hinted.status, hinted.hint) == ("failed", "두 배가 아닙니다.")
    assert judged(grade={"passed": False, "kind": "error", "ename": "NotImplementedError", "evalue": ""}).status == "untouched"
    assert "답 셀 안에" in judged(grade={"passed": False, "kind": "error", "ename": "NameError", "evalue": "name 'f'"}).reason
    assert verdict.judge(task, None, 60).status == "grader" and judged(answer={"passed": True}).points == 0


def run_prelude(body, seed=1, names=None, careful=0.0):
    space: dict = {}
    exec(PRELUDE.read_text(encoding="utf-8"), space)
    return space["_residual_lab_grade"](seed, body, names or {}, careful)


def test_honest_forms_of_a_number_are_spelled_alike():
    import numpy as np
    import torch

    forms = [0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64, requires_grad=True), np.array(0.5)]
    assert len({run_prelude("show(v)", names={"v": form}) for form in forms}) == 1
    rows = [[1.0, 2.0], (1, 2), np.array([1, 2]), torch.tensor([1.0, 2.0]), [torch.tensor(1.0), np.float64(2)]]
    assert len({run_prelude("show(v)", names={"v": row}) for row in rows}) == 1
    tables = [[[1, 2], [3, 4]], torch.tensor([[1.0, 2], [3, 4]]), [torch.tensor([1.0, 2]), torch.tensor([3.0, 4])]]
    assert len({run_prelude("show(v, digits=None)", names={"v": table}) for table in tables}) == 1


def test_different_values_are_spelled_differently():
    values = [1.0, 1.01, -1.0, 100.0, [1.0], [1.0, 0.0], True, None, "1.0", float("nan"), float("inf"), [[1.0]], 0]
    assert len({run_prelude("show(v)", names={"v": value}) for value in values}) == len(values)


def test_a_number_near_the_edge_of_its_rounding_needs_another_seed():
    for value in (1.0005, 0.0010005, 1.37, 13.7):
        with pytest.raises(ArithmeticError):
            run_prelude("show(v)", names={"v": value * (1 + 1e-9)}, careful=1e-5)
    for value in (1.0, 10.0, 0.0, 0.1234, 1234.4):
        noisy = {run_prelude("show(v)", names={"v": value * (1 + error)}) for error in (0, 5e-6, -5e-6)}
        assert len(noisy) == 1
        run_prelude("show(v)", names={"v": value}, careful=1e-5)


def test_inputs_repeat_with_the_seed_whatever_was_done_to_the_generators():
    body = "import random\nshow(draw.random(), tensor(2, 3), whole(3, low=-2, high=2))"
    first = run_prelude(body, 5)
    import torch

    torch.manual_seed(99)
    torch.set_default_dtype(torch.float64)
    try:
        assert run_prelude(body, 5) == first != run_prelude(body, 6)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_learners_names_survive_and_noise_is_swallowed(capfd):
    names = {"show": 1, "draw": 2, "f": lambda: print("소리") or os.write(1, b"raw") and 3}
    assert run_prelude("show(f(), raised(int, 'x'), raised(len, 3))", names=names) == "300 e-2\n'ValueError'\n'TypeError'\n"
    assert names["show"] == 1 and capfd.readouterr().out == ""


def test_a_learners_name_for_a_builtin_breaks_neither_the_grade_cell_nor_the_learners_function():
    names = {"sum": 0, "max": 0.0, "isinstance": None, "limit": 5}
    exec(PRELUDE.read_text(encoding="utf-8"), names)
    exec("def learners():\n    return sum + limit", names)
    assert names["_residual_lab_grade"](1, "show(sum([1, 2]), learners(), digits=None)", names) == "3\n5\n" and names["sum"] == 0


def test_a_learner_may_give_print_exec_and_globals_another_meaning(grader, capsys):
    [exercise] = grader.exercises.values()
    names = {}
    exec(RIGHT["1-1"], names)
    task = exercise.tasks[0]
    exec(compose.grade_source(task, 7), names)
    told = capsys.readouterr().out
    names.update(dict.fromkeys(("print", "exec", "globals"), 0))
    exec(compose.grade_source(task, 7), names)
    assert capsys.readouterr().out == told != ""


def test_only_numbers_come_along():
    import numpy as np
    import torch

    class Large(torch.Tensor):
        def __matmul__(self, other):
            return torch.full((2,), 99.0)

    rows = [[1.0, 2.0], [3.0, 4.0]]
    forms = [torch.tensor(rows), torch.tensor(rows).requires_grad_().as_subclass(Large), np.array(rows), [torch.tensor([1, 2]), (3, 4)]]
    body = "import torch\nshow(only_numbers(v) @ torch.ones(2, dtype=torch.float64), type(only_numbers(v)) is torch.Tensor, digits=None)"
    assert {run_prelude(body, names={"v": form}) for form in forms} == {"2: 3 7\nTrue\n"}


def test_the_table_is_aligned_in_a_terminal():
    tasks = [verdict.TaskResult("1-1", "두 배", 2, 2, "passed"), verdict.TaskResult("1-2", "abc", 0, 13, "error", "이유")]
    lines = reports.table(verdict.Result("가", "01", "연습", "a", tasks)).splitlines()
    assert lines[1].startswith("1-1 두 배  2/2   맞음") and lines[2].endswith("오류  이유") and lines[3].startswith("합계")
