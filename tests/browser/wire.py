"""The kernel's messages as the page receives them, and whether a lab's answers lie inside open requests."""

from __future__ import annotations

import json

from playwright.sync_api import Page, WebSocket


class Wire:
    """Listens to a page's kernel connections.

    Colab's front end shows only what a kernel sends between the ``busy`` and the ``idle`` of a request that the page
    itself has sent. ``strays`` are the lab's answers that it would not show.
    """

    def __init__(self, page: Page):
        self.frames = 0
        self.strays: list[str] = []
        self._asked: set[str] = set()
        page.on("websocket", self._connected)

    def _connected(self, socket: WebSocket) -> None:
        """JupyterLab 3 has a second connection to the kernel, which hears everything too: order counts on the one that asked."""
        if "/channels" not in socket.url:
            return
        asked: set[str] = set()
        opened: set[str] = set()
        socket.on("framesent", lambda data: self._sent(data, asked))
        socket.on("framereceived", lambda data: self._received(data, asked, opened))

    def _sent(self, data: str | bytes, asked: set[str]) -> None:
        request = decode(data)[0]["msg_id"]
        asked.add(request)
        self._asked.add(request)

    def _received(self, data: str | bytes, asked: set[str], opened: set[str]) -> None:
        header, parent, content = decode(data)
        request = parent.get("msg_id")
        if header["msg_type"] == "status":
            (opened.add if content["execution_state"] == "busy" else opened.discard)(request)
        elif header["msg_type"] == "comm_msg" and content["data"].get("method") == "custom":
            if request in asked and request in opened and parent["msg_type"] == "comm_msg":
                self.frames += content["data"]["content"]["type"] == "frame"
            elif request in asked or request not in self._asked:
                self.strays.append(f"{content['data']['content']['type']} answering {parent}")


def decode(data: str | bytes) -> tuple[dict, dict, dict]:
    """Header, parent header and content of a message in either of Jupyter's WebSocket formats.

    Text is JSON. Binary is v1.kernel.websocket.jupyter.org: a count and as many byte offsets, each eight bytes, little end
    first; they delimit the channel's name, header, parent header, metadata, content and buffers.
    """
    if isinstance(data, str):
        message = json.loads(data)
        return message["header"], message["parent_header"], message["content"]
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[8 * i:8 * i + 8], "little") for i in range(1, count + 1)]
    _channel, header, parent, _metadata, content = (data[a:b] for a, b in zip(offsets[:5], offsets[1:6]))
    return json.loads(header), json.loads(parent), json.loads(content)
