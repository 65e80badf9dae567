"""The knobs of experiments that can train on a whole data set (big settings), and what they refuse."""

from __future__ import annotations

from typing import Any

from residual_lab.experiments.base import KnobError, choice
from residual_lab.full_data import BIG_DATA


def data_knob(help: str) -> Any:
    return choice("데이터", {"digits": "숫자 그림 8×8"}, "digits", help=help, big=BIG_DATA)


def augment_knob() -> Any:
    """Whether images are moved and mirrored, see `residual_lab.training.stacked.augmented`."""
    return choice("데이터 증강", {False: "없음"}, False, big={True: "옮기기와 뒤집기"})


def refuse_moved_digits(data: str, augment: bool) -> None:
    """Digits of 8×8 pixels lose their strokes when they are moved, and are other signs when they are mirrored.

    Raises:
        KnobError: in Korean.
    """
    if augment and data == "digits":
        raise KnobError(f"데이터 증강은 큰 데이터({', '.join(BIG_DATA.values())})와 함께 고르세요. 숫자 그림은 옮기면 잘리고 뒤집으면 다른 모양이 됩니다.")
