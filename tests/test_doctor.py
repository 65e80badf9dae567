"""`residual-lab`: its help costs nothing, and `doctor` finds what is broken and says what to do."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from residual_lab import cli, doctor


def signs(findings) -> list[str]:
    return [finding.sign for finding in findings]


def test_help_is_korean_and_does_not_import_torch():
    code = "import sys; from residual_lab import cli\ntry: cli.main(['--help'])\nfinally: print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "설치를 검사하고" in said and "usage" not in said.lower() and said.endswith("False\n")


def test_a_mistyped_command_is_answered_in_korean(capsys):
    with pytest.raises(SystemExit):
        cli.main(["leran"])
    assert "명령을 이해하지 못했습니다" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_work(command):
    assert callable(importlib.import_module(cli.COMMANDS[command]).run)


def test_a_missing_package_is_named(monkeypatch, capsys):
    def run(arguments):
        import no_such_package  # noqa: F401

    monkeypatch.setattr(doctor, "run", run)
    assert cli.main(["doctor"]) == 1
    assert "no_such_package" in capsys.readouterr().err


def test_this_environment_is_well(capsys):
    assert doctor.run(SimpleNamespace()) == 0
    said = capsys.readouterr().out
    assert "✗" not in said and "커널 python3이 이 환경에서 돕니다" in said and "학습할 준비가 되었습니다" in said


def test_a_fault_is_printed_with_its_remedy_and_counted(capsys):
    assert doctor.report(doctor.check_python((3, 10, 4))) == 1
    assert "✗ Python 3.10.4\n    → Python 3.11 이상으로" in capsys.readouterr().out


def test_packages_missing_or_out_of_range():
    missing, old, fine = doctor.check_packages(["no-such-package>=1", "torch>=99", "torch>=2.11"])
    assert (missing.sign, old.sign, fine.sign) == ("✗", "✗", "✓")
    assert "설치되어 있지 않습니다" in missing.text and ">=99" in old.text


def lab_extensions(folder, manager: str, anywidget: str):
    for name, version in (("@jupyter-widgets/jupyterlab-manager", manager), ("anywidget", anywidget)):
        (folder / name).mkdir(parents=True)
        (folder / name / "package.json").write_text(json.dumps({"version": version}))
    return [folder]


@pytest.mark.parametrize(("lab", "kernel", "found"), [
    (("5.0.16", "0.11.0"), {"ipywidgets": "8.1.9", "anywidget": "0.11.0"}, ["✓", "✓"]),
    (("5.0.16", "0.11.0"), {"ipywidgets": "8.1.9", "anywidget": "0.9.21"}, ["✓", "✗"]),
    (("5.0.16", "0.9.21"), {"ipywidgets": "7.7.1", "anywidget": "0.9.21"}, ["✗", "✓"]),
    (("3.1.11", "0.9.21"), {"ipywidgets": "7.7.1", "anywidget": "0.9.21"}, ["✓", "✓"]),
])
def test_widgets_of_kernel_and_lab_must_fit(tmp_path, lab, kernel, found):
    assert signs(doctor.check_widgets(lab_extensions(tmp_path, *lab), kernel.get)) == found


def test_widgets_without_their_extensions(tmp_path):
    assert signs(doctor.check_widgets([tmp_path])) == ["✗", "✗"]


def test_fonts_missing_or_broken(tmp_path):
    (tmp_path / "Pretendard-Bold.otf").write_bytes(b"not a font")
    assert signs(doctor.check_fonts(tmp_path)) == ["✗", "✗"]


def test_a_kernel_that_does_not_exist():
    (finding,) = doctor.check_kernel("no-such-kernel")
    assert finding.sign == "✗" and "시작되지 않습니다" in finding.text and finding.advice


def test_a_kernel_that_dies_at_once(tmp_path, monkeypatch):
    folder = tmp_path / "kernels/dying"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit('a library is gone')", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "dying", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (finding,) = doctor.check_kernel("dying")
    assert finding.sign == "✗" and "a library is gone" in finding.text


def test_no_browser_is_no_fault_for_a_learner():
    assert signs(doctor.check_browser(lambda: None)) == ["!"]


def test_a_full_disk(tmp_path):
    assert signs(doctor.check_disk(tmp_path, needed=1e9)) == ["✗"]


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (finding,) = doctor.check_records(tmp_path / "file/home")
    assert finding.sign == "✗" and "RESIDUAL_LAB_HOME" in finding.advice
