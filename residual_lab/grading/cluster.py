"""The same batch on a dask.distributed cluster: a chunk of notebooks is one of its tasks, and each is told as soon as it is done.

The scheduler and the workers are the instructor's, and trusted: with the notebooks they are sent seeds and expected values.
A learner's code runs on them as it does here, in a kernel in a sandbox that has neither.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import nbformat
from nbformat import NotebookNode

from residual_lab.paths import CHECKOUT, PACKAGE

from . import sandbox, session
from .sandbox import Limits, NoSandbox, Protection
from .session import Heard, Stopped
from .warm import Warm

CONNECT_SECONDS = 10
NEWS_SECONDS = 0.2


class NoCluster(Exception):
    """Korean: why nothing can be graded there."""


class Cluster:
    """Workers behind a scheduler, as a context; all of them have the same course and the same protection.

    Raises:
        NoCluster: the package is missing, nobody answers, or the workers are not fit for it.
        NoSandbox: a worker lacks the protection that is wanted.
    """

    def __init__(self, address: str, wanted: str | None = None, *, required: bool = False):
        try:
            from distributed import Client
        except ModuleNotFoundError as error:
            raise NoCluster("--scheduler에는 dask.distributed가 필요합니다. 저장소 폴더에서 다음을 실행하십시오: "
                            'pip install -c constraints.txt -e ".[learner,cluster]"') from error
        try:
            self.client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise NoCluster(f"스케줄러 {address}에서 답이 없습니다. 주소가 맞는지(예: tcp://10.0.0.5:8786), 'dask scheduler'가 돌고 있는지 보십시오.") from error
        try:
            self.protection, self.threads = self._look_around(address, wanted, required)
        except BaseException:
            self.client.close()
            raise

    def _look_around(self, address: str, wanted: str | None, required: bool) -> tuple[Protection, int]:
        try:
            self.client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            seen = self.client.run(look, wanted, required)
            threads = sum(self.client.nthreads().values())
        except NoSandbox:
            raise
        except ModuleNotFoundError as error:
            raise NoCluster(f"워커에 패키지가 없습니다({error.name}). 워커마다 이 저장소를 설치하십시오: "
                            'pip install -c constraints.txt -e ".[learner,cluster]"') from error
        except OSError as error:
            raise NoCluster(f"스케줄러 {address}에 워커가 없습니다. 'dask worker {address}'로 하나 이상 시작하십시오.") from error
        if any(course != fingerprint() for _, course in seen.values()):
            raise NoCluster("워커에 설치된 과정이 이 컴퓨터의 것과 다릅니다. 같은 판으로 맞추고 워커를 다시 시작하십시오.")
        names = sorted({name for name, _ in seen.values()})
        if len(names) > 1:
            raise NoCluster(f"워커마다 쓸 수 있는 보호가 다릅니다({', '.join(names)}). --sandbox로 하나를 고르십시오.")
        return Protection(names[0]), threads

    def run(self, notebooks: Mapping[str, NotebookNode], limits: Limits, on_done: Callable[[str, Heard], None],
            stop: threading.Event | None = None, modules: Sequence[str] = ()) -> set[str]:
        """As `session.run`, on a worker whose warm process imports ``modules`` (none: kernels start cold). From any thread."""
        news: queue.SimpleQueue[str] = queue.SimpleQueue()
        topic = f"residual-lab-{uuid.uuid4().hex}"
        left = set(notebooks)

        def deliver(text: str) -> None:
            name, heard = json.loads(text)
            if name in left:
                left.remove(name)
                on_done(name, heard)

        self.client.subscribe_topic(topic, lambda event: news.put(event[1]))
        texts = {name: nbformat.writes(notebook) for name, notebook in notebooks.items()}
        future = self.client.submit(run_chunk, texts, self.protection.name, limits, tuple(modules), topic, pure=False)
        try:
            while True:
                try:
                    deliver(news.get(timeout=NEWS_SECONDS))
                    continue
                except queue.Empty:
                    pass
                if stop is not None and stop.is_set():
                    raise Stopped
                if future.cancelled():
                    raise NoCluster("스케줄러와 연결이 끊어졌습니다. 끝난 것은 저장했습니다. 같은 명령을 다시 실행하면 이어서 채점합니다.")
                if future.done():
                    break
            for text in future.result() if future.status == "finished" else ():
                deliver(text)
            return left
        finally:
            future.release()  # a worker that is still at it stops
            self.client.unsubscribe_topic(topic)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_) -> None:
        self.client.close()


# On a worker


def fingerprint() -> str:
    """Changes with anything in the package: all machines must run the same course."""
    made = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        made.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def look(wanted: str | None, required: bool) -> tuple[str, str]:
    """Name of the protection of this machine, and the course that is installed on it."""
    protection = sandbox.choose(wanted, required=required)
    sandbox.keep_out(protection, [CHECKOUT / "solutions"])
    return protection.name, fingerprint()


class Released:
    """Set once nobody waits for the running task any more: it was interrupted, or the instructor's process is gone."""

    def __init__(self, worker):
        self.worker, self.key = worker, worker.get_current_task()

    def is_set(self) -> bool:
        task = self.worker.state.tasks.get(self.key)
        return task is None or task.state == "cancelled"


def run_chunk(texts: Mapping[str, str], protection: str, limits: Limits, modules: Sequence[str], topic: str) -> list[str]:
    """One task of the cluster: JSON of every notebook's name and what nbval said of it (ASCII: a learner's words may be no Unicode)."""
    from distributed import get_worker

    worker, chosen, told = get_worker(), sandbox.choose(protection), []

    def on_done(name: str, heard: Heard) -> None:
        told.append(json.dumps([name, heard]))
        worker.log_event(topic, told[-1])

    notebooks = {name: nbformat.reads(text, as_version=4) for name, text in texts.items()}
    with Warm(chosen, tuple(modules)) if modules else nullcontext() as warm:
        session.run(notebooks, chosen, limits, on_done, Released(worker), warm.address if warm else None)
    return told
