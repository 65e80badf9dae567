"""`make bench-gpu`: the big settings, on a GPU. What is measured goes to ``assets/big_runs.csv``, which the site shows.

The papers' whole trainings on CIFAR-10 are among them and take long. ``python tests/bench_gpu.py rezero_200`` measures this run only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
from bench_log import append

from residual_lab import big_runs, device
from residual_lab.experiments import EXPERIMENTS


def main(arguments: Sequence[str] | None = None) -> None:
    names = [run.name for run in big_runs.RUNS]
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("names", nargs="*", help=f"{', '.join(names)}; 없으면 모두")
    wanted = given.parse_args(arguments).names
    if unknown := set(wanted) - set(names):
        given.error(f"모르는 설정입니다: {', '.join(sorted(unknown))}. 있는 것: {', '.join(names)}")
    measure_all(names=wanted)


def measure_all(path: Path = big_runs.FILE, names: Sequence[str] = ()) -> None:
    """The runs of `big_runs.RUNS`, or those that are named; one that cannot be measured is told and left as it was."""
    if device().type == "cpu":
        print("GPU가 없어 재지 않았습니다. 전에 잰 값은 그대로 둡니다.")
        return
    for run in [run for run in big_runs.RUNS if run.name in names or not names]:
        try:
            rows = measure(run)
        except RuntimeError as problem:  # missing data, or what CUDA says when its memory is full
            print(f"{run.name}: 재지 못했습니다. {problem}", flush=True)
            continue
        append(rows, path, big_runs.COLUMNS)
        for row in rows:
            print(f"{run.name:<32}{row['series']:<20}{row['mean']:>10}   {row['low']}~{row['high']}   {row['seconds']}초", flush=True)


def measure(run: big_runs.BigRun) -> list[dict[str, str]]:
    """One row for each series: mean, smallest and largest over seeds, and the seconds that all of them took together."""
    started = time.perf_counter()
    numbers = EXPERIMENTS[run.experiment].run(**run.values).numbers[run.measure[0]]
    seconds = f"{time.perf_counter() - started:.0f}"
    name = torch.cuda.get_device_name() if device().type == "cuda" else "CPU"
    where = {"run": run.name, "seconds": seconds, "date": date.today().isoformat(), "device": name, "torch": torch.__version__}
    return [
        {"series": series, "mean": f"{sum(values) / len(values):.4g}", "low": f"{min(values):.4g}", "high": f"{max(values):.4g}",
         "seeds": str(len(values)), **where}
        for series, values in numbers.items()
    ]


if __name__ == "__main__":
    main()
