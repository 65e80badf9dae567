"""The grader under attack, on a tiny course: nothing is forged, and nothing costs more than the task that did it.

A few runs of nbval grade every hostile and every honest answer, as in a class, in kernels forked from a warm process. What can
be reached is tried in kernels that start cold too: the two are shut in by different means. Most of it is waiting (until a cell's
time is up, until a process is gone), so the runs go side by side.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grading_attacks as attacks
import psutil
import pytest
from grading_course import RIGHT, write_course, write_submission
from jupyter_client.provisioning import local_provisioner

from residual_lab.grading import html, provisioner, reports, sandbox
from residual_lab.grading.exercise import find_exercises
from residual_lab.grading.grade import Grader
from residual_lab.grading.sandbox import Limits
from residual_lab.grading.verdict import PASSED, Result
from residual_lab.paths import PACKAGE

HEAD = "# 과제 1-1\n"
ALSO_COLD = {"damage: leaving at once", "damage: processes left behind", "noisy: prints, warnings, displays, logs, stderr"}
AT_ONCE = 4
START = pytest.mark.parametrize("start", ["", "cold "], ids=["warm", "cold"])


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """{name: {task: result}} of all of them, under the best protection here; bubblewrap is part of every test machine."""
    root = write_course(tmp_path_factory.mktemp("course"))
    secret = tmp_path_factory.mktemp("secret") / "expected.txt"
    secret.write_text("1")
    listener = socket.create_server(("127.0.0.1", 0))
    places = {"secret": str(secret), "port": listener.getsockname()[1], "folder": str(secret.parent), "package": str(PACKAGE)}
    answers = {f"forge: {name}": [HEAD + code] for name, code in attacks.FORGERIES.items()}
    answers |= {f"reach: {name}": [HEAD + code.format(**places) + attacks.AS_IT_REACHES] for name, code in attacks.REACHES.items()}
    answers |= {f"damage: {name}": [HEAD + code] for name, (code, _) in attacks.DAMAGE.items()}
    answers |= {f"noisy: {name}": [HEAD + code] for name, code in attacks.NOISY.items()}
    answers["noisy: numpy numbers"].append(RIGHT["1-2"])
    answers["damage: leaving at once"].append(RIGHT["1-2"])
    grader = Grader(find_exercises(root), sandbox.choose("bwrap"), Limits(cell_seconds=6, memory=3 << 30))
    cold = replace(grader)  # it has no warm process, and the same expected values
    work = {name: grader.open(write_submission(root / "in" / f"{number}.ipynb", *cells)) for number, (name, cells) in enumerate(answers.items())}
    found: dict[str, dict] = {}

    def grade(by: Grader, prefix: str, names: Sequence[str]) -> None:
        by.grade({name: work[name] for name in names}, lambda name, result: found.setdefault(prefix + name, {}).__setitem__(result.task, result))

    with pytest.MonkeyPatch.context() as patch, grader.warmed(grader.exercises.values()), ThreadPoolExecutor() as pool:
        patch.setenv("RESIDUAL_LAB_TEST_SECRET", "1")
        for exercise in grader.exercises.values():
            grader.expect(exercise)
        assert grader.warm.address, "the warm process did not start"
        runs = [pool.submit(grade, grader, "", list(work)[start::AT_ONCE]) for start in range(AT_ONCE)]
        runs.append(pool.submit(grade, cold, "cold ", [name for name in work if name.startswith("reach: ") or name in ALSO_COLD]))
        for run in runs:
            run.result()
    listener.close()
    assert os.listdir(secret.parent) == ["expected.txt"]
    assert not (PACKAGE / "residual-lab-was-here").exists()
    return found


@pytest.mark.parametrize("name", attacks.FORGERIES)
def test_nothing_is_forged(graded, name):
    assert graded[f"forge: {name}"]["1-1"].points == 0


@START
@pytest.mark.parametrize("name", attacks.REACHES)
def test_nothing_is_reached(graded, name, start):
    result = graded[f"{start}reach: {name}"]["1-1"]
    assert result.points == 0 and result.status in ("failed", "died"), result.reason


@pytest.mark.parametrize("name", attacks.DAMAGE)
def test_damage_costs_the_task_and_is_told(graded, name):
    result = graded[f"damage: {name}"]["1-1"]
    assert result.points == 0 and result.status in attacks.DAMAGE[name][1].split(), result.reason


@pytest.mark.parametrize("name", attacks.NOISY)
def test_noise_costs_nothing(graded, name):
    result = graded[f"noisy: {name}"]["1-1"]
    assert result.status == PASSED, f"{result.reason} {result.hint}"


@pytest.mark.parametrize("name", sorted(ALSO_COLD))
def test_a_cold_kernel_gives_the_same_result(graded, name):
    warm, cold = ({task: (result.status, result.points, result.hint) for task, result in graded[start + name].items()} for start in ("", "cold "))
    assert warm == cold


def test_the_other_task_of_a_hostile_learner_is_graded_as_usual(graded):
    assert graded["damage: leaving at once"]["1-2"].status == PASSED
    assert graded["noisy: numpy numbers"]["1-2"].status == PASSED


def test_no_process_is_left_and_nothing_was_unpickled(graded):
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and "98765" in p.info["cmdline"]]
    assert left == []
    assert not Path("/tmp/residual-lab-pickled").exists()


def test_words_of_a_learner_cannot_run_in_a_report(graded):
    task = graded["damage: terminal codes and markup"]["1-1"]
    result = Result("=HYPERLINK(1)", "01_small", "연습", "a.ipynb", [task])
    assert "\x1b" not in reports.table(result)
    assert "<script>" not in html.learner_page([result]) + html.class_page([result], [], sandbox.Protection("plain"))
    assert "'=HYPERLINK(1)" in reports.grades_csv([result])
    reports.junit_xml([result])


def test_edited_checks_outputs_and_metadata_are_not_looked_at(tmp_path):
    """Only the source of answer cells is taken: whatever else a file says makes the same submission."""
    from grading_course import cell

    grader = Grader(find_exercises(write_course(tmp_path)), sandbox.Protection("plain"))
    plain = grader.open(write_submission(tmp_path / "plain.ipynb", attacks.WRONG.join([HEAD, ""])))[1]
    forged = write_submission(
        tmp_path / "forged.ipynb",
        metadata={"kernelspec": {"name": "evil", "argv": ["rm"]}, "residual_lab": {"points": 100}},
        cells=[cell(HEAD + attacks.WRONG, metadata={"tags": ["nbval-skip", "raises-exception"], "points": 100}, outputs=[{"output_type": "stream", "text": "PASS"}]),
               cell("print('통과')", metadata={"tags": ["check", "grade"], "task": "1-1", "points": 100}, id="check-1-1"),
               cell("import torch; torch.allclose = lambda *a: True", metadata={"tags": ["setup"]})],
    )
    assert grader.open(forged)[1].answers == plain.answers


def test_without_a_sandbox_it_says_so_and_can_refuse(monkeypatch):
    monkeypatch.setattr(sandbox, "_working", lambda name: sandbox.Protection("plain") if name == "plain" else None)
    assert not sandbox.choose().isolated
    assert "샌드박스 없음" in sandbox.choose().label
    with pytest.raises(sandbox.NoSandbox, match="bubblewrap"):
        sandbox.choose(required=True)
    with pytest.raises(sandbox.NoSandbox):
        sandbox.choose("plain", required=True)


@pytest.mark.parametrize(("system", "name"), [("linux", "docker"), ("darwin", "plain"), ("win32", "plain")])
def test_docker_is_used_on_linux_alone(monkeypatch, system, name):
    monkeypatch.setattr(sandbox, "_working", sandbox._working.__wrapped__)
    monkeypatch.setattr(sandbox.sys, "platform", system)
    monkeypatch.setattr(sandbox.shutil, "which", lambda program: program if program == "docker" else None)
    monkeypatch.setattr(sandbox, "_succeeds", lambda arguments: True)
    assert sandbox.choose().name == name
    if name == "plain":
        with pytest.raises(sandbox.NoSandbox, match="WSL에서 채점"):
            sandbox.choose("docker")


def test_a_kernel_is_interrupted_and_ended_with_its_children_where_there_is_no_sigkill(monkeypatch):
    """As on Windows."""
    without = SimpleNamespace(SIGINT=signal.SIGINT, SIGTERM=signal.SIGTERM)
    for module in (provisioner, local_provisioner):
        monkeypatch.setattr(module, "signal", without)
    code = "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n" \
           "try:\n    print(child.pid, flush=True)\n    child.wait(60)\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\nchild.wait(60)"
    kernel = provisioner.GradingProvisioner()
    kernel.kept_in = sandbox.Protection("plain")
    kernel.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(kernel.process.stdout.readline()))
    asyncio.run(kernel.send_signal(signal.SIGINT))
    assert kernel.process.stdout.readline() == "interrupted\n"
    asyncio.run(kernel.kill())
    assert kernel.process.wait(20)
    assert all(left.status() == psutil.STATUS_ZOMBIE for left in psutil.wait_procs([child], 5)[1])


def test_docker_gets_no_network_no_solution_and_limits(tmp_path):
    line = sandbox.command(sandbox.Protection("docker"), ["python", "-f", "x"], tmp_path, Limits(), name="one")
    text = " ".join(line)
    assert "--network none" in text and "--read-only" in text and "--cap-drop ALL" in text and "--pids-limit 64" in text and "--memory " in text
    mounted = [line[place + 1].partition(":")[0] for place, word in enumerate(line) if word == "--volume"]
    assert str(PACKAGE) in mounted and not any(Path(one) in (PACKAGE.parent, PACKAGE.parent / "solutions") for one in mounted)
    assert shutil.which("bwrap")
