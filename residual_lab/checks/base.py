"""What all checks share: how an answer is called, and how a wrong one is told."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from residual_lab.course import task_key
from residual_lab.progress import progress


class NotYet(AssertionError):
    """An answer that is not right yet. The message says in Korean what to look at; a notebook shows nothing else."""

    def _render_traceback_(self) -> list[str]:
        return [f"✗ {self}"]


def require(condition: bool, message: str) -> None:
    """Raise `NotYet` with the message unless the condition holds."""
    if not condition:
        raise NotYet(message)


def call(function: Callable, *arguments: Any, hints: Mapping[str, str] | None = None) -> Any:
    """Call the learner's function; whatever it raises becomes a `NotYet` that says so.

    Args:
        hints: for errors whose message contains a key, what to say instead.
    """
    name = getattr(function, "__name__", "함수")
    try:
        return function(*arguments)
    except NotImplementedError as stub:
        raise NotYet(f"`{name}`을(를) 아직 채우지 않았습니다.") from stub
    except Exception as problem:
        for fragment, hint in (hints or {}).items():
            require(fragment not in str(problem), hint)
        raise NotYet(f"`{name}`을(를) 부르니 오류가 났습니다. {type(problem).__name__}: {problem}") from problem


def number(value: Any, name: str) -> float:
    """What the learner's function ``name`` returned, as one number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as problem:
        said = "아무것도 돌려주지 않았습니다(return이 없습니다)" if value is None else f"{type(value).__name__}을(를) 돌려주었습니다"
        raise NotYet(f"`{name}`은(는) 수 하나를 돌려주어야 하는데 {said}.") from problem


def finite(value: Any, name: str) -> float:
    """The same, and neither infinite nor nan."""
    one = number(value, name)
    require(math.isfinite(one), f"`{name}`이(가) 유한한 수를 돌려주지 않았습니다: {one}")
    return one


def close(value: float, expected: float, *, relative: float = 1e-4, absolute: float = 1e-12) -> bool:
    """Equal up to the rounding of float32, in which an answer may have been computed."""
    return abs(value - expected) <= relative * abs(expected) + absolute


def passed(task: str) -> None:
    """Say that a task is solved, and keep it in the learner's own record; say also when it could not be kept."""
    print(f"✓ 과제 {task} 통과")
    if not progress.history(task_key(task)):
        progress.append(task_key(task), "passed")
    for notice in progress.notices():
        print(notice, file=sys.stderr)
