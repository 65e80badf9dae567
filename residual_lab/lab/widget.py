"""`Lab`: one experiment as a widget for JupyterLab, Colab and VS Code."""

from __future__ import annotations

import base64
import html
import sys
from typing import Any

import anywidget
import torch
import traitlets

from residual_lab.address import SITE_URL
from residual_lab.experiments.base import Experiment
from residual_lab.lab.frontend import css, esm
from residual_lab.lab.host import Host
from residual_lab.lab.recording import RECORDINGS
from residual_lab.mounted import mount_html

# torch sets up its autograd engine at the first backward pass (about a second); a learner's first press should not wait.
torch.ones(1, requires_grad=True).sum().backward()


class Lab(anywidget.AnyWidget):
    """A live lab: ``Lab(MLPDepth)``, or with settings to begin with, ``Lab(MLPDepth, depth=64)``.

    Raises:
        KnobError: a setting that the experiment does not have or does not offer.
    """

    _esm = esm("lab")
    _css = css("lab")

    _ipython_display_ = None  # ipywidgets 7 would display past the bundle below.

    spec = traitlets.Dict().tag(sync=True)
    host = traitlets.Unicode("kernel").tag(sync=True)

    def __init__(self, experiment: type[Experiment], **values: Any):
        spec = experiment.create(values).spec()
        super().__init__(spec=spec)
        self.experiment = experiment
        self._host = Host(experiment, self.send)
        self.on_msg(lambda _, message, buffers: self._host.receive(message))

    def __repr__(self) -> str:
        return f"라이브 랩: {self.spec['title']}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        if "google.colab" not in sys.modules:  # Colab would show the HTML instead of the widget.
            data["text/html"] = mount_html("lab", self.spec["id"], {"values": self.spec["values"]}, still(self.spec))
        return data, metadata


def still(spec: dict) -> str:
    """What a stored output shows: the picture of the recorded run, and where the living lab is."""
    picture = RECORDINGS / f"{spec['id']}.png"
    alt = html.escape(f"‘{spec['title']}’ 랩을 기본 설정으로 돌린 결과")
    image = base64.b64encode(picture.read_bytes()).decode()
    return (
        f'<figure><img alt="{alt}" src="data:image/png;base64,{image}"><figcaption>{html.escape(spec["title"])}: '
        f'기본 설정으로 돌린 결과입니다. 노트북에서 셀을 실행하거나 <a href="{SITE_URL}">과정 사이트</a>를 열면 '
        "직접 움직일 수 있습니다.</figcaption></figure>"
    )
