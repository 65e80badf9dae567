"""Grade a folder: every notebook below it, several at a time, going on where an earlier run was cut short."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from .cluster import fingerprint
from .exercise import Exercise
from .grade import Grader
from .roster import Learner, find_learner, normal
from .submission import Submission, Unreadable
from .verdict import GRADER, Result, TaskResult, unreadable

CHUNK = 50
"""Submissions a pytest process takes at once: its start costs about as much computing as one of them."""
STATE = ".state"


@dataclass
class Found:
    """Files to grade and, in Korean, what could not be looked at."""

    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_files(folder: Path) -> Found:
    found, others = Found(), 0

    def unreadable_folder(error: OSError) -> None:
        found.problems.append(f"폴더를 열 수 없습니다({error.strerror}): {normal(str(error.filename))}")

    for place, folders, names in os.walk(folder, onerror=unreadable_folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if name.endswith(".ipynb") and not name.startswith("."):
                found.files.append(Path(place) / name)
            elif not name.startswith("."):
                others += 1
    if others:
        found.problems.append(f"노트북(.ipynb)이 아닌 파일 {others}개는 건너뛰었습니다.")
    return found


@dataclass
class Batch:
    """One run over a folder. ``results`` fills up as submissions are finished, in no order; `ordered` sorts them."""

    grader: Grader
    folder: Path
    out: Path
    roster: list[Learner] = field(default_factory=list)
    jobs: int = 1
    results: list[Result] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    resumed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    version: str = field(default_factory=fingerprint)
    """Of the package: what another version gave is graded again."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, on_result: Callable[[Result, int, int], None] = lambda result, done, total: None) -> list[Result]:
        """All results in order; ``on_result(result, done, total)`` as each is known. Interrupted, what is done stays done."""
        found = find_files(self.folder)
        self.problems += found.problems
        whose = self._owners(found.files)
        total, todo = len(found.files), []

        def finish(result: Result, key: str | None) -> None:
            with self._lock:
                self.results.append(result)
                if key:
                    self._keep(key, result)
                on_result(result, len(self.results), total)

        for path in found.files:
            learner, notes = whose[path]
            try:
                exercise, submission = self.grader.open(path)
                key = self._key(path, exercise)
            except Unreadable as problem:
                finish(self._result(path, learner, None, unreadable(None, str(problem)), [*notes, str(problem)]), None)
                continue
            except Exception as problem:  # whatever else a file can do to us must not end the batch
                said = f"파일을 여는 도중에 오류가 났습니다({type(problem).__name__})."
                finish(self._result(path, learner, None, [], [*notes, said]), None)
                continue
            if kept := self._kept(key):
                self.resumed += 1
                finish(replace(kept, learner=learner.label, learner_id=learner.id, notes=[*notes, *submission.notes]), None)
            else:
                todo.append((path, learner, notes, exercise, submission, key))
        self._grade(todo, finish)
        return self.ordered()

    def ordered(self) -> list[Result]:
        return sorted(self.results, key=lambda result: (result.learner, result.exercise, result.file))

    def _owners(self, files: Sequence[Path]) -> dict[Path, tuple[Learner, list[str]]]:
        """Learner and notes of every file; two files of one name and one exercise are told apart."""
        slugs, whose, seen = list(self.grader.exercises), {}, defaultdict(list)
        for path in files:
            inside = path.relative_to(self.folder)
            learner, doubt = find_learner(inside, slugs, self.roster)
            whose[path] = (learner, [doubt] if doubt else [])
            about = next((slug for slug in slugs if slug in inside.as_posix()), "")
            seen[learner, about].append(path)
        for (learner, about), paths in seen.items():
            if len(paths) > 1 and about:
                others = ", ".join(normal(path.relative_to(self.folder).as_posix()) for path in paths)
                said = f"'{learner.label}'의 제출이 {len(paths)}개입니다({others}). 같은 이름의 다른 사람인지 확인하십시오."
                for number, path in enumerate(paths, 1):
                    name = learner.label if number == 1 else f"{learner.label} ({number})"
                    whose[path] = (replace(learner, name=name), [*whose[path][1], said])
        return whose

    def _grade(self, todo: list, finish: Callable[[Result, str | None], None]) -> None:
        exercises = list({entry[3].slug: entry[3] for entry in todo}.values())
        size = max(1, min(CHUNK, -(-len(todo) // self.jobs)))
        chunks = [todo[start : start + size] for start in range(0, len(todo), size)]
        with self.grader.warmed(exercises) if todo else nullcontext(), ThreadPoolExecutor(max_workers=self.jobs) as pool:
            for exercise in exercises:
                self.grader.expect(exercise)
            running = [pool.submit(self._chunk, chunk, finish) for chunk in chunks]
            try:
                while running:
                    over, running = wait(running, timeout=0.5)  # an interrupt comes in between
                    for one in over:
                        one.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _chunk(self, chunk: list, finish: Callable[[Result, str | None], None]) -> None:
        entries = {str(number): entry for number, entry in enumerate(chunk)}
        tasks: dict[str, dict[str, TaskResult]] = defaultdict(dict)

        def on_task(number: str, task: TaskResult) -> None:
            path, learner, notes, exercise, submission, key = entries[number]
            tasks[number][task.task] = task
            if len(tasks[number]) == len(exercise.tasks):
                made = [tasks[number][each.name] for each in exercise.tasks]
                final = all(each.status != GRADER for each in made)  # a fault of ours is tried again next time
                finish(self._result(path, learner, exercise, made, [*notes, *submission.notes]), key if final else None)

        work: dict[str, tuple[Exercise, Submission]] = {number: (entry[3], entry[4]) for number, entry in entries.items()}
        self.grader.grade(work, on_task, self.stop)

    def _result(self, path: Path, learner: Learner, exercise: Exercise | None, tasks: list[TaskResult], notes: list[str]) -> Result:
        slug, title = (exercise.slug, exercise.title) if exercise else ("", "")
        file = normal(path.relative_to(self.folder).as_posix())
        return Result(learner.label, slug, title, file, tasks, notes, self.grader.protection.name, learner.id)

    def _key(self, path: Path, exercise: Exercise) -> str:
        inside = path.relative_to(self.folder).as_posix().encode("utf-8", "surrogateescape")
        by = (self.version, exercise.fingerprint, self.grader.protection.name, self.grader.limits)
        parts = [inside, hashlib.sha256(path.read_bytes()).digest(), repr(by).encode()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]

    def _kept(self, key: str) -> Result | None:
        try:
            return Result.from_dict(json.loads((self.out / STATE / f"{key}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _keep(self, key: str, result: Result) -> None:
        """A finished result on disk, whole or not at all; without room it lives on in memory, and a report says so."""
        place = self.out / STATE / f"{key}.json"
        new = place.with_suffix(".new")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with new.open("w", encoding="utf-8") as file:
                json.dump(result.to_dict(), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, place)
        except OSError as error:
            said = f"중간 결과를 저장하지 못했습니다({error.strerror}): {place.parent}. 채점은 계속하지만, 중단하면 처음부터 다시 해야 합니다."
            if said not in self.problems:
                self.problems.append(said)
            try:
                new.unlink(missing_ok=True)
            except OSError:
                pass
