"""What grading adds to nbval's pytest process: kernels from our provisioner, watched while they run, and a line for each outcome.

Running the cells and comparing their outputs is nbval's own code, as installed.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from importlib.metadata import EntryPoint
from pathlib import Path
from queue import Empty

import nbval.plugin
import pytest
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from nbval.kernel import RunningKernel

from .provisioner import adopt_orphans
from .warm import Kernel
from .wire import ANSWER, CHECK, EVENTS, GRADE, OUTPUT, PROVISIONER

MAX_TEXT = 600
START_SECONDS = 60
OUTPUT_SECONDS = 5
"""nbval waits as long for a message; here for all that come after a cell's time is up."""


class KernelDied(RuntimeError):
    pass


class TooMuchOutput(RuntimeError):
    pass


class WatchedKernel(RunningKernel):
    """nbval's kernel, which notices at once that it died, takes only so much output, and starts and ends without fixed waits.

    The base class waits for the whole timeout of a cell for a dead kernel, and reads outputs only after the reply.
    """

    def __init__(self, *arguments, **options):
        self.unread: deque = deque()
        self.end = math.inf
        super().__init__(*arguments, **options)

    def _ensure_iopub_up(self):
        """The base class waits a second for each message that was published before we listened."""
        for _ in range(START_SECONDS * 10):
            request = self.kc.kernel_info()
            self.await_reply(request, timeout=START_SECONDS)
            try:
                return self.await_idle(request, 0.1)
            except Empty:
                continue
        raise RuntimeError("iopub is silent")

    def stop(self):
        """A warm process ends a kernel at once; jupyter_client looks every tenth of a second whether it did."""
        process = self.km.provisioner and self.km.provisioner.process
        if isinstance(process, Kernel):
            process.kill()
            process.wait(5)
        super().stop()

    def await_reply(self, msg_id, timeout=None):
        shell, iopub = self.kc.shell_channel.socket, self.kc.iopub_channel.socket
        poller = zmq.Poller()
        poller.register(shell, zmq.POLLIN)
        poller.register(iopub, zmq.POLLIN)
        end, size = time.monotonic() + (timeout or math.inf), 0
        self.end = end + OUTPUT_SECONDS
        while True:
            ready = dict(poller.poll(200))
            if iopub in ready:
                message, length = self._receive(iopub)
                size += length
                self.unread.append(message)
                if size > int(os.environ.get(OUTPUT, 2 << 20)):
                    self.unread.clear()
                    self.stop()
                    raise TooMuchOutput
            elif shell in ready:
                message, _ = self._receive(shell)
                if message["parent_header"].get("msg_id") == msg_id:
                    return
            elif not self.is_alive():
                raise KernelDied
            if time.monotonic() > end:
                raise Empty

    def get_message(self, stream, timeout=None):
        """For outputs only; the base class writes each message, laid out prettily, to a log that nobody reads."""
        socket, end = self.kc.iopub_channel.socket, min(self.end, time.monotonic() + (timeout or math.inf))
        while True:
            if time.monotonic() > self.end:  # a kernel may send for ever and never say that it is idle
                raise Empty
            if self.unread:
                message = self.unread.popleft()
            elif socket.poll(1000 * max(0, min(end - time.monotonic(), 60))):
                message, _ = self._receive(socket)
            elif time.monotonic() >= end:
                raise Empty
            else:
                continue
            if message["parent_header"]:
                return message

    def _receive(self, socket) -> tuple[dict, int]:
        """The next message and its size; what a hostile kernel sends may be none, and belongs to no request then."""
        parts = socket.recv_multipart()
        try:
            message = self.kc.session.deserialize(self.kc.session.feed_identities(parts)[1])
            if isinstance(message["parent_header"], dict) and isinstance(message["content"], dict):
                return message, sum(map(len, parts))
        except Exception:
            pass
        return {"parent_header": {}}, sum(map(len, parts))


def pytest_configure(config):
    nbval.plugin.RunningKernel = WatchedKernel
    BlockingKernelClient.wait_for_ready = lambda self, timeout=None: None  # `_ensure_iopub_up` waits for the same
    group = KernelProvisionerFactory.GROUP_NAME
    entry = EntryPoint(PROVISIONER, "residual_lab.grading.provisioner:GradingProvisioner", group)
    KernelProvisionerFactory.instance().provisioners[PROVISIONER] = entry
    adopt_orphans()
    config.pluginmanager.register(Outcomes(Path(os.environ[EVENTS])))


class Outcomes:
    def __init__(self, path: Path):
        self.path, self.settled = path, set()

    def tell(self, **event) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=True) + "\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        if item.cell.get("id") == CHECK and item.parent.name in self.settled:
            pytest.skip("nothing that a hint could add")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = (yield).get_result()
        cell = item.cell.get("id")
        if call.when == "call" or not report.passed:
            passed, what = call.when == "call" and report.passed, _what_happened(item, call)
            if cell == GRADE and (passed or what.get("kind") not in ("differs", "error")):
                self.settled.add(item.parent.name)
            if cell in (ANSWER, GRADE, CHECK) and call.when != "teardown" and not (report.skipped and call.when == "setup"):
                self.tell(file=item.path.stem, cell=cell, passed=passed, seconds=round(call.duration, 3), **what)
        if cell == CHECK and call.when == "teardown":
            self.tell(file=item.path.stem, done=True)


def _what_happened(item, call) -> dict:
    """Kind of a failure, and what the learner's kernel said of it (short, and not to be believed)."""
    if call.excinfo is None:
        return {}
    problem = call.excinfo.value
    if isinstance(problem, TooMuchOutput):
        return {"kind": "output"}
    if isinstance(problem, KernelDied) or "Kernel dead" in str(problem):
        return {"kind": "died"}
    if "Timeout of" in str(problem):
        return {"kind": "timeout"}
    for output in getattr(item, "test_outputs", None) or []:
        if output.get("output_type") == "error":
            return {"kind": "error", "ename": str(output.get("ename"))[:80], "evalue": str(output.get("evalue"))[:MAX_TEXT]}
    if "differ" in str(problem):
        return {"kind": "differs", "line": _first_difference(item)}
    return {"kind": "other", "evalue": f"{type(problem).__name__}: {problem}"[:MAX_TEXT]}


def _first_difference(item) -> int:
    def text(outputs) -> list[str]:
        return "".join(str(o.get("text", "")) for o in outputs if o.get("output_type") == "stream" and o.get("name") == "stdout").split("\n")

    here, there = text(item.test_outputs or []), text(item.cell.outputs)
    return next((number for number, (a, b) in enumerate(zip(here, there), 1) if a != b), min(len(here), len(there)) + 1)
