"""Korean search: 잔차 finds a page that says 잔차를, 기울기 소실 and vanishing gradient one that says 그래디언트 소실.

Sphinx has no Korean and looks words up whole. Here every run of Hangul is indexed by its syllables and its pairs of
syllables, and a query asks for all of its pairs; a particle at a query's end is dropped first. A text that uses a term
of the glossary is indexed by the term's other forms as well. English goes through Sphinx's own stemmer.
`search.js` ranks what is found. Measured against the theme's own search: `tests/search_results.md`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

from residual_lab.site import glossary

PARTICLES = (
    "에서는|에서도|으로는|으로도|이라는|에서|에게|으로|부터|까지|처럼|보다|이란|라는|은|는|이|가|을|를|의|에|도|로|와|과|만|란"
)
MORE_FORMS = (
    ("Transformer", "트랜스포머"), ("합성곱", "컨볼루션", "convolution"), ("망", "네트워크", "network"), ("층", "레이어", "layer"),
    ("오차", "에러"), ("학습", "훈련", "training"),
)  # fmt: skip
"""Everyday words of the field that are no terms of the glossary."""

_RUN = re.compile(r"[가-힣]+|[^\W가-힣]+")


class SearchKorean(SearchEnglish):
    lang = "ko"
    language_name = "Korean"
    js_splitter_code = (Path(__file__).parent / "search.js").read_text(encoding="utf-8").replace("PARTICLES", PARTICLES)

    def split(self, input: str) -> list[str]:
        forms, others = _forms()
        return [*_grams(input), *{gram for found in forms.findall(input.lower()) for gram in others[found]}]


def _grams(text: str) -> list[str]:
    grams = []
    for run in _RUN.findall(text):
        grams += [*run, *(run[i : i + 2] for i in range(len(run) - 1))] if "가" <= run[0] <= "힣" else [run]
    return grams


@cache
def _forms() -> tuple[re.Pattern, dict[str, set[str]]]:
    """What finds any form of a word in a text, the longest first, and for each form the grams to index besides (an inner word's too)."""
    groups = [*map(list, MORE_FORMS), *(forms for term in glossary.terms() for forms in term.groups)]
    every = sorted({form.lower() for forms in groups for form in forms}, key=len, reverse=True)
    patterns = [re.compile("|".join(_whole(form.lower()) for form in forms)) for forms in groups]
    others = {
        form: {gram for forms, found in zip(groups, patterns) if found.search(form) for each in (*forms, *_joined(forms)) for gram in _grams(each)}
        for form in every
    }
    return re.compile(rf"(?<![가-힣a-z])(?:{'|'.join(map(_whole, every))})"), others


def _joined(forms: list[str]) -> list[str]:
    """As many write them: 성능저하."""
    return [form.replace(" ", "") for form in forms if " " in form and re.search("[가-힣]", form)]


def _whole(form: str) -> str:
    """Particles may follow a Korean word; a Latin one must stand alone."""
    return re.escape(form) if re.search("[가-힣]", form) else rf"(?<![a-z]){re.escape(form)}(?![a-z])"


def setup(app: Sphinx) -> None:
    app.add_search_language(SearchKorean)
