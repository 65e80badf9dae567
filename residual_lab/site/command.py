"""``residual-lab site [--build-only] [--port N]``: build the site, then show it."""

from __future__ import annotations

import argparse
import sys
import time
import webbrowser
from importlib.util import find_spec

NEEDED = {"jupyter_book": "jupyter-book", "math_core": "math-core"}


def run(args: argparse.Namespace) -> int:
    """``args.build_only``, ``args.port``; the exit status."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        print(
            f"사이트를 만드는 패키지가 없습니다: {', '.join(missing)}\n"
            "'pip install \"residual-lab[site]\"'(저장소 안이라면 'pip install -e \".[site]\"')로 설치한 뒤 다시 실행하세요.",
            file=sys.stderr,
        )
        return 1
    from residual_lab.site.build import build
    from residual_lab.site.sources import SiteError

    print("사이트를 만듭니다 …", flush=True)
    start = time.perf_counter()
    try:
        html = build()
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{time.perf_counter() - start:.0f}초 만에 만들었습니다: {html / 'index.html'}")
    return 0 if args.build_only else _show(html, args.port)


def _show(html, port: int) -> int:
    from residual_lab.site.serve import make_server

    try:
        server = make_server(html, port)
    except OSError as error:
        print(f"{port}번부터 빈 포트를 찾지 못했습니다({error}). '--port 번호'로 다른 번호를 주세요.", file=sys.stderr)
        return 1
    address = f"http://127.0.0.1:{server.server_port}/"
    if server.server_port != port:
        print(f"{port}번 포트는 다른 프로그램이 쓰고 있어 {server.server_port}번을 씁니다.")
    print(f"{address} 에서 보여 드립니다. 끝내려면 Ctrl+C를 누르세요.", flush=True)
    webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\n끝냈습니다.")
    finally:
        server.server_close()
    return 0
