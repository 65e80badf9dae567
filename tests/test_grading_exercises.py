"""The real exercises: every task can be graded, solutions get everything, untouched exercises nothing, wrong answers are told apart."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from residual_lab.grading import sandbox
from residual_lab.grading.compose import reference_notebook
from residual_lab.grading.exercise import PRELUDE, read_exercise
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


def values(name, answer=None):
    """What a task's grade cell shows of an answer (the solution if None), in this process and for one seed; its exception's name if it fails."""
    graded = read_exercise(next(source for source in SOLUTIONS if source.slug.startswith(f"{name.split('-')[0]:0>2}_")))
    task = next(task for task in graded.tasks if task.name == name)
    space = {}
    for cell in (PRELUDE.read_text(encoding="utf-8"), *graded.setup[1:], answer or task.solution):  # the first one installs the package
        exec(cell, space)
    try:
        return space["_residual_lab_grade"](7, task.grade, space)
    except Exception as problem:
        if answer is None:
            raise
        return type(problem).__name__


REZERO = """
class ReZeroBlock(nn.Module):
    def __init__(self, attention, ffn):
        super().__init__()
        self.attention, self.ffn, self.alpha = attention, ffn, nn.Parameter(torch.zeros({}))

    def forward(self, x):
        x = x + self.alpha * self.attention(x)
        return x + self.alpha * self.ffn(x)
"""


@pytest.mark.parametrize(("task", "answer"), [
    ("2-4", """
def as_plain(W1, b1, W2, b2):
    eye, none = torch.eye(W1.shape[1], dtype=W1.dtype), torch.zeros(2 * W1.shape[1], dtype=W1.dtype)
    parts = torch.cat([W1, eye, -eye]), torch.cat([b1, none]), torch.cat([W2, eye, -eye], 1), b2
    return [part.numpy() for part in parts]
"""),
    ("8-4", REZERO.format("()")),
    ("8-4", REZERO.format("1, 1")),
    ("9-4", """
def block_step(x, branch, survival, training):
    factor = float(torch.rand(()) < survival) if training else survival
    return (x + factor * branch(x)).relu() if factor else x.relu()
"""),
], ids=["numpy", "α without an axis", "α with two", "a branch times 0 is not called"])
def test_right_answers_of_another_form_show_what_the_solution_shows(task, answer):
    assert values(task, answer) == values(task)


@pytest.mark.parametrize(("task", "answer"), [
    ("1-1", """
class Gone(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return args[0]

def embed_shallow(weights, k):
    return weights[:-1] + [torch.zeros(1, 1).as_subclass(Gone)] * k + weights[-1:]
"""),
    ("2-4", """
class Whole:
    ndim, shape, dtype = 2, (1, 1), torch.float64

    def __init__(self, *parts):
        self.parts = parts

    def double(self):
        return self

    T = property(double)

    def __len__(self):
        return 1

    def __rmatmul__(self, x):
        W1, b1, W2, b2 = self.parts
        self.y = x + (x @ W1.T + b1).relu() @ W2.T + b2
        self.shape = W1.shape
        return self

    def __add__(self, other):
        return self

    def relu(self):
        return self

    def __matmul__(self, other):
        return self.y

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return args[1].__rmatmul__(args[0]) if isinstance(args[1], cls) else args[0].y

def as_plain(W1, b1, W2, b2):
    return Whole(W1, b1, W2, b2), 0 * b2, W2, 0 * b2
"""),
    ("2-5", """
class Small(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.tensor(0.0) if function is torch.linalg.matrix_norm else super().__torch_function__(function, types, args, kwargs or {})

def matrix_residuals(M, L):
    eye = torch.eye(len(M), dtype=M.dtype)
    return [A.as_subclass(Small) for A in [torch.linalg.matrix_exp(M) - eye] + [0 * eye] * (L - 1)]
"""),
], ids=["gone from a product", "a product of its own", "no norm"])
def test_an_object_that_only_plays_a_tensor_gets_nothing(task, answer):
    assert values(task, answer) != values(task)


def test_a_solution_gets_every_point_in_the_sandbox(tmp_path):
    """End to end on an exercise with torch: a kernel for each task under nbval, in bubblewrap."""
    source = next(source for source in SOLUTIONS if source.slug.startswith("07_"))
    graded = read_exercise(source)
    path = tmp_path / "학습자 하나.ipynb"
    nbformat.write(nbformat.read(source.notebook, as_version=4), path)
    result = Grader({graded.slug: graded}, sandbox.choose("bwrap")).result(path)
    assert [(task.task, task.status, task.reason) for task in result.tasks] == [(task.name, "passed", "") for task in graded.tasks]
    assert (result.points, result.maximum) == (graded.points, graded.points)
