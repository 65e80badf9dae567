"""The kernel's side of a lab, without a front end: what is asked is trained, and nothing else."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from residual_lab.experiments.base import Experiment, Frame, Lines, seed_knob, slider
from residual_lab.experiments.degradation import MLPDepth
from residual_lab.lab import host
from residual_lab.lab.host import MOST_PINS, Host


@dataclass(frozen=True)
class Count(Experiment):
    """Counts to ten, or breaks at a step."""

    id, title, note = "count", "세기", ""
    panels = (Lines("n", "수", x="단계", y="수", series={"n": "수"}),)
    breaks_at: int = slider("고장", (0, 3), 0)
    seed: int = seed_knob()

    def frames(self) -> Iterator[Frame]:
        for step in range(1, 11):
            if step == self.breaks_at:
                raise RuntimeError("일부러 낸 고장")
            yield Frame(step, 10, curves={"n": {"n": [step, float("nan")]}})


class Page:
    """A front end that only collects."""

    def __init__(self, experiment=Count):
        self.heard = []
        self.host = Host(experiment, self.heard.append)

    def ask(self, kind, **more):
        before = len(self.heard)
        self.host.receive({"type": kind, **more})
        return self.heard[before:]

    def start(self, run="r1", **values):
        return self.ask("start", run=run, values={**self.host.experiment().values(), **values})


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    monkeypatch.setattr(Host, "_training", None)


def test_one_step_is_one_frame_and_a_long_tick_runs_to_the_end():
    page = Page()
    assert page.start() == []
    [frame] = page.ask("step", run="r1", n=0)
    assert (frame["frames"], frame["at"], frame["step"], frame["done"]) == (1, 0, 1, False)
    assert frame["curves"] == {"n": {"n": {"x": [1], "y": [[1.0, None]]}}}
    [frame] = page.ask("tick", run="r1", n=1, ms=1000)
    assert (frame["frames"], frame["at"], frame["step"], frame["done"]) == (9, 1, 10, True)


@pytest.fixture
def ten_ms_a_frame(monkeypatch):
    """A clock by which every frame takes 10 ms."""
    clock = itertools.count()
    monkeypatch.setattr(host, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 100))


def test_a_tick_of_two_frames_is_answered_twice_and_says_what_is_still_to_come(ten_ms_a_frame):
    page = Page()
    page.start()
    first, second = page.ask("tick", run="r1", n=7, ms=20, frames=2)
    assert [(frame["n"], frame["more"], frame["frames"]) for frame in (first, second)] == [(7, 1, 2), (7, 0, 2)]
    assert second["at"] == first["frames"] and second["step"] > first["step"]


def test_where_frames_take_longer_than_was_asked_for_a_tick_ends_with_its_time(ten_ms_a_frame):
    page = Page()
    page.start()
    answers = page.ask("tick", run="r1", n=0, ms=5, frames=4)
    assert [(frame["frames"], frame["more"]) for frame in answers] == [(1, 3), (1, 0)]


def test_frames_end_with_the_run_and_with_a_fault():
    page = Page()
    page.start()
    [frame] = page.ask("tick", run="r1", n=0, ms=1000, frames=2)
    assert frame["done"]
    page.start(run="r2", breaks_at=3)
    frame, error = page.ask("tick", run="r2", n=1, ms=1000, frames=2)
    assert (frame["type"], error["type"]) == ("frame", "error")


def test_the_ticked_run_is_the_headless_run():
    page = Page(MLPDepth)
    page.start(depth=4)
    whole = []
    while True:
        [frame] = page.ask("tick", run="r1", n=0, ms=40)
        whole += frame["curves"].get("loss", {}).get("plain", {"y": []})["y"]
        if frame["done"]:
            break
    assert whole == MLPDepth.run(depth=4).pictures()["curves"]["loss"]["plain"]["y"]


def test_a_tick_trains_for_about_the_time_that_it_names_and_never_runs_unasked():
    page = Page(MLPDepth)
    page.start(depth=4)
    [first] = page.ask("tick", run="r1", n=0, ms=20)
    assert not first["done"] and first["frames"] >= 1
    [snapshot] = page.ask("hello")
    assert snapshot["step"] == first["step"] and snapshot["state"] == "paused"


def test_a_page_that_comes_back_finds_its_run_and_goes_on_with_it():
    page = Page()
    page.start()
    page.ask("step", run="r1", n=0)
    page.ask("pin", run="r1")
    [snapshot] = page.ask("hello")
    assert (snapshot["state"], snapshot["run"], snapshot["at"]) == ("paused", "r1", 1)
    assert [pin["step"] for pin in snapshot["pins"]] == [1]
    [frame] = page.ask("tick", run="r1", n=0, ms=1000)
    assert frame["at"] == 1 and frame["done"]
    assert page.ask("hello")[0]["state"] == "done"


def test_an_exception_in_the_experiment_is_told_in_korean_and_the_lab_lives_on():
    page = Page()
    page.start(breaks_at=3)
    frame, error = page.ask("tick", run="r1", n=0, ms=1000)
    assert frame["frames"] == frame["step"] == 2, "what was trained before is shown"
    assert error["type"] == "error" and "실험 안에서 오류" in error["text"]
    assert "RuntimeError: 일부러 낸 고장" in error["text"] and "test_host.py" in error["text"]
    page.start(run="r2")
    assert page.ask("tick", run="r2", n=0, ms=1000)[0]["done"]


def test_impossible_settings_are_an_error_and_leave_the_run_before_alone():
    page = Page()
    page.start()
    [error] = page.ask("start", run="r2", values={"breaks_at": 5})
    assert error["type"] == "error" and "고를 수 없는 값" in error["text"]
    assert page.ask("step", run="r1", n=0)[0]["type"] == "frame"


def test_one_lab_trains_at_a_time_and_the_other_is_told_why_it_stopped():
    first, second = Page(), Page(MLPDepth)
    first.start()
    first.ask("step", run="r1", n=0)
    second.start()
    assert first.heard[-1]["type"] == "halted" and MLPDepth.title in first.heard[-1]["reason"]
    assert first.ask("tick", run="r1", n=1, ms=10) == [], "a tick that was already under way does not take the turn back"
    [frame] = first.ask("tick", run="r1", n=2, ms=1000, resume=True)
    assert frame["at"] == 1 and frame["done"], "what the dropped tick would have trained is not lost"
    assert second.heard[-1]["type"] == "halted"


def test_a_finished_lab_is_not_told_that_another_one_starts():
    first, second = Page(), Page()
    first.start()
    first.ask("tick", run="r1", n=0, ms=1000)
    second.start()
    assert first.heard[-1]["type"] == "frame"


def test_stop_keeps_the_picture_and_reset_clears_it():
    page = Page()
    page.start()
    page.ask("step", run="r1", n=0)
    [stopped] = page.ask("stop", run="r1")
    assert stopped["state"] == "stopped" and stopped["curves"]["n"]["n"]["x"] == [1]
    [frame] = page.ask("tick", run="r1", n=1, ms=1000)
    assert frame["frames"] == 0, "a stopped run does not train on"
    [cleared] = page.ask("reset")
    assert cleared["state"] == "idle" and cleared["run"] is None


def test_a_page_that_is_behind_another_gets_the_whole_truth():
    page = Page()
    page.start(run="old")
    page.start(run="new")
    [snapshot] = page.ask("tick", run="old", n=0, ms=10)
    assert snapshot["type"] == "snapshot" and snapshot["run"] == "new"


def test_pins_are_five_at_most_once_each_and_removable():
    page = Page()
    for number in range(MOST_PINS + 2):
        page.start(run=f"r{number}")
        page.ask("step", run=f"r{number}", n=0)
        page.ask("pin", run=f"r{number}")
        page.ask("pin", run=f"r{number}")
    [snapshot] = page.ask("unpin", run="r1")
    assert [pin["run"] for pin in snapshot["pins"]] == ["r0", "r2", "r3", "r4"]
