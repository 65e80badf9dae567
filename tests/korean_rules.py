"""The course's Korean, in every text a reader sees: one rule a function, each yields what it objects to in a piece of text.

Pieces come from lessons, solutions and pages (Markdown and the strings of their code), quizzes, the package and its front end.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import form_rules
from markdown_it import MarkdownIt

HANGUL = re.compile("[가-힣]")

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_NOT_WORDS = re.compile(r"`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|<[^>]+>|https?://\S+", re.DOTALL)
_QUOTED = re.compile(r"“[^”]*”|‘[^’]*’|「[^」]*」|\"[^\"\n]*\"")
_CELL_HEADER = re.compile(r"\A(?:(?::.*\n)+|---\n(?:.*\n)*?---\n)")
_JS_STRING = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`")


@dataclass(frozen=True)
class Piece:
    """A paragraph, a list item, a heading, a table's cell or a string, with where it stands."""

    path: str
    line: int
    text: str
    kind: str
    """``prose``, ``heading``, ``cell`` (of a table), ``quote``, ``string``, or ``note`` (an alternative text, a choice of a quiz)."""

    @property
    def said(self) -> str:
        """Without quotations."""
        return _QUOTED.sub("…", self.text)


def pieces(root: Path) -> Iterator[Piece]:
    """Every text of the course that a reader sees, but the ledger's rows, which are notes."""
    for path in _files(root, ("*.md", "lessons/*.md", "solutions/*.md", "pages/*.md", "instructors/*.md")):
        yield from markdown_pieces(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    for path in _files(root, ("residual_lab/**/*.py",)):
        yield from code_pieces(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    for path in _files(root, ("residual_lab/**/*.js", "residual_lab/**/*.mjs")):
        yield from script_pieces(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    for path in _files(root, ("residual_lab/quizzes/*.toml", "assets/glossary/terms.toml")):
        yield from toml_pieces(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())


def _files(root: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def markdown_pieces(text: str, path: str) -> Iterator[Piece]:
    front = re.match(r"---\n.*?\n---\n", text, re.DOTALL)
    start = front[0].count("\n") if front else 0
    inside: list[str] = []
    line = 1
    for token in _MARKDOWN.parse(text.split("\n", start)[-1] if start else text):
        if token.map:
            line = start + token.map[0] + 1
        if token.nesting == 1:
            inside.append(token.type.removesuffix("_open"))
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "fence" and token.info.startswith("{code-cell}"):
            yield from code_pieces(_CELL_HEADER.sub(lambda header: "\n" * header[0].count("\n"), token.content), path, line)
        elif token.type == "html_block" and HANGUL.search(token.content):
            yield Piece(path, line, _words(token.content), "prose")
        elif token.type == "inline" and HANGUL.search(token.content):
            yield Piece(path, line, _words(token.content), _kind(inside))


def _kind(inside: list[str]) -> str:
    for kind, blocks in {"heading": {"heading"}, "cell": {"td", "th"}, "quote": {"blockquote"}}.items():
        if blocks & set(inside):
            return kind
    return "prose"


def _words(markdown: str) -> str:
    """The text alone; what is no word (code, a formula, an address) is an ellipsis."""
    return re.sub(r"[*_]{1,2}", "", re.sub(r"\]\([^)\s]*\)", "]", _NOT_WORDS.sub("…", markdown))).replace("\n", " ")


def code_pieces(source: str, path: str, offset: int = 0) -> Iterator[Piece]:
    """Korean strings of Python code; an f-string's fixed parts, joined."""
    if HANGUL.search(source):
        try:
            tree = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE))
        except SyntaxError:
            return
        for node, text, kind in _texts(tree, "string"):
            if HANGUL.search(text):
                yield Piece(path, offset + node.lineno, _words(text), kind)


def _texts(node: ast.AST, kind: str) -> Iterator[tuple[ast.AST, str, str]]:
    if isinstance(node, ast.JoinedStr):
        yield node, "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values), kind
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node, node.value, kind
    else:
        kind = "note" if isinstance(node, ast.keyword) and node.arg == "alt" else kind
        for child in ast.iter_child_nodes(node):
            yield from _texts(child, kind)


def script_pieces(source: str, path: str) -> Iterator[Piece]:
    for number, line in enumerate(source.split("\n"), 1):
        if not line.lstrip().startswith(("//", "*", "/*")):
            for found in _JS_STRING.finditer(line):
                text = found[1] or found[2] or ""
                if HANGUL.search(text):
                    yield Piece(path, number, _words(re.sub(r"\$\{[^}]*\}", "…", text)), "string")


def toml_pieces(source: str, path: str) -> Iterator[Piece]:
    lines = source.split("\n")
    for keys, text in _strings(tomllib.loads(source)):
        if HANGUL.search(text) and keys[-1] not in ("avoid", "also"):
            first = text.strip().split("\n")[0][:20]
            line = next((number for number, line in enumerate(lines, 1) if first in line), 1)
            yield Piece(path, line, _words(text), "note" if keys[-2:] == ("choice", "text") else "string")


def _strings(value, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, (*keys, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, keys)


def forbidden_forms(piece: Piece) -> Iterator[str]:
    if piece.kind == "quote":
        return
    for bad, good in form_rules.FORBIDDEN.items():
        if bad in piece.said:
            yield f"‘{bad}’ 대신 ‘{good}’"
    if form_rules.NORM.search(piece.said):
        yield "‘놈’ 대신 ‘노름’"


_REGULARIZATION = re.compile(r"L[12]\s?정규화|정규화\s?\(\s?regulari[sz]|정규화로 과적합|과적합을 [가-힣 ]{0,6}정규화|(?<![가-힣])규제\s?\(\s?normali[sz]")


def normalization_and_regularization(piece: Piece) -> Iterator[str]:
    """정규화 is normalization, 규제 regularization."""
    if piece.kind != "quote" and (found := _REGULARIZATION.search(piece.said)):
        yield f"정규화는 normalization, 규제는 regularization입니다: ‘{found[0]}’"


_ENDING = re.compile(r"([가-힣]+[.!?])(?=\s|$|[)”’」])")
_PLAIN = re.compile(r"[가-힣](?<![니시])다[.!]$")
_CASUAL = re.compile(r"(?<![필중주개소수])(?:요|죠)[.!]$")
_ASKING = re.compile(r"세요[.!]$")


def sentence_endings(piece: Piece) -> Iterator[str]:
    """Sentences end in 합니다체, a proposal in 합시다; a message may ask with 하세요. Tables, alternative texts and a quiz's choices are notes."""
    if piece.kind in ("quote", "heading", "cell", "note"):
        return
    for word in _ENDING.findall(piece.said):
        if piece.kind == "string" and _ASKING.search(word):
            continue
        if _PLAIN.search(word) or _CASUAL.search(word):
            yield f"합니다체가 아닙니다: ‘{word}’"


RULES = (forbidden_forms, normalization_and_regularization, sentence_endings)


_BRACKETED = re.compile(r"[가-힣]+\s?\(([a-z][A-Za-z -]{3,})\)")
"""A Korean word followed by an English one in brackets."""


def repeated_brackets(of_one_file: Iterable[Piece]) -> Iterator[tuple[Piece, str]]:
    """English in brackets a second time in the text of one lesson or page."""
    seen: dict[str, int] = {}
    for piece in of_one_file:
        if piece.kind not in ("prose", "cell"):
            continue
        for found in _BRACKETED.finditer(piece.said):
            english = found[1].lower()
            if english in seen:
                yield piece, f"영어는 처음 한 번만 적습니다({seen[english]}행에 있습니다): ‘{found[0]}’"
            seen.setdefault(english, piece.line)


def problems(root: Path) -> list[str]:
    """``file:line: what`` for everything that a rule objects to."""
    found, by_file = [], {}
    for piece in pieces(root):
        by_file.setdefault(piece.path, []).append(piece)
        found += [(piece, what) for rule in RULES for what in rule(piece)]
    for path, of_one_file in by_file.items():
        if path.endswith(".md"):
            found += repeated_brackets(of_one_file)
    return [f"{piece.path}:{piece.line}: {what} — {piece.text[:60].strip()}" for piece, what in found]
