"""The glossary (``assets/glossary/terms.toml``): the page, the forms to link, to avoid and to find by."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from html import escape

from residual_lab.paths import ASSETS

FILE = ASSETS / "glossary/terms.toml"

_INITIALS = "ㄱㄱㄴㄷㄷㄹㅁㅂㅂㅅㅅㅇㅈㅈㅊㅋㅌㅍㅎ"


@dataclass(frozen=True)
class Term:
    """One entry. ``term`` and ``english`` may name a pair, its parts separated by " / "."""

    id: str
    term: str
    english: str
    definition: str
    avoid: tuple[str, ...] = ()
    """Forms that the course does not use, each with the part of the term that it means where it is not all of them: "층 정규화: 레이어 정규화"."""
    also: tuple[str, ...] = ()
    """Forms that readers may look for, likewise."""
    link: tuple[str, ...] | None = field(default=None)
    """Forms that are linked in lessons; None: the parts of ``term``."""

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(self.term.split(" / "))

    @property
    def avoided(self) -> dict[str, str]:
        """What to say instead of each form that the course does not use."""
        return {form: part or " 또는 ".join(self.forms) for part, form in map(_with_part, self.avoid)}

    @property
    def groups(self) -> list[list[str]]:
        """Words that mean one thing, in Korean, in English and otherwise: a list for each part of the term."""
        english = self.english.split(" / ")
        pairs = zip(self.forms, english) if len(english) == len(self.forms) else [(*self.forms, *english)]
        others = [_with_part(form) for form in (*self.avoid, *self.also)]
        return [[*pair, *(form for part, form in others if part in (None, pair[0]))] for pair in pairs]

    @property
    def linked(self) -> tuple[str, ...]:
        return self.forms if self.link is None else self.link

    @property
    def anchor(self) -> str:
        return f"term-{self.id}"


def _with_part(form: str) -> tuple[str | None, str]:
    part, _, said = form.rpartition(": ")
    return part or None, said


@cache
def terms() -> tuple[Term, ...]:
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["terms"]
    return tuple(Term(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}) for entry in entries)


def forbidden() -> dict[str, str]:
    """What the course says instead of each form that it does not use."""
    return {form: good for term in terms() for form, good in term.avoided.items()}


@cache
def pattern() -> re.Pattern:
    """Any form that is linked, where a word begins; the longest wins. Particles may follow."""
    forms = sorted((form for term in terms() for form in term.linked), key=len, reverse=True)
    return re.compile(rf"(?<![가-힣\w-])(?:{'|'.join(map(re.escape, forms))})")


@cache
def by_form() -> dict[str, Term]:
    return {form: term for term in terms() for form in term.linked}


def initial(term: Term) -> str:
    """The consonant it is filed under, doubled ones with the simple one; A–Z for a Latin one."""
    code = ord(term.term[0]) - ord("가")
    return _INITIALS[code // 588] if 0 <= code < 11172 else "A–Z"


def page() -> str:
    """The terms as Markdown, in the Korean order, to stand after the introduction (``pages/glossary.md``)."""
    groups: dict[str, list[Term]] = {}
    for term in sorted(terms(), key=lambda term: (initial(term) == "A–Z", term.term)):
        groups.setdefault(initial(term), []).append(term)
    return "\n\n".join(f"## {letter}\n\n{_list(group)}" for letter, group in groups.items()) + "\n"


def _list(group: list[Term]) -> str:
    return '<dl class="glossary-list">\n' + "\n".join(_entry(term) for term in group) + "\n</dl>"


def _entry(term: Term) -> str:
    avoid = f'<span class="glossary-avoid">쓰지 않는 말: {escape(", ".join(term.avoided))}</span>' if term.avoid else ""
    return (
        f'<dt id="{term.anchor}">{escape(term.term)} <span class="glossary-english" lang="en">{escape(term.english)}</span></dt>'
        f"<dd>{escape(term.definition, quote=False)} {avoid}</dd>"
    )
