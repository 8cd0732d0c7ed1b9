"""A grid on the terminal: a live table, a line for each run that is over, and a clean end on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from scalearn.cli import options as o
from scalearn.experiments.cluster import Cluster
from scalearn.experiments.grid import Executor, Grid, Here, Step
from scalearn.experiments.live import duration, live_table
from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import Plan
from scalearn.experiments.runner import Runner, Settings
from scalearn.experiments.workers import Workers

_console = Console(highlight=False)
_STOPPING = "stopping at the next checkpoint; Ctrl-C again to stop at once"


def launch(
    plan: Plan, settings: Settings, *, workers: int | None, ray: str | None, cpus: int, gpus: float, quiet: bool
) -> Grid:
    """Does all runs of a plan, or ends early on Ctrl-C; a second one ends at once.

    Args:
        plan: of an experiment.
        settings: for its runs.
        workers: processes; None does the runs in this one.
        ray: the address of a cluster, or auto.
        cpus: of a Ray task.
        gpus: of a Ray task.
        quiet: no live table.

    Raises:
        InputError: something cannot be written, or Ray is not there.
        KeyboardInterrupt: on the second Ctrl-C.
    """
    stopping = threading.Event()
    with ExitStack() as stack:
        executor: Executor
        if ray is not None:
            executor = stack.enter_context(Cluster(settings, ray, cpus=cpus, gpus=gpus))
        elif workers is not None:
            executor = stack.enter_context(Workers(settings, workers))
        else:
            executor = Here(Runner(settings, loaded=o.note_other_rows), stopping=stopping.is_set)
        grid = Grid(plan, executor, runs=settings.runs, stopping=stopping.is_set)
        stack.enter_context(_stopped_by_signals(stopping))
        table = Live(get_renderable=lambda: live_table(grid), console=_console, refresh_per_second=2, transient=True)
        if _console.is_terminal and not quiet:
            stack.enter_context(table)
        for step in grid:
            _console.print(escape(line(step)), soft_wrap=True)
    return grid


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM, as schedulers send it, ask to stop; the second Ctrl-C interrupts."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        # From a thread of its own: the signal may have come in the middle of a print, which cannot be entered twice.
        threading.Thread(target=_console.print, args=(_STOPPING,)).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def line(step: Step) -> str:
    """A finished run in one line."""
    width = len(str(step.total))
    parts = [f"{step.position:>{width}}/{step.total}", str(step.run)]
    if isinstance(step.result, Outcome):
        result = step.result
        scores = {task: result.score(task, _split(result, task)) for task in step.run.tasks}
        named = [f"{task} " if len(scores) > 1 else f"{result.main[task]} " for task in scores]
        parts.append(", ".join(f"{name}{value:.1f}" for name, value in zip(named, scores.values(), strict=True)))
        parts.append("done before" if step.found else duration(result.seconds))
    else:
        parts.append(f"FAILED: {step.result.error}")
    if step.seconds_left is not None and step.position < step.total:
        parts.append(f"about {duration(step.seconds_left)} left")
    return "  ".join(parts)


def _split(result: Outcome, task: str) -> str:
    return "test" if "test" in result.metrics[task] else "dev"
