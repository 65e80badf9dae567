"""How well the site's search finds what readers look for, against the theme's own: recall and rank over ``search_queries.csv``.

    python tests/search_measure.py     # on the site that `make site` built; writes tests/search_results.md
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, sync_playwright
from sphinx.search import IndexBuilder, js_index

from residual_lab.browser import find_browser
from residual_lab.paths import CHECKOUT
from residual_lab.site.serve import make_server

HERE = Path(__file__).parent
FIRST = 5
"""What a reader sees without scrolling."""

ANSWER = """(queries) => queries.map((query) => {
    const found = Search._performSearch(...Search._parseQuery(query));
    return [...new Set(found.reverse().map((result) => result[0]))];
})"""


def queries() -> list[dict[str, str]]:
    with open(HERE / "search_queries.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def answers(page: Page, site: str) -> dict[str, list[str]]:
    """The pages that the search shows for each query, best first; ``page`` may have other scripts routed to it."""
    asked = [row["query"] for row in queries()]
    page.goto(f"{site}/search.html?q=x")
    page.wait_for_function("Search.hasIndex()")
    return dict(zip(asked, page.evaluate(ANSWER, asked)))


def score(row: dict[str, str], found: list[str]) -> tuple[float, float, float]:
    """Recall among the first five, reciprocal rank of the first wanted page, recall among all."""
    wanted = row["pages"].split()
    ranks = [found.index(page) + 1 for page in wanted if page in found]
    return sum(rank <= FIRST for rank in ranks) / len(wanted), 1 / min(ranks) if ranks else 0.0, len(ranks) / len(wanted)


def mean(scores: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(column) for column in zip(*scores))


def default_scripts(html: Path) -> dict[str, str]:
    """The index and the language file that Sphinx makes for a language it does not know, from the same pages."""
    doctrees = html.parent / ".doctrees"
    env = pickle.loads((doctrees / "environment.pickle").read_bytes())
    empty = {f"_search_index_{name}": {} for name in ("titles", "filenames", "mapping", "title_mapping", "all_titles", "index_entries", "objtypes", "objnames")}
    index = IndexBuilder(SimpleNamespace(**empty, domains={}, version=env.version), "none", {}, "")
    for name in sorted(env.found_docs):
        doctree = pickle.loads((doctrees / f"{name}.doctree").read_bytes())
        index.feed(name, f"{name}.ipynb", env.titles[name].astext(), doctree)
    stemmer = index.get_js_stemmer_code()
    language = f"var stopwords = {json.dumps(sorted(index.lang.stopwords))};\n{stemmer};\n{PLAIN_SPLIT}"
    return {"searchindex.js": js_index.dumps(index.freeze()), "language_data.js": language}


PLAIN_SPLIT = """
if (typeof splitQuery === "undefined") {
  var splitQuery = (query) => query.split(/[^\\p{Letter}\\p{Number}_\\p{Emoji_Presentation}]+/gu).filter((term) => term);
}
"""


def default_answers(page: Page, site: str, html: Path) -> dict[str, list[str]]:
    scripts = default_scripts(html)
    page.route("**/*.js*", lambda route: _serve(route, scripts))
    return answers(page, site)


def _serve(route: Route, scripts: dict[str, str]) -> None:
    text = scripts.get(urlsplit(route.request.url).path.rpartition("/")[2])
    route.fulfill(body=text, content_type="text/javascript") if text else route.continue_()


def table(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> str:
    """Both searches as Markdown: the means by kind of query, then every query."""
    rows = queries()
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = [
        "# 검색을 잰 결과", "",
        f"`search_queries.csv`의 질의 {len(rows)}개로 잰 것입니다. `python tests/search_measure.py`가 다시 씁니다. 재현율@5는 먼저 나와야 할 쪽이 처음 다섯",
        "결과에 든 비율, MRR은 그런 쪽이 처음 나온 순위의 역수, 재현율은 순위와 상관없이 찾은 비율입니다.", "",
        "| 질의 | 수 | 기본 재현율@5 | 기본 MRR | 기본 재현율 | 두 글자 재현율@5 | 두 글자 MRR | 두 글자 재현율 |", "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for kind in ("모두", *kinds):
        chosen = [row for row in rows if kind in ("모두", row["kind"])]
        both = [mean([score(row, found[row["query"]]) for row in chosen]) for found in (theirs, ours)]
        lines.append(f"| {kind} | {len(chosen)} | " + " | ".join(f"{value:.2f}" for means in both for value in means) + " |")
    lines += ["", "| 질의 | 먼저 나와야 할 쪽 | 기본 순위 | 두 글자 순위 |", "|---|---|---|---|"]
    for row in rows:
        wanted = row["pages"].split()
        ranks = [", ".join(str(found[row["query"]].index(page) + 1) if page in found[row["query"]] else "—" for page in wanted) for found in (theirs, ours)]
        lines.append(f"| {row['query']} | {', '.join(wanted)} | {ranks[0]} | {ranks[1]} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    html = CHECKOUT / "_build/html"
    server = make_server(html, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        ours = answers(browser.new_page(), site)
        theirs = default_answers(browser.new_page(), site, html)
        browser.close()
    server.shutdown()
    (HERE / "search_results.md").write_text(table(ours, theirs), encoding="utf-8")
    print("\n".join(line for line in table(ours, theirs).split("\n")[6:18]))


if __name__ == "__main__":
    main()
