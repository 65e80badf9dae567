"""Widgets whose output can be read where no kernel runs: on the course's site, on GitHub, in a reopened notebook.

The live output is the widget. Beside it goes a stable ``text/html``: a static fallback inside an element from which the
site's script mounts the same front end. It holds nothing of what the learner said.
"""

from __future__ import annotations

import html
import json
import sys

import anywidget
import traitlets

from residual_lab.progress import Progress, progress


def mount_html(kind: str, name: str, spec: dict, fallback: str) -> str:
    """The element that the site's script turns into the live part; ``fallback`` is what is read without the script."""
    packed = html.escape(json.dumps(spec, ensure_ascii=False, separators=(",", ":")), quote=True)
    source = html.escape(name, quote=True)
    return f'<div class="residual-lab-mount" data-kind="{kind}" data-src="{source}" data-spec="{packed}">{fallback}</div>'


class Kept(anywidget.AnyWidget):
    """A widget that keeps what the learner commits to, through two messages.

    ``hello {}`` and ``commit {value}`` are both answered with ``committed {value, history, notices}``; the history is
    what ``progress`` holds under ``spec["store"]``. A value that does not fit is answered with ``error {text}``.
    """

    kind = ""
    store: Progress = progress
    _ipython_display_ = None  # that of ipywidgets 7 would go before the bundle below
    spec = traitlets.Dict().tag(sync=True)

    def __init__(self, spec: dict):
        super().__init__(spec=spec)
        self.on_msg(lambda _widget, message, _buffers: self._answer(message))

    def problem(self, value) -> str | None:
        """Why the value cannot be kept, in Korean; None when it can."""
        raise NotImplementedError

    def fallback(self) -> str:
        """Static HTML that says the same without a script."""
        raise NotImplementedError

    def history(self) -> list[dict]:
        """What was kept, oldest first, without entries that no longer fit (the course may have changed since)."""
        return [entry for entry in self.store.history(self.spec["store"]) if self.problem(entry["value"]) is None]

    def _answer(self, message: dict) -> None:
        if message["type"] == "commit":
            problem = self.problem(message["value"])
            if problem is not None:
                self.send({"type": "error", "text": problem})
                return
            self.store.append(self.spec["store"], message["value"])
        history = self.history()
        self.send(
            {
                "type": "committed",
                "value": history[-1]["value"] if history else None,
                "history": history,
                "notices": self.store.notices(),
            }
        )

    def _repr_mimebundle_(self, **options):
        data, metadata = super()._repr_mimebundle_(**options)
        if "google.colab" not in sys.modules:  # Colab would show the HTML instead of the widget
            data["text/html"] = mount_html(self.kind, self.spec["id"], self.spec, self.fallback())
        return data, metadata
