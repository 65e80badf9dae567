"""Reports to read in a browser: one for each learner, one for the class. Each is a single file without scripts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from html import escape

from .reports import by_learner, mistakes
from .sandbox import Protection
from .verdict import LABELS, PASSED, UNTOUCHED, Result

STYLE = """
body { font: 16px/1.6 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } th, td { border-bottom: 1px solid #ccc; padding: .4rem .6rem; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; } .passed { color: #005f3c; font-weight: 600; } .lost { color: #9a2a00; font-weight: 600; }
.hint { color: #444; } meter { width: 8rem; } a { color: #0b57a4; } .note { border-left: .3rem solid #c98a00; padding-left: .8rem; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #1b1b1b; } .passed { color: #6fd6a8; } .lost { color: #ffa37a; } .hint { color: #bbb; } a { color: #8cc2ff; } }
"""


def page(title: str, body: str) -> str:
    return (f'<!doctype html>\n<html lang="ko">\n<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n")


def file_name(learner: str, learner_id: str) -> str:
    """A file name that every system takes, and that two learners never share."""
    plain = re.sub(r"[^\w가-힣-]+", "_", learner).strip("_")[:40] or "learner"
    return f"{plain}-{hashlib.sha256(f'{learner}|{learner_id}'.encode()).hexdigest()[:8]}.html"


def learner_page(results: Sequence[Result]) -> str:
    """Everything one learner handed in."""
    learner, points, most = results[0].learner, sum(r.points for r in results), sum(r.maximum for r in results)
    parts = [f"<h1>{escape(learner)}</h1>", f"<p>제출 {len(results)}개, 모두 <strong>{points}/{most}점</strong></p>"]
    for r in results:
        parts.append(f"<h2>{escape(r.title or r.file)} · {r.points}/{r.maximum}점</h2><p>파일: {escape(r.file)}</p>")
        parts += [f'<p class="note">{escape(note)}</p>' for note in r.notes]
        rows = []
        for t in r.tasks:
            kind = "passed" if t.status == PASSED else "lost"
            hint = f'<span class="hint">검사의 말: {escape(t.hint)}</span>' if t.hint else ""
            said = "<br>".join(filter(None, [escape(t.reason), hint, t.note and f"※ {escape(t.note)}"]))
            rows.append(f'<tr><th scope="row">{escape(t.task)} {escape(t.title)}</th><td class="n">{t.points}/{t.maximum}</td>'
                        f'<td class="{kind}">{LABELS[t.status]}</td><td>{said}</td></tr>')
        if rows:
            parts.append('<table><thead><tr><th scope="col">과제</th><th scope="col" class="n">점수</th><th scope="col">결과</th>'
                         f'<th scope="col">이유</th></tr></thead><tbody>{"".join(rows)}</tbody></table>')
    return page(f"{learner} · 채점 결과", "\n".join(parts))


def class_page(results: Sequence[Result], problems: Sequence[str], protection: Protection) -> str:
    """Success rate and frequent mistakes of every task, then every learner."""
    learners = by_learner(results)
    parts = ["<h1>반 전체 채점 결과</h1>", f"<p>학습자 {len(learners)}명, 제출 {len(results)}개. 보호: {escape(protection.label)}.</p>"]
    parts += [f'<p class="note">{escape(problem)}</p>' for problem in problems]
    for exercise, title in dict.fromkeys((r.exercise, r.title) for r in results if r.exercise):
        parts.append(f"<h2>{escape(title)}</h2>" + _tasks_table(results, exercise))
    rows = []
    for (learner, learner_id), own in sorted(learners.items()):
        points, most, notes = sum(r.points for r in own), sum(r.maximum for r in own), sum(len(r.notes) + sum(bool(t.note) for t in r.tasks) for r in own)
        link = f'learners/{file_name(learner, learner_id)}'
        rows.append(f'<tr><th scope="row"><a href="{escape(link)}">{escape(learner)}</a></th><td>{escape(learner_id)}</td><td class="n">{points}/{most}</td>'
                    f'<td class="n">{len(own)}</td><td class="n">{notes or ""}</td></tr>')
    parts.append('<h2>학습자</h2><table><thead><tr><th scope="col">이름</th><th scope="col">학번</th><th scope="col" class="n">점수</th>'
                 f'<th scope="col" class="n">제출</th><th scope="col" class="n">확인할 것</th></tr></thead><tbody>{"".join(rows)}</tbody></table>')
    return page("반 전체 채점 결과", "\n".join(parts))


def _tasks_table(results: Sequence[Result], exercise: str) -> str:
    every = [t for r in results if r.exercise == exercise for t in r.tasks]
    rows = []
    for name, title in dict.fromkeys((t.task, t.title) for t in every):
        own = [t for t in every if t.task == name]
        right, blank = sum(t.status == PASSED for t in own), sum(t.status == UNTOUCHED for t in own)
        frequent = "".join(f"<li>{count}명: {escape(said)}</li>" for said, count in mistakes(results, exercise, name)[:3])
        rows.append(f'<tr><th scope="row">{escape(name)} {escape(title)}</th><td class="n"><meter min="0" max="{len(own)}" value="{right}">{right}/{len(own)}</meter> '
                    f'{100 * right / len(own):.0f}%</td><td class="n">{blank}</td><td>{f"<ul>{frequent}</ul>" if frequent else ""}</td></tr>')
    return ('<table><thead><tr><th scope="col">과제</th><th scope="col" class="n">정답률</th><th scope="col" class="n">빈칸</th>'
            f'<th scope="col">잦은 실수</th></tr></thead><tbody>{"".join(rows)}</tbody></table>')
