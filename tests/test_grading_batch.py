"""A class: whose file is whose, going on after an interruption, bad input beside good, and what platforms import. No kernels."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path, PurePath
from xml.etree import ElementTree

import pytest
from grading_course import RIGHT, SOLUTION, WRONG, write_course, write_submission

from residual_lab import cli as top
from residual_lab.grading import batch as batches
from residual_lab.grading import cli, lms, sandbox, session
from residual_lab.grading.batch import Batch
from residual_lab.grading.exercise import find_exercises
from residual_lab.grading.grade import Grader
from residual_lab.grading.reference import Expected
from residual_lab.grading.roster import BadRoster, Learner, find_learner, guess_name, read_roster
from residual_lab.grading.sandbox import Limits, Protection
from residual_lab.paths import CHECKOUT


def by_reading(notebooks, protection, limits, on_done, stop=None, warm=None):
    """In place of nbval: an answer is right if it is one of the two that we know to be."""
    for name, notebook in notebooks.items():
        if stop is not None and stop.is_set():
            raise session.Stopped
        right = next(cell.source for cell in notebook.cells if cell.id == "answer") in RIGHT.values()
        on_done(name, {"grade": {"passed": right, "kind": "differs", "seconds": 0.1}, "answer": {"passed": True}})
    return set()


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "run", by_reading)
    monkeypatch.setattr(sandbox, "_working", lambda name: Protection("bwrap"))
    return write_course(tmp_path / "course")


def batch_of(course, folder, out, **more):
    expected = {name: Expected(1, "x") for name in ("1-1", "1-2")}
    return Batch(Grader(find_exercises(course), Protection("bwrap"), find=lambda exercise: expected, use_warm=False), folder, out, **more)


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "제출 모음"
    write_submission(folder / "김하나_01_small.ipynb", *RIGHT.values())
    write_submission(folder / "이두리/01_small.ipynb", *WRONG.values())
    write_submission(folder / "박세찬_1234_assignsubmission_file/x.ipynb", RIGHT["1-1"])
    return folder


def points(results):
    return {result.learner: result.points for result in results}


def test_a_class_is_graded(course, handed_in, tmp_path):
    assert points(batch_of(course, handed_in, tmp_path / "out", jobs=2).run()) == {"김하나": 5, "박세찬": 2, "이두리": 0}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("김하나_01_small.ipynb", "김하나"), ("01_small_김하나.ipynb", "김하나"), ("김하나/01_small.ipynb", "김하나"),
        ("01_small/김 하나.ipynb", "김 하나"), ("김하나_9_assignsubmission_file_/01_small.ipynb", "김하나"),
        ("hanakim_LATE_123_4567_01_small-1.ipynb", "hanakim"), ("hanakim_123_4567_01_small.ipynb", "hanakim"),
        ("01_small (1).ipynb", "01_small (1)"), ("20261234 김하나 01_small 사본.ipynb", "20261234 김하나"), ("exercises/김하나_01.ipynb", "김하나"),
    ],
)
def test_names_in_paths(path, name):
    assert guess_name(PurePath(path), ["01_small"]) == name


def test_the_roster_decides(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_bytes("학번,이름,이메일\n101,김하나,hana@x.kr\n102,김하나,other@x.kr\n103,이두리,duri@x.kr\n".encode("cp949"))
    roster = read_roster(path)
    assert find_learner(PurePath("102_김하나_01_small.ipynb"), ["01_small"], roster) == (roster[1], None)
    assert find_learner(PurePath("이두리/01_small.ipynb"), ["01_small"], roster) == (roster[2], None)
    assert "2명" in find_learner(PurePath("김하나_01_small.ipynb"), ["01_small"], roster)[1]
    assert "찾지 못했습니다" in find_learner(PurePath("모름_01_small.ipynb"), ["01_small"], roster)[1]
    assert find_learner(PurePath(unicodedata.normalize("NFD", "이두리_01_small.ipynb")), ["01_small"], roster)[0] == roster[2]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadRoster, match="첫 줄"):
        read_roster(path)
    path.write_text("학번,이름\n101,\"" + "가" * 140_000 + "\n", encoding="utf-8")
    with pytest.raises(BadRoster, match="한 칸이 너무 깁니다"):
        read_roster(path)


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("kimjungmin_123_4567_03_gradient_flow.ipynb", "kimjungmin"), ("jungmin_123_4567_03_gradient_flow.ipynb", "jungmin"),
        ("2023124/03_gradient_flow.ipynb", "2023124"), ("03_gradient_flow_202312.ipynb", "202312"),
        ("2023124김하나_03_gradient_flow.ipynb", "2023124"), ("hana.lee@x.kr_03_gradient_flow.ipynb", "hana.lee"),
        ("parkjungmin_03_gradient_flow.ipynb", "-"), ("20231249/03_gradient_flow.ipynb", "-"), ("박jungmin_03_gradient_flow.ipynb", "-"),
    ],
)
def test_a_part_of_a_longer_word_names_nobody(path, whose):
    roster = [Learner("", login="jungmin"), Learner("", login="kimjungmin"), Learner("", "202312"), Learner("", "2023124"),
              Learner("", login="gradient"), Learner("", login="hana.lee", email="hana.lee@x.kr"), Learner("", login="other", email="hana.lee@y.kr")]
    learner, doubt = find_learner(PurePath(path), ["03_gradient_flow"], roster)
    assert [one for one in roster if one == learner] == [one for one in roster if whose in (one.id, one.login)]
    assert (doubt is None) == (whose != "-")


def test_a_path_that_names_two_learners_is_nobodys():
    roster = [Learner("김하나", "101"), Learner("이두리", "102", "duri-lee"), Learner("박세찬", "103", "se-chan")]
    for path in ("101/102_01_small.ipynb", "duri-lee/se-chan_01_small.ipynb"):
        learner, doubt = find_learner(PurePath(path), ["01_small"], roster)
        assert learner == Learner(path) and "이두리" in doubt and "한 사람의 학번만" in doubt


@pytest.mark.parametrize(
    ("path", "whose", "says"),
    [
        ("이두리_1235_assignsubmission_file/01_small_101.ipynb", "102", "다른 사람(김하나)이 있습니다"),
        ("이두리_1235_assignsubmission_file/김하나_1234_assignsubmission_file/01_small.ipynb", "102", "다른 사람(김하나)이"),
        ("이두리_1235_assignsubmission_file_김하나.ipynb", "102", "다른 사람(김하나)이"), ("이두리_LATE_123_4567_101_01_small.ipynb", "102", "다른 사람(김하나)이"),
        ("1반/이두리_1235_assignsubmission_file/102_01_small.ipynb", "102", None), ("이두리_123_4567_01_small.ipynb", "102", None),
        ("박세찬_1236_assignsubmission_file/104_01_small.ipynb", "104", None), ("박세찬_1236_assignsubmission_file/01_small.ipynb", "", "2명"),
        ("박세찬_1236_assignsubmission_file/101_01_small.ipynb", "", "서로 다른 사람(박세찬 103, 박세찬 104, 김하나)"),
        ("Participant_1237_assignsubmission_file/101_01_small.ipynb", "101", "'Participant'을(를) 명단에서 찾지 못해"),
        ("이두리/101_01_small.ipynb", "", "서로 다른 사람(김하나, 이두리)이"), ("김하나_이두리_01_small.ipynb", "", "서로 다른 사람(김하나, 이두리)이"),
        ("104_박세찬_01_small.ipynb", "104", None), ("101/김하나_01_small.ipynb", "101", None),
    ],
)
def test_no_file_name_of_a_learner_makes_it_anothers(path, whose, says):
    roster = [Learner("김하나", "101"), Learner("이두리", "102"), Learner("박세찬", "103"), Learner("박세찬", "104")]
    learner, doubt = find_learner(PurePath(path), ["01_small"], roster)
    assert learner.id == whose and (says in doubt if says else doubt is None)


def test_a_blank_notebook_under_anothers_number_changes_no_grade_of_theirs(course, tmp_path):
    roster = [Learner("김하나", "101"), Learner("이두리", "102")]
    write_submission(tmp_path / "in" / "김하나_1234_assignsubmission_file/01_small.ipynb", RIGHT["1-1"])
    write_submission(tmp_path / "in" / "이두리_1235_assignsubmission_file/01_small_101.ipynb", WRONG["1-1"])
    results = batch_of(course, tmp_path / "in", tmp_path / "out", roster=roster).run()
    assert [(result.learner_id, result.points) for result in results] == [("101", 2), ("102", 0)]


def test_of_several_submissions_of_one_learner_a_sheet_takes_the_best(course, tmp_path):
    roster = [Learner("김하나", "101"), Learner("이두리", "102")]
    for name, answers in (("a", WRONG), ("b", RIGHT), ("c", WRONG)):
        write_submission(tmp_path / "in" / f"101_01_small_{name}.ipynb", *answers.values())
    results = batch_of(course, tmp_path / "in", tmp_path / "out", roster=roster).run()
    assert sorted(points(results)) == ["김하나", "김하나 (2)", "김하나 (3)"]
    filled, problems = lms.canvas([["Student", "ID", "SIS User ID", "01_small"], ["김하나", "1", "101", ""]], results, roster)
    assert filled.splitlines()[1] == "김하나,1,101,5" and not problems
    assert lms.moodle(results, roster).splitlines()[1:] == ["101,,김하나,5,1-1 맞음; 1-2 맞음"]


def test_two_learners_with_one_name_are_kept_apart(course, handed_in, tmp_path):
    write_submission(handed_in / "1반/김하나_01_small.ipynb", *WRONG.values())
    write_submission(handed_in / "2반/김하나_01_small.ipynb", *RIGHT.values())
    results = batch_of(course, handed_in, tmp_path / "out").run()
    assert len(results) == 5


def test_the_same_name_twice_is_told(course, tmp_path):
    folder = tmp_path / "in"
    write_submission(folder / "김하나_01_small.ipynb", *RIGHT.values())
    write_submission(folder / "김하나_01_small (1).ipynb", *WRONG.values())
    results = batch_of(course, folder, tmp_path / "out").run()
    assert sorted(points(results)) == ["김하나", "김하나 (2)"]
    assert all("같은 이름" in result.notes[0] for result in results)


def test_bad_files_are_told_and_the_rest_is_graded(course, handed_in, tmp_path):
    (handed_in / "나쁨_01_small.ipynb").write_text("{", encoding="utf-8")
    (handed_in / "빈것_01_small.ipynb").write_text("")
    (handed_in / "보고서.pdf").write_text("x")
    (handed_in / "폴더.ipynb").mkdir()
    results = batch_of(course, handed_in, tmp_path / "out")
    assert points(results.run()) == {"김하나": 5, "박세찬": 2, "이두리": 0, "나쁨": 0, "빈것": 0}
    assert any("1개는 건너뛰었습니다" in problem for problem in results.problems)


def test_a_link_to_another_file_is_not_followed(course, handed_in, tmp_path):
    (handed_in / "나링크_01_small.ipynb").symlink_to(handed_in / "김하나_01_small.ipynb")
    results = {result.learner: result for result in batch_of(course, handed_in, tmp_path / "out").run()}
    assert results["나링크"].points == 0 and "링크" in results["나링크"].notes[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a name be any bytes")
def test_a_name_in_an_old_encoding_or_with_terminal_codes_is_spelled(course, tmp_path):
    folder = tmp_path / "in"
    write_submission(folder / os.fsdecode("김하나_01_small.ipynb".encode("cp949")), *RIGHT.values())
    write_submission(folder / "이\x1b[2J두리_01_small.ipynb", *WRONG.values())
    results = batch_of(course, folder, tmp_path / "out").run()
    assert points(results) == {"김하나": 5, "이두리": 0}
    assert {result.file for result in results} == {"김하나_01_small.ipynb", "이두리_01_small.ipynb"}
    again = batch_of(course, folder, tmp_path / "out")
    assert points(again.run()) == {"김하나": 5, "이두리": 0} and again.resumed == 2


def test_an_unreadable_folder_is_told(course, handed_in, tmp_path, monkeypatch):
    walk = os.walk

    def closed(folder, onerror=None):
        onerror(OSError(errno.EACCES, "Permission denied", f"{folder}/닫힘"))
        return walk(folder, onerror=onerror)

    monkeypatch.setattr(batches.os, "walk", closed)
    batch = batch_of(course, handed_in, tmp_path / "out")
    assert len(batch.run()) == 3 and "닫힘" in batch.problems[0]


def test_interrupted_it_goes_on_and_loses_nothing(course, tmp_path):
    folder = tmp_path / "in"
    for number in range(20):
        write_submission(folder / f"학생{number:02d}_01_small.ipynb", *(RIGHT if number % 2 else WRONG).values())

    def interrupt(result, done, total):
        if done == 5:
            raise KeyboardInterrupt

    first = batch_of(course, folder, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        first.run(interrupt)
    kept = len(list((tmp_path / "out" / batches.STATE).glob("*.json")))
    assert 5 <= kept < 20
    second = batch_of(course, folder, tmp_path / "out")
    assert len(second.run()) == 20 and second.resumed == kept
    whole = batch_of(course, folder, tmp_path / "fresh")
    assert [r.to_dict() for r in second.ordered()] == [r.to_dict() for r in whole.run()]


def test_a_changed_submission_or_exercise_is_graded_again(course, handed_in, tmp_path):
    batch_of(course, handed_in, tmp_path / "out").run()
    write_submission(handed_in / "이두리/01_small.ipynb", *RIGHT.values())
    again = batch_of(course, handed_in, tmp_path / "out")
    assert points(again.run())["이두리"] == 5 and again.resumed == 2
    solution = course / "solutions/01_small.md"
    solution.write_text(solution.read_text(encoding="utf-8").replace("draw.uniform(1, 9)", "draw.uniform(2, 9)"), encoding="utf-8")
    changed = batch_of(course, handed_in, tmp_path / "out")
    changed.run()
    assert changed.resumed == 0


def test_other_limits_or_another_version_of_the_course_grade_again(course, handed_in, tmp_path):
    batch_of(course, handed_in, tmp_path / "out").run()
    longer = batch_of(course, handed_in, tmp_path / "out")
    longer.grader.limits = Limits(cell_seconds=2 * Limits.cell_seconds)
    longer.run()
    newer = batch_of(course, handed_in, tmp_path / "out", version="another")
    newer.run()
    assert (longer.resumed, newer.resumed) == (0, 0)


def test_a_torn_state_file_is_not_believed(course, handed_in, tmp_path):
    batch_of(course, handed_in, tmp_path / "out").run()
    torn = next((tmp_path / "out" / batches.STATE).glob("*.json"))
    torn.write_text(torn.read_text(encoding="utf-8")[:40], encoding="utf-8")
    again = batch_of(course, handed_in, tmp_path / "out")
    assert len(again.run()) == 3 and again.resumed == 2


def test_a_full_disk_is_told_once_and_grading_goes_on(course, handed_in, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batches.os, "fsync", full)
    batch = batch_of(course, handed_in, tmp_path / "out")
    assert points(batch.run()) == {"김하나": 5, "박세찬": 2, "이두리": 0}
    assert len([problem for problem in batch.problems if "저장하지 못했습니다" in problem]) == 1


def test_a_fault_of_the_grader_is_tried_again(course, handed_in, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "run", lambda notebooks, *rest: set(notebooks))
    first = batch_of(course, handed_in, tmp_path / "out").run()
    assert {task.status for result in first for task in result.tasks} == {"grader", "missing"}
    monkeypatch.setattr(session, "run", by_reading)
    assert points(batch_of(course, handed_in, tmp_path / "out").run())["김하나"] == 5


def command(course, *arguments):
    """The command as a learner or an instructor gives it; expected values need a kernel and are put in its place."""
    args = top.parser("grade").parse_args(["grade", *map(str, arguments)])
    return cli.run(args, course)


@pytest.fixture
def without_reference(monkeypatch):
    monkeypatch.setattr(cli, "Grader", lambda *given: Grader(*given, find=lambda exercise: {t.name: Expected(1, "x") for t in exercise.tasks}))


def test_the_command_for_a_class_writes_every_report(course, handed_in, tmp_path, capsys, without_reference):
    out, canvas = tmp_path / "결과", tmp_path / "canvas.csv"
    canvas.write_text("Student,ID,SIS Login ID,01_small (77)\n    Points Possible,,,5\n김하나,1,,\n이두리,2,,\n", encoding="utf-8")
    assert command(course, handed_in, "--out", out, "--moodle", "--canvas", canvas, "--jobs", 2, "--cold") == 0
    said = capsys.readouterr().out
    assert "[3/3]" in said and "김하나 · 01_small  5/5점" in said and "bubblewrap" in said
    rows = list(csv.DictReader(io.StringIO((out / "grades.csv").read_text(encoding="utf-8-sig"))))
    assert len(rows) == 6 and sum(int(row["points"]) for row in rows) == 7
    assert len(json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]) == 3
    suites = ElementTree.parse(out / "junit.xml").getroot()
    assert sum(case.find("failure") is None for case in suites.iter("testcase")) == 3
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "잦은 실수" in page and "2/3" in page and len(list((out / "learners").glob("*.html"))) == 3
    filled = list(csv.reader((out / "canvas.csv").open(encoding="utf-8")))
    assert [row[3] for row in filled] == ["01_small (77)", "5", "5", "0"]
    assert "'박세찬'을(를) 찾지 못했습니다" in said
    assert (out / "moodle.csv").exists()


def test_the_command_for_a_file_prints_a_table(course, handed_in, tmp_path, capsys, without_reference):
    scope, fifty = tmp_path / "results.json", tmp_path / "result.json"
    path = handed_in / "김하나_01_small.ipynb"
    assert command(course, path, "--gradescope", scope, "--classroom50", fifty, "--cold") == 0
    said = capsys.readouterr().out
    assert "1-2 네 배  3/3   맞음" in said and "합계       5/5" in said
    given = json.loads(scope.read_text(encoding="utf-8"))
    assert given["score"] == 5 and [test["max_score"] for test in given["tests"]] == [2, 3]
    given = json.loads(fifty.read_text(encoding="utf-8"))
    assert (given["schema"], given["score"], given["max-score"]) == ("classroom50/result/v1", 5, 5)
    assert all(set(test) == {"test-name", "passed", "score", "max-score"} for test in given["tests"])


def test_one_exercise_is_not_taken_for_another(course, tmp_path, capsys, monkeypatch, without_reference):
    other = SOLUTION.replace("과제 1-", "과제 2-").replace(":task: 1-", ":task: 2-")
    (course / "solutions/02_other.md").write_text(other, encoding="utf-8")
    path, scope, fifty = write_submission(tmp_path / "02_other.ipynb", *RIGHT.values()), tmp_path / "g.json", tmp_path / "c.json"
    reports = ("--gradescope", scope, "--classroom50", fifty, "--cold")
    command(course, path, *reports)
    told = json.loads(scope.read_text(encoding="utf-8"))
    assert told["score"] == 5 and "(파일 이름: 02_other). 01_small(으)로 채점했습니다" in told["output"]
    monkeypatch.setenv("CLASSROOM50_ASSIGNMENT", "02_other")
    command(course, path, "--exercise", "02_other", *reports)
    told, given = (json.loads(file.read_text(encoding="utf-8")) for file in (scope, fifty))
    assert told["score"] == 0 and [test["number"] for test in told["tests"]] == ["2-1", "2-2"] and "(답 셀: 01_small). 02_other(으)로" in told["output"]
    assert (given["assignment"], given["score"], given["max-score"]) == ("02_other", 0, 5)
    stamped = {"residual_lab": {"source": "solutions/02_other.md"}}
    write_submission(tmp_path / "in/김하나_01_small.ipynb", *RIGHT.values(), metadata=stamped)
    write_submission(tmp_path / "in/이두리.ipynb", *RIGHT.values())
    results = batch_of(course, tmp_path / "in", tmp_path / "out").run()
    assert [" ".join(result.notes)[:40] for result in results] == ["다른 연습의 것으로 보이는 데가 있습니다(노트북의 정보: 02_other", ""]
    assert command(course, tmp_path / "in", "--out", tmp_path / "out", "--exercise", "02_other", "--cold") == 0
    assert capsys.readouterr().out.count("02_other  0/5점") == 2
    assert command(course, path, "--exercise", "2") == 2 and "01_small, 02_other" in capsys.readouterr().err


def test_an_answer_that_imports_the_course_is_told_and_keeps_its_points(course, tmp_path, capsys, monkeypatch, without_reference):
    monkeypatch.setitem(RIGHT, "1-1", RIGHT["1-1"] + "\nfrom residual_lab.checks import base")
    path, out = write_submission(tmp_path / "in" / "김하나_01_small.ipynb", *RIGHT.values()), tmp_path / "out"
    for _ in ("graded", "resumed"):
        assert command(course, tmp_path / "in", "--out", out, "--cold") == 0
        said = capsys.readouterr().out
        assert "5/5점" in said and said.count("※") == said.count("※ 1-1: 답 셀이 과정 패키지(residual_lab)를 불러옵니다") == 1
        page = next((out / "learners").glob("*.html")).read_text(encoding="utf-8")
        assert page.count("불러옵니다") == 1 and page.index("1-1") < page.index("불러옵니다") < page.index("1-2")
        assert '<td class="n">1</td><td class="n">1</td>' in (out / "index.html").read_text(encoding="utf-8")
    command(course, path, "--cold")
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows if "불러옵니다" in row] == ["1-1"]


def test_the_command_says_what_it_needs(course, handed_in, tmp_path, capsys, monkeypatch):
    assert command(course, handed_in) == 2 and "--out" in capsys.readouterr().err
    assert command(course, tmp_path / "없음.ipynb") == 2 and "없는 파일" in capsys.readouterr().err
    monkeypatch.setattr(sandbox, "_working", lambda name: None)
    assert command(course, handed_in, "--out", tmp_path / "o", "--require-sandbox") == 1
    assert "--require-sandbox" in capsys.readouterr().err


def test_single_files_find_their_learners_in_the_roster(course, tmp_path, capsys, without_reference):
    roster, canvas, out = tmp_path / "roster.csv", tmp_path / "canvas.csv", tmp_path / "out"
    roster.write_text("학번,이름\n101,김하나\n102,이두리\n", encoding="utf-8")
    canvas.write_text("Student,ID,SIS User ID,01_small (77)\n김하나,1,101,\n이두리,2,102,\n", encoding="utf-8")
    files = [write_submission(tmp_path / name, *RIGHT.values()) for name in ("102_01_small.ipynb", "모름_01_small.ipynb")]
    assert command(course, *files, "--roster", roster, "--canvas", canvas, "--moodle", "--out", out, "--cold") == 0
    assert "명단에서 '모름'을(를) 찾지 못했습니다" in (said := capsys.readouterr().out) and "Canvas 표에서 '모름'" in said
    assert [row[3] for row in csv.reader((out / "canvas.csv").open(encoding="utf-8"))] == ["01_small (77)", "", "5"]
    assert "102,,이두리,5" in (out / "moodle.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["in", "--out", "out", "--gradescope", "x.json"], "노트북을 하나만"), (["in", "--out", "out", "--classroom50", "x.json"], "노트북을 하나만"),
        (["one.ipynb", "two.ipynb", "--gradescope", "x.json"], "노트북을 하나만"), (["one.ipynb", "--moodle"], "--out 폴더를"),
        (["one.ipynb", "--canvas", "x.csv"], "--out 폴더를"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(course, tmp_path, capsys, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    assert command(course, *given) == 2 and says in capsys.readouterr().err


def test_as_many_at_once_as_the_help_says(course, handed_in, tmp_path, capsys, monkeypatch, without_reference):
    seen = []
    monkeypatch.setattr(cli, "Batch", lambda grader, folder, out, roster, jobs: seen.append(jobs) or Batch(grader, folder, out, roster, 1))
    for cores in (64, 2):
        monkeypatch.setattr(cli.os, "cpu_count", lambda cores=cores: cores)
        command(course, handed_in, "--out", tmp_path / "out", "--cold")
    assert seen == [8, 2]
    with pytest.raises(SystemExit):
        top.parser("grade").parse_args(["grade", "--help"])
    told = " ".join(capsys.readouterr().out.split()), (CHECKOUT / "instructors/grading.md").read_text(encoding="utf-8")
    assert all("코어 수, 8까지" in text for text in told)


def test_moodle_gets_points_and_feedback_together(course, handed_in, tmp_path):
    results = batch_of(course, handed_in, tmp_path / "out", roster=[Learner("김하나", "101", "", "h@x.kr"), Learner("이두리", "102")]).run()
    rows = list(csv.DictReader(io.StringIO(lms.moodle(results, [Learner("김하나", "101", "", "h@x.kr")]))))
    first = next(row for row in rows if row["Full name"] == "김하나")
    assert (first["ID number"], first["Email address"], first["01_small"]) == ("101", "h@x.kr", "5") and "1-1 맞음" in first["01_small feedback"]


def test_a_wrong_sheet_for_canvas_is_refused_before_anything_is_graded(course, handed_in, tmp_path, capsys, without_reference):
    path = tmp_path / "x.csv"
    for raw in ("a,b\n".encode(), "Student,ID\n김하나,1\n".encode("cp949")):
        path.write_bytes(raw)
        assert command(course, handed_in, "--out", tmp_path / "out", "--canvas", path, "--cold") == 1
        assert "Canvas에서 내보낸" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("prefix", "shown"), [(".", "course/solutions"), ("제출 모음", "제출 모음"), ("results", "results/out"), ("course/.venv", None)])
def test_nothing_is_graded_where_an_answer_could_read_the_solution(course, handed_in, tmp_path, capsys, monkeypatch, without_reference, prefix, shown):
    (tmp_path / prefix).mkdir(exist_ok=True)
    monkeypatch.setattr(sandbox.sys, "prefix", str(tmp_path / prefix))
    arguments = (handed_in, "--out", tmp_path / "results/out", "--cold")
    assert command(course, *arguments) == (1 if shown else 0)
    assert shown is None or f"{tmp_path / prefix} 안에 {tmp_path / shown}이(가)" in capsys.readouterr().err
    monkeypatch.setattr(sandbox, "_working", lambda name: Protection("plain"))
    assert command(course, *arguments) == 0


def test_a_checkout_below_the_systems_own_folders_is_seen():
    with pytest.raises(sandbox.NoSandbox, match="/usr 안에"):
        sandbox.keep_out(Protection("docker"), [Path("/usr/src/course/solutions")])


def test_a_result_folder_that_cannot_be_made_is_told_before_grading(course, handed_in, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(session, "run", lambda *given: pytest.fail("graded"))
    (tmp_path / "file").write_text("")
    for paths in ([handed_in], [handed_in / "김하나_01_small.ipynb"]):
        for out in (tmp_path / "file", tmp_path / "file/out"):
            assert command(course, *paths, "--out", out, "--cold") == 1
            assert f"결과 폴더 {out}에 쓸 수 없습니다" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_named_and_the_others_are_written(course, handed_in, tmp_path, capsys, without_reference):
    out = tmp_path / "out"
    (out / "grades.csv").mkdir(parents=True)
    assert command(course, handed_in, "--out", out, "--cold") == 1
    assert "grades.csv" in capsys.readouterr().err
    assert len(list((out / "learners").glob("*.html"))) == 3 and (out / "index.html").exists() and (out / "results.json").exists()
    closed, fifty = tmp_path / "closed", tmp_path / "result.json"
    closed.write_text("")
    one = ("김하나_01_small.ipynb", "--gradescope", closed / "results.json", "--classroom50", fifty, "--cold")
    assert command(course, handed_in / one[0], *one[1:]) == 1
    said = capsys.readouterr()
    assert str(closed / "results.json") in said.err and "5/5" in said.out and fifty.exists()


def test_grading_loads_neither_torch_nor_a_grammar_of_addresses():
    names = ", ".join(f"residual_lab.grading.{path.stem}" for path in (Path(batches.__file__).parent).glob("*.py") if path.stem not in ("__init__", "prelude"))
    code = f"import sys, {names}; sys.exit(any(map(sys.modules.get, ('torch', 'rfc3987_syntax'))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
