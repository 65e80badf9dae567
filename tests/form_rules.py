"""What every notebook of the course must look like: each rule yields a sentence for each thing it finds."""

import ast
import re
import statistics
from html.parser import HTMLParser
from urllib.parse import unquote

from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt

from residual_lab.notebooks.execute import TIMING
from residual_lab.notebooks.text import label, tags
from residual_lab.site import glossary as terms

MAX_BYTES = 1_500_000
SECTIONS = ("학습 목표", "예측하기", "실험", "확인하기", "흔한 오해", "스스로 확인", "정리", "참고문헌")
FORBIDDEN = {bad: good for bad, good in terms.forbidden().items() if bad != "놈"}
"""What a lesson does not say, with what it says instead; 놈 needs more care than a search."""
NORM = re.compile(r"(?<![가-힣])놈(?=[은는이가을를의과와도]?(?![가-힣]))")

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
_IMAGES = {"image/png", "image/jpeg"}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def outputs(notebook):
    return [(cell, output) for cell in code_cells(notebook) for output in cell.outputs]


def tokens(cell):
    """Block and inline tokens of a markdown cell, formulas left out."""
    for block in _MARKDOWN.parse(_MATH.sub("$", cell.source)):
        yield block
        yield from block.children or ()


def is_compared(cell):
    """Whether nbval compares something here: it looks at text, never at pictures."""
    if {"nbval-ignore-output", "nbval-skip"} & set(tags(cell)):
        return False
    return any("text" in output or not _IMAGES & set(output.get("data", _IMAGES)) for output in cell.outputs)


def size(notebook, path):
    if path.stat().st_size >= MAX_BYTES:
        yield f"{path.stat().st_size / 1e6:.2f} MB입니다. 1.5 MB보다 작아야 합니다."


def run_in_order(notebook, path):
    counts = [cell.execution_count for cell in code_cells(notebook) if path.parent.name != "exercises" or "answer" not in tags(cell)]
    if None in counts or counts != sorted(set(counts)):
        yield f"셀을 위에서 아래로 한 번 실행한 노트북이 아닙니다: {counts}"


def nbval_compares(notebook, path):
    compared = [cell for cell in code_cells(notebook) if is_compared(cell)]
    if path.parent.name == "lessons" and len(compared) < 3:
        yield f"nbval이 비교하는 셀이 {len(compared)}개뿐입니다."
    checks = [cell for cell in code_cells(notebook) if "check" in tags(cell)]
    if path.parent.name != "lessons" and not checks:
        yield "검사 셀이 없습니다."
    for cell in checks:
        if not is_compared(cell):
            yield f"검사 셀이 비교할 글을 출력하지 않습니다: {label(cell)}"


def quiet_code(notebook, path):
    """Nothing that nbval cannot repeat, and nothing that hides an error."""
    unwanted = re.compile(r"\bclear_output\b|\bdisplay_id\b|\btqdm\b|\binput\(|^\s*!|# *(NBVAL|PYTEST_VALIDATE)_", re.MULTILINE)
    for cell in code_cells(notebook):
        statements = [line for line in cell.source.split("\n") if line.strip() and not line.lstrip().startswith("#")]
        if statements and statements[-1].rstrip().endswith(";"):
            yield f"끝의 ';'는 nbval에서 듣지 않습니다: {label(cell)}"
        if found := unwanted.search(cell.source):
            yield f"'{found[0].strip()}'를 쓰지 않습니다: {label(cell)}"
        if "raises-exception" in tags(cell):
            yield f"raises-exception 태그를 쓰지 않습니다: {label(cell)}"
        if TIMING in tags(cell) and "nbval-ignore-output" not in tags(cell):
            yield f"{TIMING} 셀에는 nbval-ignore-output도 있어야 합니다: {label(cell)}"
        ast.parse(TransformerManager().transform_cell(cell.source))


def clean_outputs(notebook, path):
    """No errors, warnings, widget state or object addresses (a plotting call left as the last line shows one)."""
    if "widgets" in notebook.metadata:
        yield "위젯 상태가 저장되어 있습니다."
    for cell, output in outputs(notebook):
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"오류나 경고가 저장되어 있습니다: {label(cell)}"
        shown = output.get("data", {}).get("text/plain", "")
        if re.match(r"[\[(]*(<\w|Text\()", shown) or re.search(r"\bat 0x[0-9a-f]+", shown):
            yield f"객체의 표현이 출력되었습니다({shown[:30]}): {label(cell)}"
        if any("widget" in kind for kind in output.get("data", {})):
            yield f"위젯이 저장되어 있습니다: {label(cell)}"


def short_code(notebook, path):
    lengths = [sum(bool(line.strip()) for line in cell.source.split("\n")) for cell in code_cells(notebook)]
    for cell, length in zip(code_cells(notebook), lengths, strict=True):
        if length > (25 if "block" in tags(cell) else 15):
            yield f"{length}줄은 깁니다: {label(cell)}"
    if statistics.median(lengths) > 6:
        yield f"코드 셀의 중앙값이 {statistics.median(lengths)}줄입니다. 6줄까지입니다."


def alt_text(notebook, path):
    for cell, output in outputs(notebook):
        data = output.get("data", {})
        if _IMAGES & set(data) and not re.match(r"그림: .{8,}", data.get("text/plain", "")):
            yield f"그림에 대체 텍스트가 없습니다: {label(cell)}"
        if "text/html" in data:
            yield from (f"{what}: {label(cell)}" for what in _unlabelled(data["text/html"]))
    for cell in markdown_cells(notebook):
        yield from (f"{what}: {label(cell)}" for what in _unlabelled(cell.source))
        if any(token.type == "image" and not token.content.strip() for token in tokens(cell)):
            yield f"그림에 대체 텍스트가 없습니다: {label(cell)}"


def _unlabelled(html):
    """Pictures of a piece of HTML that a screen reader cannot read."""
    found = []

    class Pictures(HTMLParser):
        def handle_starttag(self, tag, attrs):
            attrs = dict(attrs)
            named = attrs.get("aria-label") or attrs.get("aria-labelledby") or attrs.get("aria-hidden") == "true"
            if (tag == "img" and not attrs.get("alt")) or (tag == "svg" and not named):
                found.append(f"<{tag}>에 대체 텍스트가 없습니다")

    Pictures().feed(html)
    return found


def headings(notebook):
    for cell in markdown_cells(notebook):
        blocks = list(_MARKDOWN.parse(cell.source))
        for opening, content in zip(blocks, blocks[1:]):
            if opening.type == "heading_open":
                yield int(opening.tag[1]), content.content


def heading_order(notebook, path):
    levels = [level for level, _ in headings(notebook)]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield f"제목(#)은 맨 앞에 하나만 있어야 합니다: {levels}"
    for (level, _), (following, title) in zip(headings(notebook), list(headings(notebook))[1:]):
        if following > level + 1:
            yield f"제목 단계를 건너뜁니다: {'#' * following} {title}"


def sections(notebook, path):
    titles = [title for _, title in headings(notebook)]
    if path.parent.name == "lessons":
        yield from (f"'{section}' 절이 없습니다." for section in SECTIONS if not any(section in title for title in titles))


def links(notebook, path):
    for cell in markdown_cells(notebook):
        targets = [token.attrGet("href") or token.attrGet("src") for token in tokens(cell) if token.type in ("link_open", "image")]
        targets += re.findall(r'<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"', cell.source)
        for target in targets:
            file = unquote(target.split("#")[0])
            if file and not re.match(r"[a-z]+:", file) and not (path.parent / file).exists():
                yield f"없는 파일을 가리킵니다: {target}"


def plain_markdown(notebook, path):
    """What JupyterLab, Colab, GitHub and the site all render: no directives, no bold that Korean particles break."""
    myst = re.compile(r"^\s*(?:`{3,}|:{3,}|~{3,})\s*\{[\w:-]+\}|\{[\w:-]+\}`|^\([\w-]+\)=\s*$|^\+\+\+", re.MULTILINE)
    for cell in markdown_cells(notebook):
        if found := myst.search(cell.source):
            yield f"MyST 문법은 노트북에서 보이지 않습니다({found[0].strip()}): {label(cell)}"
        if any(token.type == "text" and "**" in token.content for token in tokens(cell)):
            yield f"굵은 글씨(**)가 글자 그대로 보입니다: {label(cell)}"


def glossary(notebook, path):
    """Terms the course does not use, except where it quotes the sources."""
    for cell in notebook.cells:
        said = [cell.source if cell.cell_type == "code" else _unquoted(cell.source)]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            html = re.sub(r"<[^>]+>", "", data.get("text/html", ""))
            said += [_unquoted(words) for words in (output.get("text", ""), data.get("text/plain", ""), html)]
        words = re.sub(r"\s+", " ", "\n".join(said))
        yield from (f"'{bad}' 대신 '{good}': {label(cell)}" for bad, good in FORBIDDEN.items() if bad in words)
        if NORM.search(words):
            yield f"'놈' 대신 '노름': {label(cell)}"


def _unquoted(words):
    kept = [line for line in words.split("\n") if not re.match(r"\s*(>|\| *S0)", line)]
    return re.sub(r"“[^”]*”|\"[^\"\n]*\"", "", "\n".join(kept))


RULES = (
    size, run_in_order, nbval_compares, quiet_code, clean_outputs, short_code, alt_text, heading_order, sections, links,
    plain_markdown, glossary,
)
