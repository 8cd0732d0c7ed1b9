"""Threads against processes: tokens per second that the cores of this machine train with together.

Each process trains its own ScaLearn model over eight sources on MiniLM, as `scalearn run --workers N` does, with
threads that soon sleep while they wait; every round has all arrangements, in an order of its own.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch

from benchmarks import models
from benchmarks.processes import told
from scalearn.precision import Precision, resolve

SOURCES = 8
SECONDS = 0.5
"""That an arrangement trains for in a round."""


class Arrangement(NamedTuple):
    """How runs are laid over cores."""

    processes: int
    threads: int
    """Of each process."""


class Work(NamedTuple):
    """What each process trains on."""

    rows: int
    """Of a batch."""
    tokens: int
    """Of a row."""
    precision: Precision


ARRANGEMENTS = (Arrangement(1, 2), Arrangement(2, 1), Arrangement(2, 2))
SHAPES = ((16, 40), (32, 40), (16, 128), (32, 128))


def grid(rounds: int, *, precisions: Sequence[Precision] = ("auto",), seed: int = 0) -> dict[str, list[float]]:
    """Tokens per second of all processes together, round by round.

    Args:
        rounds: measurements of each case; 12 cases of about a second a round and number format.
        precisions: number formats, see `scalearn.precision`.
        seed: of the order within rounds.

    Returns:
        For each case, such as ``"2 x 1 thread, 32 x 40, bf16"``, `rounds` figures.
    """
    cpu = torch.device("cpu")
    works = [Work(*shape, resolve(precision, cpu)) for precision in precisions for shape in SHAPES]
    cases = [(arrangement, work) for work in works for arrangement in ARRANGEMENTS]
    found: dict[str, list[float]] = {_name(*case): [] for case in cases}
    order = random.Random(seed)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # for the processes to come, as `scalearn.cli.main` does
    with ExitStack() as stack:
        trainers = [stack.enter_context(told(_trainer)) for _ in range(max(a.processes for a in ARRANGEMENTS))]
        for case in cases:  # warm
            _together(trainers, *case)
        for _ in range(rounds):
            for case in order.sample(cases, len(cases)):
                found[_name(*case)].append(_together(trainers, *case))
    return found


def _name(arrangement: Arrangement, work: Work) -> str:
    threads = f"{arrangement.threads} thread{'s' if arrangement.threads > 1 else ''}"
    return f"{arrangement.processes} x {threads}, {work.rows} x {work.tokens}, {work.precision}"


def _together(trainers: Sequence[Connection], arrangement: Arrangement, work: Work) -> float:
    """Tokens per second of the first processes; the others rest."""
    chosen = trainers[: arrangement.processes]
    for trainer in chosen:
        trainer.send((arrangement.threads, work))
    speeds: list[float] = [trainer.recv() for trainer in chosen]
    return sum(speeds)


def _trainer() -> Callable[[tuple[int, Work]], float]:
    """What trains with so many threads for `SECONDS`, and gives its tokens per second."""
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    model = models.ours("scalearn", cpu, count=SOURCES)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def measure(asked: tuple[int, Work]) -> float:
        threads, work = asked
        torch.set_num_threads(threads)
        models.use_attention(model, training=True, precision=work.precision)
        step = models.training_step(model, models.tokens(work.rows, work.tokens, cpu), work.precision)
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            step()
            optimizer.step()
            steps += 1
        return steps * work.rows * work.tokens / (time.perf_counter() - start)

    return measure
