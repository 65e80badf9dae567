"""The lists agree: pyproject's ranges, the exact pins, conda's file, what is installed, the wheel, and the README's addresses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from residual_lab import address
from residual_lab.paths import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COLAB = {"torch": "2.11.0", "numpy": "2.1.3", "matplotlib": "3.10.0", "ipywidgets": "7.7.1", "anywidget": "0.9.21"}


def pins(name: str) -> dict[str, str]:
    lines = (CHECKOUT / name).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in requirements:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{name}: {requirement} is not an exact pin"
    return {canonicalize_name(requirement.name): str(requirement.specifier)[2:] for requirement in requirements}


PINS = pins("constraints.txt")
REQUIREMENTS = [Requirement(text) for text in sum(EXTRAS.values(), PROJECT["dependencies"])]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_has_a_pin_inside_its_range(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)], prereleases=True)


def test_conda_and_binder_install_the_same_lists():
    *conda, pip = yaml.safe_load((CHECKOUT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert [name.partition("=")[0] for name in conda] == ["python", "pip"]
    python = conda[0].removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
    lists = [line for line in pip["pip"] if not line.startswith("--extra-index-url ")]
    assert lists[0] == "-c constraints.txt"
    (course,) = lists[1:]
    assert set(re.fullmatch(r"-e \.\[([\w,]+)\]", course)[1].split(",")) <= set(EXTRAS)


def test_what_is_installed_is_what_is_pinned():
    installed = {canonicalize_name(found.name): found.version.partition("+")[0] for found in metadata.distributions()}
    assert {name: installed[name] for name in PINS if name in installed} == {name: PINS[name] for name in PINS if name in installed}


def test_the_list_that_contributing_makes_has_what_the_set_up_looks_up_in_it():
    [arguments] = re.findall(r"/pip (freeze .*)", (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    made = subprocess.run([sys.executable, "-m", "pip", *arguments.split()], check=True, capture_output=True, text=True).stdout
    looked_up = re.findall(r"""_pin\(["'](\w+)["']\)""", (CHECKOUT / "residual_lab/environment.py").read_text(encoding="utf-8"))
    assert {"pip", "torch"} <= set(looked_up) <= {line.partition("==")[0] for line in made.splitlines()}


def test_nothing_is_installed_without_a_pin():
    """Follow the requirements of the course to their ends, as they apply to this machine."""
    todo, seen = [("residual-lab", extra) for extra in ("", *EXTRAS)], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(needed.name), inner) for inner in ("", *needed.extras)]
    assert {name for name, _ in seen} - {"residual-lab"} - set(PINS) == set()


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_colab_keeps_what_it_has(requirement):
    """A range that Colab's version satisfies makes pip leave it alone (a restart of the kernel would lose the learner's work)."""
    requirement = Requirement(requirement)
    if requirement.name in COLAB:
        assert requirement.specifier.contains(COLAB[requirement.name])
    assert not {"ipykernel", "ipython", "tornado", "jupyterlab"} & {requirement.name}


def test_the_colab_list_stands_for_colab():
    listed = pins("constraints-colab.txt")
    assert {name: listed[name] for name in ("ipywidgets", "anywidget")} == {name: COLAB[name] for name in ("ipywidgets", "anywidget")}
    assert (listed["ipykernel"], listed["ipython"]) == ("6.17.1", "7.34.0")


def test_the_wheel_carries_the_assets_and_knows_them(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    kept = {path.relative_to(tmp_path / "installed") for path in (tmp_path / "installed").rglob("*") if path.is_file()}
    caches = {"__pycache__", ".ipynb_checkpoints"}
    for folder, inside in ((CHECKOUT / "assets", "residual_lab/assets"), (CHECKOUT / "residual_lab", "residual_lab")):
        ours = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not caches & set(path.parts)}
        assert {path for path in ours if tmp_path.joinpath("installed", inside, path).relative_to(tmp_path / "installed") not in kept} == set()
    where = subprocess.run([sys.executable, "-c", "from residual_lab.paths import ASSETS; print(ASSETS)"], cwd=tmp_path, check=True,
                           env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")}, capture_output=True, text=True).stdout
    assert where.strip() == str(tmp_path / "installed/residual_lab/assets")


def test_an_editable_install_copies_nothing():
    files = metadata.distribution("residual-lab").files
    assert [str(file) for file in files if file.parts[0] in ("assets", "residual_lab")] == []


def test_readme_links_are_made_of_the_one_address():
    lessons = re.findall(r"^\| (\d\d) \| \[[^]]+\]\((lessons/[\w.]+)\)", README, re.MULTILINE)
    assert lessons
    allowed = {address.REPO_URL, address.page_url("index"), address.binder_url("index.md")}
    for _, notebook in lessons:
        allowed |= {address.colab_url(notebook), address.binder_url(notebook), address.page_url(notebook.removesuffix(".ipynb"))}
    ours = re.findall(r"https://(?:github\.com|colab\.research\.google\.com|mybinder\.org|[\w-]+\.github\.io)[^\s)]*", README)
    assert set(ours) == allowed


def test_readme_links_to_files_that_exist():
    local = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert [link for link in local if not (CHECKOUT / link).is_file()] == []


def test_readme_and_course_map_show_the_same_lessons():
    def rows(text: str) -> list[tuple[str, ...]]:
        unlinked = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)
        cells = [line.strip("| ").split(" | ") for line in unlinked.splitlines() if re.match(r"\| \d\d \|", line)]
        return [(number, title.removesuffix(" · 연습"), question) for number, title, question, *_ in cells]

    course_map = rows((CHECKOUT / "index.md").read_text(encoding="utf-8"))
    assert len(course_map) == 10
    assert rows(README) == course_map
