"""The kernel's side of a lab: it trains when the front end asks, and only as long as it asks.

The front end pulls: every ``tick`` trains a few times for about as long as it says, each time answered by one
``frame``. Nothing runs in the background, so a closed page stops the run, every answer lies inside an open request
(Colab shows no other), and it does not matter on which thread a kernel calls the handler. The messages are described in
CONTRIBUTING.md.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from residual_lab.data import DataError
from residual_lab.experiments.base import Experiment, Frame, KnobError, Result

MOST_PINS = 5


@dataclass
class Run:
    """One training run of a lab."""

    id: str
    experiment: Experiment
    result: Result = field(init=False)
    frames: Iterator[Frame] = field(init=False)
    sent: int = 0
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    state: str = "paused"  # "paused" between two ticks | "done" | "stopped"
    problem: Exception | None = None  # what the experiment raised: the run is stopped then

    def __post_init__(self) -> None:
        self.result = Result(self.experiment)
        self.frames = self.experiment.frames()

    def advance(self, seconds: float) -> tuple[Result, int]:
        """Train for about ``seconds``, at least one frame. Returns what is new, and how many frames that was."""
        new, count = Result(self.experiment), 0
        started = time.perf_counter()
        now = started
        # Another frame is begun when that ends nearer to the time asked for than stopping now.
        while self.state == "paused" and (count == 0 or (now - started) * (1 + 0.5 / count) < seconds):
            try:
                frame = next(self.frames, None)
            except Exception as problem:  # noqa: BLE001  The frames before it are shown first; then the learner is told, and the lab lives on.
                self.problem, self.state = problem, "stopped"
                break
            if frame is None:
                self.state = "done"
            else:
                new.add(frame)
                count += 1
                self.step, self.total = frame.step, frame.total
            now = time.perf_counter()
        self.seconds += now - started
        self.result.extend(new)
        return new, count

    def stop(self) -> None:
        """End the run for good; what it has shown stays."""
        if self.state == "paused":
            self.state = "stopped"
        self.frames.close()

    def snapshot(self) -> dict:
        """The whole run as JSON data."""
        return {
            "run": self.id, "values": self.experiment.shown(), "at": self.sent, "step": self.step, "total": self.total,
            "seconds": self.seconds, "done": self.state == "done", **self.result.pictures(),
        }


class Host:
    """Answers one lab's messages.

    Args:
        experiment: the experiment's class.
        send: sends one message (a JSON object) to every front end of the lab.
    """

    # One lab trains at a time in a kernel; handlers of two labs may be called on two threads.
    _lock: ClassVar[threading.RLock] = threading.RLock()
    _training: ClassVar[Host | None] = None

    def __init__(self, experiment: type[Experiment], send: Callable[[dict], None]):
        self.experiment = experiment
        self.send = send
        self.run: Run | None = None
        self.halted = False
        self.pins: list[dict] = []

    def receive(self, message: dict[str, Any]) -> None:
        """Handle one message of the front end."""
        handlers = {
            "hello": self._hello, "start": self._start, "tick": self._tick, "step": self._step,
            "stop": self._stop, "reset": self._reset, "pin": self._pin, "unpin": self._unpin,
        }
        with Host._lock:
            handlers[message["type"]](message)

    def _hello(self, message: dict) -> None:
        state = self.run.state if self.run else "idle"
        shown = self.run.snapshot() if self.run else {"run": None}
        self.send({"type": "snapshot", "state": state, "pins": self.pins, **shown})

    def _start(self, message: dict) -> None:
        try:
            experiment = self.experiment.create(message["values"])
        except KnobError as problem:
            self.send({"type": "error", "run": message["run"], "text": str(problem)})
            return
        if self.run:
            self.run.stop()
        self.run = Run(message["run"], experiment)
        self._take_turn()

    def _tick(self, message: dict) -> None:
        self._advance(message, seconds=message["ms"] / 1000, frames=message.get("frames", 1))

    def _step(self, message: dict) -> None:
        self._advance(message, seconds=0.0)

    def _advance(self, message: dict, seconds: float, frames: int = 1) -> None:
        run = self.run
        if run is None or run.id != message["run"]:
            self._hello(message)  # The asking page is behind: another view has started or reset the lab.
            return
        if self.halted and not message.get("resume"):
            return  # It was asked before the page heard of the halt.
        self._take_turn()
        end = run.seconds + seconds * frames
        while frames:
            frames = self._frame(run, message["n"], seconds, frames - 1, end)

    def _frame(self, run: Run, n: int, seconds: float, more: int, end: float) -> int:
        """Train and tell once. Returns how many frames of the request are still to come: ``more``, or none if the run is over or the
        request's time is up (the run's second ``end``; a frame can take longer than was asked for)."""
        before = run.seconds
        new, count = run.advance(seconds)
        if run.state != "paused" or run.seconds > end - seconds / 2:
            more = 0
        if count or run.problem is None:
            self._show(run, n, more, new, count, ms=1000 * (run.seconds - before))
        if run.problem:
            self.send({"type": "error", "run": run.id, "text": explain(run.problem)})
        return more

    def _show(self, run: Run, n: int, more: int, new: Result, count: int, ms: float) -> None:
        self.send({
            "type": "frame", "run": run.id, "n": n, "more": more, "at": run.sent, "frames": count, **new.pictures(),
            "step": run.step, "total": run.total, "done": run.state == "done",
            "ms": ms, "seconds": run.seconds,
        })
        run.sent += count

    def _take_turn(self) -> None:
        other = Host._training
        if other is not None and other is not self:
            other._halt(self.experiment.title)
        Host._training = self
        self.halted = False

    def _halt(self, title: str) -> None:
        if self.run and self.run.state == "paused":
            self.halted = True
            reason = f"다른 랩 ‘{title}’이 학습을 시작해서 멈췄습니다. ‘계속’을 누르면 이어집니다."
            self.send({"type": "halted", "run": self.run.id, "reason": reason})

    def _stop(self, message: dict) -> None:
        if self.run and self.run.id == message["run"]:
            self.run.stop()
        self._hello(message)

    def _reset(self, message: dict) -> None:
        if self.run:
            self.run.stop()
        self.run = None
        self._hello(message)

    def _pin(self, message: dict) -> None:
        run = self.run
        known = [pin["run"] for pin in self.pins]
        if run and run.id == message["run"] and run.id not in known and len(self.pins) < MOST_PINS:
            self.pins.append(run.snapshot())
        self._hello(message)

    def _unpin(self, message: dict) -> None:
        self.pins = [pin for pin in self.pins if pin["run"] != message["run"]]
        self._hello(message)


def explain(problem: Exception) -> str:
    """What a learner reads when an experiment raises: the reason, and where it happened or what to do."""
    if isinstance(problem, DataError):
        return str(problem)
    if isinstance(problem, torch.OutOfMemoryError):
        return "GPU의 메모리가 모자라서 학습을 멈췄습니다. 시드 수나 깊이를 줄여 다시 시작하십시오. 수의 형식이 있으면 bfloat16도 메모리를 덜 씁니다."
    frame = traceback.extract_tb(problem.__traceback__)[-1]
    place = frame.filename.replace("\\", "/").rsplit("/", 1)[-1]
    return (
        f"실험 안에서 오류가 나서 학습을 멈췄습니다. {type(problem).__name__}: {problem} "
        f"({place} {frame.lineno}번째 줄). 설정을 바꾸어 다시 시작할 수 있습니다."
    )
