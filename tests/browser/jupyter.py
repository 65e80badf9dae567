"""A JupyterLab server of one's own: private folders, a free port, a token; its kernels and it are gone at the end."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat

from residual_lab.learn import DEFAULTS

SERVER_START_S = 120
PAGE = {"buildCheck": False}
"""A page does not ask whether JupyterLab should be built anew: the answer starts Node every time."""


class JupyterServer:
    """Runs while the ``with`` block does. ``root`` is the folder that it serves, ``home`` the learner's records."""

    def __init__(self, python: str):
        self._python = python
        self._token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{probe.getsockname()[1]}"

    def __enter__(self) -> JupyterServer:
        self._folder = tempfile.TemporaryDirectory(prefix="residual-lab-jupyter-", ignore_cleanup_errors=True)
        place = Path(self._folder.name)
        self.root, self.home, self._log = place / "root", place / "home", place / "server.log"
        for name in ("root", "home", "config", "data", "runtime", "ipython", "settings", "workspaces", "user-settings"):
            (place / name).mkdir()
        (place / "settings/overrides.json").write_text(json.dumps(DEFAULTS), encoding="utf-8")
        (place / "settings/page_config.json").write_text(json.dumps(PAGE), encoding="utf-8")
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "RESIDUAL_LAB_HOME": str(self.home), "JUPYTER_CONFIG_DIR": str(place / "config"),
            "JUPYTER_DATA_DIR": str(place / "data"), "JUPYTER_RUNTIME_DIR": str(place / "runtime"), "IPYTHONDIR": str(place / "ipython"),
        }
        environment.pop("JUPYTER_PATH", None)  # another installation's widgets would be found first
        command = [
            self._python, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
            f"--ServerApp.port={self.address.rsplit(':', 1)[1]}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}", f"--IdentityProvider.token={self._token}",
            f"--LabApp.app_settings_dir={place / 'settings'}", f"--LabApp.user_settings_dir={place / 'user-settings'}",
            f"--LabApp.workspaces_dir={place / 'workspaces'}",
            # Should this process be killed without a chance to clean up, the server ends by itself.
            "--MappingKernelManager.cull_idle_timeout=3600", "--ServerApp.shutdown_no_activity_timeout=3600",
        ]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, env=environment, cwd=place, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self._process.terminate()  # it shuts its kernels down; those that it cannot, notice that it is gone
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + SERVER_START_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.ask("GET", "status")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read_text(errors='replace')[-4000:]}")

    def ask(self, method: str, path: str, body: dict | None = None):
        """The server's REST interface."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self._token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def page_of(self, notebook: str) -> str:
        return f"{self.address}/lab/tree/{notebook}?token={self._token}&reset"

    def write(self, name: str, *cells: str) -> None:
        """Put a notebook of these code cells into the served folder."""
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=spec)
        nbformat.write(book, self.root / name)

    def forget(self) -> None:
        """End every kernel, and remove what was written: the next test finds an unused server."""
        for session in self.ask("GET", "sessions"):
            self.ask("DELETE", f"sessions/{session['id']}")
        for file in [*self.root.iterdir(), *self.home.iterdir()]:
            if file.is_file():
                file.unlink()
