"""Serve the built site on this machine."""

from __future__ import annotations

import errno
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Pages(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection serves many files

    # Windows takes types from the registry, where .js and .mjs are often text/plain, which browsers refuse as modules.
    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".css": "text/css",
        ".json": "application/json",
        ".svg": "image/svg+xml",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *args) -> None:
        """Say nothing for each request."""


class _Server(ThreadingHTTPServer):
    allow_reuse_address = os.name != "nt"  # on Windows it would let two servers share a port
    daemon_threads = True


def make_server(folder: Path, port: int, attempts: int = 50) -> ThreadingHTTPServer:
    """A server of ``folder``, for this machine only, on ``port`` (0: any) or on the next free one."""
    pages = partial(_Pages, directory=str(folder))
    for candidate in range(port, port + attempts - 1):
        try:
            return _Server(("127.0.0.1", candidate), pages)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _Server(("127.0.0.1", port + attempts - 1), pages)
