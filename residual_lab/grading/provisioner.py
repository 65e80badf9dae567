"""A jupyter_client provisioner that starts a kernel in a sandbox, looks after its use of the machine, and leaves nothing of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Dict, Unicode

from . import sandbox
from .sandbox import Limits, Protection
from .warm import Kernel

LOOK_EVERY = 0.4
LISTEN_SECONDS = 20
SHARED_BYTES = 1 << 20
"""More than this in the sockets' folder is no socket: the kernel is ended."""


class GradingProvisioner(LocalProvisioner):
    """Kernel in a sandbox, reached through ipc sockets in a folder of its own (a kernel without a network has no TCP)."""

    protection = Dict(config=True)
    limits = Dict(config=True)
    warm = Unicode(config=True)
    """Address of the warm process, if there is one; where it does not answer, the kernel starts cold."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        self.kept_in, self.allowed = Protection(**self.protection), Limits(**self.limits)
        self.shared = Path(tempfile.mkdtemp(prefix="rl-", dir=Path(self.warm).parent if self.warm else None))
        self.container, self.looked_at = f"residual-lab-{self.shared.name}", time.monotonic()
        manager = self.parent
        if sys.platform != "win32":
            manager.transport, manager.ip = "ipc", str(self.shared / "s")
        manager.connection_file = str(self.shared / "kernel.json")
        kwargs = await super().pre_launch(**kwargs)
        work = self.shared / "work"
        work.mkdir()
        uid, self.arguments = sandbox.own_user(self.kept_in), kwargs["cmd"][1:]
        self.uid = uid
        kwargs["cmd"] = sandbox.command(self.kept_in, kwargs["cmd"], self.shared, self.allowed, uid=uid, name=self.container)
        kwargs["env"] = {"PATH": os.environ.get("PATH", "")} if self.kept_in.isolated else _plain_environment(work)
        kwargs["cwd"] = str(work)
        kwargs["stdout"] = kwargs["stderr"] = subprocess.DEVNULL
        for path in (self.shared, work, self.shared / "kernel.json") if uid is not None else ():
            os.chown(path, uid, uid)
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict:
        try:
            self.process = Kernel(self.warm, self.arguments, self.shared, self.allowed, self.uid) if self.warm else None
        except OSError:
            self.process = None
        if self.process:
            self.pid, self.pgid = self.process.pid, None
        else:
            await super().launch_kernel(cmd, **kwargs)
        await self._until_it_listens()
        return self.connection_info

    async def _until_it_listens(self) -> None:
        """A connection that comes too early is tried again only a tenth of a second later."""
        if self.connection_info["transport"] != "ipc":
            return
        sockets = [f"{self.connection_info['ip']}-{self.connection_info[f'{name}_port']}" for name in ("shell", "iopub", "control")]
        end = time.monotonic() + LISTEN_SECONDS
        while not all(map(os.path.exists, sockets)) and self.process.poll() is None and time.monotonic() < end:
            await asyncio.sleep(0.005)

    async def poll(self) -> int | None:
        """As in the base class; a kernel that uses too much is ended here, where nbval's waiting comes by."""
        if self.process and time.monotonic() - self.looked_at > LOOK_EVERY:
            self.looked_at = time.monotonic()
            resident, processes = self._used()
            if resident > self.allowed.memory or processes > self.allowed.processes or self._written() > SHARED_BYTES:
                await self.kill()
        return await super().poll()

    def _used(self) -> tuple[int, int]:
        """Resident bytes and number of the kernel's processes."""
        if isinstance(self.process, Kernel):
            return self.process.usage()
        total, count = 0, 0
        try:
            top = psutil.Process(self.process.pid)
            for process in (top, *top.children(recursive=True)):
                total, count = total + process.memory_info().rss, count + 1
        except psutil.Error:
            pass
        return total, count

    def _written(self) -> int:
        """Bytes and names in the shared folder; in a plain process the working folder is the learner's to fill."""
        total = 0
        for folder, folders, files in os.walk(self.shared):
            if not self.kept_in.isolated and "work" in folders:
                folders.remove("work")
            total += 1024 * len(files)
            for name in files:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_size
                except OSError:
                    pass
        return total

    async def kill(self, restart: bool = False) -> None:
        """With all that the kernel started: a signal to its group, which Windows has not, would miss some."""
        if self.process and not isinstance(self.process, Kernel):
            _kill_descendants(self.process.pid)
            if self.kept_in.name == "docker":
                subprocess.run(["docker", "kill", self.container], capture_output=True, check=False)
        await super().kill(restart=restart)

    async def cleanup(self, restart: bool = False) -> None:
        await super().cleanup(restart=restart)
        if isinstance(self.process, Kernel):
            self.process.close()
        else:
            _kill_orphans()
        if not restart:
            shutil.rmtree(self.shared, ignore_errors=True)


def _plain_environment(work: Path) -> dict[str, str]:
    own = sandbox.environment(str(work))
    keep = ("SYSTEMROOT", "WINDIR", "PATHEXT", "COMSPEC")  # Windows starts no Python without them
    return {**own, "PATH": os.environ.get("PATH", own["PATH"]), **{key: os.environ[key] for key in keep if key in os.environ}}


def _kill_descendants(pid: int) -> None:
    try:
        for child in psutil.Process(pid).children(recursive=True):
            child.kill()
    except psutil.Error:
        pass


def adopt_orphans() -> None:
    """Let processes that a kernel leaves behind become children of this one (Linux), so that they can be found and ended."""
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: a grader that was killed leaves nothing running


def _kill_orphans() -> None:
    """nbval has one kernel at a time: whatever still runs below this process was left by the one that ended."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
            child.wait(1)
        except (psutil.Error, ChildProcessError):
            pass
