"""What a learner's kernel is kept in: on Linux bubblewrap or docker, and where there is neither a plain process under limits."""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from residual_lab.paths import ASSETS, PACKAGE

LAUNCHER = Path(__file__).with_name("launch.py")
DOCKER_IMAGE = "debian:stable-slim"
"""Any image will do: Python and the packages are this machine's own, mounted read-only."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts")
ADVICE = ("Debian·Ubuntu에서는 'sudo apt install bubblewrap'을 실행하십시오. macOS와 Windows에는 샌드박스가 없습니다. "
          "리눅스 가상 머신이나 WSL에서 채점하십시오.")
FIRST_UID = 61_000
"""Started by root, every kernel gets a user of its own, so that limits on processes count for it alone."""


class NoSandbox(Exception):
    """Korean: a sandbox is required and there is none."""


@dataclass(frozen=True)
class Limits:
    cell_seconds: float = 60
    """Wall time of one cell; nbval interrupts it then."""
    cpu_seconds: int = 120
    memory: int = 4 << 30
    """Bytes of address space of a process, and of the resident memory of all processes of a kernel together."""
    processes: int = 64
    open_files: int = 512
    file_bytes: int = 64 << 20
    output_bytes: int = 2 << 20
    """What a kernel may send in one cell."""

    def of_process(self) -> dict[str, int]:
        return {"AS": self.memory, "CPU": self.cpu_seconds, "NPROC": self.processes, "NOFILE": self.open_files,
                "FSIZE": self.file_bytes, "CORE": 0}


@dataclass(frozen=True)
class Protection:
    name: str
    """``bwrap``, ``docker`` or ``plain``."""
    as_user: bool = False
    """Started by root: the kernel becomes a user of its own inside, so that its limits count for it alone."""

    @property
    def isolated(self) -> bool:
        return self.name != "plain"

    @property
    def label(self) -> str:
        return {
            "bwrap": "bubblewrap 샌드박스(네트워크·풀이·다른 제출을 볼 수 없음)",
            "docker": "docker 컨테이너(네트워크·풀이·다른 제출을 볼 수 없음)",
            "plain": "샌드박스 없음(시간·메모리 제한만). 믿을 수 있는 제출에만 쓰십시오",
        }[self.name]


def choose(wanted: str | None = None, *, required: bool = False) -> Protection:
    """The best protection that works here, tried out once; or the one that is ``wanted``.

    Raises:
        NoSandbox: ``required`` and there is none, or the wanted one does not work.
    """
    for name in [wanted] if wanted else ["bwrap", "docker"]:
        if protection := _working(name):
            if required and not protection.isolated:
                break
            return protection
    if wanted and wanted != "plain":
        raise NoSandbox(f"{wanted}을(를) 이 컴퓨터에서 쓸 수 없습니다. {ADVICE}")
    if required:
        raise NoSandbox(f"샌드박스가 없어 채점하지 않았습니다(--require-sandbox). {ADVICE}")
    return Protection("plain")


@functools.cache
def _working(name: str) -> Protection | None:
    if name == "plain":
        return Protection("plain")
    if sys.platform != "linux" or not shutil.which(name):  # a container is Linux too, and would be given this machine's Python
        return None
    if name == "docker":
        return Protection("docker") if _succeeds(["docker", "info", "--format", "{{.ID}}"]) else None
    for as_user in (True, False) if os.getuid() == 0 else (False,):
        protection = Protection("bwrap", as_user)
        if _succeeds([*bubblewrap(protection, None), sys.executable, "-s", str(LAUNCHER), json.dumps({"uid": FIRST_UID} if as_user else {})]):
            return protection
    return None


def _succeeds(arguments: list[str]) -> bool:
    try:
        return subprocess.run(arguments, capture_output=True, timeout=120, check=False, cwd="/").returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def own_user(protection: Protection) -> int | None:
    """A user id for one kernel, where it gets one."""
    return FIRST_UID + secrets.randbelow(4000) if protection.as_user else None


def runtime_paths() -> list[Path]:
    """What a kernel must be able to read: Python, its packages, the course's package and its assets. No solution."""
    places = [sys.prefix, sys.base_prefix, *(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))]
    paths = {Path(place).resolve() for place in places} | {Path(place) for place in places} | {PACKAGE, ASSETS}
    paths |= {Path(os.path.realpath(sys.executable)).parents[1]}
    return _outermost(path for path in paths if path.exists() and path != Path("/"))


def keep_out(protection: Protection, places: Iterable[Path]) -> None:
    """See that a kernel finds none of these: a virtual environment, which it reads, may hold the checkout.

    Raises:
        NoSandbox: one lies in a folder that kernels read.
    """
    shown = [*map(Path, SYSTEM), *runtime_paths()] if protection.isolated else []
    for place in places:
        for folder in shown:
            if place.resolve().is_relative_to(folder.resolve()):
                raise NoSandbox(f"샌드박스가 답에게 보여 주는 폴더 {folder} 안에 {place}이(가) 있어 채점하지 않았습니다. 풀이와 제출, 결과는 답이 읽을 수 "
                                "없는 곳에 있어야 합니다. 그 폴더가 가상 환경이면 저장소 안의 .venv에 새로 만들고, 아니면 저장소와 제출, 결과 폴더를 그 밖으로 옮기십시오.")


def _outermost(paths: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in kept) and not any(path.is_relative_to(system) for system in SYSTEM):
            kept.append(path)
    return kept


def environment(home: str) -> dict[str, str]:
    """All of a kernel's environment: nothing of the instructor's own comes along."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "TMPDIR": home, "USER": "learner", "LOGNAME": "learner", "LANG": "C.UTF-8",
        "PYTHONPATH": str(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": f"{home}/ipython", "MPLCONFIGDIR": f"{home}/matplotlib", "RESIDUAL_LAB_HOME": f"{home}/records",
    }


def command(protection: Protection, arguments: list[str], shared: Path, limits: Limits, *, uid: int | None = None, name: str = "") -> list[str]:
    """A kernel (Python, then its arguments) inside the protection; ``shared`` (its sockets' folder) is all that both sides can write to."""
    given = limits.of_process() | ({"uid": uid} if uid is not None else {})
    start = [arguments[0], "-s", str(LAUNCHER), json.dumps(given), *arguments[1:]]
    if protection.name == "bwrap":
        return [*bubblewrap(protection, shared), *start]
    return [*_docker(shared, limits, name), *start] if protection.name == "docker" else start


def bubblewrap(protection: Protection, shared: Path | None, *, forks: bool = False) -> list[str]:
    """The sandbox's command line, before the program; ``forks`` for the warm process, whose children shut themselves in further."""
    line = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
            "--new-session", "--cap-drop", "ALL", "--clearenv"]
    capabilities = ["CAP_SETUID", "CAP_SETGID", *(["CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_KILL"] if forks else [])]
    line += [part for name in capabilities for part in ("--cap-add", name)] if protection.as_user else ["--unshare-user"]
    for key, value in environment("/tmp/home").items():
        line += ["--setenv", key, value]
    for path in SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            line += ["--ro-bind", path, path]
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += ["--perms", "1777", "--size", str(128 << 20), "--tmpfs", "/tmp", "--perms", "1777", "--size", str(64 << 20), "--tmpfs", "/dev/shm"]
    paths = runtime_paths()
    for parent in sorted({parent for path in paths for parent in path.parents if parent != Path("/")}):
        line += ["--perms", "0755", "--dir", str(parent)]  # bubblewrap's own would be closed to another user
    for path in paths:
        line += ["--ro-bind", str(path), str(path)]
    line += ["--perms", "0777", "--dir", "/tmp/home", "--perms", "0777", "--dir", "/tmp/work", "--chdir", "/tmp/work"]
    return [*line, *(["--bind", str(shared), str(shared)] if shared else [])]


def _docker(shared: Path | None, limits: Limits, name: str) -> list[str]:
    line = ["docker", "run", "--rm", "--name", name, "--network", "none", "--read-only", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--memory", str(limits.memory), "--memory-swap", str(limits.memory),
            "--pids-limit", str(limits.processes), "--cpus", "1", "--user", f"{os.getuid() or FIRST_UID}:{os.getgid() or FIRST_UID}",
            "--tmpfs", "/tmp:size=128m,mode=1777", "--workdir", "/tmp"]
    for key, value in environment("/tmp").items():
        line += ["--env", f"{key}={value}"]
    for path in [Path(place) for place in SYSTEM if os.path.exists(place)] + runtime_paths():
        line += ["--volume", f"{path}:{path}:ro"]
    return [*line, *(["--volume", f"{shared}:{shared}"] if shared else []), DOCKER_IMAGE]


def to_config(protection: Protection, limits: Limits, warm: str | None) -> dict:
    """What a kernelspec carries to the provisioner, in the pytest process; ``warm`` is the address of the warm process."""
    return {"protection": asdict(protection), "limits": asdict(limits), "warm": warm or ""}
