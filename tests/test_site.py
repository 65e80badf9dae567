"""Building the site: warnings fail, links reach pages or the repository, the server finds a port. The pages: `tests/published`."""

from __future__ import annotations

import re
import shutil
import threading
import urllib.request

import pytest
from math_core import LatexError

from residual_lab import address
from residual_lab.paths import CHECKOUT
from residual_lab.site import sources
from residual_lab.site.build import build
from residual_lab.site.serve import make_server
from residual_lab.site.theme.mathml import mathml


def test_warning_fails_the_build(tmp_path):
    for name in ("_config.yml", "_toc.yml", "index.md"):
        shutil.copy(CHECKOUT / name, tmp_path)
    (tmp_path / "index.md").write_text("# 지도\n\n### 건너뛴 제목\n\n$\\unheardof$\n", encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    with pytest.raises(sources.SiteError, match="경고도 오류로") as problem:
        build(tmp_path)
    assert "Non-consecutive header" in str(problem.value) and "Unknown command" in str(problem.value)


def test_formulas_are_mathml_that_chromium_draws_right():
    assert mathml("x^2", display=False) == "<math><msup><mi>x</mi><mn>2</mn></msup></math>"
    assert mathml("F'", display=True).startswith('<math display="block">')
    assert re.search(r"<msup><mrow><mo [^>]*>\)</mo></mrow>", mathml(r"\Big(x\Big)^2", display=False)), "the bracket is tall with its exponent, too"
    for wrong in (r"\unheardof", "{x", r"\begin{nothing}x\end{nothing}"):
        with pytest.raises(LatexError):
            mathml(wrong, display=False)


def test_links_reach_pages_or_the_repository(tmp_path):
    for name in ("lessons/01_x.ipynb", "solutions/01_x.ipynb", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def shown(text: str) -> str:
        return sources.site_links(text, "lessons/01_x.ipynb", tmp_path)

    assert shown("[풀이](../solutions/01_x.ipynb#a)") == "[풀이](../exercises/01_x.ipynb#a)"
    assert shown("[안내](../README.md)") == f"[안내]({address.REPO_URL}/blob/{address.BRANCH}/README.md)"
    assert shown("[![열기](https://c.d/b.svg)](https://c.d)") == "[열기](https://c.d)"
    assert shown("[논문](https://arxiv.org/abs/1512.03385)") == "[논문](https://arxiv.org/abs/1512.03385)"
    with pytest.raises(sources.SiteError, match="없습니다: 02_y.ipynb"):
        shown("[다음](02_y.ipynb)")


def test_server_takes_the_next_free_port_and_serves_modules(tmp_path):
    (tmp_path / "a.mjs").write_text("export {};", encoding="utf-8")
    first = make_server(tmp_path, 0)
    second = make_server(tmp_path, first.server_port)
    threading.Thread(target=second.serve_forever, daemon=True).start()
    assert second.server_port > first.server_port
    with urllib.request.urlopen(f"http://127.0.0.1:{second.server_port}/a.mjs") as response:
        assert response.headers["Content-Type"] == "text/javascript"
    second.shutdown()
    for server in (first, second):
        server.server_close()
