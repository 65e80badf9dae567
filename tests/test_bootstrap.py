"""`make learn | test` from nothing: old Pythons, interrupted set-ups, and what is said when something is missing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest

from residual_lab import bootstrap, environment, pip_run, testing
from residual_lab.paths import CHECKOUT

SCRIPT = CHECKOUT / "residual_lab/bootstrap.py"


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """A place for an environment, not yet made."""
    monkeypatch.setenv("RESIDUAL_LAB_VENV", str(tmp_path / "venv"))
    return tmp_path / "venv"


@pytest.fixture
def pip(monkeypatch, venv):
    """Stands in for pip: notes each call (but those that renew pip itself), and what the stamp said meanwhile."""
    calls, make_venv = [], environment._make_venv

    def run(command, log):
        if not command[-1].startswith("pip=="):
            calls.append((command, (venv / environment.STAMP).read_text()))
        return pip_run.Result(0, "")

    monkeypatch.setattr(pip_run, "run", run)
    monkeypatch.setattr(environment, "_make_venv", lambda venv: make_venv(venv, "--without-pip"))
    monkeypatch.setattr(environment, "_reachable", lambda url: False)
    return calls


def test_an_old_python_can_read_the_script():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_told_what_is_needed(capsys):
    assert bootstrap.main(["learn"], version=(3, 8, 1), find_newer=lambda: None) == 1
    said = capsys.readouterr().err
    assert "Python 3.11 이상이 필요합니다" in said and "3.8" in said


def test_an_old_python_hands_over_to_a_newer_one(capfd):
    assert bootstrap.main(["--help"], version=(3, 8, 1), find_newer=lambda: sys.executable) == 0
    assert "사용법" in capfd.readouterr().out


def test_make_says_that_python_is_missing():
    result = subprocess.run(["make", "learn", "PYTHON=no-such-python"], cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode and "'no-such-python' 명령이 없습니다" in result.stderr


def test_an_unreachable_registry_is_explained(venv):
    """The real thing: a new environment and a pip that reaches nothing."""
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    result = subprocess.run([sys.executable, str(SCRIPT), "setup"], env={**clean, **nowhere}, capture_output=True, text=True)
    assert result.returncode == 1
    assert "패키지 저장소에 연결하지 못했습니다" in result.stderr and "다시 실행하십시오" in result.stderr
    assert json.loads((venv / environment.STAMP).read_text()) == {}


def test_the_stamp_is_written_last_and_a_finished_environment_is_left_alone(venv, pip):
    environment.prepare(("learner",))
    ((command, during),) = pip
    assert during == "{}" and "[learner]" in command[-1] + command[-2] and str(CHECKOUT / "constraints.txt") in command
    assert environment.prepare(("learner",)) == environment.python_of(venv)
    assert len(pip) == 1
    environment.prepare(("test",))
    assert any(argument.endswith("[learner,test]") for argument in pip[1][0])


def test_changed_lists_are_installed_again(venv, pip, monkeypatch):
    environment.prepare(("learner",))
    monkeypatch.setattr(environment, "_fingerprint", lambda *files: "changed")
    environment.prepare(("learner",))
    assert len(pip) == 2


@pytest.mark.parametrize("stamp", ["{}", '{"extras": ["learner"], "lists": "x", "python": "3.9"}', '{"extr'],
                         ids=["cut short", "Python upgraded", "half a stamp"])
def test_a_broken_environment_is_made_again(venv, stamp):
    environment._open_venv(venv, "--without-pip")
    (venv / "rest").write_text("of an interrupted installation")
    (venv / environment.STAMP).write_text(stamp)
    environment._open_venv(venv, "--without-pip")
    assert not (venv / "rest").exists() and environment._python_version(venv)


def test_a_repair_that_is_cut_short_is_taken_up_again(venv, monkeypatch):
    environment._open_venv(venv, "--without-pip")
    (venv / environment.STAMP).write_text("{}")

    def interrupted(folder):
        (folder / environment.STAMP).unlink(missing_ok=True)  # in a folder that goes as a whole it may be the first to go
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(environment.shutil, "rmtree", interrupted)
        environment._open_venv(venv, "--without-pip")
    environment._open_venv(venv, "--without-pip")
    assert environment._python_version(venv)


def test_two_set_ups_at_once_do_not_meet_and_a_killed_one_does_not_count(venv, pip):
    code = "import time; from pathlib import Path; from residual_lab import environment\n" \
           f"with environment._alone(Path({str(venv)!r})): print('begun', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "begun\n"
            with pytest.raises(environment.SetupError, match="다른 창에서"):
                environment.prepare(("learner",))
            assert not venv.exists() and not pip
        finally:
            other.kill()
    environment.prepare(("learner",))
    assert len(pip) == 1


def test_a_folder_of_others_is_left_alone(venv):
    venv.mkdir()
    (venv / "thesis.tex").write_text("!")
    with pytest.raises(environment.SetupError, match="이 과정이 만든 환경이 아니어서"):
        environment.prepare(("learner",))
    assert (venv / "thesis.tex").exists()


def test_without_room_nothing_is_begun(venv, pip, monkeypatch):
    monkeypatch.setattr(environment, "DISK_NEEDED", dict.fromkeys(environment.DISK_NEEDED, (1e9, 1.0)))
    with pytest.raises(environment.SetupError, match="디스크 공간이 모자랍니다"):
        environment.prepare(("learner",))
    assert not venv.exists() and not pip


def test_a_place_that_cannot_be_written_is_named(tmp_path, pip, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESIDUAL_LAB_VENV", str(tmp_path / "file/venv"))
    with pytest.raises(environment.SetupError, match="쓸 수 없습니다(.|\n)*RESIDUAL_LAB_VENV"):
        environment.prepare(("learner",))


def test_debian_without_venv_is_told_which_package(venv, monkeypatch):
    find_spec = environment.importlib.util.find_spec
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find_spec(name))
    with pytest.raises(environment.SetupError, match=r"sudo apt install python3\.\d+-venv"):
        environment.prepare(("learner",))


@pytest.mark.parametrize(("chosen", "asks_for_cpu"), [("cpu", True), ("default", False)])
def test_which_torch_is_installed_can_be_chosen(venv, pip, monkeypatch, chosen, asks_for_cpu):
    monkeypatch.setenv("RESIDUAL_LAB_TORCH", chosen)
    monkeypatch.setattr(environment, "_check_disk", lambda venv, needed: None)
    environment.prepare(("learner",))
    assert any(argument.endswith("+cpu") for argument in pip[0][0]) == asks_for_cpu


def test_a_wrong_choice_of_torch_is_refused(monkeypatch):
    monkeypatch.setenv("RESIDUAL_LAB_TORCH", "gpu")
    with pytest.raises(environment.SetupError, match="cpu나 default만"):
        environment.torch_kind()


@pytest.mark.parametrize(("output", "says"), [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "디스크가 가득"),
    ("WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No matching distribution found for torch==2.13.0+cpu", "연결하지 못했습니다"),
    ("ERROR: No matching distribution found for torch==2.13.0+cpu", "RESIDUAL_LAB_TORCH=default"),
    ("ERROR: No matching distribution found for torch<3,>=2.11", "Python 3.11–3.14"),
    ("ERROR: [Errno 13] Permission denied: '/opt/x'", "권한이 없습니다"),
    ("ERROR: ResolutionImpossible", "constraints.txt"),
    ("ERROR: something new", "패키지를 설치하지 못했습니다"),
])
def test_pips_failures_are_explained(output, says):
    assert says in pip_run.explain(output)
    assert output.splitlines()[-1] in pip_run.explain(output)


def test_a_long_installation_says_what_it_is_at(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pip_run, "EVERY", 0.05)
    code = "import time; print('Downloading torch-2.13.0-cp311-x.whl (190 MB)', flush=True); time.sleep(1); print('done')"
    result = pip_run.run([sys.executable, "-c", code], tmp_path / "log")
    assert result == (0, (tmp_path / "log").read_text())
    assert "내려받습니다: torch(190 MB)" in capsys.readouterr().out


def test_every_stage_runs_and_the_failed_one_is_named(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("RESIDUAL_LAB_BROWSER", sys.executable)
    monkeypatch.setenv("RESIDUAL_LAB_HOME", str(tmp_path))
    show = "import os; print('home', os.environ['RESIDUAL_LAB_HOME'], os.environ['RESIDUAL_LAB_COLAB_PYTHON'])"
    stages = (testing.Stage("첫째", ("-c", "raise SystemExit(3)")), testing.Stage("둘째", ("-c", show)))
    assert testing.main(lambda: (sys.executable, "colab-python"), stages) == 1
    said = capfd.readouterr().out
    assert "실패한 단계: 첫째." in said and "colab-python" in said
    assert f"home {tmp_path} " not in said
    assert testing.main(lambda: (sys.executable, "colab-python"), stages[1:]) == 0
    assert testing.main(lambda: ("main-python", sys.executable), [stages[1]._replace(colab=True)]) == 0


def test_a_stage_that_hangs_is_ended_and_named(capfd, monkeypatch):
    monkeypatch.setenv("RESIDUAL_LAB_BROWSER", sys.executable)
    stages = (testing.Stage("멈춘 단계", ("-c", "import time; time.sleep(1000)"), minutes=0.01), testing.Stage("다음", ("-c", "print('next')")))
    assert testing.main(lambda: (sys.executable, "colab-python"), stages) == 1
    said = capfd.readouterr().out
    assert "‘멈춘 단계’ 단계가 0.01분이 지나도 끝나지 않아" in said and "next" in said and "실패한 단계: 멈춘 단계." in said


def test_a_missing_browser_is_said_before_anything_is_installed(capsys, monkeypatch):
    monkeypatch.setenv("RESIDUAL_LAB_BROWSER", "/no/such/browser")
    assert testing.main(lambda: pytest.fail("began to install")) == 1
    assert "Chromium을 찾지 못했습니다" in capsys.readouterr().out
