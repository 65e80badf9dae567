"""A page without a kernel that shows one quiz or prediction, as the site does."""

from __future__ import annotations

import json
import threading

from residual_lab.lab.frontend import FRONT, css, esm

ADDRESS = "http://page.test"
PAGE = """<!doctype html><html lang="ko"><meta charset="utf-8"><title>시험</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>body {{ margin: 8px; background: #fff }} {style}</style>
<main><h1>시험</h1><div id="place"></div><div id="second"></div></main>
<script type="module">
  import view from "/view.mjs";
  import {{KeptModel}} from "/sitemodel.mjs";
  const mount = (spec, id) => view.render({{model: new KeptModel(spec), el: document.getElementById(id)}});
  for (const [i, spec] of {specs}.entries()) mount(spec, ["place", "second"][i]);
  document.body.dataset.ready = "";
</script></html>"""


def show(page, entry: str, *specs: dict):
    """Open a page with the widgets of these specs; a failure on the page is an error of the test."""
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.problems = []
    answers = {
        f"{ADDRESS}/": ("text/html", PAGE.format(style=css(entry), specs=json.dumps(specs))),
        f"{ADDRESS}/view.mjs": ("text/javascript", esm(entry)),
        f"{ADDRESS}/sitemodel.mjs": ("text/javascript", (FRONT / "sitemodel.js").read_text(encoding="utf-8")),
    }

    def answer(route):
        kind, body = answers[route.request.url]
        route.fulfill(content_type=f"{kind}; charset=utf-8", body=body)

    page.route("**/*", answer)
    page.goto(f"{ADDRESS}/")
    page.wait_for_selector("[data-ready]")
    return page.locator(".residual-lab")


class Said(list):
    """What a widget sent to its views; ``hear`` delivers a message of a view, on another thread as newer kernels do."""

    def __init__(self, widget):
        super().__init__()
        widget.send = self.append
        self.widget = widget

    def hear(self, **message) -> dict:
        thread = threading.Thread(target=self.widget._handle_custom_msg, args=(message, []))
        thread.start()
        thread.join()
        return self[-1]
