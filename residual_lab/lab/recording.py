"""Recordings: real runs over an experiment's grid, so that its lab is alive on pages without a kernel."""

from __future__ import annotations

import argparse
import ast
import functools
import gzip
import hashlib
import importlib
import itertools
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from residual_lab import __version__
from residual_lab.experiments import EXPERIMENTS, Experiment, KnobError, Result
from residual_lab.files import write_bytes
from residual_lab.paths import ASSETS, PACKAGE

FORMAT = 1
RECORDINGS = ASSETS / "recordings"
MOST_POINTS = 120
MOST_SNAPSHOTS = 16
MOST_BYTES_COMPRESSED = 300_000


def grid(experiment: type[Experiment]) -> dict[str, list]:
    """Every knob with the values that are recorded; big settings are not."""
    small = {name: knob for name, knob in experiment.knobs().items() if len(knob.values) > 1}
    return {name: list(experiment.grid.get(name, (knob.default,))) for name, knob in small.items()}


def record_run(experiment: Experiment) -> dict:
    """Train once, and keep what a replay needs: thinned curves and a few snapshots of the other panels."""
    result, snapshots = Result(experiment), []
    started = time.process_time()
    for frame in experiment.frames():
        result.add(frame)
        if frame.profiles or frame.matrices:
            only = Result(experiment, profiles={}, matrices={})
            only.add(type(frame)(frame.step, frame.total, profiles=frame.profiles, matrices=frame.matrices))
            pictures = only.pictures()
            snapshots.append({"step": frame.step, "profiles": pictures["profiles"], "matrices": pictures["matrices"]})
    seconds = time.process_time() - started
    pictures = result.pictures()
    for series in pictures["curves"].values():
        for line in series.values():
            keep = _evenly(len(line["x"]), MOST_POINTS)
            line["x"] = [line["x"][i] for i in keep]
            line["y"] = [[v if v is None else float(f"{v:.3g}") for v in line["y"][i]] for i in keep]
    kept = [snapshots[i] for i in _evenly(len(snapshots), MOST_SNAPSHOTS)]
    return {
        "values": experiment.values(), "seconds": round(seconds, 2), "step": frame.step, "total": frame.total,
        "curves": pictures["curves"], "tables": pictures["tables"],
        "profiles": [{"step": s["step"], "data": s["profiles"]} for s in kept if s["profiles"]],
        "matrices": [{"step": s["step"], "data": s["matrices"]} for s in kept if s["matrices"]],
    }


def record(experiment: type[Experiment]) -> dict:
    """All runs of an experiment's grid, with their provenance."""
    values = grid(experiment)
    runs = []
    settings = [dict(zip(values, combination)) for combination in itertools.product(*values.values())]
    for number, setting in enumerate(settings, start=1):
        print(f"  {number}/{len(settings)} {setting}", flush=True)
        runs.append(record_run(experiment.create(setting)))
    return {
        "format": FORMAT,
        "id": experiment.id,
        "spec": experiment().spec(big=False),
        "grid": values,
        "provenance": {
            "package": __version__, "torch": torch.__version__, "python": ".".join(platform.python_version_tuple()[:2]),
            "machine": platform.machine(), "seeds": list(experiment().seed_range()), "source": source_hash(experiment),
        },
        "runs": runs,
    }


def _evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the indices below ``count``, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def source_hash(experiment: type[Experiment]) -> str:
    """Hash of every source file of this package that the experiment's numbers can depend on."""
    digest = hashlib.sha256(f"recording format {FORMAT}".encode())
    for path in sorted(_imported_files(Path(importlib.import_module(experiment.__module__).__file__))):
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


@functools.cache
def _imported_files(path: Path) -> frozenset[Path]:
    """A module's file and, transitively, the files of this package that it imports."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("residual_lab."):
                base = PACKAGE.parent.joinpath(*node.module.split("."))
                names = [base / alias.name for alias in node.names]
                candidates = [p.with_suffix(".py") for p in (base, *names)] + [base / "__init__.py"]
                waiting += [candidate for candidate in candidates if candidate.is_file()]
    return frozenset(found)


def load(identifier: str) -> dict:
    """A recording as it lies in ``assets/recordings``."""
    return json.loads((RECORDINGS / f"{identifier}.json").read_text(encoding="utf-8"))


def recorded(experiment: type[Experiment], **values: Any) -> Result:
    """A recorded run as the `Result` that ``experiment.run(**values)`` would give, without waiting for it.

    Curves are thinned to `MOST_POINTS` and have three significant digits, what is not finite is nan, and there are no ``numbers``.

    Raises:
        KnobError: settings that the experiment does not have, or that were not recorded (Korean).
    """
    chosen = experiment.create(values)
    run = next((run for run in load(experiment.id)["runs"] if run["values"] == chosen.values()), None)
    if run is None:
        recorded_values = "; ".join(f"{name}: {', '.join(map(str, some))}" for name, some in grid(experiment).items())
        raise KnobError(f"{chosen.values()}은(는) 기록에 없습니다. 기록한 값은 {recorded_values}입니다. 다른 값은 run으로 학습하세요.")
    return Result(
        chosen,
        {panel: {key: {"x": line["x"], "y": [_finite(row) for row in line["y"]]} for key, line in series.items()} for panel, series in run["curves"].items()},
        {panel: {key: _finite(row) for key, row in data.items()} for panel, data in (run["profiles"][-1]["data"] if run["profiles"] else {}).items()},
        {panel: {**m, "z": [_finite(row) for row in m["z"]]} for panel, m in (run["matrices"][-1]["data"] if run["matrices"] else {}).items()},
        run["tables"],
    )


def _finite(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def stale(experiment: type[Experiment]) -> str | None:
    """Why an experiment must be recorded again, in Korean, or None."""
    path = RECORDINGS / f"{experiment.id}.json"
    if not path.is_file():
        return "기록이 없습니다"
    recording = load(experiment.id)
    if recording["format"] != FORMAT:
        return f"기록 형식이 {recording['format']}입니다(지금은 {FORMAT})"
    if recording["grid"] != json.loads(json.dumps(grid(experiment))):
        return "기록할 설정의 목록이 바뀌었습니다"
    if recording["provenance"]["source"] != source_hash(experiment):
        return "실험의 소스가 기록한 뒤에 바뀌었습니다"
    if not path.with_suffix(".png").is_file():
        return "멈춘 그림(png)이 없습니다"
    return None


def run(args: argparse.Namespace) -> int:
    """``residual-lab record [IDS…] [--check]``."""
    unknown = sorted(set(args.ids) - set(EXPERIMENTS))
    if unknown:
        print(f"없는 실험입니다: {', '.join(unknown)}. 있는 실험: {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    chosen = [EXPERIMENTS[identifier] for identifier in args.ids or EXPERIMENTS]
    reasons = {experiment.id: stale(experiment) for experiment in chosen}
    if args.check:
        for identifier, reason in reasons.items():
            print(f"{'✗' if reason else '✓'} {identifier}" + (f": {reason}. `residual-lab record {identifier}`" if reason else ""))
        return 1 if any(reasons.values()) else 0
    for experiment in chosen:
        if not args.ids and not reasons[experiment.id]:
            print(f"✓ {experiment.id}: 기록이 최신입니다")
            continue
        _write(experiment)
    return 0


def _write(experiment: type[Experiment]) -> None:
    from residual_lab.lab.still import picture

    print(f"{experiment.id}을(를) 기록합니다 …", flush=True)
    recording = record(experiment)
    text = json.dumps(recording, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    compressed = len(gzip.compress(text.encode()))
    if compressed > MOST_BYTES_COMPRESSED:
        raise ValueError(f"{experiment.id}: 기록이 압축해서 {compressed:,}바이트입니다. {MOST_BYTES_COMPRESSED:,}바이트를 넘지 않도록 grid를 줄이세요.")
    drawn = picture(recording)
    write_bytes(RECORDINGS / f"{experiment.id}.png", drawn)
    write_bytes(RECORDINGS / f"{experiment.id}.json", text.encode())  # last: `stale` goes by what it says
    print(f"✓ {experiment.id}: 설정 {len(recording['runs'])}가지, 압축 {compressed / 1000:.0f} kB")
