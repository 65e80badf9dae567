"""``residual-lab doctor``: check an installation and say in Korean what to do about each fault."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from residual_lab import browser
from residual_lab.paths import ASSETS, CHECKOUT, home

REINSTALL = '저장소 폴더에서 \'pip install -c constraints.txt -e ".[learner]"\'를 실행하십시오'
KERNEL_SECONDS = 60
FREE_GIGABYTES = 1.0


class Finding(NamedTuple):
    sign: str
    """✓ good, ! works but read this, ✗ must be repaired"""
    text: str
    advice: str = ""


def good(text: str) -> Finding:
    return Finding("✓", text)


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    text = "Python " + ".".join(map(str, version))
    yield good(text) if version >= (3, 11) else Finding("✗", text, "Python 3.11 이상으로 환경을 다시 만드십시오(make learn)")


def check_packages(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Every plain requirement of the course is installed in its range."""
    if requirements is None:
        requirements = [text for text in metadata.requires("residual-lab") if "extra ==" not in text]
    for requirement in map(Requirement, requirements):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding("✗", f"{requirement.name}: 설치되어 있지 않습니다", REINSTALL)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        yield good(f"{requirement.name} {version}") if fits else Finding(
            "✗", f"{requirement.name} {version}: 이 과정은 {requirement.specifier}에서 돕니다", REINSTALL)


def check_torch() -> Iterator[Finding]:
    """It computes a gradient here (a broken library loads only when it is used)."""
    try:
        torch = importlib.import_module("torch")
        x = torch.ones(3, requires_grad=True)
        (x * x).sum().backward()
        right = x.grad.tolist() == [2.0, 2.0, 2.0]
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("✗", f"torch를 쓸 수 없습니다: {error}", REINSTALL)
        return
    if not right:
        yield Finding("✗", "torch가 그래디언트를 틀리게 계산합니다", REINSTALL)
    elif torch.cuda.is_available():
        yield good(f"torch가 계산합니다(GPU: {torch.cuda.get_device_name()}. 랩에 큰 설정이 나타납니다)")
    else:
        yield good("torch가 계산합니다(CPU. 이 과정에는 CPU로 충분합니다)")


def check_widgets(folders: Iterable[Path] | None = None, version: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """JupyterLab's half of the widgets is there and speaks the language of the kernel's half.

    An anywidget 0.9 in the kernel with the 0.11 extension in JupyterLab draws nothing and says nothing.
    """
    if folders is None:
        from jupyter_core.paths import jupyter_path

        folders = map(Path, jupyter_path("labextensions"))
    folders = list(folders)
    for package, extension, fits in WIDGETS:
        files = (folder / extension / "package.json" for folder in folders)
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            yield Finding("✗", f"JupyterLab에 {package}의 확장({extension})이 없습니다. 랩이 그려지지 않습니다",
                          f"{REINSTALL}. 그런 다음 JupyterLab을 다시 여십시오")
            continue
        lab, kernel = json.loads(found.read_text(encoding="utf-8"))["version"], version(package)
        yield good(f"JupyterLab 확장 {extension} {lab}") if fits(Version(lab).release, Version(kernel).release) else Finding(
            "✗", f"커널의 {package} {kernel}과 JupyterLab의 확장 {lab}이 맞지 않습니다. 랩이 소리 없이 그려지지 않습니다",
            f"{REINSTALL}. 확장은 {found.parent}에 있습니다")


WIDGETS = (
    ("ipywidgets", "@jupyter-widgets/jupyterlab-manager", lambda lab, kernel: (lab[0] >= 4) == (kernel[0] >= 8)),
    ("anywidget", "anywidget", lambda lab, kernel: lab[:2] == kernel[:2]),
)
"""The kernel's package, JupyterLab's extension, and whether two versions of them fit."""


def check_fonts(folder: Path = ASSETS / "fonts") -> Iterator[Finding]:
    """The bundled fonts load and have Hangul and the minus sign."""
    from matplotlib.ft2font import FT2Font

    for name in ("Pretendard-Regular.otf", "Pretendard-Bold.otf"):
        try:
            drawn = FT2Font(str(folder / name)).get_charmap()
        except (OSError, RuntimeError) as error:
            yield Finding("✗", f"글꼴 {name}을 읽을 수 없습니다: {error}", f"저장소를 다시 내려받으십시오(없거나 깨진 파일: {folder / name})")
            continue
        missing = [sign for sign in "한글−" if ord(sign) not in drawn]
        yield Finding("✗", f"글꼴 {name}에 글자가 없습니다: {' '.join(missing)}", "저장소를 다시 내려받으십시오") if missing else good(f"글꼴 {name}")


def check_kernel(name: str = "python3") -> Iterator[Finding]:
    """A kernel really starts, runs in this environment, and can be stopped."""
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import start_new_kernel

    said: list[str] = []

    def hear(message: dict) -> None:
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        try:
            manager, client = start_new_kernel(startup_timeout=KERNEL_SECONDS, kernel_name=name, stderr=errors)
        except (NoSuchKernel, RuntimeError, OSError) as error:
            errors.seek(0)
            last = errors.read().strip().splitlines()[-1:]
            yield Finding("✗", f"커널 {name}이 시작되지 않습니다: {' '.join([str(error), *last])}", REINSTALL)
            return
        try:
            client.execute_interactive("import sys; print(1 + 1); print(sys.prefix)", timeout=KERNEL_SECONDS, output_hook=hear)
        except TimeoutError:
            yield Finding("✗", f"커널 {name}이 {KERNEL_SECONDS}초 안에 답하지 않습니다", "컴퓨터를 다시 시작한 뒤 다시 해 보십시오")
            return
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    answer, _, prefix = "".join(said).strip().partition("\n")
    if answer != "2":
        yield Finding("✗", f"커널 {name}이 1 + 1에 {answer!r}라고 답합니다", REINSTALL)
    elif Path(prefix) != Path(sys.prefix):
        yield Finding("!", f"커널 {name}이 다른 환경에서 돕니다: {prefix}", f"이 환경의 커널을 쓰려면 '{sys.executable} -m ipykernel install --sys-prefix'를 실행하십시오")
    else:
        yield good(f"커널 {name}이 이 환경에서 돕니다")


def check_browser(find: Callable[[], str | None] = browser.find_browser) -> Iterator[Finding]:
    path = find()
    yield good(f"브라우저 시험에 쓸 브라우저: {path}") if path else Finding(
        "!", "브라우저 시험에 쓸 Chromium이 없습니다(배우는 데에는 필요 없습니다)", browser.ADVICE)


def check_disk(folder: Path = CHECKOUT, needed: float = FREE_GIGABYTES) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free / 1e9
    yield good(f"디스크 {free:.1f} GB가 남았습니다") if free >= needed else Finding(
        "✗", f"디스크에 {free:.1f} GB만 남았습니다({folder})", f"{needed:.1f} GB 이상 비우십시오")


def check_records(folder: Path | None = None) -> Iterator[Finding]:
    """Predictions and quiz answers can be kept."""
    folder = folder or home()
    probe = folder / "doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        yield unwritable(folder, error)
    else:
        yield good(f"예측과 답을 저장하는 폴더: {folder}")


def unwritable(folder: Path, error: OSError) -> Finding:
    return Finding("✗", f"예측과 답을 저장할 폴더에 쓸 수 없습니다: {folder}({error.strerror})",
                   "환경 변수 RESIDUAL_LAB_HOME에 쓸 수 있는 폴더를 지정하십시오")


CHECKS = (check_python, check_packages, check_torch, check_widgets, check_fonts, check_kernel, check_browser, check_disk, check_records)


def run(arguments: argparse.Namespace) -> int:
    return report(finding for check in CHECKS for finding in check())


def report(findings: Iterable[Finding]) -> int:
    """Print each finding as it comes; 1 if something must be repaired."""
    broken = 0
    for sign, text, advice in findings:
        broken += sign == "✗"
        print(f"{sign} {text}" + (f"\n    → {advice.removesuffix('.')}." if advice else ""), flush=True)
    print(f"\n고칠 것이 {broken}개 있습니다. → 뒤의 안내를 따른 다음 다시 검사하십시오." if broken else "\n학습할 준비가 되었습니다.")
    return 1 if broken else 0
