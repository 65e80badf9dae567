"""Lesson 01 in JupyterLab as a learner meets it: Run All, then every lab is tried out."""

from __future__ import annotations

import base64
import io

import nbformat
import numpy as np
import pytest
from PIL import Image

from browser.pages import PATIENCE_MS, LabView, NotebookPage
from residual_lab.paths import CHECKOUT

LESSON = "01_degradation.ipynb"
SHORTER = {
    "ConvTwoByTwo.run(deep=56, epochs=5, seeds_per_run=3)": "ConvTwoByTwo.run(deep=32, epochs=3, seeds_per_run=1)",
    "MLPDepth.run(depth=depth)": "type('Short', (MLPDepth,), {'steps': 30}).run(depth=depth)",
}
"""The longest trainings, cut here: that the lesson's numbers are as it says is what nbval asks."""
LONGEST_MS = 400_000

MISSING_GLYPHS = """async (texts) => {
    // A character that no font has is drawn as the same box as one that Unicode does not assign.
    const canvas = new OffscreenCanvas(64, 64);
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    const drawn = (font, character) => {
        pen.clearRect(0, 0, 64, 64);
        pen.font = font;
        pen.fillText(character, 8, 48);
        return pen.getImageData(0, 0, 64, 64).data.join();
    };
    await document.fonts.ready;
    const missing = new Set();
    for (const [font, characters] of Object.entries(texts)) {
        const box = drawn(font, '\\u0378');
        for (const character of characters) if (drawn(font, character) === box) missing.add(character);
    }
    return [...missing];
}"""
TEXTS_BY_FONT = """() => {
    // Characters of the lesson's rendered text and widgets, by the font they are set in. Formulas and code editors bring their own.
    const found = {};
    const places = document.querySelectorAll('.jp-Notebook .jp-RenderedHTMLCommon, .jp-Notebook .residual-lab');
    for (const place of places) {
        const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const parent = walker.currentNode.parentElement;
            if (parent.closest('mjx-container, .MathJax, script, style')) continue;
            const font = `32px ${getComputedStyle(parent).fontFamily}`;
            found[font] = [...new Set([...(found[font] ?? ''), ...walker.currentNode.textContent.replace(/\\s/g, '')])].join('');
        }
    }
    return found;
}"""



@pytest.fixture(scope="module")
def lesson(servers, context):
    """The lesson without its stored outputs, run from top to bottom."""
    server = servers("today")
    notebook = nbformat.read(CHECKOUT / "lessons" / LESSON, as_version=4)
    assert all(sum(written in cell.source for cell in notebook.cells) == 1 for written in SHORTER)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for written, shorter in SHORTER.items():
                cell.source = cell.source.replace(written, shorter)
            cell.update(outputs=[], execution_count=None)
    nbformat.write(notebook, server.root / LESSON)
    book = NotebookPage(context, server, LESSON)
    book.page.set_default_timeout(LONGEST_MS)
    book.run_all()
    book.page.set_default_timeout(PATIENCE_MS)
    yield book
    book.page.close()
    server.forget()


def cells_of(book: NotebookPage) -> list[dict]:
    return book.page.evaluate("() => window.jupyterapp.shell.currentWidget.model.toJSON().cells")


def test_every_cell_runs(lesson):
    assert lesson.page.locator(".lm-MenuBar-itemLabel").first.inner_text() == "파일", "JupyterLab speaks Korean"
    assert lesson.failures() == []
    code = [cell for cell in cells_of(lesson) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


def test_every_lab_prediction_and_quiz_is_there(lesson):
    sources = ["".join(cell["source"]) for cell in cells_of(lesson)]
    for call, kind in {"\nLab(": "rl-lab", "predictions.": "rl-predict", "quiz(": "rl-quiz", ".check(": "rl-predict"}.items():
        cells = [index for index, source in enumerate(sources) if call in "\n" + source]
        assert cells, call
        for index in cells:
            lesson.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(f".residual-lab.{kind}").wait_for()


def test_no_figure_is_empty(lesson):
    pictures = [base64.b64decode(output["data"]["image/png"]) for cell in cells_of(lesson)
                for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
    assert len(pictures) >= 5
    for picture in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=int)
        coloured = pixels.max(axis=2) - pixels.min(axis=2) > 60
        assert coloured.mean() > 0.005, "axes and text alone are grey"


def test_no_character_lacks_a_glyph(lesson):
    texts = lesson.page.evaluate(TEXTS_BY_FONT)
    assert len("".join(texts.values())) > 400
    assert lesson.page.evaluate(MISSING_GLYPHS, texts) == []


def test_every_lab_trains_when_asked(lesson):
    labs = lesson.page.locator(".jp-Notebook .rl-lab")
    assert labs.count() >= 2
    for root in labs.all():
        LabView(lesson, root).try_out()


def test_axe_finds_nothing_grave(lesson):
    assert lesson.grave_problems() == []


def test_nothing_went_wrong_on_the_page(lesson):
    assert lesson.problems == []
    assert lesson.wire.strays == []
