"""The Korean of every text that a reader sees, and each rule against sentences that break it."""

import korean_rules
import pytest
import spelling

from residual_lab.paths import CHECKOUT


def test_every_text_follows_the_rules():
    found = korean_rules.problems(CHECKOUT)
    assert not found, "\n".join(found)


def test_every_kind_of_file_is_read():
    read = {piece.path for piece in korean_rules.pieces(CHECKOUT)}
    for path in ("README.md", "index.md", "lessons/01_degradation.md", "solutions/01_degradation.md", "pages/faq.md", "instructors/adapting.md",
                 "residual_lab/cli.py", "residual_lab/lab/front/site.js", "residual_lab/site/theme/static/ledger.mjs",
                 "residual_lab/quizzes/01_degradation.toml", "assets/glossary/terms.toml"):
        assert path in read


def said(markdown: str) -> list[str]:
    found = list(korean_rules.markdown_pieces(markdown, "page.md"))
    return [what for piece in found for rule in korean_rules.RULES for what in rule(piece)] + [what for _, what in korean_rules.repeated_brackets(found)]


@pytest.mark.parametrize(
    ("markdown", "objection"),
    [
        ("기울기 소멸을 봅니다.", "그래디언트 소실"),
        ("행렬의 놈을 잽니다.", "노름"),
        ("**항등 맵**입니다.", "항등 사상"),
        ("## 매개변수", "파라미터"),
        ("| 가 | 자코비안 |\n|---|---|\n| 가 | 자코비안 |", "야코비 행렬"),
        ("L2 정규화를 씁니다.", "규제"),
        ("규제(normalization)입니다.", "규제"),
        ("오차가 커진다. 그렇습니다.", "커진다"),
        ("- 오차가 커져요.", "커져요"),
        ("지름길(shortcut)입니다.\n\n다시 **지름길**(shortcut)입니다.", "1행"),
        ("```{code-cell} ipython3\n:tags: [x]\n\nprint(f'매개변수 {n}개')\n```", "파라미터"),
        ("```{code-cell} ipython3\nprint('끝났다.')\n```", "끝났다"),
        ("<details>\n<summary>테스트 오차</summary>\n</details>", "시험 오차"),
    ],
)  # fmt: skip
def test_each_rule_finds_what_it_is_for(markdown, objection):
    assert any(objection in what for what in said(markdown))


@pytest.mark.parametrize(
    "markdown",
    [
        "“기울기 소멸”이라고 쓰는 글도 있습니다.",
        "> 성능이 나빠진다.",
        "층 정규화(layer normalization)와 규제(regularization)는 다릅니다.",
        "함께 봅시다. 왜 그럴까요? 깊이 32는요?",
        "지름길(shortcut)과 가지(branch)입니다. 지름길은 짧습니다.",
        "| 표 |\n|---|\n| 오차가 커진다. |",
        "```{code-cell} ipython3\nfigures.show(fig, alt='곡선이 내려간다.')\n```",
        "수학은 필요합니다. `다.` $x$다",
        "인코더, 디코더, 둘 다. 경우가 셋입니다.",
    ],
)
def test_each_rule_leaves_alone_what_is_right(markdown):
    assert said(markdown) == []


def test_a_line_number_leads_to_the_place():
    front = "---\njupytext:\n  a: b\n---\n\n# 제목\n\n오차가 커진다.\n\n```{code-cell} ipython3\n:tags: [x]\n\nx = 1\nprint('끝났다.')\n```\n"
    places = {what: piece.line for piece in korean_rules.markdown_pieces(front, "a.md") for what in korean_rules.sentence_endings(piece)}
    assert list(places.values()) == [8, 14]


def test_spelling_looks_at_words_not_at_what_follows_code_or_a_formula(tmp_path):
    (tmp_path / "README.md").write_text("`F`의 값과 $x$를 더한 ResNet은 **잔차**입니다(3층짜리).\n\n> 인용한 글", encoding="utf-8")
    assert set(spelling.words(tmp_path)) == {"값과", "더한", "잔차입니다", "인용한", "글"}


def test_our_words_take_the_endings_of_words_like_them():
    assert [spelling.known_as(word) for word in ("잔차", "커널", "로짓", "미분하다", "=열두")] == ["잔차/사과", "커널/물", "로짓/책", "미분하다/공부하다", "열두"]
    lines = spelling.WORDS.read_text(encoding="utf-8").split("\n")[1:-1]
    assert lines == sorted(set(lines))


def test_spelling_tries_a_word_without_suffixes_that_the_dictionary_lacks():
    assert "블록" in spelling.without_tail("블록뿐입니다") and "채워" in spelling.without_tail("채워집니다") and "깊이" in spelling.without_tail("깊이에서나")
    assert list(spelling.without_tail("로짓가")) == []
