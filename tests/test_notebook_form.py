"""The form of every notebook of the course, and each rule against a notebook that breaks it."""

from pathlib import Path

import form_rules
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from residual_lab.notebooks import stale
from residual_lab.paths import CHECKOUT

NOTEBOOKS = [path for folder in ("lessons", "solutions", "exercises") for path in sorted((CHECKOUT / folder).glob("*.ipynb"))]


def test_lesson_01_is_among_them():
    names = {path.relative_to(CHECKOUT).as_posix().split("_")[0] for path in NOTEBOOKS}
    assert {"lessons/01", "solutions/01", "exercises/01"} <= names


def test_nothing_is_stale():
    found = stale.problems(CHECKOUT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", form_rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_form(path, rule):
    notebook = nbformat.read(path, as_version=4)
    found = list(rule(notebook, path))
    assert not found, "\n".join(found)


def said(text):
    return new_output("stream", name="stdout", text=text)


def shown(**data):
    return new_output("display_data", data={kind.replace("_", "/"): value for kind, value in data.items()})


def good(path):
    """A short lesson that every rule accepts."""
    opening = "# 제목\n\n" + "\n\n".join(f"## {section}" for section in form_rules.SECTIONS)
    text = 'S002는 "기울기 소멸"이라고 씁니다. **굵게** 쓴 [다른 글](other.md).\n\n> 항등 맵\n\n| S001-02 | 자코비안 |'
    cells = [new_markdown_cell(opening), new_markdown_cell(text)]
    cells += [new_code_cell(f"print({n})", execution_count=n, outputs=[said(f"{n}\n")]) for n in (1, 2, 3)]
    figure = shown(image_png="iVBORw0=", text_plain="그림: 깊이에 따른 학습 오차")
    cells.append(new_code_cell("show()", execution_count=4, outputs=[figure]))
    (path.parent).mkdir()
    (path.parent / "other.md").touch()
    path.touch()
    return new_notebook(cells=cells)


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "lessons" / "01_small.ipynb"
    return good(path), path


def test_a_good_notebook_is_accepted(lesson):
    assert [line for rule in form_rules.RULES for line in rule(*lesson)] == []


def code(source="x = 1", count=5, outputs=(), **metadata):
    return new_code_cell(source, execution_count=count, outputs=list(outputs), metadata=metadata)


@pytest.mark.parametrize(
    ("rule", "cell"),
    [
        ("run_in_order", code(count=None)),
        ("run_in_order", code(count=3)),
        ("nbval_compares", code(tags=["check"])),
        ("nbval_compares", code(tags=["check", "nbval-ignore-output"], outputs=[said("1\n")])),
        ("nbval_compares", code(tags=["check"], outputs=[shown(image_png="iVBORw0=", text_plain="그림: 오차")])),
        ("quiet_code", code("ax.plot(x);  ")),
        ("quiet_code", code("ax.plot(x);\n# 끝")),
        ("quiet_code", code("clear_output()")),
        ("quiet_code", code("!ls")),
        ("quiet_code", code("# NBVAL_IGNORE_OUTPUT\nx = 1")),
        ("quiet_code", code(tags=["raises-exception"])),
        ("quiet_code", code(tags=["timing"])),
        ("clean_outputs", code(outputs=[new_output("stream", name="stderr", text="경고")])),
        ("clean_outputs", code(outputs=[new_output("error", ename="E", evalue="", traceback=[])])),
        ("clean_outputs", code(outputs=[shown(text_plain="[<matplotlib.lines.Line2D at 0x7f0>]")])),
        ("clean_outputs", code(outputs=[shown(text_plain="Text(0.5, 1.0, '제목')")])),
        ("clean_outputs", code(outputs=[shown(text_plain="<Figure size 640x480 with 1 Axes>")])),
        ("short_code", code("x = 1\n" * 16)),
        ("short_code", code("x = 1\n" * 26, tags=["block"])),
        ("alt_text", code(outputs=[shown(image_png="iVBORw0=", text_plain="<Figure size 640x480 with 1 Axes>")])),
        ("alt_text", code(outputs=[shown(text_html='<img src="a.png">', text_plain="표")])),
        ("alt_text", new_markdown_cell("![](a.png)")),
        ("alt_text", new_markdown_cell('<img src="a.png" alt="">')),
        ("heading_order", new_markdown_cell("# 또 하나의 제목")),
        ("heading_order", new_markdown_cell("#### 두 단계 아래")),
        ("links", new_markdown_cell("[없음](none.ipynb#여기)")),
        ("links", new_markdown_cell('<a href="../none.md">없음</a>')),
        ("plain_markdown", new_markdown_cell("```{note}\n참고\n```")),
        ("plain_markdown", new_markdown_cell("{ref}`어디`를 보세요.")),
        ("plain_markdown", new_markdown_cell("**'굵게'**를 쓰지 못합니다.")),
        ("glossary", new_markdown_cell("행렬의 놈을 잽니다.")),
        ("glossary", code('print("테스트 오차")')),
        ("glossary", code(outputs=[said("매개변수 3개\n")])),
        ("glossary", new_markdown_cell("> 인용\n\n기울기\n소멸")),
    ],
)
def test_each_rule_finds_what_it_is_for(lesson, rule, cell):
    notebook, path = lesson
    notebook.cells.append(cell)
    assert list(getattr(form_rules, rule)(notebook, path))


@pytest.mark.parametrize("section", form_rules.SECTIONS)
def test_a_missing_section_is_found(lesson, section):
    notebook, path = lesson
    notebook.cells[0].source = notebook.cells[0].source.replace(f"## {section}", "## 다른 절")
    assert list(form_rules.sections(notebook, path)) == [f"'{section}' 절이 없습니다."]


def test_long_cells_by_the_median_too_few_compared_cells_and_large_files_are_found(lesson):
    notebook, path = lesson
    for cell in notebook.cells[-4:]:
        cell.source = "x = 1\n" * 7
    assert list(form_rules.short_code(notebook, path))
    notebook.cells[2].outputs = []
    assert list(form_rules.nbval_compares(notebook, path))
    path.write_bytes(bytes(form_rules.MAX_BYTES))
    assert list(form_rules.size(notebook, path))


def test_the_answers_of_an_exercise_need_no_number_but_its_checks_need_output(lesson, tmp_path):
    notebook, _ = lesson
    path = tmp_path / "exercises" / "01_small.ipynb"
    assert list(form_rules.nbval_compares(notebook, path)) == ["검사 셀이 없습니다."]
    notebook.cells.append(code(count=None, tags=["answer"]))
    assert list(form_rules.run_in_order(notebook, path)) == []
    assert list(form_rules.run_in_order(notebook, Path("solutions/01_small.ipynb")))
