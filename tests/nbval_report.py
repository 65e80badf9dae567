"""Run nbval on a notebook in its own pytest and tell what it said of every code cell."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat


def verdicts(notebook: Path, scratch: Path) -> dict[str, str]:
    """Cell id → "passed", "failed" or "skipped", from a strict run (``--nbval``) apart from the course's own settings."""
    (scratch / "pytest.ini").write_text("[pytest]\n")
    report = scratch / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(scratch / "pytest.ini"), "-p", "no:cacheprovider"]
    command += ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", f"--junitxml={report}", str(notebook)]
    env = {**os.environ, "RESIDUAL_LAB_HOME": str(scratch / "home"), "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    code = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    assert len(cases) == len(code), f"nbval ran {len(cases)} of {len(code)} cells of {notebook}:\n{run.stdout}\n{run.stderr}"
    return {cell.id: _verdict(case) for cell, case in zip(code, cases, strict=True)}


def _verdict(case: ElementTree.Element) -> str:
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"
