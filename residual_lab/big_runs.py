"""The big settings that are measured on a GPU, what papers found in the same task, and where the measurements lie."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from residual_lab.paths import ASSETS

FILE = ASSETS / "big_runs.csv"
COLUMNS = ("run", "series", "mean", "low", "high", "seeds", "seconds", "date", "device", "torch")
CIFAR = {"data": "cifar10", "augment": True, "seeds_per_run": 5}


@dataclass(frozen=True)
class BigRun:
    """One setting of an experiment.

    Attributes:
        name: of the run in the file and on the command line.
        experiment, values: the experiment's id and its settings.
        measure: which of the result's numbers is kept, and what the reader is told it is.
        paper: what a paper reports of the same task, by series; empty where no paper has this task.
        source: of the paper's numbers.
        labels: what the reader is told of the numbers' keys that are no series of the experiment.
    """

    name: str
    experiment: str
    values: Mapping[str, Any]
    measure: tuple[str, str]
    paper: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


TEST_ERROR = ("test_error", "시험 오차 (%)")
RUNS = (
    BigRun("cifar10_56", "conv_2x2", {"deep": 56, "epochs": 164, **CIFAR}, TEST_ERROR,
           {"residual_shallow": "8.75", "residual_deep": "6.97"}, "He 등(2015), 표 6"),
    BigRun("cifar10_110", "conv_2x2", {"deep": 110, "epochs": 164, **CIFAR}, TEST_ERROR,
           {"plain_deep": "60을 넘음", "residual_shallow": "8.75", "residual_deep": "6.43 (다섯 번의 평균 6.61)"}, "He 등(2015), 표 6과 §4.2"),
    BigRun("cifar10_1202", "conv_2x2", {"deep": 1202, "epochs": 164, **CIFAR, "seeds_per_run": 1}, TEST_ERROR,
           {"residual_shallow": "8.75", "residual_deep": "7.93"}, "He 등(2015), 표 6"),
    BigRun("fashion_20_seeds", "conv_2x2", {"deep": 110, "epochs": 5, "seeds_per_run": 20, "data": "fashion_mnist", "precision": "bfloat16"},
           ("train_error", "학습 오차 (%)")),
    BigRun("digits_20_seeds", "conv_2x2", {"deep": 110, "epochs": 30, "seeds_per_run": 20}, ("train_error", "학습 오차 (%)")),
    BigRun("orders_110", "order_and_last_bn", {"depth": 110, "lr": 0.1, "steps": 64_000, **CIFAR}, TEST_ERROR,
           {"original": "6.61", "full": "6.37"}, "He 등(2016), 표 2, 다섯 번의 중앙값"),
    BigRun("orders_1001", "order_and_last_bn", {"depth": 1001, "lr": 0.1, "steps": 64_000, **CIFAR, "seeds_per_run": 2}, TEST_ERROR,
           {"original": "7.61", "full": "4.92"}, "He 등(2016), 표 3, 다섯 번의 중앙값"),
    BigRun("orders_1001_digits", "order_and_last_bn", {"depth": 1001, "lr": 0.1, "steps": 2_000}, ("train_loss", "학습 손실")),
    BigRun("pre_post_200", "depth_use", {"depth": 200, "lr": 0.001, "seeds_per_run": 20}, ("share", "뒤쪽 절반 블록의 몫")),
    *(BigRun(f"rescue_200_{form}_{precision}", "deep_rescue", {"form": form, "depth": 200, "lr": 0.001, "seeds_per_run": 20, "precision": precision},
             ("loss", "학습 손실 (nat)"), labels={"final": "마지막 다섯 단계"})
      for form, precision in (("none", "float32"), ("post", "float32"), ("pre", "float32"), ("deepnorm", "float32"), ("deepnorm", "bfloat16"))),
    BigRun("rezero_200", "rezero_gain", {"depth": 200, "seeds_per_run": 20}, ("alpha", "α의 크기, 블록 평균"),
           labels={"mean": "모든 블록", "first": "앞 3분의 1", "last": "뒤 3분의 1"}),
)  # fmt: skip


def read(path: Path = FILE) -> dict[str, dict[str, dict[str, str]]]:
    """The newest measurements: by run, then by series."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["run"], {})[row["series"]] = row
    return found
