"""From what nbval said of a task's cells to points and a reason in Korean."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field

from .exercise import Exercise, GradedTask
from .session import Heard
from .submission import Submission

PASSED, FAILED, ERROR, TIMEOUT, DIED, OUTPUT, UNTOUCHED, MISSING, UNREADABLE, GRADER = (
    "passed", "failed", "error", "timeout", "died", "output", "untouched", "missing", "unreadable", "grader")

LABELS = {
    PASSED: "맞음", FAILED: "틀림", ERROR: "오류", TIMEOUT: "시간 초과", DIED: "커널 종료", OUTPUT: "출력 초과",
    UNTOUCHED: "빈칸", MISSING: "셀 없음", UNREADABLE: "읽을 수 없음", GRADER: "채점 실패",
}


IMPORTS_COURSE = "답 셀이 과정 패키지(residual_lab)를 불러옵니다. 읽어 보십시오."


@dataclass(frozen=True)
class TaskResult:
    task: str
    title: str
    points: int
    maximum: int
    status: str
    reason: str = ""
    hint: str = ""
    """What the exercise's own check said: it ran beside the learner's code and may be anything."""
    seconds: float = 0.0
    note: str = ""
    """For the instructor; it changes no points."""


@dataclass
class Result:
    """All that is known of one submission."""

    learner: str
    exercise: str
    title: str
    file: str
    tasks: list[TaskResult]
    notes: list[str] = field(default_factory=list)
    protection: str = ""
    learner_id: str = ""

    @property
    def points(self) -> int:
        return sum(task.points for task in self.tasks)

    @property
    def maximum(self) -> int:
        return sum(task.maximum for task in self.tasks)

    def to_dict(self) -> dict:
        return {**asdict(self), "points": self.points, "maximum": self.maximum}

    @classmethod
    def from_dict(cls, data: dict) -> Result:
        own = {key: value for key, value in data.items() if key not in ("points", "maximum", "tasks")}
        return cls(tasks=[TaskResult(**task) for task in data["tasks"]], **own)


def without_running(task: GradedTask, submission: Submission) -> TaskResult | None:
    """The result of a task that needs no kernel."""
    if task.name in submission.answers:
        return None
    if task.name in submission.untouched:
        return _lost(task, UNTOUCHED, "답 셀을 아직 채우지 않았습니다.")
    return _lost(task, MISSING, "채점할 답 셀이 없습니다.")


def unreadable(exercise: Exercise | None, why: str) -> list[TaskResult]:
    return [_lost(task, UNREADABLE, why) for task in exercise.tasks] if exercise else []


def judge(task: GradedTask, heard: Heard | None, cell_seconds: float) -> TaskResult:
    """Full points if nbval found the grade cell's output equal, else none. Nothing else counts."""
    if heard is None or "grade" not in heard:
        return _lost(task, GRADER, "채점 프로세스가 끝까지 돌지 못했습니다. 이 과제만 다시 채점해 보십시오.")
    grade, answer = heard["grade"], heard.get("answer", {})
    seconds = round(grade.get("seconds", 0.0) + answer.get("seconds", 0.0), 2)
    if grade["passed"]:
        return TaskResult(task.name, task.title, task.points, task.points, PASSED, seconds=seconds)
    first = answer if answer and not answer.get("passed", True) else grade
    status, reason = _explain(first, grade, cell_seconds)
    return _lost(task, status, reason, seconds, _hint(heard.get("check", {}), reason))


def _explain(first: dict, grade: dict, cell_seconds: float) -> tuple[str, str]:
    kind = first.get("kind")
    if kind == "timeout":
        return TIMEOUT, f"{cell_seconds:g}초 안에 끝나지 않았습니다. 끝나지 않는 반복문이 있는지 보십시오."
    if kind == "died":
        return DIED, "실행하는 도중에 커널이 끝났습니다(메모리나 CPU 시간의 한도를 넘었거나, 프로그램을 끝내는 코드가 있습니다)."
    if kind == "output":
        return OUTPUT, "출력이 너무 많아 실행을 멈추었습니다."
    if kind == "error":
        name, said = clean(first.get("ename", "")), clean(first.get("evalue", ""))
        if name == "NotImplementedError":
            return UNTOUCHED, "아직 채우지 않은 함수가 있습니다."
        advice = " 답 셀 밖에서 정의한 것은 채점할 때 없습니다. 답 셀 안에 쓰십시오." if name == "NameError" else ""
        return ERROR, f"실행하니 오류가 났습니다. {name}: {said}{advice}"
    if kind == "differs":
        return FAILED, "새로 뽑은 입력에서 값이 풀이와 다릅니다."
    if grade is not first and grade.get("kind") == "differs":
        return FAILED, "새로 뽑은 입력에서 값이 풀이와 다릅니다."
    return GRADER, f"채점하지 못했습니다. {clean(first.get('evalue', ''))}"


def _hint(check: dict, reason: str) -> str:
    said = clean(check.get("evalue", ""))
    return said if check.get("kind") == "error" and check.get("ename") == "NotYet" and said not in reason else ""


_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Without terminal codes, reversed text, and what UTF-8 and XML cannot spell."""
    return _CONTROL.sub("", text)


def clean(text: object) -> str:
    """A learner's words, on one short line."""
    return " ".join(printable(str(text)).split())[:300]


def _lost(task: GradedTask, status: str, reason: str, seconds: float = 0.0, hint: str = "") -> TaskResult:
    return TaskResult(task.name, task.title, 0, task.points, status, reason, hint, seconds)
