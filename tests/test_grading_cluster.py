"""Grading on a cluster: two workers give what this machine gives, are interrupted as it is, and what is missing is said."""

import functools
import sys
import time

import pytest
from grading_course import RIGHT, WRONG, write_course, write_submission

from residual_lab.grading import cli, sandbox
from residual_lab.grading.batch import STATE, Batch
from residual_lab.grading.cluster import Cluster, NoCluster
from residual_lab.grading.exercise import find_exercises
from residual_lab.grading.grade import Grader
from residual_lab.grading.reference import find_expected
from residual_lab.grading.sandbox import Limits

HALF_A_LETTER = '''# 과제 1-1
def double(x):
    """An error whose words no encoding can spell."""
    kernel = get_ipython().kernel
    content = b'{"ename": "E", "evalue": "\\\\ud800", "traceback": []}'
    session, parent = kernel.session, kernel.get_parent()
    message = session.serialize(session.msg("error", {}, parent=parent), ident=b"error")
    message[-1] = content
    message[2] = session.sign(message[3:])
    kernel.iopub_socket.send_multipart(message)
    return x
'''


@pytest.fixture(scope="module")
def scheduler():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    root = write_course(tmp_path_factory.mktemp("course"))
    folder = root / "in"
    for number in range(4):
        write_submission(folder / f"학생{number}_01_small.ipynb", *(WRONG if number % 2 else RIGHT).values())
    write_submission(folder / "학생4_01_small.ipynb", HALF_A_LETTER, RIGHT["1-2"])
    write_submission(folder / "학생5_01_small.ipynb", "# 과제 1-1\nimport os\nos._exit(0)", RIGHT["1-2"])
    return root


EXPECTED = functools.cache(find_expected)


def batch_of(root, out, cluster=None):
    protection = cluster.protection if cluster else sandbox.choose("bwrap")
    grader = Grader(find_exercises(root), protection, Limits(cell_seconds=20), cluster=cluster, find=lambda exercise: EXPECTED(exercise))
    return Batch(grader, root / "in", out, jobs=cluster.threads if cluster else 1)


def told(results):
    return {(r.learner, t.task): (t.status, t.points, t.reason, t.hint) for r in results for t in r.tasks}


def test_two_workers_give_what_this_machine_gives(scheduler, handed_in, tmp_path):
    with Cluster(scheduler) as cluster:
        assert cluster.threads == 2
        there = batch_of(handed_in, tmp_path / "there", cluster).run()
        worked = cluster.client.run(lambda dask_worker: dask_worker.state.executed_count)
    here = batch_of(handed_in, tmp_path / "here").run()
    assert told(there) == told(here)
    assert {status for status, *_ in told(here).values()} == {"passed", "failed", "error", "died"}
    assert all(count >= 1 for count in worked.values()), worked


def test_interrupted_it_goes_on_and_the_workers_stop(scheduler, handed_in, tmp_path):
    def interrupt(result, done, total):
        raise KeyboardInterrupt

    with Cluster(scheduler) as cluster:
        with pytest.raises(KeyboardInterrupt):
            batch_of(handed_in, tmp_path / "out", cluster).run(interrupt)
        kept = len(list((tmp_path / "out" / STATE).glob("*.json")))
        end = time.monotonic() + 30
        while busy := any(cluster.client.run(lambda dask_worker: dask_worker.state.executing_count).values()):
            assert time.monotonic() < end, busy
            time.sleep(0.2)
        again = batch_of(handed_in, tmp_path / "out", cluster)
        assert len(again.run()) == 6 and again.resumed == kept >= 1


def command(root, *arguments):
    from residual_lab import cli as top

    args = top.parser("grade").parse_args(["grade", *map(str, arguments)])
    return cli.run(args, root)


def test_what_is_missing_is_said(handed_in, tmp_path, capsys, monkeypatch):
    from residual_lab.grading import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    given = (handed_in / "in", "--out", tmp_path / "out", "--scheduler")
    assert command(handed_in, *given, "tcp://127.0.0.1:9") == 1
    assert "답이 없습니다" in capsys.readouterr().err
    assert command(handed_in, *given, "nothing://here") == 1
    assert "답이 없습니다" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert command(handed_in, *given, "tcp://127.0.0.1:9") == 1
    assert ".[learner,cluster]" in capsys.readouterr().err


def test_a_worker_of_another_course_is_refused(scheduler, monkeypatch):
    from residual_lab.grading import cluster

    monkeypatch.setattr(cluster, "fingerprint", lambda: "another")
    with pytest.raises(NoCluster, match="같은 판으로"):
        Cluster(scheduler)
