"""What every test shares: one thread, a home of its own, the browser, and Colab's Python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from residual_lab.browser import ADVICE, find_browser
from residual_lab.paths import CHECKOUT


def pytest_addoption(parser):
    parser.addoption("--profile", default="today", choices=("today", "colab"), help="JupyterLab in which every lab is moved")


os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch: two test processes share the cores


@pytest.fixture(scope="session", autouse=True)
def local_records(tmp_path_factory):
    """Predictions and quiz answers of the tests go to a temporary folder, never to the learner's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIDUAL_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's executable. A machine without one fails: a skipped browser test would look like a passed one."""
    return find_browser() or pytest.fail(f"브라우저 시험에 쓸 Chromium을 찾지 못했습니다. {ADVICE}")


@pytest.fixture(scope="session")
def colab_python() -> str:
    """The Python of the environment with Colab's versions (`make test` makes it)."""
    python = os.environ.get("RESIDUAL_LAB_COLAB_PYTHON") or str(CHECKOUT / ".venv-colab/bin/python")
    return python if Path(python).is_file() else pytest.fail(
        "Colab과 같은 판의 환경이 없습니다. 'make test'가 만듭니다.")


@pytest.fixture(scope="module")
def sources_that_want(request):
    """``sources_that_want(fixture)``: the parameters ``source`` of this file's tests that use a fixture, each once: it runs no other."""
    def those(fixture: str) -> list:
        wanting = (item for item in request.session.items if item.path == request.path and fixture in item.fixturenames)
        return list(dict.fromkeys(item.callspec.params["source"] for item in wanting))
    return those
