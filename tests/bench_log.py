"""Where `make bench` puts what it measured: a line on the terminal, and a row in ``assets/benchmarks.csv``, which keeps every run."""

from __future__ import annotations

import csv
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

from residual_lab.site.benchmarks import COLUMNS, FILE


def append(rows: Iterable[Mapping[str, str]], path: Path, columns: Sequence[str]) -> None:
    """Add rows to a CSV file, which keeps every run; one that is not there begins with its header."""
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


class Log:
    """Rows of one run. Each is written when it is known, so that a run that is cut short keeps what it has."""

    def __init__(self):
        self.where = {"date": date.today().isoformat(), "machine": platform.machine(), "cores": str(os.cpu_count()),
                      "python": platform.python_version(), "torch": metadata.version("torch")}

    def section(self, title: str) -> None:
        print(f"\n{title} (부하 {os.getloadavg()[0]:.1f})", flush=True)

    def add(self, section: str, what: str, values: Sequence[float], unit: str, *more: str) -> None:
        """The values of all repetitions: their median and range are kept."""
        middle, low, high = statistics.median(values), min(values), max(values)
        numbers = {"median": f"{middle:.4g}", "low": f"{low:.4g}", "high": f"{high:.4g}", "repetitions": str(len(values))}
        append([{"section": section, "what": what, "unit": unit, **numbers, **self.where}], FILE, COLUMNS)
        wide = sum(2 if ord(letter) > 0x1100 else 1 for letter in what)
        print(f"{what}{' ' * max(1, 44 - wide)}{f'{middle:.3g}{unit}':>12}   {low:.3g}~{high:.3g}   {'   '.join(more)}", flush=True)
