"""The learner's local record: nothing is lost, whatever happens to the file."""

from __future__ import annotations

import errno
import json
import os

import pytest

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
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"], "no temporary files stay behind"


def test_two_notebooks_keep_each_others_entries(file):
    one, other = Progress(file), Progress(file)
    one.append("a", 1)
    other.append("a", 2)
    one.append("b", 3)
    assert values(other, "a") == [1, 2] and values(other, "b") == [3]


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
    assert list(file.parent.iterdir()) == []
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
