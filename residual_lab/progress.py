"""What a learner predicted and answered, kept on the learner's own machine and nowhere else.

One JSON file in ``residual_lab.paths.home()``. Every entry is appended, none is ever changed or removed. The session
keeps its own copy, so a file that cannot be read or written costs a notice, never an answer. Notebooks write one after
another, by a lock beside the file: what one adds between another's reading and writing would be lost.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from residual_lab.files import lock
from residual_lab.paths import home

FORMAT = 1
WAIT = 3.0
"""Seconds for which another notebook may keep the file; writing takes it milliseconds."""


class Progress:
    """Histories by key ("predictions/01-depth"): lists of ``{"value": ..., "at": ...}``, oldest first.

    Widgets call this from whatever thread the kernel handles messages on, hence the lock.
    """

    def __init__(self, file: Path | None = None):
        self._file = file
        self._session: dict[str, list[dict]] = {}
        self._notices: list[str] = []
        self._said: set[str] = set()
        self._lock = threading.RLock()

    @property
    def file(self) -> Path:
        """Where the records lie; asked anew each time, because the folder is set by the environment."""
        return self._file or home() / "progress.json"

    def history(self, key: str) -> list[dict]:
        """Everything recorded under the key, in this session or an earlier one."""
        with self._lock:
            return self._with_session(self._read() or {}).get(key, [])

    def append(self, key: str, value) -> list[dict]:
        """Record a value under the key and return the key's history."""
        with self._writing() as may_write:
            entry = {"value": value, "at": datetime.now(UTC).isoformat()}
            self._session.setdefault(key, []).append(entry)
            stored = self._read()
            records = self._with_session(stored or {})
            if may_write and stored is not None:  # what could not be read must not be written over
                self._write(records)
            return records[key]

    def records(self) -> dict[str, list[dict]]:
        """Everything recorded, by key."""
        with self._lock:
            return self._with_session(self._read() or {})

    def text(self) -> str:
        """Everything recorded, as a file to keep or to carry to another machine or to the site."""
        return _packed(self.records())

    def merge(self, exported: bytes) -> int | None:
        """Add what such a file has and is not here yet; how many entries that were, None when they could not be stored.

        Raises:
            ValueError: it is no such file.
        """
        with self._writing() as may_write:
            known, new = self.records(), _parse(exported)
            added = {key: [entry for entry in entries if entry not in known.get(key, [])] for key, entries in new.items()}
            for key, entries in added.items():
                self._session.setdefault(key, []).extend(entries)
            stored = self._read()
            written = may_write and stored is not None and self._write(self._with_session(stored))
            return sum(map(len, added.values())) if written else None

    def notices(self) -> list[str]:
        """Korean notices not told before, to show to the learner; each is handed out once."""
        with self._lock:
            told, self._notices = self._notices, []
            return told

    @contextmanager
    def _writing(self) -> Iterator[bool]:
        """Alone with the file until it is written; False, with a notice, when another does not let go of it."""
        with self._lock, ExitStack() as held:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                alone = held.enter_context(lock(self.file.with_suffix(".lock"), WAIT))
            except OSError:  # no lock can be made: where that is so because nothing can be written, `_write` says why
                alone = True
            if not alone:
                self._say(f"다른 노트북이 기록 파일({self.file})을 놓지 않아 아직 저장하지 못했습니다. 다음 기록과 함께 저장합니다.")
            yield alone

    def _with_session(self, records: dict[str, list[dict]]) -> dict[str, list[dict]]:
        """The file's records and this session's: another notebook may have written since, or over us."""
        for key, entries in self._session.items():
            stored = records.setdefault(key, [])
            stored += [entry for entry in entries if entry not in stored]
            stored.sort(key=lambda entry: entry["at"])
        return records

    def _read(self) -> dict[str, list[dict]] | None:
        """The file's records; None when there is a file that can be neither read nor set aside."""
        try:
            text = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as problem:
            self._say(f"기록 파일({self.file})을 읽을 수 없어 이번 세션에서만 기억합니다: {_reason(problem)}.")
            return None
        try:
            return _parse(text)
        except ValueError:
            return self._set_aside()

    def _set_aside(self) -> dict | None:
        """Move a damaged file out of the way, under a name that no other file has."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        aside = self.file.with_name(f"progress.damaged-{stamp}.json")
        try:
            self.file.rename(aside)
        except OSError as problem:
            self._say(f"기록 파일({self.file})이 손상되었는데 옮길 수 없어 이번 세션에서만 기억합니다: {_reason(problem)}.")
            return None
        self._say(f"기록 파일이 손상되어 다른 이름({aside.name})으로 옮겨 두고 새로 시작합니다. 지운 것은 없습니다.")
        return {}

    def _write(self, records: dict[str, list[dict]]) -> bool:
        """Replace the file at once: whoever reads sees the old one or the new one, never half of one. False, with a notice, if it cannot be."""
        text = _packed(records)
        new = None
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            handle, new = tempfile.mkstemp(dir=self.file.parent, prefix=".progress-", suffix=".json")
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.replace(new, self.file)
        except OSError as problem:
            if new:
                Path(new).unlink(missing_ok=True)
            self._say(f"기록을 {self.file}에 저장하지 못해 이번 세션에서만 기억합니다: {_reason(problem)}.")
            return False
        return True

    def _say(self, notice: str) -> None:
        if notice not in self._said:
            self._said.add(notice)
            self._notices.append(notice)


def _reason(problem: OSError) -> str:
    """Why the file system refused, for a learner."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "디스크가 가득 찼습니다"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "이 폴더를 쓸 권한이 없습니다"
    return problem.strerror or str(problem)


def _packed(records: dict[str, list[dict]]) -> str:
    return json.dumps({"format": FORMAT, "records": records}, ensure_ascii=False, indent=1)


def _parse(text: bytes) -> dict[str, list[dict]]:
    """The records in the file's bytes; ValueError when it is not a file that this module wrote."""
    stored = json.loads(text.decode("utf-8"))
    if not isinstance(stored, dict) or stored.get("format") != FORMAT or not isinstance(stored.get("records"), dict):
        raise ValueError("not a progress file")
    for entries in stored["records"].values():
        if not isinstance(entries, list):
            raise ValueError("not a history")
        if not all(isinstance(entry, dict) and "value" in entry and isinstance(entry.get("at"), str) for entry in entries):
            raise ValueError("not an entry")
    return stored["records"]


progress = Progress()
"""The session's one store."""
