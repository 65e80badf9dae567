"""``residual-lab learn``: JupyterLab in Korean at the course map, leaving the learner's own Jupyter settings alone."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from residual_lab.doctor import unwritable
from residual_lab.paths import CHECKOUT, home

COURSE_MAP = "index.md"
DEFAULTS = {
    "@jupyterlab/translation-extension:plugin": {"locale": "ko_KR"},
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""Defaults only: what the learner chooses in the settings menu wins, and is kept where JupyterLab always keeps it."""


def run(arguments: argparse.Namespace) -> int:
    if not (CHECKOUT / COURSE_MAP).is_file():
        print("레슨이 있는 저장소 폴더를 찾지 못했습니다. 저장소를 내려받아 그 안에서 'make learn'을 실행하십시오.", file=sys.stderr)
        return 1
    try:
        kept = lab_arguments(home() / "jupyterlab")
    except OSError as error:
        _, text, advice = unwritable(home(), error)
        print(f"{text}\n{advice}.", file=sys.stderr)
        return 1
    print("JupyterLab을 엽니다. 브라우저가 열리지 않으면 아래에 나오는 http://localhost 주소를 브라우저에 붙여 넣으십시오.\n"
          "끝내려면 이 창에서 Ctrl+C를 두 번 누르십시오.\n", flush=True)
    from jupyterlab.labapp import LabApp

    options = ["--no-browser"] if arguments.no_browser else []
    LabApp.launch_instance([*kept, f"--port={arguments.port}", *options])
    # The server has ended its kernels and stopped its loop; anyio's worker threads, which end with a loop that is closed, would
    # keep the process (and the learner's terminal) waiting for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def lab_arguments(folder: Path) -> list[str]:
    """JupyterLab's arguments for the course; its defaults and the windows left open are kept in ``folder``."""
    settings = folder / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "overrides.json").write_text(json.dumps(DEFAULTS), encoding="utf-8")
    return [
        f"--ServerApp.root_dir={CHECKOUT}",
        f"--LabApp.app_settings_dir={settings}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        f"--LabApp.default_url=/lab/tree/{COURSE_MAP}",
        "--Application.log_level=WARN",
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]
