"""Recordings are real: what the site replays is what the experiment gives."""

import gzip
from argparse import Namespace

import numpy as np
import pytest

from residual_lab.experiments import EXPERIMENTS, KnobError, Result
from residual_lab.lab import recording, still

ALL = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)

@ALL
def test_a_recording_is_current_complete_and_small(experiment):
    assert recording.stale(experiment) is None
    stored = recording.load(experiment.id)
    assert len(stored["runs"]) == np.prod([len(values) for values in stored["grid"].values()])
    assert len(gzip.compress((recording.RECORDINGS / f"{experiment.id}.json").read_bytes())) < 300_000
    for run in stored["runs"]:
        assert all(len(line["x"]) <= recording.MOST_POINTS for series in run["curves"].values() for line in series.values())


SHARE = 0.1
"""How much of a run is trained again: what another code, rate or seed changes, it changes from the first steps on."""


def differences(stored: dict, result: Result, snapshots: dict[int, dict], until: int) -> list[str]:
    """What a recording and another run of its setting do not agree in, up to a step: first points closely, later levels, profiles and maps roughly."""
    found, compared = [], 0
    for panel, series in stored["curves"].items():
        for key, line in series.items():
            old = {step: y for step, y in zip(line["x"], line["y"]) if step <= until}
            if not old:  # a part of the run that comes later
                continue
            new = dict(zip(result.steps(panel, key), result.curve(panel, key).T.tolist()))
            if missing := old.keys() - new.keys():
                return [f"{panel}/{key}: no point at {sorted(missing)}"]
            then, now = (np.array([points[step] for step in old], dtype=float) for points in (old, new))
            early, tail = max(2, len(line["x"]) // 10), len(old) // 5
            if not np.allclose(then[:early], now[:early], rtol=0.02):
                found.append(f"{panel}/{key}: early")
            if tail and not np.allclose(then[-tail:].mean(0), now[-tail:].mean(0), rtol=0.35):
                found.append(f"{panel}/{key}: later")
            compared += len(old)
    for kind in ("profiles", "matrices"):
        for snapshot in stored[kind]:
            for panel, picture in snapshot["data"].items() if snapshot["step"] <= until else ():
                then, now = numbers_of(picture), numbers_of(snapshots[snapshot["step"]][kind][panel])
                if not np.allclose(then, now, rtol=0.35, equal_nan=True):
                    found.append(f"{panel}: {kind} at {snapshot['step']}")
                compared += len(then)
    return found if compared else ["nothing was recorded so early that it could be compared"]


def numbers_of(picture: dict) -> np.ndarray:
    """All values of a map, or of a profile's series one after another."""
    rows = picture["z"] if "z" in picture else picture.values()
    return np.array([value for row in rows for value in row], dtype=float)


def train(experiment, share=SHARE) -> tuple[Result, dict[int, dict], int]:
    """The first part of a run, its profiles and maps by step, and the last step."""
    result, snapshots, last = Result(experiment), {}, 0
    for frame in experiment.frames():
        if last and frame.step > share * frame.total:
            break
        result.add(frame)
        last = frame.step
        if frame.profiles or frame.matrices:
            pictures = result.pictures()
            for kind in ("profiles", "matrices"):
                if getattr(frame, kind):
                    snapshots.setdefault(last, {})[kind] = pictures[kind]
    return result, snapshots, last


@pytest.mark.parametrize("identifier", EXPERIMENTS)
def test_a_sample_of_the_grid_trains_to_what_was_recorded(identifier):
    experiment = EXPERIMENTS[identifier].create(EXPERIMENTS[identifier].sample)
    [stored] = [run for run in recording.load(identifier)["runs"] if run["values"] == experiment.values()]
    assert differences(stored, *train(experiment)) == []


def test_a_recorded_run_reads_like_a_run():
    stored, run = recording.recorded(EXPERIMENTS["scalar_chain"]), EXPERIMENTS["scalar_chain"].run()
    assert stored.tables == run.tables and stored.curves.keys() == run.curves.keys()
    for panel, series in run.curves.items():
        for key in series:
            steps = [run.steps(panel, key).index(step) for step in stored.steps(panel, key)]
            assert np.allclose(stored.curve(panel, key), run.curve(panel, key)[:, steps], rtol=6e-3, equal_nan=True)
    matrix = recording.recorded(EXPERIMENTS["learning_rate_map"], kind="plain").matrices["map"]
    assert np.shape(matrix["z"]) == (len(matrix["ys"]), len(matrix["xs"]))
    assert np.isnan(matrix["z"]).any(), "some networks of the map diverge"


def test_a_setting_that_was_not_recorded_is_refused_with_what_was():
    with pytest.raises(KnobError, match="기록에 없습니다.*0.001, 0.003"):
        recording.recorded(EXPERIMENTS["identity_insertion"], seed=5)


def test_a_run_with_another_learning_rate_or_seed_is_told_apart():
    experiment = EXPERIMENTS["mlp_depth"]
    stored = recording.record_run(experiment(depth=4))
    assert differences(stored, *train(experiment(depth=4), share=1)) == []
    assert differences(stored, *train(experiment(depth=4, lr=0.03)))
    assert differences(stored, *train(experiment(depth=4, seed=9)))


def test_a_changed_source_makes_a_recording_stale(monkeypatch, tmp_path):
    experiment = EXPERIMENTS["scalar_product"]
    assert recording.stale(experiment) is None
    changed = tmp_path / "fit.py"
    changed.write_text("changed = True\n", encoding="utf-8")
    files = recording._imported_files
    monkeypatch.setattr(recording, "_imported_files", lambda path: [p for p in files(path) if p.name != "fit.py"] + [changed])
    assert "소스가" in recording.stale(experiment)


def test_a_picture_that_cannot_be_drawn_leaves_the_recording_stale(monkeypatch, tmp_path):
    def refuse(recording):
        raise ValueError("no such panel")

    experiment = EXPERIMENTS["scalar_product"]
    monkeypatch.setattr(recording, "RECORDINGS", tmp_path)
    monkeypatch.setattr(recording, "record", lambda experiment: {"runs": []})
    monkeypatch.setattr(still, "picture", refuse)
    with pytest.raises(ValueError, match="no such panel"):
        recording.run(Namespace(ids=[experiment.id], check=False))
    assert recording.stale(experiment)
    assert not list(tmp_path.iterdir())


def test_the_source_hash_covers_what_the_numbers_depend_on():
    import residual_lab.experiments.degradation as lesson
    from pathlib import Path

    names = {path.name for path in recording._imported_files(Path(lesson.__file__))}
    assert {"degradation.py", "base.py", "stacked.py", "fit.py", "data.py"} <= names
