"""Predict, then observe: the learner commits to a guess before a run, and sees it beside the result afterwards.

    guess = Curve("01-depth", "깊이에 따라 학습 손실은 어떻게 달라질까요?", x=[8, 16, 32], x_label="깊이 (층)",
                  y_label="마지막 학습 손실", low=0.001, high=3, log=True)
    guess                                     # last line of a cell: draw a curve, then 적어 두기
    guess.check(losses, text="왜 그런지 …")    # last line of a later cell: 확인하기

A guess is kept in the session and in the learner's own file, so it survives a reload and a restart; guesses that were
written over are kept as well. Shown outputs hold no guess.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

import numpy as np

from residual_lab.lab.frontend import css, esm
from residual_lab.mounted import Kept


class Prediction(Kept):
    """What the three kinds of prediction share."""

    kind = "predict"
    _esm = esm("predict")
    _css = css("predict")

    def __init__(self, id: str, question: str, **form):
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", id):
            raise ValueError(f"예측의 이름에는 영어 소문자, 숫자, -, _만 쓸 수 있습니다: {id!r}")
        if not question.strip():
            raise ValueError("예측에는 질문이 있어야 합니다.")
        super().__init__({"id": id, "store": f"predictions/{id}", "question": question, **form})

    @property
    def value(self):
        """The latest guess; None when there is none."""
        history = self.history()
        return history[-1]["value"] if history else None

    def check(self, actual, *, text: str, digits: int = 2) -> Check:
        """A widget that shows the guess beside the result, and ``text``: why it came out so.

        The result goes into the stored output rounded to ``digits`` significant digits. Where even those differ
        from one machine to the next, tag the cell ``nbval-ignore-output`` and assert the claim instead.

        Raises:
            ValueError: no ``text``, or a result that does not fit the question (Korean).
        """
        if not text.strip():
            raise ValueError("확인하기에는 결과를 읽어 주는 문장(text)이 있어야 합니다.")
        return Check(self, {**self.spec, "actual": self._actual(actual, digits), "text": text})

    def _actual(self, actual, digits: int):
        raise NotImplementedError

    def result_html(self, actual) -> str:
        """The result as static HTML."""
        raise NotImplementedError

    def fallback(self) -> str:
        return f"<p><strong>예측하기.</strong> {html.escape(self.spec['question'])}</p>{self._form_html()}"

    def _form_html(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"예측: {self.spec['question']}"


class Choice(Prediction):
    """A prediction that is one of a few answers. ``check`` takes the answer that came true (its text or its index).

    Raises:
        ValueError: fewer than two different options, or no question or a name with other letters (Korean).
    """

    def __init__(self, id: str, question: str, options: Sequence[str]):
        options = list(options)
        if len(options) < 2 or len(set(options)) != len(options):
            raise ValueError("보기는 서로 다른 것으로 두 개 이상이어야 합니다.")
        super().__init__(id, question, form="choice", options=options)

    def problem(self, value) -> str | None:
        return None if value in self.spec["options"] else "보기에 없는 답입니다."

    def _actual(self, actual, digits: int) -> str:
        options = self.spec["options"]
        if isinstance(actual, int) and 0 <= actual < len(options):
            return options[actual]
        if actual not in options:
            raise ValueError(f"보기에 없는 결과입니다: {actual!r}. 보기: {', '.join(options)}")
        return actual

    def _form_html(self) -> str:
        return "<ul>" + "".join(f"<li>{html.escape(option)}</li>" for option in self.spec["options"]) + "</ul>"

    def result_html(self, actual) -> str:
        return f"<p>결과: {html.escape(actual)}</p>"


class Number(Prediction):
    """A prediction that is one number. ``check`` takes a number, or one a seed."""

    def __init__(self, id: str, question: str, low: float, high: float, unit: str = "", *, log: bool = False):
        _check_range(low, high, log)
        super().__init__(id, question, form="number", low=low, high=high, unit=unit, log=log)

    def problem(self, value) -> str | None:
        return _outside([value], self.spec)

    def _actual(self, actual, digits: int) -> dict:
        runs = _array(actual).reshape(-1)
        return {**_spread(runs[:, None], digits, single=True), "runs": [_round(run, digits) for run in runs]}

    def _form_html(self) -> str:
        return f"<p>{_say(self.spec['low'])}에서 {_say(self.spec['high'])} {html.escape(self.spec['unit'])} 사이의 수</p>"

    def result_html(self, actual) -> str:
        return f"<p>결과: {_say_spread(actual['mean'], actual['low'], actual['high'])} {html.escape(self.spec['unit'])}</p>"


class Curve(Prediction):
    """A prediction drawn on axes, one point for each ``x`` (spaced evenly). ``check`` takes ``[seeds, x]`` or ``[x]``.

    Raises:
        ValueError: fewer than two places, a range that is none, or no question or a name with other letters (Korean).
    """

    def __init__(
        self,
        id: str,
        question: str,
        x: Sequence,
        x_label: str,
        y_label: str,
        low: float,
        high: float,
        *,
        log: bool = False,
    ):
        _check_range(low, high, log)
        x = [str(place) for place in x]
        if len(x) < 2:
            raise ValueError("곡선을 그리려면 x가 두 개 이상 있어야 합니다.")
        super().__init__(
            id, question, form="curve", x=x, x_label=x_label, y_label=y_label, low=low, high=high, log=log
        )

    def problem(self, value) -> str | None:
        if not isinstance(value, list) or len(value) != len(self.spec["x"]):
            return "곡선에는 x마다 점이 하나씩 있어야 합니다."
        return _outside(value, self.spec)

    def _actual(self, actual, digits: int) -> dict:
        runs = np.atleast_2d(_array(actual))
        if runs.ndim != 2 or runs.shape[1] != len(self.spec["x"]):
            raise ValueError(f"결과의 모양이 [시드, {len(self.spec['x'])}]이어야 하는데 {list(runs.shape)}입니다.")
        return _spread(runs, digits)

    def _form_html(self) -> str:
        axes = f"{self.spec['x_label']} {', '.join(self.spec['x'])} — {self.spec['y_label']}"
        return f"<p>{html.escape(axes)}</p>"

    def result_html(self, actual) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(x)}</td><td>{_say_spread(mean, low, high)}</td></tr>"
            for x, mean, low, high in zip(self.spec["x"], actual["mean"], actual["low"], actual["high"], strict=True)
        )
        head = f"<tr><th>{html.escape(self.spec['x_label'])}</th><th>{html.escape(self.spec['y_label'])}</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


class Check(Kept):
    """The guess beside the result; it reads what the prediction kept and keeps nothing itself."""

    kind = "check"
    _esm = esm("predict")
    _css = css("predict")

    def __init__(self, prediction: Prediction, spec: dict):
        self._prediction = prediction
        super().__init__(spec)

    def problem(self, value) -> str | None:
        return self._prediction.problem(value)

    def fallback(self) -> str:
        result = self._prediction.result_html(self.spec["actual"])
        question, text = html.escape(self.spec["question"]), html.escape(self.spec["text"])
        return f"<p><strong>확인하기.</strong> {question}</p><details><summary>결과 보기</summary>{result}<p>{text}</p></details>"

    def __repr__(self) -> str:
        return f"확인: {self.spec['question']}"


def _check_range(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"범위가 잘못되었습니다: low={low}, high={high}")
    if log and low <= 0:
        raise ValueError(f"로그 눈금의 범위는 0보다 커야 합니다: low={low}")


def _outside(values, spec: dict) -> str | None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not spec["low"] <= value <= spec["high"]:
            return f"{_say(spec['low'])}에서 {_say(spec['high'])} 사이의 수여야 합니다."
    return None


def _array(values) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values, dtype=float)


def _spread(runs: np.ndarray, digits: int, single: bool = False) -> dict:
    """Mean, smallest and largest over the seeds that stayed finite; None where every seed diverged."""
    finite = np.ma.masked_invalid(runs)
    spread = {"seeds": len(runs)}
    for name, row in (("mean", finite.mean(axis=0)), ("low", finite.min(axis=0)), ("high", finite.max(axis=0))):
        column = [_round(value, digits) for value in np.ma.filled(row, np.nan)]
        spread[name] = column[0] if single else column
    return spread


def _round(value: float, digits: int) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _say(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _say_spread(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "발산"
    return _say(mean) if low == high else f"{_say(mean)} ({_say(low)}~{_say(high)})"
