"""All runs of a plan, each when its sources are done, by whatever executes them.

    in this process                   `Here`
    in N processes of this machine    `scalearn.experiments.workers`
    on a cluster                      `scalearn.experiments.cluster`

What is done is on disk alone, so that a launch may end at any moment, and several may share a folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scalearn.atomic import writable
from scalearn.errors import InputError
from scalearn.experiments.cost import cost_of
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.runner import Report, Runner
from scalearn.experiments.store import keep_failure

DEATHS = 3
"""A run whose process died so often is given up."""
_POLL = 0.5
_REST = 2.0  # seconds before a run is asked for again that somebody else is at


class Executor(Protocol):
    """Where runs are done."""

    slots: int
    """How many are asked for at a time."""
    parallel: int
    """How many are done at a time."""

    def submit(self, run: RunSpec) -> Future[Report]:
        """Begins a run; the future ends in `BrokenExecutor` if the process that did it died."""

    def stop(self) -> None:
        """Asks all runs to stop at a checkpoint."""


class Here:
    """Does runs in this process, one after the other.

    Args:
        runner: that does them.
        stopping: whether to stop.
    """

    slots = parallel = 1

    def __init__(self, runner: Runner, *, stopping: Callable[[], bool] = lambda: False) -> None:
        self._runner = runner
        self._stopping = stopping

    def submit(self, run: RunSpec) -> Future[Report]:
        """Does a run."""
        future: Future[Report] = Future()
        try:
            future.set_result(self._runner.attempt(run, self._stopping))
        except InputError as error:
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """Nothing runs while this is called."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A run that is over, and how far the grid has come with it."""

    run: RunSpec
    result: Outcome | Failure
    found: bool
    """Whether it was done before."""
    position: int
    """How many are over, with this one."""
    total: int
    seconds_left: float | None
    """An estimate, from the operations that the other runs cost at most; None before the first run."""


class Grid:
    """A launch.

    Args:
        plan: of an experiment.
        executor: that does the runs.
        runs: the folder where failures are recorded.
        stopping: whether to stop: no new run is begun, and those under way end at a checkpoint.
    """

    def __init__(
        self, plan: Plan, executor: Executor, *, runs: Path, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self.plan = plan
        self.runs = runs
        self.running: Mapping[str, RunSpec] = {}
        """Those that were asked for, by `RunSpec.id`; replaced as a whole, for other threads to read."""
        self.over: Mapping[str, Outcome | Failure] = {}
        """Likewise."""
        self.found: set[str] = set()
        self._executor = executor
        self._stopping = stopping
        self._futures: dict[Future[Report], RunSpec] = {}
        self._todo = {run.id: run for run in plan.runs}
        self._resting: dict[str, float] = {}
        self._deaths: dict[str, int] = {}
        self._operations = {run.id: cost_of(run).operations for run in plan.runs}

    def __iter__(self) -> Iterator[Step]:
        """Does all runs, and yields each when it is over; ends early if it is asked to stop.

        Raises:
            InputError: a result or a failure cannot be written, for instance because the disk is full.
        """
        while self._todo or self._futures:
            if self._stopping():
                self._todo.clear()
                self._executor.stop()
            else:
                self._submit()
            if not self._futures:
                if self._todo:
                    time.sleep(_POLL)  # others are at all that is left
                continue
            ended, _ = wait(self._futures, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in ended:
                run = self._futures.pop(future)
                self.running = {run_id: other for run_id, other in self.running.items() if run_id != run.id}
                report = self._report(run, future)
                result = report.outcome or report.failure
                if result is not None:
                    yield self._step(run, result, found=report.found)
                elif report.busy:
                    self._again(run, rest=_REST)

    @property
    def seconds_left(self) -> float | None:
        """An estimate, from the operations that runs cost at most and the seconds they took."""
        over = self.over
        made = {run_id: o for run_id, o in over.items() if run_id not in self.found and isinstance(o, Outcome)}
        seconds = sum(outcome.seconds for outcome in made.values())
        if not seconds:
            return None
        left = [operations for run_id, operations in self._operations.items() if run_id not in over]
        rate = sum(self._operations[run_id] for run_id in made) / seconds
        return sum(left) / rate / max(1, min(self._executor.parallel, len(left)))

    def _submit(self) -> None:
        """Asks for as many runs as there are slots, in order, each when its sources are over."""
        now = time.monotonic()
        for run in list(self._todo.values()):
            if len(self._futures) >= self._executor.slots or self._stopping():
                return
            if self._resting.get(run.id, 0.0) > now or any(need.id not in self.over for need in run.needs):
                continue
            del self._todo[run.id]
            self.running = {**self.running, run.id: run}
            self._futures[self._executor.submit(run)] = run
            if self._executor.slots == 1:
                return

    def _report(self, run: RunSpec, future: Future[Report]) -> Report:
        try:
            return future.result()
        except BrokenExecutor as error:
            self._deaths[run.id] = self._deaths.get(run.id, 0) + 1
            if self._deaths[run.id] < DEATHS:
                return Report()  # and again
            text = f"its process died {DEATHS} times, perhaps for want of memory ({error})"
        except InputError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        failure = Failure(error=text, traceback="")
        with writable(self.runs):
            keep_failure(self.runs, run, failure)
        return Report(failure=failure)

    def _again(self, run: RunSpec, *, rest: float) -> None:
        self._resting[run.id] = time.monotonic() + rest
        self._todo[run.id] = run

    def _step(self, run: RunSpec, result: Outcome | Failure, *, found: bool) -> Step:
        self.over = {**self.over, run.id: result}
        if found:
            self.found.add(run.id)
        return Step(
            run=run,
            result=result,
            found=found,
            position=len(self.over),
            total=len(self.plan.runs),
            seconds_left=self.seconds_left,
        )
