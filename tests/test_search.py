"""What the Korean search indexes of a text; how well it finds is measured on the built site (`published/test_reading.py`)."""

import pytest
import search_measure

from residual_lab.site.theme.search import SearchKorean

SEARCH = SearchKorean({})


def finds(query: str, text: str) -> bool:
    """Whether the text has every gram of a query of one form, as `search.js` asks."""
    words = [gram for run in query.split() for gram in ([run] if not "가" <= run[0] <= "힣" else [run[i : i + 2] for i in range(max(len(run) - 1, 1))])]
    return {SEARCH.stem(word).lower() for word in words} <= {SEARCH.stem(word).lower() for word in SEARCH.split(text)}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("잔차", "잔차를 더합니다."), ("그래디언트", "그래디언트가 사라집니다."), ("기울기 소멸", "그래디언트 소실을 봅니다."),
        ("그레이디언트", "그래디언트"), ("vanishing gradient", "그래디언트 소실"), ("gradient", "산산조각 난 그래디언트"),
        ("성능저하", "성능 저하 문제"), ("층 정규화", "LayerNorm을 씁니다."), ("layer normalization", "층 정규화"), ("시험 오차", "Test error"),
        ("노름", "스펙트럼 노름"), ("트랜스포머", "Transformer"),
    ],
)  # fmt: skip
def test_a_text_is_found_by_every_form_of_its_terms(query, text):
    assert finds(query, text)


@pytest.mark.parametrize(("query", "text"), [("기울기", "층을 쌓습니다."), ("gate", "delegate"), ("층 정규화", "배치 정규화")])
def test_a_text_is_not_found_by_what_it_does_not_say(query, text):
    assert not finds(query, text)


def test_the_measuring_command_explains_itself_without_a_browser(capsys, monkeypatch):
    monkeypatch.setattr(search_measure, "sync_playwright", lambda: pytest.fail("began to measure"))
    with pytest.raises(SystemExit) as asked:
        search_measure.main(["--help"])
    assert asked.value.code == 0 and "search_queries.csv" in capsys.readouterr().out
