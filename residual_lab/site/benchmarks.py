"""What `make bench` wrote to ``assets/benchmarks.csv``, for the execution-time page: of everything the newest row beside the one before."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

from residual_lab.paths import ASSETS

FILE, PICTURE = ASSETS / "benchmarks.csv", ASSETS / "benchmarks-growth.png"
COLUMNS = ("section", "what", "median", "low", "high", "unit", "repetitions", "date", "machine", "cores", "python", "torch")
SECTIONS = {
    "stacked": "쌓아서 함께 학습하기", "tutorial": "성능 저하를 보기까지", "floor": "곱셈·덧셈의 바닥과 견주면", "live": "살아 있는 랩",
    "start": "시작하기까지", "course": "과정 전체", "site": "사이트",
}
"""Tables of the page, in order, by section; section ``growth`` comes last and is drawn too."""


def read(path: Path = FILE) -> dict[tuple[str, str], list[dict[str, str]]]:
    """All rows by section and subject, oldest first."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault((row["section"], row["what"]), []).append(row)
    return rows


def page(path: Path = FILE) -> str:
    """The tables as Markdown; nothing where nothing was measured."""
    rows = read(path)
    parts = [_table(key, {what: history for (section, what), history in rows.items() if section == key}) for key in SECTIONS]
    return "\n".join(filter(None, [*parts, _growth(rows)]))


def _table(section: str, rows: dict[str, list[dict[str, str]]]) -> str:
    if not rows:
        return ""
    lines, places = ["| 잰 것 | 중앙값 | 범위 | 반복 | 지난번 | 잰 날 |", "|---|---:|---:|---:|---:|---|"], {}
    for what, history in rows.items():
        new, before = history[-1], history[-2]["median"] + history[-2]["unit"] if len(history) > 1 else "–"
        places[f"{new['machine']}, 코어 {new['cores']}개, Python {new['python']}, torch {new['torch']}"] = None
        lines.append(f"| {what} | {new['median']}{new['unit']} | {new['low']}~{new['high']} | {new['repetitions']} | {before} | {new['date']} |")
    note = f"\n잰 환경: {' · '.join(places)}.\n"
    ratios = [float(history[-1]["median"]) for history in rows.values() if history[-1]["unit"] == "배"]
    if section == "stacked" and ratios:
        note += f"\n기하 평균은 {statistics.geometric_mean(ratios):.2f}배이고 가장 작은 것은 {min(ratios):.2f}배입니다.\n"
    return f"## {SECTIONS[section]}\n\n" + "\n".join(lines) + "\n" + note


def growth(rows: dict[tuple[str, str], list[dict[str, str]]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Seconds a training step by kind of network and by what grows: ``{"MLP": {"깊이": [(4, 0.001), …]}}``."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for (section, what), history in rows.items():
        if section == "growth":
            kind, size, value = what.split(" · ")
            found.setdefault(kind, {}).setdefault(size, []).append((int(value), float(history[-1]["median"])))
    return found


def exponent(points: list[tuple[int, float]]) -> float:
    """Slope of log(seconds) against log(size), by least squares."""
    return statistics.linear_regression([math.log(size) for size, _ in points], [math.log(seconds) for _, seconds in points]).slope


THEORY = {"깊이": 1, "폭": 2, "시드": 1, "조건": 1}
"""Exponent of the multiply-adds of a training step: layers × width², once for every network."""


def _growth(rows: dict[tuple[str, str], list[dict[str, str]]]) -> str:
    found = growth(rows)
    if not found:
        return ""
    lines = ["| 망 | 커지는 것 | 값 | 한 단계의 CPU 시간 (ms) | 잰 지수 | 큰 쪽 두 값의 지수 | 계산량의 지수 |", "|---|---|---|---|---:|---:|---:|"]
    for kind, sizes in found.items():
        for size, points in sizes.items():
            values, times = (", ".join(text) for text in zip(*((str(value), f"{1000 * seconds:.3g}") for value, seconds in points)))
            lines.append(f"| {kind} | {size} | {values} | {times} | {exponent(points):.2f} | {exponent(points[-2:]):.2f} | {THEORY[size]} |")
    note = "작은 망에서는 크기와 상관없는 시간(연산을 부르는 시간)이 커서 잰 지수가 계산량의 지수보다 작습니다. 클수록 가까워지는지는 큰 쪽 두 값의 지수로 봅니다."
    picture = f"![망의 깊이, 폭, 시드 수, 조건 수에 대한 한 단계의 CPU 시간. 두 축 모두 로그 눈금이고, 선의 기울기가 표의 잰 지수입니다.](../assets/{PICTURE.name})"
    return "## 비용은 어떻게 늘어날까요\n\n" + "\n\n".join([picture, note, "\n".join(lines)]) + "\n"
