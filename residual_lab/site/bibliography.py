"""The bibliography (``assets/bibliography/references.bib``): what the lessons cite, each with where it can be read."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pybtex.database import Entry, Person, parse_file

from residual_lab.paths import ASSETS

FILE = ASSETS / "bibliography/references.bib"
CITED = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@cache
def entries() -> dict[str, Entry]:
    return dict(parse_file(str(FILE), bib_format="bibtex", encoding="utf-8").entries)


def page(root: Path) -> str:
    """The references as a Markdown list, by the first author's family name, to stand after ``pages/bibliography.md``."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((root / "lessons").glob("[0-9]*.md"))}
    ordered = sorted(entries().items(), key=lambda item: (_family(item[1].persons["author"][0]).lower(), item[1].fields["year"], item[0]))
    return "\n".join(f"- {_line(key, entry, texts)}" for key, entry in ordered) + "\n"


def _line(key: str, entry: Entry, texts: dict[Path, str]) -> str:
    fields = entry.fields
    where = fields.get("booktitle") or fields.get("howpublished") or ""
    title = _plain(fields["title"])
    published = f"{where}, {fields['year']}" if where else fields["year"]
    said = f"{_authors(entry.persons['author'])}. *{title}*{'' if title[-1] == '?' else '.'} {published}. {' · '.join(places(entry))}"
    citing = [path for path, text in texts.items() if _is_cited(entry, text)]
    lessons = ", ".join(f"[{path.stem[:2]}](../lessons/{path.stem}.ipynb)" for path in citing)
    return f'<span id="{key}"></span>{said}' + (f" · 레슨 {lessons}" if citing else "")


def places(entry: Entry) -> list[str]:
    """Links to the work: by DOI, by arXiv number, or to its page where it has neither."""
    fields, links = entry.fields, []
    if "doi" in fields:
        links.append(f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})")
    if "eprint" in fields:
        links.append(f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})")
    if "url" in fields:
        links.append(f"[웹 문서]({fields['url']})")
    return links


def _is_cited(entry: Entry, text: str) -> bool:
    number = entry.fields.get("eprint")
    return f"arXiv:{number}" in text if number else _plain(entry.fields["title"]) in text


def _plain(text: str) -> str:
    return re.sub(r"[{}]", "", text)


def _family(person: Person) -> str:
    return _plain(" ".join([*person.prelast_names, *person.last_names]))


def _authors(people: list[Person]) -> str:
    names = [_plain(str(" ".join([*p.first_names, *p.middle_names, *p.prelast_names, *p.last_names]))) for p in people]
    return f"{', '.join(names[:-1])} 외" if names[-1] == "others" else ", ".join(names)
