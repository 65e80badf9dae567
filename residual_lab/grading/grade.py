"""Grade a few files: answers in, results out. `batch` adds a class around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import session
from .cluster import Cluster
from .compose import task_notebook
from .exercise import Exercise
from .reference import Expected, find_expected
from .sandbox import Limits, Protection
from .submission import Submission, Unreadable, read_cells, take_answers, which_exercise
from .verdict import IMPORTS_COURSE, Result, TaskResult, judge, unreadable, without_running
from .warm import AT_FIRST_USE, MODULES, Warm


@dataclass
class Grader:
    """Exercises, protection and limits; expected values are found when an exercise first needs them."""

    exercises: Mapping[str, Exercise]
    protection: Protection
    limits: Limits = Limits()
    expected: dict[str, dict[str, Expected]] = field(default_factory=dict)
    use_warm: bool = True
    warm: Warm | None = None
    cluster: Cluster | None = None
    """Where notebooks are run instead of on this machine."""
    only: str | None = None
    """Every file is graded as this exercise, whatever it says it is."""
    find: Callable[[Exercise], dict[str, Expected]] = find_expected

    def expect(self, exercise: Exercise) -> dict[str, Expected]:
        if exercise.slug not in self.expected:
            self.expected[exercise.slug] = self.find(exercise)
        return self.expected[exercise.slug]

    def modules(self, exercises: Iterable[Exercise]) -> tuple[str, ...]:
        """What a warm process imports for these exercises: what their own cells do. Nothing where there is to be none."""
        named = sorted({name for exercise in exercises for name in exercise.modules})
        later = [more for name in named for more in AT_FIRST_USE.get(name, ())]
        return (*MODULES, *named, *later) if self.use_warm else ()

    @contextmanager
    def warmed(self, exercises: Iterable[Exercise]) -> Iterator[None]:
        """Kernels inside are forked from a warm process, if there can be one. It starts while expected values are found."""
        if not self.use_warm or self.warm or self.cluster:
            yield
            return
        with Warm(self.protection, self.modules(exercises)) as self.warm:
            try:
                yield
            finally:
                self.warm = None

    def open(self, path: Path) -> tuple[Exercise, Submission]:
        """The exercise and the answers of a file; `Unreadable` says what is wrong with it."""
        cells, named, notes = read_cells(path)
        exercise, doubts = which_exercise(cells, named, path, self.exercises, self.only)
        return exercise, take_answers(cells, exercise, [*notes, *doubts])

    def grade(self, work: Mapping[str, tuple[Exercise, Submission]], on_task: Callable[[str, TaskResult], None],
              stop: threading.Event | None = None) -> None:
        """``on_task(key, result)`` for every task of every submission, as soon as it is known."""
        notebooks, owners = {}, {}
        for key, (exercise, submission) in work.items():
            for task in exercise.tasks:
                if known := without_running(task, submission):
                    on_task(key, known)
                    continue
                expected = self.expect(exercise)[task.name]
                name = f"{key}\n{task.name}"
                notebooks[name] = task_notebook(exercise, task, submission.answers, expected.seed, expected.text)
                owners[name] = key, task

        def heard(name: str, said: session.Heard | None) -> None:
            key, task = owners[name]
            note = IMPORTS_COURSE if task.name in work[key][1].importing else ""
            on_task(key, replace(judge(task, said, self.limits.cell_seconds), note=note))

        if not notebooks:
            lost = set()
        elif self.cluster:
            lost = self.cluster.run(notebooks, self.limits, heard, stop, self.modules(exercise for exercise, _ in work.values()))
        else:
            lost = session.run(notebooks, self.protection, self.limits, heard, stop, self.warm.address if self.warm else None)
        for name in lost:
            heard(name, None)

    def result(self, path: Path, learner: str = "", on_task: Callable[[TaskResult], None] = lambda task: None) -> Result:
        """One file by itself."""
        try:
            exercise, submission = self.open(path)
        except Unreadable as problem:
            return Result(learner, "", "", str(path), unreadable(None, str(problem)), [str(problem)], self.protection.name)
        found: dict[str, TaskResult] = {}

        def keep(key: str, task: TaskResult) -> None:
            found[task.task] = task
            on_task(task)

        with self.warmed([exercise]) if submission.answers else nullcontext():
            self.grade({"": (exercise, submission)}, keep)
        tasks = [found[task.name] for task in exercise.tasks]
        return Result(learner, exercise.slug, exercise.title, str(path), tasks, submission.notes, self.protection.name)
