"""What an experiment is: a frozen dataclass of knobs and a generator of frames.

One experiment serves four uses: live in a lab, headless (`Experiment.run`), recorded, and replayed on the
site. It is deterministic for its settings, knows nothing of its audience and can be stopped between any two frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from residual_lab.hardware import device


class KnobError(ValueError):
    """A setting that the experiment does not offer; the message says in Korean what can be chosen."""


@dataclass(frozen=True)
class Knob:
    """One setting of an experiment: a finite list of values, so that nothing impossible can be chosen.

    ``big`` values need a GPU to be done in minutes: labs offer them only where there is one. Code may choose them anywhere.
    """

    kind: str  # "slider" | "log" | "choice" | "toggle" | "seed"
    label: str
    values: tuple
    default: Any
    unit: str = ""
    help: str = ""
    labels: tuple[str, ...] | None = None
    big: tuple = ()
    big_labels: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """Return the knob's own value equal to ``value``, or raise `KnobError`."""
        for allowed in (*self.values, *self.big):
            if allowed == value and isinstance(allowed, bool) == isinstance(value, bool):
                return allowed
        shown = ", ".join(map(str, self.values)) if len(self.values) <= 12 else f"{self.values[0]}부터 {self.values[-1]}까지"
        shown += f", 큰 설정(GPU) {', '.join(map(str, self.big))}" if self.big else ""
        raise KnobError(f"{name}={value!r}은(는) 고를 수 없는 값입니다. {self.label}: {shown} 가운데에서 고르세요.")

    def with_big(self) -> Knob:
        """The knob whose big values can be chosen like the others."""
        if not self.big:
            return self
        told = f"큰 설정(GPU): {', '.join(self.big_labels)}."
        labels = None if self.labels is None else (*self.labels, *self.big_labels)
        return dataclasses.replace(self, values=(*self.values, *self.big), labels=labels, help=f"{self.help} {told}".strip(), big=())


def _knob(kind: str, label: str, values: Sequence, default: Any, **more: Any) -> Any:
    knob = Knob(kind, label, tuple(values), default, **more)
    knob.check(label, default)
    return field(default=default, metadata={"knob": knob})


def slider(label: str, values: Sequence, default: Any, *, unit: str = "", help: str = "", big: Mapping[Any, str] | Sequence = ()) -> Any:
    """A slider that snaps to ``values``, and where there is a GPU to ``big`` (values, or values with what is told of them) as well."""
    told = big.values() if isinstance(big, Mapping) else map(str, big)
    return _knob("slider", label, values, default, unit=unit, help=help, big=tuple(big), big_labels=tuple(told))


def log_slider(label: str, values: Sequence, default: Any, *, unit: str = "", help: str = "") -> Any:
    """A slider over values that are spaced by factors (learning rates)."""
    return _knob("log", label, values, default, unit=unit, help=help)


def choice(label: str, options: Mapping[Any, str], default: Any, *, help: str = "", big: Mapping[Any, str] | None = None) -> Any:
    """One of a few named options: ``{value: what the learner reads}``. With one option only, a knob of big settings."""
    big = big or {}
    return _knob("choice", label, tuple(options), default, labels=tuple(options.values()), help=help, big=tuple(big), big_labels=tuple(big.values()))


def toggle(label: str, default: bool = False, *, help: str = "") -> Any:
    """A checkbox."""
    return _knob("toggle", label, (False, True), default, help=help)


def precision_knob() -> Any:
    """In which numbers a big setting computes its layers; see `residual_lab.training.fit.logits_of`."""
    return choice("수의 형식", {"float32": "float32"}, "float32", big={"bfloat16": "bfloat16 (혼합 정밀도)"})


def seed_knob(count: int = 100, *, help: str = "첫 시드입니다. 이 수부터 차례로 이어지는 시드들을 함께 학습합니다.") -> Any:
    """The first seed of a run, 0 … count − 1."""
    return _knob("seed", "시드", range(count), 0, help=help)


@dataclass(frozen=True)
class Panel:
    """One picture of a lab, filled by the frames' data of the same ``key``."""

    key: str
    kind: str  # "lines" | "bars" | "heat" | "table"
    title: str
    more: Mapping[str, Any]

    def spec(self) -> dict:
        return {"key": self.key, "kind": self.kind, "title": self.title, **self.more}


def _series(series: Mapping[str, str]) -> list[dict]:
    return [{"key": key, "label": label} for key, label in series.items()]


def Lines(key: str, title: str, *, x: str, y: str, series: Mapping[str, str], scale: str = "linear") -> Panel:
    """Curves over steps: the mean over seeds with the band from the smallest to the largest."""
    return Panel(key, "lines", title, {"x": x, "y": y, "scale": scale, "series": _series(series)})


def Bars(key: str, title: str, *, x: str, y: str, series: Mapping[str, str], scale: str = "linear") -> Panel:
    """A profile over layers, one bar a layer and series."""
    return Panel(key, "bars", title, {"x": x, "y": y, "scale": scale, "series": _series(series)})


def Heat(key: str, title: str, *, x: str, y: str, z: str, scale: str = "linear") -> Panel:
    """A matrix of numbers as colours; the frames bring the labels of its rows and columns."""
    return Panel(key, "heat", title, {"x": x, "y": y, "z": z, "scale": scale})


def Table(key: str, title: str, *, columns: Sequence[str]) -> Panel:
    """A small table of final numbers."""
    return Panel(key, "table", title, {"columns": list(columns)})


@dataclass
class Frame:
    """What an experiment shows at one moment. Every part but the step may be absent.

    Attributes:
        step, total: how far the run is.
        curves: ``{panel: {series: value per seed}}``, a new point at ``step``.
        profiles: ``{panel: {series: value per layer}}``, replaces the picture before.
        matrices: ``{panel: {"xs": labels, "ys": labels, "z": rows of values}}``, replaces likewise.
        tables: ``{panel: rows}``, replaces likewise.
        numbers: ``{name: {series: value per seed}}``, exact final numbers for headless use; labs do not show them.
    """

    step: int
    total: int
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    matrices: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, list[list]] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Result:
    """A run so far: all curves, and the last profiles, matrices, tables and numbers.

    ``result.curve("loss", "plain")`` is a float64 tensor of shape (seeds, points);
    ``result.number("train_loss", "plain")`` one of shape (seeds,).
    """

    experiment: Experiment
    curves: dict[str, dict[str, dict[str, list]]] = field(default_factory=dict)
    profiles: dict[str, dict[str, list]] = field(default_factory=dict)
    matrices: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, list[list]] = field(default_factory=dict)
    numbers: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        """Take a frame in: its points are appended, the rest replaces what was there."""
        for panel, series in frame.curves.items():
            for key, values in series.items():
                line = self.curves.setdefault(panel, {}).setdefault(key, {"x": [], "y": []})
                line["x"].append(frame.step)
                line["y"].append(_numbers(values))
        self.profiles.update({k: {s: _numbers(v) for s, v in d.items()} for k, d in frame.profiles.items()})
        self.matrices.update({k: {**m, "z": [_numbers(row) for row in m["z"]]} for k, m in frame.matrices.items()})
        self.tables.update(frame.tables)
        self.numbers.update({k: {s: _numbers(v) for s, v in d.items()} for k, d in frame.numbers.items()})

    def extend(self, later: Result) -> None:
        """Take in a part of the same run that follows this one."""
        for panel, series in later.curves.items():
            for key, new in series.items():
                line = self.curves.setdefault(panel, {}).setdefault(key, {"x": [], "y": []})
                line["x"] += new["x"]
                line["y"] += new["y"]
        self.profiles.update(later.profiles)
        self.matrices.update(later.matrices)
        self.tables.update(later.tables)
        self.numbers.update(later.numbers)

    def pictures(self) -> dict:
        """All that the panels show, as JSON data: four significant digits, None for what is not finite."""
        return {
            "curves": {
                panel: {key: {"x": line["x"], "y": [_rounded(row) for row in line["y"]]} for key, line in series.items()}
                for panel, series in self.curves.items()
            },
            "profiles": {panel: {key: _rounded(row) for key, row in data.items()} for panel, data in self.profiles.items()},
            "matrices": {panel: {**m, "z": [_rounded(row) for row in m["z"]]} for panel, m in self.matrices.items()},
            "tables": self.tables,
        }

    def steps(self, panel: str, series: str) -> list[int]:
        return self.curves[panel][series]["x"]

    def curve(self, panel: str, series: str) -> torch.Tensor:
        return torch.tensor(self.curves[panel][series]["y"], dtype=torch.float64).T

    def number(self, name: str, series: str) -> torch.Tensor:
        return torch.tensor(self.numbers[name][series], dtype=torch.float64)


def _rounded(values: list[float]) -> list[float | None]:
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in values]


def _numbers(values: Any) -> list[float]:
    return values.tolist() if isinstance(values, torch.Tensor) else [float(v) for v in values]


@dataclass(frozen=True)
class Experiment:
    """Base of every experiment. A subclass is a frozen dataclass whose fields are knobs.

    Class attributes:
        id: name of the recording and of the lab's address.
        title, note: what the learner reads: the lab's heading, and one sentence on what is trained.
        panels: the pictures.
        grid: the knob values that are recorded; knobs that are absent keep their default.
        sample: the recorded setting that a test trains again: a cheap one that trains well, since chaotic ones (deep plain
            networks) differ in their digits from processor to processor.
        seeds_per_run: how many seeds train together, beginning with the knob ``seed``.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    note: ClassVar[str]
    panels: ClassVar[tuple[Panel, ...]]
    grid: ClassVar[Mapping[str, Sequence]] = {}
    sample: ClassVar[Mapping[str, Any]] = {}
    seeds_per_run: ClassVar[int] = 5

    def __post_init__(self) -> None:
        for name, knob in self.knobs().items():
            object.__setattr__(self, name, knob.check(name, getattr(self, name)))

    def frames(self) -> Iterator[Frame]:
        """Train, and yield what there is to see."""
        raise NotImplementedError

    def seed_range(self) -> range:
        """The seeds of this run; empty where nothing is random."""
        first = getattr(self, "seed", None)
        return range(0) if first is None else range(first, first + self.seeds_per_run)

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        return {f.name: f.metadata["knob"] for f in dataclasses.fields(cls) if "knob" in f.metadata}

    def is_big(self) -> bool:
        """Whether a big value is chosen."""
        return any(getattr(self, name) in knob.big for name, knob in self.knobs().items())

    @property
    def device(self) -> torch.device:
        """Where this experiment trains: a big setting on the GPU if there is one, every other on the CPU, so that it gives the
        same numbers on every machine (a network this small keeps no GPU busy)."""
        return device() if self.is_big() else torch.device("cpu")

    def offered(self, big: bool | None = None) -> dict[str, Knob]:
        """The knobs with something to choose from, big values among them if ``big`` (None: if this machine has a GPU) or one is chosen."""
        big = self.is_big() or (device().type != "cpu" if big is None else big)
        knobs = {name: knob.with_big() if big else knob for name, knob in self.knobs().items()}
        return {name: knob for name, knob in knobs.items() if len(knob.values) > 1}

    @classmethod
    def create(cls, values: Mapping[str, Any]) -> Experiment:
        """An experiment from settings by name; unknown names and impossible values raise `KnobError`."""
        unknown = sorted(set(values) - set(cls.knobs()))
        if unknown:
            raise KnobError(f"{cls.__name__}에는 {', '.join(unknown)} 설정이 없습니다. 쓸 수 있는 설정: {', '.join(cls.knobs())}")
        return cls(**values)

    @classmethod
    def run(cls, **values: Any) -> Result:
        """Run to the end without showing anything, and return the `Result`."""
        experiment = cls.create(values)
        result = Result(experiment)
        for frame in experiment.frames():
            result.add(frame)
        return result

    def values(self) -> dict[str, Any]:
        """The settings of this experiment by knob, the same on every machine: of knobs for big values only where one is chosen."""
        big = self.is_big()
        return {name: getattr(self, name) for name, knob in self.knobs().items() if big or len(knob.values) > 1}

    def shown(self, big: bool | None = None) -> dict[str, Any]:
        """The settings of all knobs that a lab offers; see `offered`."""
        return {name: getattr(self, name) for name in self.offered(big)}

    def spec(self, big: bool | None = None) -> dict:
        """What the lab's front end needs to know, as plain JSON data; ``big`` as in `offered`."""
        cls, offered = type(self), self.offered(big)
        more = " 큰 설정을 고르면 고른 대로 달라집니다." if any(offered[name] != cls.knobs()[name] for name in offered) else ""
        return {
            "id": cls.id,
            "title": cls.title,
            "note": cls.note + more,
            "knobs": [
                {"name": name, "kind": k.kind, "label": k.label, "unit": k.unit, "values": list(k.values),
                 "labels": list(k.labels) if k.labels else None, "default": k.default, "help": k.help}
                for name, k in offered.items()
            ],
            "panels": [panel.spec() for panel in cls.panels],
            "values": self.shown(big),
            "code": f"Lab({cls.__name__}, {{values}})",
        }
