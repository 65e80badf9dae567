"""The learner's local record: nothing is lost, whatever happens to the file."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from argparse import Namespace
from dataclasses import replace

import pytest

from residual_lab import course, learned
from residual_lab import progress as progress_module
from residual_lab.checks import base
from residual_lab.files import lock
from residual_lab.paths import CHECKOUT
from residual_lab.progress import Progress


@pytest.fixture
def file(tmp_path):
    return tmp_path / "deep" / "progress.json"


def values(store: Progress, key: str) -> list:
    return [entry["value"] for entry in store.history(key)]


def test_what_was_kept_is_there_after_a_restart(file):
    Progress(file).append("predictions/a", [0.1, 2])
    Progress(file).append("predictions/a", [0.3, 4])
    assert values(Progress(file), "predictions/a") == [[0.1, 2], [0.3, 4]]
    assert values(Progress(file), "predictions/b") == []
    assert {path.name for path in file.parent.iterdir()} == {"progress.json", "progress.lock"}, "no temporary files stay behind"


def test_two_notebooks_keep_each_others_entries(file):
    one, other = Progress(file), Progress(file)
    one.append("a", 1)
    other.append("a", 2)
    one.append("b", 3)
    assert values(other, "a") == [1, 2] and values(other, "b") == [3]


def test_two_notebooks_that_write_at_once_lose_nothing(file, monkeypatch):
    read, stores = Progress._read, [Progress(file), Progress(file)]

    def slowly(store):
        found = read(store)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(Progress, "_read", slowly)
    writers = [threading.Thread(target=store.append, args=("a", number)) for number, store in enumerate(stores)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(values(Progress(file), "a")) == [0, 1]


def test_what_a_busy_file_did_not_take_is_kept_and_stored_later(file, monkeypatch):
    monkeypatch.setattr(progress_module, "WAIT", 0.0)
    store = Progress(file)
    file.parent.mkdir()
    with lock(file.with_suffix(".lock")) as held:
        assert held and [entry["value"] for entry in store.append("a", 1)] == [1]
        assert not file.exists()
    [notice] = store.notices()
    assert "다음 기록과 함께" in notice
    store.append("a", 2)
    assert values(Progress(file), "a") == [1, 2]


def test_records_are_kept_where_the_file_system_has_no_locks(file, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    store = Progress(file)
    store.append("a", 1)
    assert values(Progress(file), "a") == [1] and store.notices() == []


def test_an_entry_that_another_process_wrote_over_comes_back(file):
    store = Progress(file)
    store.append("a", 1)
    file.write_text('{"format": 1, "records": {}}')
    store.append("b", 2)
    assert values(Progress(file), "a") == [1]


@pytest.mark.parametrize("damage", [b'{"format": 1, "rec', b"\xff\xfe", b"[]", b'{"format": 9, "records": {}}',
                                    b'{"format": 1, "records": {"a": 3}}', b'{"format": 1, "records": {"a": [3]}}', b""])
def test_a_damaged_file_is_set_aside_and_told_once(file, damage):
    file.parent.mkdir()
    file.write_bytes(damage)
    store = Progress(file)
    assert values(store, "a") == []
    [notice] = store.notices()
    assert "손상" in notice and store.notices() == []
    store.append("a", 1)
    [aside] = file.parent.glob("progress.damaged-*.json")
    assert aside.read_bytes() == damage
    assert values(Progress(file), "a") == [1]


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "가득"), (errno.EROFS, "권한")])
def test_a_file_that_cannot_be_written_costs_a_notice_not_an_answer(file, monkeypatch, code, reason):
    store = Progress(file)

    def refuse(*_):
        raise OSError(code, "no")

    monkeypatch.setattr(os, "replace", refuse)
    store.append("a", 1)
    store.append("a", 2)
    assert values(store, "a") == [1, 2]
    [notice] = store.notices()
    assert reason in notice
    assert not list(file.parent.glob("*.json"))
    monkeypatch.undo()
    store.append("a", 3)
    assert values(Progress(file), "a") == [1, 2, 3]


def test_a_file_that_cannot_be_read_is_not_written_over(file):
    file.mkdir(parents=True)  # reading a folder fails for every user, root included
    store = Progress(file)
    store.append("a", 1)
    assert values(store, "a") == [1] and file.is_dir()
    assert len(store.notices()) == 1


def test_a_damaged_file_that_cannot_be_moved_is_not_written_over(file, monkeypatch):
    file.parent.mkdir()
    file.write_bytes(b"{")
    monkeypatch.setattr("pathlib.Path.rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
    store = Progress(file)
    store.append("a", 1)
    assert file.read_bytes() == b"{" and values(store, "a") == [1]


def test_the_file_is_plain_readable_json(file):
    Progress(file).append("quizzes/01", {"choice": "학습 오차"})
    assert "학습 오차" in file.read_text(encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8"))["records"]["quizzes/01"][0]["value"] == {"choice": "학습 오차"}


def test_a_file_carries_the_records_to_another_machine(file, tmp_path):
    one, other = Progress(file), Progress(tmp_path / "other.json")
    one.append("predictions/a", [0.1, 2])
    one.append("tasks/1-1", "passed")
    other.append("predictions/a", [0.3, 4])
    assert other.merge(one.text().encode()) == 2 and other.merge(one.text().encode()) == 0
    assert values(Progress(tmp_path / "other.json"), "predictions/a") == [[0.1, 2], [0.3, 4]]
    assert values(one, "predictions/a") == [[0.1, 2]]


@pytest.mark.parametrize("wrong", [b"", b"[]", b'{"format": 1, "records": {"a": [{"value": 1, "at": 3}]}}'])
def test_a_file_of_something_else_is_refused(file, wrong):
    with pytest.raises(ValueError):
        Progress(file).merge(wrong)
    assert not file.exists()


def test_the_command_shows_what_was_done_and_carries_it(file, tmp_path, capsys):
    store, lessons = Progress(file), course.lessons(CHECKOUT)
    assert len(lessons) == 10 and all(len(lesson.predictions) >= 3 and len(lesson.answers) >= 3 and len(lesson.tasks) >= 4 for lesson in lessons)
    first = lessons[0]
    question, choice = next(iter(first.answers.items()))
    store.append(first.predictions[0], 1)
    store.append(first.quiz, {"question": question, "choice": choice})
    store.append(first.tasks[0], "passed")
    nothing = {"export_to": None, "import_from": None}
    assert learned.run(Namespace(**nothing), store) == 0
    line = capsys.readouterr().out.split("\n")[0]
    assert line == f"예측 1/{len(first.predictions)} · 퀴즈 1/{len(first.answers)} · 과제 1/{len(first.tasks)} · {first.title}"
    assert learned.run(Namespace(**{**nothing, "export_to": tmp_path / "out.json"}), store) == 0
    assert learned.run(Namespace(**{**nothing, "import_from": tmp_path / "out.json"}), Progress(tmp_path / "new.json")) == 0
    assert "새 기록 3개" in capsys.readouterr().out
    assert learned.run(Namespace(**{**nothing, "import_from": tmp_path / "none.json"}), store) == 1


def test_an_import_that_could_not_be_stored_fails_and_says_why(file, tmp_path, capsys):
    Progress(file).append("a", 1)
    (tmp_path / "no folder").write_text("")
    store = Progress(tmp_path / "no folder/progress.json")
    assert learned.run(Namespace(export_to=None, import_from=file), store) == 1
    said = capsys.readouterr()
    assert "가져왔습니다" not in said.out and "RESIDUAL_LAB_HOME" in said.err and str(store.file) in said.err


def test_an_export_writes_over_nothing_and_leaves_nothing_half_written(file, tmp_path, capsys, monkeypatch):
    store, there, new = Progress(file), tmp_path / "there.json", tmp_path / "new.json"
    there.write_text("mine", encoding="utf-8")
    assert learned.run(Namespace(export_to=there, import_from=None), store) == 1
    assert there.read_text(encoding="utf-8") == "mine" and "이미 있어" in capsys.readouterr().err

    def disk_fills_up(path, content):
        with open(path, "wb") as out:
            out.write(content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", disk_fills_up)
    assert learned.run(Namespace(export_to=new, import_from=None), store) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


@pytest.mark.parametrize("lesson", course.lessons(CHECKOUT), ids=lambda lesson: lesson.name)
def test_what_a_lesson_asks_is_what_its_notebook_shows(lesson):
    stored = (CHECKOUT / "lessons" / f"{lesson.name}.ipynb").read_text(encoding="utf-8")
    shown = re.findall(r"&quot;store&quot;:&quot;([^&]+)&quot;", stored)
    assert list(dict.fromkeys(shown)) == [*lesson.predictions, lesson.quiz]


def test_cleared_outputs_and_a_quiz_shown_twice_change_no_count(tmp_path):
    (tmp_path / "lessons").mkdir()
    notebook = json.loads((CHECKOUT / "lessons/01_degradation.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["outputs"] = []
    notebook["cells"] += [cell for cell in notebook["cells"] if "quiz(" in "".join(cell["source"])]
    (tmp_path / "lessons/01_degradation.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    [cleared], as_it_was = course.lessons(tmp_path), course.lessons(CHECKOUT)[0]
    assert cleared == replace(as_it_was, tasks=())


def test_a_solved_task_is_kept_once(monkeypatch, file, capsys):
    monkeypatch.setattr(base, "progress", Progress(file))
    base.passed("1-1")
    base.passed("1-1")
    said = capsys.readouterr()
    assert values(Progress(file), "tasks/1-1") == ["passed"] and said.out.count("통과") == 2 and said.err == ""


def test_a_solved_task_that_could_not_be_kept_is_told(monkeypatch, tmp_path, capsys):
    (tmp_path / "no folder").write_text("")
    monkeypatch.setattr(base, "progress", Progress(tmp_path / "no folder/progress.json"))
    base.passed("1-1")
    said = capsys.readouterr()
    assert said.out == "✓ 과제 1-1 통과\n" and "이번 세션에서만 기억합니다" in said.err
