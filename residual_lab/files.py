"""Files that are written whole or not at all, and by one process at a time (standard library only)."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system answers that has no locks (some network folders): there everyone who asks gets one."""


def write_text(path: Path, text: str) -> None:
    """UTF-8, with Unix's ends of lines; what has no UTF-8 becomes a question mark."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Whole or not at all: no reader finds half of it, and a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def lock(file: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Whether the lock is ours while the context lasts: False when another still holds it after ``seconds``.

    The operating system takes it back from a process that ends, however it ends. The empty file stays: if it were removed,
    two processes could hold locks of the same name.
    """
    until = time.monotonic() + seconds
    with open(file, "a", encoding="utf-8") as held:
        while not (ours := _take(held.fileno())) and time.monotonic() < until:
            time.sleep(0.01)
        yield ours


def _take(handle: int) -> bool:
    try:
        if os.name == "nt":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # held by another; the second is Windows' word for it
        return False
    except OSError as problem:
        if problem.errno not in NO_LOCKS:
            raise
    return True
