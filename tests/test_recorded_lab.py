"""The site's stand-in for the kernel, in Chromium: it answers the labs' protocol from a recording."""

from __future__ import annotations

import pytest
from playwright.sync_api import sync_playwright

from residual_lab.lab.frontend import esm

STEPS = list(range(10, 101, 10))


def run_of(depth: int, seconds: float) -> dict:
    return {
        "values": {"depth": depth, "kind": "a", "seed": 0},
        "seconds": seconds,
        "step": 100,
        "total": 100,
        "curves": {"loss": {"plain": {"x": STEPS, "y": [[depth / step, None] for step in STEPS]}}},
        "profiles": [{"step": step, "data": {"grad": {"plain": [step] * depth}}} for step in (10, 50, 100)],
        "matrices": [],
        "tables": {"final": [["플레인", "0.1"]]},
    }


def knob(name: str, values: list, default, labels: list | None = None) -> dict:
    return {"name": name, "kind": "slider", "label": name, "unit": "", "values": values, "labels": labels, "default": default, "help": ""}


RECORDING = {
    "format": 1,
    "id": "toy",
    "spec": {
        "id": "toy",
        "knobs": [
            knob("depth", [1, 2, 3, 4], 3),
            knob("kind", ["b", "a"], "a", ["나", "가"]),
            knob("seed", list(range(100)), 0),
        ],
        "panels": [],
        "values": {"depth": 3, "kind": "a", "seed": 0},
    },
    "grid": {"depth": [2, 4], "kind": ["a"], "seed": [0]},
    "runs": [run_of(2, 0.05), run_of(4, 12.0)],
}

HARNESS = """
window.make = (recording, wished) => {
  const told = [];
  const paces = [];
  const lab = new RecordedLab(recording, wished, (record, pace) => paces.push(pace));
  lab.on("msg:custom", (message) => told.push(message));
  const heard = async (type, n) => {
    const until = performance.now() + 5000;
    while (told.filter((m) => m.type === type).length < n) {
      if (performance.now() > until) throw new Error(`no ${type} number ${n}`);
      await new Promise((next) => setTimeout(next, 1));
    }
    return told.filter((m) => m.type === type)[n - 1];
  };
  const settle = () => new Promise((next) => setTimeout(next, 60));
  return {lab, told, paces, heard, settle};
};
"""


@pytest.fixture(scope="module")
def page(chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--disable-gpu", "--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.add_script_tag(type="module", content=esm("recorded") + HARNESS)
        page.wait_for_function("() => window.make !== undefined")
        yield page
        browser.close()


def play(page, script: str, wished: dict | None = None):
    return page.evaluate(f"async ([recording, wished]) => {{ const {{lab, told, paces, heard, settle}} = make(recording, wished);\n{script} }}", [RECORDING, wished])


def test_only_what_was_recorded_can_be_chosen(page):
    spec = play(page, "return lab.get('spec')", {"depth": 4, "kind": "b"})
    assert {k["name"]: k["values"] for k in spec["knobs"]} == RECORDING["grid"]
    assert spec["knobs"][1]["labels"] == ["가"]
    assert spec["values"] == {"depth": 4, "kind": "a", "seed": 0}
    assert spec["knobs"][0]["default"] in RECORDING["grid"]["depth"]


def test_ticks_bring_every_point_once_and_the_table_at_the_end(page):
    frames = play(page, """
        lab.send({type: "start", run: "r", values: {depth: 2}});
        for (let n = 1; n < 100 && !told.at(-1)?.done; n++) { lab.send({type: "tick", run: "r", n, ms: 8}); await heard("frame", n); }
        return told;""")
    assert [frame["n"] for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame["at"] for frame in frames] == [sum(f["frames"] for f in frames[:i]) for i in range(len(frames))]
    line = [frame["curves"]["loss"]["plain"] for frame in frames]
    recorded = RECORDING["runs"][0]["curves"]["loss"]["plain"]
    assert [x for part in line for x in part["x"]] == recorded["x"]
    assert [y for part in line for y in part["y"]] == recorded["y"]
    assert frames[-1]["profiles"]["grad"]["plain"] == [100, 100]
    assert [bool(frame["tables"]) for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert (frames[-1]["step"], frames[-1]["total"], frames[-1]["seconds"]) == (100, 100, 0.05)


@pytest.mark.parametrize(("depth", "pace"), [(2, 1), (4, 2)])
def test_long_runs_are_played_faster(page, depth, pace):
    assert play(page, f"lab.send({{type: 'start', run: 'r', values: {{depth: {depth}}}}}); return paces") == [pace]


def test_a_step_is_one_point(page):
    frames = play(page, """
        lab.send({type: "start", run: "r", values: {depth: 4}});
        for (const n of [1, 2, 3]) lab.send({type: "step", run: "r", n});
        await heard("frame", 3);
        return told;""")
    assert [frame["frames"] for frame in frames] == [1, 1, 1]
    assert [frame["curves"]["loss"]["plain"]["x"] for frame in frames] == [[10], [20], [30]]
    assert frames[1]["step"] == 20


def test_snapshot_holds_all_that_was_shown(page):
    snapshot = play(page, """
        lab.send({type: "hello"});
        lab.send({type: "start", run: "r", values: {depth: 4}});
        for (const n of [1, 2, 3, 4, 5]) lab.send({type: "step", run: "r", n});
        lab.send({type: "hello"});
        return [await heard("snapshot", 1), await heard("snapshot", 2)];""")
    assert (snapshot[0]["state"], snapshot[0]["run"], snapshot[0]["pins"]) == ("idle", None, [])
    assert (snapshot[1]["state"], snapshot[1]["run"], snapshot[1]["at"], snapshot[1]["step"]) == ("paused", "r", 5, 50)
    assert snapshot[1]["curves"]["loss"]["plain"]["x"] == STEPS[:5]
    assert snapshot[1]["profiles"]["grad"]["plain"] == [50] * 4
    assert snapshot[1]["values"] == {"depth": 4, "kind": "a", "seed": 0}


def test_nothing_comes_after_a_stop(page):
    told = play(page, """
        lab.send({type: "start", run: "r", values: {depth: 2}});
        lab.send({type: "step", run: "r", n: 1});
        lab.send({type: "tick", run: "r", n: 2, ms: 8});
        lab.send({type: "stop", run: "r"});
        await settle();
        lab.send({type: "reset"});
        await heard("snapshot", 2);
        return told;""")
    assert [m["type"] for m in told] == ["frame", "snapshot", "snapshot"]
    assert [m.get("state") for m in told[1:]] == ["stopped", "idle"]
    assert told[1]["curves"]["loss"]["plain"]["x"] == [10]


def test_pins_stay_as_they_were(page):
    pins = play(page, """
        lab.send({type: "start", run: "first", values: {depth: 4}});
        lab.send({type: "step", run: "first", n: 1});
        lab.send({type: "pin", run: "first"});
        lab.send({type: "step", run: "first", n: 2});
        lab.send({type: "start", run: "second", values: {depth: 2}});
        lab.send({type: "step", run: "second", n: 3});
        lab.send({type: "pin", run: "second"});
        lab.send({type: "unpin", run: "second"});
        return [(await heard("snapshot", 2)).pins, (await heard("snapshot", 3)).pins];""")
    assert [pin["run"] for pin in pins[0]] == ["first", "second"]
    assert pins[1] == pins[0][:1]
    assert pins[1][0]["curves"]["loss"]["plain"]["x"] == [10]
    assert (pins[1][0]["values"]["depth"], pins[1][0]["step"], pins[1][0]["done"]) == (4, 10, False)


def test_settings_without_a_recording_are_refused(page):
    error = play(page, """
        lab.send({type: "start", run: "r", values: {depth: 3}});
        return await heard("error", 1);""")
    assert error["run"] == "r"
    assert "기록이 없습니다" in error["text"]
