"""The grader's side of the warm process: start it, ask it for kernels, and do without it where it does not work."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import sandbox
from .sandbox import Limits, Protection

ZYGOTE = Path(__file__).with_name("zygote.py")
MODULES = ("numpy", "IPython.core.completer", "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.oinspect",
           "IPython.extensions.storemagic", "IPython.utils.capture", "matplotlib_inline.backend_inline", "ipykernel.debugger",
           "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "psutil", "tornado.platform.asyncio")
AT_FIRST_USE = {
    "torch": ("torch.fx.experimental.symbolic_shapes", "matplotlib.pyplot"),
    "torch.utils.checkpoint": ("torch._dynamo",),
    "torch.utils._python_dispatch": ("torch._dynamo",),
}
"""What else a module imports when it is first used: hundreds of modules, which every kernel would import by itself."""
START_SECONDS = 120


class Warm:
    """One warm process in the sandbox, as a context. ``address`` waits for it; it is None where there is none, and kernels start cold."""

    def __init__(self, protection: Protection, modules: tuple[str, ...] = MODULES):
        self.protection, self.modules = protection, modules
        self.folder: Path | None = None
        self.process: subprocess.Popen | None = None
        self._lock, self._answered = threading.Lock(), False
        self._address: str | None = None

    def __enter__(self) -> Warm:
        """Started from a thread that outlives it: bubblewrap ends the process with the thread that started it."""
        if self.protection.name == "bwrap" and sys.platform == "linux":
            self.folder = Path(tempfile.mkdtemp(prefix="rl-warm-"))
            self._address = str(self.folder / "zygote")
            line = [*sandbox.bubblewrap(self.protection, self.folder, forks=True), sys.executable, "-s", str(ZYGOTE), self._address, json.dumps(self.modules)]
            log = None if os.environ.get("RESIDUAL_LAB_GRADE_DEBUG") else subprocess.DEVNULL
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        return self

    @property
    def address(self) -> str | None:
        with self._lock:
            if self._address and not self._answered:
                self._answered = self._answers(self._address)
                if not self._answered:
                    self.__exit__()
            return self._address

    def _answers(self, address: str) -> bool:
        """Whether the process came up and a child of it can shut itself in (a trial kernel that ends at once)."""
        end = time.monotonic() + START_SECONDS
        while not os.path.exists(address):
            if self.process.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.05)
        shared = self.folder / "trial"
        shared.mkdir()
        uid = sandbox.own_user(self.protection)
        try:
            with Kernel(address, ["--version"], shared, Limits(), uid) as kernel:
                return kernel.wait(30) == 0
        except OSError:
            return False

    def __exit__(self, *_) -> None:
        self._address = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Kernel:
    """A forked kernel, known by its connection to the warm process; closing the connection ends it. Used like a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, address: str, arguments: list[str], shared: Path, limits: Limits, uid: int | None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.status: int | None = None
        self.used = [0, 0]
        self._rest = b""
        self.socket.settimeout(20)
        self.socket.connect(address)
        kept = [str(path) for path in sandbox.runtime_paths() if path.is_relative_to("/tmp")]
        self._send({"arguments": arguments, "limits": limits.of_process(), "shared": str(shared), "kept": kept, "uid": uid})
        while (told := self._receive()) is not None and "pid" not in told:
            pass
        if told is None:
            raise ConnectionError("the warm process is gone")
        self.pid = told["pid"]
        """In the warm process's own namespace: nothing here may send a signal to it."""

    def _send(self, message: dict) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self) -> dict | None:
        """The next message; None when the process is gone."""
        while b"\n" not in self._rest:
            data = self.socket.recv(4096)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        told = json.loads(line)
        self.status = told.get("exit", self.status)
        return told

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        self.socket.settimeout(0)
        try:
            while self.status is None:
                if self._receive() is None:
                    self.status = -9
        except BlockingIOError:
            pass
        except OSError:
            self.status = -9
        return self.status

    def usage(self) -> tuple[int, int]:
        """Resident bytes and number of its processes."""
        if self.poll() is not None:
            return 0, 0
        self.socket.settimeout(10)
        try:
            self._send({"usage": True})
            while self.status is None and (told := self._receive()) is not None:
                if "usage" in told:
                    return tuple(told["usage"])
        except OSError:
            pass
        return 0, 0

    def kill(self) -> None:
        try:
            self.socket.settimeout(10)
            self._send({"kill": True})
        except OSError:
            self.status = -9

    def send_signal(self, signum: int) -> None:
        """Only the end: an interrupt is a message to the kernel."""
        self.kill()

    def wait(self, seconds: float = 30) -> int | None:
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.status

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_) -> None:
        self.close()
