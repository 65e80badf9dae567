"""Where `make bench` puts what it measured: a line on the terminal, and a row in ``assets/benchmarks.csv``, which keeps every run."""

from __future__ import annotations

import csv
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import date
from importlib import metadata

from residual_lab.site.benchmarks import COLUMNS, FILE


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
        if not FILE.exists():
            FILE.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
        with open(FILE, "a", encoding="utf-8", newline="") as file:
            numbers = {"median": f"{middle:.4g}", "low": f"{low:.4g}", "high": f"{high:.4g}", "repetitions": str(len(values))}
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow({"section": section, "what": what, "unit": unit, **numbers, **self.where})
        wide = sum(2 if ord(letter) > 0x1100 else 1 for letter in what)
        print(f"{what}{' ' * max(1, 44 - wide)}{f'{middle:.3g}{unit}':>12}   {low:.3g}~{high:.3g}   {'   '.join(more)}", flush=True)
