"""Every lab of the course in JupyterLab (``--profile``): its controls move, it trains, and it draws what it trained."""

from __future__ import annotations

import pytest

from browser.pages import NotebookPage
from residual_lab.experiments import EXPERIMENTS

SET_UP = "from residual_lab.experiments import EXPERIMENTS\nfrom residual_lab.lab import Lab"
NAMES = list(EXPERIMENTS)


@pytest.fixture(scope="module")
def book(servers, context, request):
    server = servers(request.config.getoption("--profile"))
    server.write("labs.ipynb", SET_UP, *(f"Lab(EXPERIMENTS[{name!r}], **EXPERIMENTS[{name!r}].sample)" for name in NAMES))
    book = NotebookPage(context, server, "labs.ipynb")
    book.run_cell(0)
    yield book
    book.page.close()
    server.forget()


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_s_controls_move_and_it_trains(book, name):
    cell = 1 + NAMES.index(name)
    book.run_cell(cell)
    book.lab(cell).try_out()
    assert book.failures() == []
    assert book.problems == [] and book.wire.strays == []
