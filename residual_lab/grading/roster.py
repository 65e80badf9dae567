"""Whose file is it: from a roster, or from how Moodle, Canvas and people name files and folders."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from .verdict import printable

COLUMNS = {
    "id": ("id", "학번", "번호", "id number", "sis user id", "student id", "sid"),
    "name": ("name", "이름", "성명", "student", "full name", "first name", "student name"),
    "login": ("login", "아이디", "sis login id", "username", "github", "github username"),
    "email": ("email", "이메일", "email address", "이메일 주소", "메일"),
}
"""Headings (lower case) of a roster's columns; others are left alone."""

_MOODLE = re.compile(r"_\d+_assignsubmission_.*$")
_CANVAS = re.compile(r"(_LATE)?_\d+_\d+_?$")
_GIVEN = re.compile(r"(.+?)(?:_\d+_assignsubmission_[a-z]*_?|(?:_LATE)?_\d{3,}_\d{3,}_)")
"""What Moodle and Canvas put before the name that a learner gave a file."""
_COPY = re.compile(r"([ _-]*\(\d+\)|-\d+|[ _-]*(copy|사본|복사본))$", re.IGNORECASE)


class BadRoster(Exception):
    """Korean: what is wrong with the roster."""


@dataclass(frozen=True)
class Learner:
    name: str
    id: str = ""
    login: str = ""
    email: str = ""

    @property
    def label(self) -> str:
        return self.name or self.id or self.login or self.email

    def keys(self) -> list[str]:
        """What can name the learner in a path, the surest first."""
        return [key for key in (self.id, self.login, self.email, self.email.partition("@")[0]) if key]


def read_roster(path: Path) -> list[Learner]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadRoster(f"명단 {path}을(를) 읽을 수 없습니다({error.strerror}).") from error
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise BadRoster(f"명단 {path}이(가) UTF-8이나 CP949로 적혀 있지 않습니다.")
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise BadRoster(f"명단 {path}을(를) CSV로 읽을 수 없습니다. 따옴표가 닫히지 않았거나 한 칸이 너무 깁니다. 고친 다음 CSV로 다시 저장하십시오.") from error
    heads = [head.strip().lower() for head in rows[0]] if rows else []
    places = {kind: next((heads.index(name) for name in names if name in heads), None) for kind, names in COLUMNS.items()}
    if places["id"] is None and places["name"] is None and places["email"] is None and places["login"] is None:
        raise BadRoster(f"명단 {path}의 첫 줄에 학번, 이름, 이메일 가운데 하나는 있어야 합니다.")
    found = []
    for row in rows[1:]:
        given = {kind: normal(row[place]) if place is not None and place < len(row) else "" for kind, place in places.items()}
        if any(given.values()):
            found.append(Learner(**given))
    return found


def normal(text: str) -> str:
    """One spelling of a name or a path, safe to print: macOS writes 한글 in parts, old archives from Windows in CP949."""
    parts = []
    for part in text.split("/"):
        try:
            part.encode()
        except UnicodeEncodeError:  # bytes of a file's name that are no UTF-8
            part = os.fsencode(part).decode("cp949", "replace")
        parts.append(printable(unicodedata.normalize("NFC", part)))
    return "/".join(parts).strip()


def find_learner(path: PurePath, slugs: Iterable[str], roster: list[Learner]) -> tuple[Learner, str | None]:
    """The learner a file (its path inside the folder) belongs to, and in Korean what is doubtful about that."""
    slugs = list(slugs)
    guess = guess_name(path, slugs)
    if not roster:
        return Learner(guess), None
    given, chosen = _split(path)
    owners, people = _people(given, slugs, roster), _people(chosen, slugs, roster)
    if len(owners) == 1:  # the platform knows who handed it in, whatever the learner calls the file
        others = _labels(one for one in people if one not in owners)
        said = f"파일 이름에는 다른 사람({others})이 있습니다. 학습 관리 시스템이 적은 대로 '{owners[0].label}'의 것으로 채점했습니다."
        return owners[0], said if others else None
    if owners:  # people of one name: the rest of the path may tell which
        people = people if people and set(people) <= set(owners) else list(dict.fromkeys([*owners, *people]))
    if len(people) == 1:
        unknown = f"학습 관리 시스템이 적은 '{normal(str(given))}'을(를) 명단에서 찾지 못해 파일 이름을 보고 정했습니다. 맞는지 확인하십시오."
        return people[0], unknown if given.parts and not owners else None
    if not people:
        return Learner(guess), f"명단에서 '{guess}'을(를) 찾지 못했습니다."
    if len({one.name for one in people}) == 1 and people[0].name:
        return Learner(guess), f"명단에 '{people[0].name}'이(가) {len(people)}명 있어 누구의 것인지 알 수 없습니다. 파일이나 폴더 이름에 학번을 넣으십시오."
    said = f"파일과 폴더 이름에 서로 다른 사람({_labels(people)})이 있어 누구의 것인지 알 수 없습니다. 파일이나 폴더 이름에 한 사람의 학번만 넣으십시오."
    return Learner(normal(path.as_posix())), said  # a guess would be one of them, and have a row in Canvas


def _split(path: PurePath) -> tuple[PurePath, PurePath]:
    """What Moodle or Canvas wrote of the learner, and what learners choose themselves: all of a path that is from neither."""
    for number, part in enumerate(path.parts):
        if match := _GIVEN.match(normal(part)):
            return PurePath(match[1]), PurePath(normal(part)[match.end():], *path.parts[number + 1 :])
    return PurePath(), path


def _people(path: PurePath, slugs: list[str], roster: list[Learner]) -> list[Learner]:
    """Learners that a path names. A number or a login tells people of one name apart; against another's name it decides nothing."""
    text, guess = normal(path.as_posix()), guess_name(path, slugs).replace(" ", "")
    for slug in slugs:
        text = re.sub(re.escape(slug), " ", text, flags=re.IGNORECASE)
    words = set(re.split(r"[\s_/\\()\[\].,-]+", text))
    keyed = [one for one in roster if words.intersection(one.keys())] or [one for one in roster if any(_stands_in(text, key) for key in one.keys())]
    named = [one for one in roster if one.name and (one.name in words or one.name.replace(" ", "") == guess)]
    return list(dict.fromkeys(keyed if keyed and set(keyed) <= set(named) else [*keyed, *named]))


def _labels(people: Iterable[Learner]) -> str:
    """With their numbers where two have one name."""
    people = list(people)
    names = [one.label for one in people]
    return ", ".join(f"{one.label} {one.id}".strip() if names.count(one.label) > 1 else one.label for one in people)


def _stands_in(text: str, key: str) -> bool:
    """Whether a long key that is no single word (an address, ``kim-jm``, a number right before a name) is in a text, and not in a longer word."""
    letter = "[0-9A-Za-z@]" if key.isdigit() else r"(?:[^\W_]|@)"
    return len(key) > 5 and key in text and re.search(rf"(?<!{letter}){re.escape(key)}(?!{letter})", text) is not None


def guess_name(path: PurePath, slugs: Iterable[str]) -> str:
    """The learner's part of a path: a folder of their own, or what is left of the file's name without the exercise's."""
    slugs = list(slugs)

    def rest(text: str) -> str:
        text = _MOODLE.sub("", normal(text))
        while (shorter := _COPY.sub("", text)) != text:
            text = shorter
        for slug in slugs:
            text = re.sub(rf"[\s_-]*{re.escape(slug)}[\s_-]*", "_", text, flags=re.IGNORECASE)
        text = _CANVAS.sub("", text.strip("_- "))
        return re.sub(r"^(0?\d{1,2}|exercises?|연습\s*\d*)[_\s-]+|[_\s-]+(0?\d{1,2}|exercises?|연습\s*\d*)$", "", text).strip("_- ")

    folders = [name for part in path.parts[:-1] if (name := rest(part)) and not re.fullmatch(r"\d{1,2}|exercises?|submissions?|연습\s*\d*", name)]
    return folders[0] if folders else rest(path.stem) or normal(path.stem)
