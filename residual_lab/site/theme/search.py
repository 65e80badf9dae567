"""Korean search: 잔차 finds a page that says 잔차를.

Sphinx has no Korean and looks words up whole. Here every run of Hangul is indexed by its syllables and its pairs of
syllables, and a query asks for all of its pairs; a particle at a query's end is dropped first. English goes
through Sphinx's own stemmer.
"""

from __future__ import annotations

import json
import re

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

SPELLINGS = {"그레이디언트": "그래디언트", "그라디언트": "그래디언트"}
PARTICLES = (
    "에서는|에서도|으로는|으로도|이라는|에서|에게|으로|부터|까지|처럼|보다|이란|라는|은|는|이|가|을|를|의|에|도|로|와|과|만|란"
)

_RUN = re.compile(r"[가-힣]+|[^\W가-힣]+")

_SPLIT = """;
function splitQuery(query) {
  const spellings = %s;
  const particle = /(?:%s)$/;
  return (query.match(/[가-힣]+|[\\p{L}\\p{N}_]+/gu) || []).flatMap((run) => {
    if (!/[가-힣]/.test(run)) return [run];
    const bare = run.length > 2 ? run.replace(particle, "") : run;
    const word = spellings[bare] || spellings[run] || bare;
    if (word.length === 1) return [word];
    return Array.from({length: word.length - 1}, (_, i) => word.slice(i, i + 2));
  });
}
"""


class SearchKorean(SearchEnglish):
    lang = "ko"
    language_name = "Korean"
    js_splitter_code = _SPLIT % (json.dumps(SPELLINGS, ensure_ascii=False), PARTICLES)

    def split(self, input: str) -> list[str]:
        for variant, usual in SPELLINGS.items():
            input = input.replace(variant, usual)
        return [gram for run in _RUN.findall(input) for gram in _grams(run)]


def _grams(run: str) -> list[str]:
    if not "가" <= run[0] <= "힣":
        return [run]
    return [*run, *(run[i : i + 2] for i in range(len(run) - 1))]


def setup(app: Sphinx) -> None:
    app.add_search_language(SearchKorean)
