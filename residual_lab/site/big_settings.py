"""The page on big settings: which labs have them, and what they showed where a GPU was at hand."""

from __future__ import annotations

from pathlib import Path

from residual_lab import big_runs
from residual_lab.experiments import EXPERIMENTS, LESSONS, Experiment


def page(path: Path = big_runs.FILE) -> str:
    """Two tables as Markdown, to stand after the introduction (``pages/big_settings.md``)."""
    return f"{_offered()}\n{_measured(path)}"


def _offered() -> str:
    rows = ["| 레슨 | 랩 | 큰 설정 |", "|---|---|---|"]
    for number, lesson in enumerate(LESSONS, start=1):
        for experiment in lesson.EXPERIMENTS:
            knobs = [f"{knob.label}: {', '.join(knob.big_labels)}" for knob in experiment.knobs().values() if knob.big]
            if knobs:
                rows.append(f"| {number:02d} | {experiment.title} | {'<br>'.join(knobs)} |")
    return "## 어느 랩에 있습니까?\n\n" + "\n".join(rows) + "\n"


def _measured(path: Path) -> str:
    measured = big_runs.read(path)
    rows = ["| 설정과 잰 것 | 조건 | 논문 | 여기서 잰 값 |", "|---|---|---|---|"]
    sources = []
    for run in big_runs.RUNS:
        experiment = EXPERIMENTS[run.experiment]
        found = measured.get(run.name, {})
        setting = f"**{run.measure[1]}**, {experiment.title}: {_setting(experiment, run)}"
        if run.source and run.source not in sources:
            sources.append(run.source)
        mark = f" [{sources.index(run.source) + 1}]" if run.source else ""
        labels = {part["key"]: part["label"] for panel in experiment.panels for part in panel.more.get("series", ())} | run.labels
        for series in found or run.paper or {"": ""}:
            paper = f"{run.paper[series]}{mark}" if series in run.paper else "–"
            rows.append(f"| {setting} | {labels.get(series, series) or '모두'} | {paper} | {_cell(found.get(series))} |")
            setting = ""
    dates = sorted(row["date"] for found in measured.values() for row in found.values())
    when = f"마지막으로 잰 날은 {dates[-1]}입니다." if dates else "이 표는 아직 한 번도 재지 않았습니다. GPU가 있는 컴퓨터에서 `make bench-gpu`가 재어 채웁니다."
    cited = " · ".join(f"[{number}] {source}" for number, source in enumerate(sources, start=1))
    note = f"논문의 수는 {cited}에 있습니다. 논문은 학습률을 두 번 10분의 1로 줄이고 깊은 망은(2016년 논문은 모든 망을) 작은 학습률로 "
    note += "시작하지만, 여기서는 처음부터 코사인으로 0까지 줄입니다. 시간은 그 설정의 모든 조건과 시드를 함께 학습하는 데 걸린 시간입니다."
    return f"## 잰 결과\n\n{when}\n\n" + "\n".join(rows) + f"\n\n{note}\n"


def _setting(experiment: type[Experiment], run: big_runs.BigRun) -> str:
    parts = []
    for name, value in run.values.items():
        knob = experiment.knobs()[name].with_big()
        shown = knob.labels[knob.values.index(value)] if knob.labels else f"{value}{knob.unit}"
        parts.append(f"{knob.label} {shown}")
    return ", ".join(parts)


def _cell(row: dict[str, str] | None) -> str:
    if row is None:
        return "–"
    mean = "발산" if row["mean"] in ("nan", "inf") else row["mean"]
    return (f"**{mean}** (시드 {row['seeds']}개, {row['low']}~{row['high']})<br>"
            f"{row['seconds']}초, {row['device']}, torch {row['torch']}, {row['date']}")
