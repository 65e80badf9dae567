"""`make links`: ask every address outside the site that its pages link to. Needs the network; the weekly run does it."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

from residual_lab.address import REPO_URL, SITE_URL
from residual_lab.paths import CHECKOUT
from residual_lab.site.build import build

AGENT = {"User-Agent": "Mozilla/5.0 (link check of a course)"}
NOT_FOR_PROGRAMS = {403, 405, 429, 999}
"""What servers answer that are there but do not talk to programs."""

_LINK = re.compile(r'<a\b[^>]*?\bhref="(https?://[^"]+)"')


def outside(html: Path) -> dict[str, list[str]]:
    """Every address outside the site and the repository's own files, without its fragment, with the pages that link to it."""
    found = defaultdict(set)
    for page in html.rglob("*.html"):
        for address in _LINK.findall(page.read_text(encoding="utf-8")):
            found[unescape(address).partition("#")[0]].add(page.relative_to(html).as_posix())
    own = (SITE_URL, REPO_URL, "https://colab.research.google.com/github/", "https://mybinder.org/")
    return {address: sorted(pages) for address, pages in sorted(found.items()) if not address.startswith(own)}


def trouble(address: str, attempts: int = 3) -> str | None:
    """Why the address cannot be read; None where it can."""
    problem = ""
    for _ in range(attempts):
        try:
            with urllib.request.urlopen(urllib.request.Request(address, headers=AGENT), timeout=30):
                return None
        except urllib.error.HTTPError as error:
            if error.code in NOT_FOR_PROGRAMS:
                return None
            problem = f"{error.code} {error.reason}"
        except OSError as error:
            problem = str(error)
    return problem


def main() -> int:
    links = outside(build(CHECKOUT))
    with ThreadPoolExecutor(4) as pool:
        problems = {address: problem for address, problem in zip(links, pool.map(trouble, links)) if problem}
    for address, problem in problems.items():
        print(f"{address}: {problem}\n    {', '.join(links[address])}")
    print(f"바깥 주소 {len(links)}개 가운데 {len(problems)}개를 읽지 못했습니다.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
