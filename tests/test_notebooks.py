"""Text to notebook on a small course written here: execution, ids, the derived exercise, staleness, failures."""

import argparse
import json
import shutil
import subprocess
import sys

import nbformat
import nbval_report
import pytest

from residual_lab.notebooks import cli, exercise, execute, stale, text

HEADER = "---\nkernelspec:\n  name: python3\n  display_name: Python 3\n---\n\n"

LESSON = HEADER + '''# 작은 레슨

첫 문단입니다.

```{code-cell} ipython3
import matplotlib.pyplot as plt

print("둘을 더하면", 1 + 1, flush=True)
print("끝")
```

+++ {"id": "figure-intro"}

그림을 그립니다.

```{code-cell} ipython3
:id: figure

print("그림 앞")
_ = plt.plot([1, 4, 9])
plt.show()
print("그림 뒤")
```

```{code-cell} ipython3
:tags: [timing, nbval-ignore-output]

import time

time.perf_counter_ns()
```

```{code-cell} ipython3
import os
import ipywidgets

print(os.path.basename(os.getcwd()), os.environ["OMP_NUM_THREADS"])
ipywidgets.IntSlider(3)
```
'''

SOLUTION = HEADER + '''# 연습

```{code-cell} ipython3
---
tags: [answer]
stub: |
  # 힌트를 보세요.
  raise NotImplementedError("두 배를 채우세요")
---
# 과제 1-1
def double(x):
    """두 배."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [check]
:task: 1-1
:points: 2

assert double(3) == 6, "두 배가 아닙니다."
print("double(3) =", double(3))
```

```{code-cell} ipython3
:tags: [wrong]
:task: 1-1
:says: 두 배가

def double(x):
    return x
```

+++ {"tags": ["solution-only"]}

풀이 설명입니다.

```{code-cell} ipython3
:tags: [answer]

# 과제 1-2
### BEGIN SOLUTION
limit = 10
### END SOLUTION
```

```{code-cell} ipython3
:tags: [check]
:task: 1-2
:points: 3

assert limit == 10, "한계는 10입니다."
print(limit)
```

```{code-cell} ipython3
:tags: [wrong]
:task: 1-2
:says: 10입니다

limit = 9
```
'''


def write_course(root, lesson=LESSON, solution=SOLUTION):
    for folder, body in (("lessons", lesson), ("solutions", solution)):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / "01_small.md").write_text(body, encoding="utf-8")
    return root


def notebooks(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.ipynb"))}


def command(root, *names, check=False):
    return cli.run(argparse.Namespace(names=list(names), check=check, times=False), root)


def lesson_of(root):
    return text.find_sources(root, ["lessons"])[0]


def solution_of(root):
    return text.find_sources(root, ["solutions"])[0]


def cells_with(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = write_course(tmp_path_factory.mktemp("course"))
    assert command(root) == 0
    return root


@pytest.fixture
def course(built, tmp_path):
    return shutil.copytree(built, tmp_path / "course")


def stored(root, name):
    return nbformat.read(root / name, as_version=4)


def test_outputs_are_stored_in_order_without_widgets_or_the_machines_details(built):
    notebook = stored(built, "lessons/01_small.ipynb")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert [output.text for output in code[0].outputs] == ["둘을 더하면 2\n끝\n"]
    before, figure, after = code[1].outputs
    assert (before.text, after.text) == ("그림 앞\n", "그림 뒤\n")
    assert figure.data["image/png"].startswith("iVBOR")
    where, slider = code[3].outputs
    assert where.text == "lessons 1\n"
    assert list(slider.data) == ["text/plain"]
    assert notebook.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "version" not in notebook.metadata.language_info
    assert set(notebook.metadata) == {"kernelspec", "language_info", "residual_lab"}
    assert not any("execution" in cell.metadata for cell in notebook.cells)


def test_a_second_run_changes_no_byte_even_with_figures_and_times(course):
    before = notebooks(course)
    assert command(course) == 0
    assert notebooks(course) == before


def test_a_changed_timing_cell_gets_a_new_time(course):
    source = lesson_of(course)
    old = cells_with(stored(course, "lessons/01_small.ipynb"), "timing")[0]
    source.path.write_text(LESSON.replace("time.perf_counter_ns()", "time.perf_counter_ns() + 0"), encoding="utf-8")
    assert execute.build(source) == [source.notebook]
    assert cells_with(stored(course, "lessons/01_small.ipynb"), "timing")[0].outputs != old.outputs


def test_inserting_a_cell_leaves_the_other_ids(tmp_path):
    source = lesson_of(write_course(tmp_path))
    before = [cell.id for cell in text.read_source(source).cells]
    assert len(set(before)) == len(before)
    assert {"figure", "figure-intro"} <= set(before)
    extra = "```{code-cell} ipython3\nprint('새 셀')\n```\n\n+++ {\"id\": \"figure-intro\"}"
    source.path.write_text(LESSON.replace('+++ {"id": "figure-intro"}', extra), encoding="utf-8")
    after = [cell.id for cell in text.read_source(source).cells]
    assert len(after) == len(before) + 1
    assert [name for name in after if name in before] == before


def test_equal_cells_and_bad_ids(tmp_path):
    twice = LESSON + "\n```{code-cell} ipython3\npass\n```\n\n```{code-cell} ipython3\npass\n```\n"
    source = lesson_of(write_course(tmp_path, twice))
    ids = [cell.id for cell in text.read_source(source).cells]
    assert len(set(ids)) == len(ids)
    for change, says in ((("figure-intro", "figure"), "두 번"), ((":id: figure", ":id: 그림"), "글자")):
        source.path.write_text(LESSON.replace(*change), encoding="utf-8")
        with pytest.raises(text.NotebookError, match=says):
            text.read_source(source)


def test_the_exercise_has_stubs_locked_checks_and_their_outputs(built):
    solved, given = stored(built, "solutions/01_small.ipynb"), stored(built, "exercises/01_small.ipynb")
    double, limit = cells_with(given, "answer")
    assert double.source == (
        '# 과제 1-1\ndef double(x):\n    """두 배."""\n    # 힌트를 보세요.\n'
        '    raise NotImplementedError("두 배를 채우세요")'
    )
    assert limit.source == '# 과제 1-2\nraise NotImplementedError("여기를 채우세요")'
    assert all(cell.outputs == [] and cell.execution_count is None for cell in (double, limit))
    checks = cells_with(given, "check")
    assert [(cell.metadata.task, cell.metadata.points) for cell in checks] == [("1-1", 2), ("1-2", 3)]
    assert [cell.outputs[0].text for cell in checks] == ["double(3) = 6\n", "10\n"]
    assert all(cell.metadata.editable is False and cell.metadata.deletable is False for cell in checks)
    assert not cells_with(given, "solution-only") and cells_with(solved, "solution-only")
    assert not cells_with(given, "wrong") and not cells_with(solved, "wrong")
    assert {cell.id for cell in given.cells} < {cell.id for cell in solved.cells}
    assert {"answer-1-1", "check-1-1", "answer-1-2", "check-1-2"} <= {cell.id for cell in given.cells}
    assert not any("2 * x" in cell.source or "BEGIN SOLUTION" in cell.source for cell in given.cells)


def test_wrong_answers_and_a_notebook_with_one_of_them(built):
    source = solution_of(built)
    wrong = exercise.wrong_answers(source)
    assert [(task, says) for task, _, says in wrong] == [("1-1", "두 배가"), ("1-2", "10입니다")]
    swapped = exercise.with_answer(source, "1-1", wrong[0][1])
    assert "2 * x" not in "".join(cell.source for cell in swapped.cells)
    with pytest.raises(text.NotebookError, match="두 배가 아닙니다"):
        execute.execute(swapped, source)
    with pytest.raises(text.NotebookError, match="9-9"):
        exercise.with_answer(source, "9-9", "pass")


def without(cell_tag):
    """The solution without the first cell that has this tag."""
    start = SOLUTION.index("```{code-cell}", SOLUTION.rindex("```\n", 0, SOLUTION.index(cell_tag)) + 4)
    return SOLUTION[:start] + SOLUTION[SOLUTION.index("\n```\n", start) + 5 :]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (SOLUTION.replace("    ### END SOLUTION\n", "", 1), "짝이 되는"),
        (SOLUTION.replace("    ### BEGIN SOLUTION\n", "", 1), "앞에"),
        (SOLUTION.replace("    return 2 * x\n", "", 1), "비어"),
        (SOLUTION.replace("### BEGIN SOLUTION\nlimit = 10\n### END SOLUTION", "limit = 10"), "없습니다"),
        (SOLUTION.replace("# 과제 1-2\n", ""), "첫 줄"),
        (SOLUTION.replace("# 과제 1-2", "# 과제 1-1"), "두 번"),
        (without("[check]"), "검사 셀"),
        (without("[wrong]"), "오답 셀"),
        (SOLUTION.replace(":task: 1-2\n:points", ":task: 1-7\n:points"), "1-7"),
        (SOLUTION.replace(":points: 2\n", ""), "배점"),
        (SOLUTION.replace(":says: 두 배가\n", ""), "says"),
        (SOLUTION.replace("tags: [check]", "tags: [check, answer]"), "같이"),
        (SOLUTION.replace(":tags: [answer]\n", ""), "answer 태그"),
        (HEADER + "# 과제 없음\n", "하나도"),
    ],
)
def test_a_mistake_in_the_markers_is_a_clear_error(tmp_path, broken, says):
    source = solution_of(write_course(tmp_path, solution=broken))
    with pytest.raises(text.NotebookError, match=says) as caught:
        execute.build(source)
    assert "solutions/01_small.md" in str(caught.value)
    assert not notebooks(tmp_path)


def test_nothing_is_stale_after_building(built, capsys):
    assert stale.problems(built) == []
    assert command(built, check=True) == 0
    assert "모두" in capsys.readouterr().out


def edit_cell(path, index, **changes):
    raw = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is None:
            del raw["cells"][index][key]
        else:
            raw["cells"][index][key] = value
    path.write_text(json.dumps(raw), encoding="utf-8")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda c: (c / "lessons/01_small.md").write_text(LESSON + "\n끝.\n", encoding="utf-8"), "lessons/01_small.md가 바뀐"),
        (lambda c: (c / "solutions/01_small.md").write_text(SOLUTION + "\n끝.\n", encoding="utf-8"), "solutions/01_small.md가 바뀐"),
        (lambda c: (c / "lessons/01_small.ipynb").unlink(), "lessons/01_small.ipynb: 없습니다"),
        (lambda c: (c / "exercises/01_small.ipynb").unlink(), "exercises/01_small.ipynb: 없습니다"),
        (lambda c: edit_cell(c / "lessons/01_small.ipynb", 1, source="print(3)"), "직접 고쳤습니다"),
        (lambda c: edit_cell(c / "lessons/01_small.ipynb", 1, execution_count=7), "순서대로"),
        (lambda c: edit_cell(c / "exercises/01_small.ipynb", 1, source="def double(x): ..."), "만든 것과 다릅니다: [answer-1-1]"),
        (lambda c: edit_cell(c / "exercises/01_small.ipynb", 2, outputs=[]), "만든 것과 다릅니다: [check-1-1]"),
        (lambda c: edit_cell(c / "exercises/01_small.ipynb", 2, id=None), "3번째 셀에 id가 없습니다"),
        (lambda c: edit_cell(c / "lessons/01_small.ipynb", 0, id=None), "1번째 셀에 id가 없습니다"),
        (lambda c: (c / "lessons/01_small.ipynb").write_text("{"), "읽을 수 없습니다"),
        (lambda c: (c / "lessons/01_small.ipynb").write_text("{}"), "노트북이 아닙니다"),
        (lambda c: (c / "lessons/01_small.md").unlink(), "만드는 원본이 없습니다"),
    ],
)
def test_check_says_what_is_stale(course, capsys, break_it, says):
    break_it(course)
    assert command(course, check=True) == 1
    assert says in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"{}", b"\xff\xfe"], ids=["no notebook", "no text"])
def test_a_damaged_notebook_is_made_again(course, damage):
    (course / "lessons/01_small.ipynb").write_bytes(damage)
    assert command(course, "lessons/01") == 0
    assert stale.problems(course) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('조심')", "stderr"),
        ("import os; os._exit(3)", "죽었습니다"),
    ],
)
def test_a_cell_that_fails_is_shown_and_the_notebook_stays_as_it_was(course, capsys, line, says):
    before = notebooks(course)
    bad = LESSON.replace('print("둘을 더하면", 1 + 1, flush=True)', line)
    (course / "lessons/01_small.md").write_text(bad, encoding="utf-8")
    assert command(course, "lessons/01") == 1
    error = capsys.readouterr().err
    assert says in error and "lessons/01_small.md" in error
    assert f"import matplotlib.pyplot as plt\n\n{line}" in error
    assert notebooks(course) == before
    assert not list(course.rglob("*.new"))


def test_names_choose_sources(built, capsys):
    def chosen(*names):
        return [source.name for source in text.find_sources(built, names)]

    assert chosen() == chosen("01") == chosen("01_small.md") == ["lessons/01_small", "solutions/01_small"]
    assert chosen("lessons") == chosen("lessons/01") == chosen("lessons/01_small.ipynb") == ["lessons/01_small"]
    assert chosen("exercises/01_small.ipynb") == ["solutions/01_small"]
    assert chosen(r"lessons\01_small.md") == chosen(r".\lessons\01_small.md") == chosen("lessons\\") == ["lessons/01_small"]
    assert command(built, "07") == 2
    assert "07" in capsys.readouterr().err


def test_windows_which_counts_no_time_of_ended_kernels_writes_no_zeros(course, capsys, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    assert cli.run(argparse.Namespace(names=["lessons"], check=False, times=True), course) == 2
    assert "Windows" in capsys.readouterr().err and not (course / "assets").exists()


def test_making_notebooks_does_not_load_torch():
    modules = "residual_lab.notebooks.cli, residual_lab.notebooks.execute, residual_lab.notebooks.stale"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_without_a_course_says_so(tmp_path, capsys):
    assert command(tmp_path) == 2
    assert "강의 원본" in capsys.readouterr().err


def test_what_is_written_passes_strict_nbval(built, tmp_path):
    for name in ("lessons", "solutions"):
        said = nbval_report.verdicts(built / name / "01_small.ipynb", tmp_path)
        assert set(said.values()) == {"passed"}, said
