"""Self-check questions: ``quiz("01_degradation")`` as the last line of a cell.

A quiz is a TOML file in ``residual_lab/quizzes``: a ``title`` and ``[[question]]`` entries, each with an ``id``, a ``text``
and ``[[question.choice]]`` entries, each with a ``text``, ``why`` (what to know about just this choice) and, for the one
right answer, ``correct = true``. Words between backticks are code; there is no other markup. Answers are kept by
``progress`` and are no part of the shown output.
"""

from __future__ import annotations

import html
import tomllib
from pathlib import Path

from residual_lab.lab.frontend import css, esm
from residual_lab.mounted import Kept

QUIZZES = Path(__file__).resolve().parent / "quizzes"


class QuizError(ValueError):
    """A quiz file that cannot be used; the text says where and why, in Korean."""


class Quiz(Kept):
    """The questions of one file."""

    kind = "quiz"
    _esm = esm("quiz")
    _css = css("quiz")

    def problem(self, value) -> str | None:
        if not isinstance(value, dict):
            return "답의 형식이 잘못되었습니다."
        for question in self.spec["questions"]:
            if question["id"] == value.get("question"):
                known = any(choice["text"] == value.get("choice") for choice in question["choices"])
                return None if known else "보기에 없는 답입니다."
        return "없는 문제입니다."

    def fallback(self) -> str:
        items = "".join(
            f"<li><p>{_prose(question['text'])}</p><ul>"
            + "".join(f"<li>{_prose(choice['text'])}</li>" for choice in question["choices"])
            + "</ul><details><summary>답과 설명</summary><ul>"
            + "".join(
                f"<li><strong>{'맞음' if choice['correct'] else '아님'}</strong> "
                f"{_prose(choice['text'])} — {_prose(choice['why'])}</li>"
                for choice in question["choices"]
            )
            + "</ul></details></li>"
            for question in self.spec["questions"]
        )
        return f"<p><strong>{html.escape(self.spec['title'])}</strong></p><ol>{items}</ol>"

    def __repr__(self) -> str:
        return f"퀴즈: {self.spec['title']} ({len(self.spec['questions'])}문제)"


def quiz(name: str) -> Quiz:
    """The quiz of ``residual_lab/quizzes/{name}.toml``.

    Raises:
        QuizError: there is no such quiz, or its file is not complete.
    """
    return Quiz(load(name))


def load(name: str, folder: Path = QUIZZES) -> dict:
    """Read and check a quiz file.

    Raises:
        QuizError: there is no such quiz, or the file is incomplete (Korean; it says what is missing where).
    """
    file = folder / f"{name}.toml"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
        raise QuizError(f"없는 퀴즈입니다: {name!r}. 있는 퀴즈: {there}")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise QuizError(f"{file.name}: TOML 문법 오류입니다: {problem}") from None
    questions = content.get("question", [])
    if not questions:
        raise QuizError(f"{file.name}: 문제([[question]])가 없습니다.")
    checked = [_question(question, f"{file.name} 문제 {number}") for number, question in enumerate(questions, 1)]
    ids = [question["id"] for question in checked]
    if len(set(ids)) != len(ids):
        raise QuizError(f"{file.name}: 문제의 id가 겹칩니다: {', '.join(ids)}")
    return {"id": name, "store": f"quizzes/{name}", "title": _text(content, "title", file.name), "questions": checked}


def _question(question: dict, where: str) -> dict:
    choices = [
        {
            "text": _text(choice, "text", f"{where} 보기 {number}"),
            "why": _text(choice, "why", f"{where} 보기 {number}"),
            "correct": choice.get("correct", False) is True,
        }
        for number, choice in enumerate(question.get("choice", []), 1)
    ]
    texts = [choice["text"] for choice in choices]
    right = sum(choice["correct"] for choice in choices)
    if len(choices) < 2 or len(set(texts)) != len(texts):
        raise QuizError(f"{where}: 서로 다른 보기([[question.choice]])가 두 개 이상 있어야 합니다.")
    if right != 1:
        raise QuizError(f"{where}: 정답(correct = true)이 하나여야 하는데 {right}개입니다.")
    return {"id": _text(question, "id", where), "text": _text(question, "text", where), "choices": choices}


_MEANING = {"title": "제목", "id": "이름", "text": "글", "why": "설명"}


def _text(table: dict, key: str, where: str) -> str:
    text = table.get(key)
    if not isinstance(text, str) or not text.strip():
        raise QuizError(f"{where}: {_MEANING[key]}({key})이 비어 있습니다.")
    return " ".join(text.split())


def _prose(text: str) -> str:
    """Escaped text in which words between backticks are code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
