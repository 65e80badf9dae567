"""Create and repair the course's virtual environments (standard library only; run by `bootstrap.py`).

An environment is finished when its stamp says so. The stamp is emptied before the first change and filled in last, so that a
set-up that was cut short is made again from nothing on the next call; it is never removed, because it also says that the
folder is ours. A lock beside the folder keeps two set-ups from deleting each other's files.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from residual_lab import pip_run
from residual_lab.bootstrap import say
from residual_lab.files import lock
from residual_lab.paths import CHECKOUT

STAMP = "residual-lab.json"
MAIN_EXTRAS = {"learn": ("learner",), "setup": ("learner",), "site": ("site",), "pages": ("site",), "links": ("site",),
               "spell": ("learner", "test"), "wheel": ("test",), "bench": ("learner", "test"), "bench-grading": ("learner", "test"),
               "bench-gpu": ("learner", "test"), "test": ("learner", "test", "site", "cluster"), "colab": ("learner", "test", "site")}
PROGRAMS = {"bench": ("tests/bench.py",), "bench-grading": ("tests/bench_grading.py",), "bench-gpu": ("tests/bench_gpu.py",),
            "links": ("tests/check_links.py",), "spell": ("tests/spelling.py",),
            "wheel": ("-m", "hatchling", "build", "-t", "wheel"), "pages": ("-m", "residual_lab.cli", "site", "--build-only")}
"""What the environment's Python runs for a command, where it is no command of `residual-lab`."""
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
DISK_NEEDED = {"cpu": (2.5, 1.0), "default": (12.0, 4.0) if sys.platform == "linux" else (2.5, 1.0)}
"""GB free before a first set-up, for the environment (1.5 with the CPU build) with pip's cache, and for pip's temporary files.
The Linux default brings CUDA: an estimate."""


class SetupError(Exception):
    """Korean: what is missing and what to do about it."""


def main(arguments: list[str], usage: str) -> int:
    """One of the commands of ``MAIN_EXTRAS``; the exit status."""
    if len(arguments) != 1 or arguments[0] not in MAIN_EXTRAS:
        say(usage)
        return 0 if arguments and arguments[0] in ("-h", "--help", "help") else 2
    command = arguments[0]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every kernel would compile torch anew, which takes it seconds
    try:
        if command in ("test", "colab"):
            from residual_lab import testing

            stages = testing.STAGES if command == "test" else testing.COLAB_STAGES
            return testing.main(lambda: (prepare(MAIN_EXTRAS[command]), prepare_colab()), stages)
        python = prepare(MAIN_EXTRAS[command])
    except SetupError as error:
        say(f"\n환경을 만들지 못했습니다.\n{error}", sys.stderr)
        return 1
    if command == "setup":
        return 0
    program = [str(python), *PROGRAMS.get(command, ("-m", "residual_lab.cli", command))]
    os.chdir(CHECKOUT)
    if os.name == "nt":
        return subprocess.call(program)
    os.execv(program[0], program)


def place() -> Path:
    """Folder of the main environment: ``RESIDUAL_LAB_VENV`` or ``.venv`` in the checkout."""
    return Path(os.environ.get("RESIDUAL_LAB_VENV") or CHECKOUT / ".venv").absolute()


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextmanager
def _explained() -> Iterator[None]:
    """An error of the file system becomes a sentence about the folder it came from."""
    try:
        yield
    except OSError as error:
        folder = error.filename or place()
        if error.errno == errno.ENOSPC:
            raise SetupError(f"디스크가 가득 찼습니다: {folder}\n자리를 비우고 다시 실행하십시오.") from error
        raise SetupError(f"{folder}에 쓸 수 없습니다({error.strerror}).\n쓰기 권한이 있는 곳에 저장소를 두거나, "
                         "환경 변수 RESIDUAL_LAB_VENV에 쓸 수 있는 폴더를 지정하십시오.") from error


@_explained()
def prepare(extras: tuple[str, ...]) -> Path:
    """The main environment with these extras (and those it already had), made or repaired where needed; its Python."""
    venv = place()
    if _finished(venv, _wanted(venv, extras)):
        return python_of(venv)
    with _alone(venv):
        return _make_main(venv, _wanted(venv, extras))  # asked again: another set-up may have ended in between


def _wanted(venv: Path, extras: tuple[str, ...]) -> dict:
    return {"extras": sorted({*extras, *_read_stamp(venv).get("extras", ())}), "lists": _fingerprint("pyproject.toml", "constraints.txt")}


def _make_main(venv: Path, wanted: dict) -> Path:
    start = time.monotonic()
    say(f"학습 환경을 준비합니다: {venv}")
    kind = torch_kind()
    if not venv.exists():
        _check_disk(venv, DISK_NEEDED[kind])
    python = _open_venv(venv)
    requirement = f"-e{CHECKOUT}[{','.join(wanted['extras'])}]"
    arguments = ["--prefer-binary", "-c", str(CHECKOUT / "constraints.txt"), requirement]
    if kind == "cpu" and not _has(venv, "torch-*"):
        arguments += [f"torch=={_pin('torch')}+cpu"]
        if _reachable(CPU_TORCH_INDEX + "/torch/"):
            arguments += ["--extra-index-url", CPU_TORCH_INDEX]
    pip, newest = [str(python), "-m", "pip"], _pin("pip")
    if not _has(venv, f"pip-{newest}"):  # an old one takes a minute longer to choose the packages
        _install(pip, ["--upgrade", f"pip=={newest}"], venv)
    _install(pip, arguments, venv)
    _write_stamp(venv, wanted)
    say(f"환경이 준비되었습니다({time.monotonic() - start:.0f}초).\n")
    return python


@_explained()
def prepare_colab() -> Path:
    """A small second environment with Colab's versions; torch and all else it sees in the main one."""
    base, venv = place(), Path(f"{place()}-colab")
    wanted = {"lists": _fingerprint("constraints-colab.txt", "pyproject.toml", "constraints.txt"), "base": str(base)}
    if _finished(venv, wanted):
        return python_of(venv)
    with _alone(venv):
        return _make_colab(base, venv, wanted)


def _make_colab(base: Path, venv: Path, wanted: dict) -> Path:
    start = time.monotonic()
    say(f"Colab과 같은 판의 환경을 준비합니다: {venv}")
    python = _open_venv(venv, "--without-pip")
    lists = ["--no-deps", "-r", str(CHECKOUT / "constraints-colab.txt")]
    _install([str(python_of(base)), "-m", "pip", "--python", str(python)], lists, venv)
    packages = _ask(python_of(base), "import sysconfig; print(sysconfig.get_path('purelib'))")
    here = Path(_ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    # addsitedir (not a plain line) so that the course's own editable install is seen too; what is installed here comes first.
    (here / "main-environment.pth").write_text(f"import site; site.addsitedir({packages!r})\n", encoding="utf-8")
    _write_stamp(venv, wanted)
    say(f"Colab 환경이 준비되었습니다({time.monotonic() - start:.0f}초).\n")
    return python


def torch_kind() -> str:
    """``cpu`` on Linux without an NVIDIA driver, where the default build would bring gigabytes of CUDA; else ``default``."""
    chosen = os.environ.get("RESIDUAL_LAB_TORCH")
    if chosen and chosen not in DISK_NEEDED:
        raise SetupError(f"환경 변수 RESIDUAL_LAB_TORCH에는 cpu나 default만 쓸 수 있습니다(지금 값: {chosen}).")
    no_driver = sys.platform == "linux" and not shutil.which("nvidia-smi")
    return chosen or ("cpu" if no_driver else "default")


@contextmanager
def _alone(venv: Path) -> Iterator[None]:
    """No other set-up of this environment runs meanwhile; one that was killed is none."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with lock(Path(f"{venv}.lock")) as ours:
        if not ours:
            raise SetupError(f"다른 창에서 이 환경을 준비하고 있습니다: {venv}\n그 명령이 끝난 뒤에 다시 실행하십시오.")
        yield


def _open_venv(venv: Path, *options: str) -> Path:
    """A venv that runs, marked unfinished: the one that is there, or a new one where it is missing, broken or was cut short."""
    if venv.exists() and any(venv.iterdir()):
        if not (venv / STAMP).exists():
            raise SetupError(f"{venv}는 이 과정이 만든 환경이 아니어서 건드리지 않습니다.\n"
                             "그 폴더를 옮기거나, 환경 변수 RESIDUAL_LAB_VENV에 다른 폴더를 지정하고 다시 실행하십시오.")
        stamp = _read_stamp(venv)
        if not stamp or stamp["python"] != _python_version(venv):
            say("지난번 설치가 끝나지 않았거나 환경이 망가져 처음부터 다시 만듭니다.")
            _empty(venv)
    venv.mkdir(parents=True, exist_ok=True)
    (venv / STAMP).write_text("{}", encoding="utf-8")
    if not (venv / "pyvenv.cfg").exists():
        _make_venv(venv, *options)
    return python_of(venv)


def _empty(venv: Path) -> None:
    """All but the stamp: the folder stays ours if this is cut short."""
    (venv / STAMP).write_text("{}", encoding="utf-8")
    for child in venv.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != STAMP:
            child.unlink()


def _make_venv(venv: Path, *options: str) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(f"이 Python({sys.executable})에는 가상 환경을 만드는 모듈(venv, ensurepip)이 없습니다.\n"
                         f"Debian·Ubuntu에서는 'sudo apt install python{version}-venv'를 실행한 뒤 다시 해 보십시오.")
    # The Python below an activated environment: an environment must not be made of itself.
    base = getattr(sys, "_base_executable", sys.executable)
    made = subprocess.run([base, "-m", "venv", *options, str(venv)], capture_output=True, text=True)
    if made.returncode:
        raise SetupError(f"가상 환경을 만들지 못했습니다: {venv}\n{(made.stdout + made.stderr).strip()}")


def _install(pip: list[str], arguments: list[str], venv: Path) -> None:
    result = pip_run.run([*pip, "install", "--no-compile", "--progress-bar", "off", *arguments], venv / "install.log")
    if result.code:
        raise SetupError(pip_run.explain(result.output) + f"\n자세한 기록: {venv / 'install.log'}")


def _check_disk(venv: Path, needed: tuple[float, float]) -> None:
    for folder, gigabytes in zip((_existing(venv), Path(tempfile.gettempdir())), needed):
        free = shutil.disk_usage(folder).free / 1e9
        if free < gigabytes:
            raise SetupError(f"디스크 공간이 모자랍니다: {folder}에 {free:.1f} GB가 남았고 {gigabytes:.1f} GB가 필요합니다.\n"
                             "자리를 비우거나, 환경 변수 RESIDUAL_LAB_VENV(환경을 둘 폴더)와 TMPDIR(임시 폴더)로 다른 디스크를 지정하십시오.")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _finished(venv: Path, wanted: dict) -> bool:
    return _read_stamp(venv) == {**wanted, "python": _python_version(venv)}


def _has(venv: Path, distribution: str) -> bool:
    return any(venv.glob(f"**/site-packages/{distribution}.dist-info"))


def _python_version(venv: Path) -> str | None:
    """None where it does not start: a moved folder or an upgraded system Python leaves it dangling, or without its packages."""
    try:
        return _ask(python_of(venv), "import sys; print(*sys.version_info[:2], sep='.')")
    except (OSError, subprocess.CalledProcessError):
        return None


def _ask(python: Path, code: str) -> str:
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _read_stamp(venv: Path) -> dict:
    try:
        return json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _write_stamp(venv: Path, wanted: dict) -> None:
    (venv / STAMP).write_text(json.dumps({**wanted, "python": _python_version(venv)}), encoding="utf-8")


def _fingerprint(*files: str) -> str:
    """Of the lists and of where the checkout lies (an editable install names its folder)."""
    parts = [str(CHECKOUT).encode(), *((CHECKOUT / name).read_bytes() for name in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _pin(name: str) -> str:
    return re.search(rf"^{name}==(\S+)", (CHECKOUT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]


def _reachable(url: str) -> bool:
    """Within five seconds; pip itself would retry an unreachable index for every package."""
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=5):
            return True
    except OSError:
        return False
