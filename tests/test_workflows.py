"""The workflow files: they parse, and everything that they run is a make target or a script of the repository."""

from __future__ import annotations

import os
import re
import shlex

import check_links
import pytest
import yaml

from residual_lab import environment
from residual_lab.bootstrap import USAGE
from residual_lab.paths import CHECKOUT

FILES = sorted((CHECKOUT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.search(r"^\.PHONY: (.+)$", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split())
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def steps(path) -> list[dict]:
    return [step for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values() for step in job["steps"]]


def test_every_workflow_is_there():
    assert {path.stem for path in FILES} == {"test", "weekly", "colab", "links", "deploy", "release"}


def test_make_knows_what_the_bootstrap_knows():
    assert TARGETS == set(environment.MAIN_EXTRAS) == set(re.findall(r"^  ([\w-]+) ", USAGE, re.MULTILINE))


@each_file
def test_what_a_workflow_runs_exists(path):
    for command in (step["run"] for step in steps(path) if "run" in step):
        program, *arguments = shlex.split(re.sub(r"\$\{\{.*?\}\}", "x", command))
        if program == "make":
            assert set(arguments) <= TARGETS
        else:
            assert program.startswith(".ci/") and os.access(CHECKOUT / program, os.X_OK), command
            assert program != ".ci/run" or set(arguments) <= TARGETS


@each_file
def test_a_workflow_may_do_only_what_it_says_and_ends(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] and workflow[True]  # YAML reads the key "on" as true
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())


def test_the_weekly_run_has_no_cache_and_opens_an_issue():
    [path] = [path for path in FILES if path.stem == "weekly"]
    assert not any("cache" in step.get("with", {}) for step in steps(path))
    assert any(step.get("if") == "failure()" and ".ci/open-issue" in step["run"] for step in steps(path))


def test_outside_links_are_collected_from_the_pages(tmp_path):
    (tmp_path / "a.html").write_text('<a href="https://arxiv.org/abs/1#x">가</a> <a class="y" href="https://a.b/?c=1&amp;d=2">나</a>', encoding="utf-8")
    (tmp_path / "b.html").write_text(f'<a href="https://arxiv.org/abs/1">가</a> <a href="{check_links.REPO_URL}/blob/main/x">다</a> <a href="c.html">라</a>', encoding="utf-8")
    assert check_links.outside(tmp_path) == {"https://a.b/?c=1&d=2": ["a.html"], "https://arxiv.org/abs/1": ["a.html", "b.html"]}


def test_a_dead_link_is_told():
    assert check_links.trouble("http://127.0.0.1:9/", attempts=1)
