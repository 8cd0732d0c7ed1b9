"""What it gains that a process keeps the memory that a step frees."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.processes import told
from benchmarks.results import Row, note, summary
from benchmarks.sections.step import SHAPE
from scalearn.allocation import keep_freed_memory

COUNT = 8
STEPS = 2
"""Timed together in a round."""
KEPT, GIVEN_BACK = "freed memory stays", "freed memory is given back"


def allocation(setting: Setting) -> list[Row]:
    """A training step of ours (T = 8, 32 x 128, format of the rule, no backbone dropout) in a process that keeps what a
    step frees (`scalearn.allocation`), and in one that leaves it to the C library; and the pages that a step touches
    for the first time. Both processes live through all rounds, and only one works at a time.
    """
    if setting.device.type != "cpu":
        return [note("allocation", "Of a CPU only.")]
    faults: dict[str, list[float]] = {KEPT: [], GIVEN_BACK: []}
    with ExitStack() as stack:
        pipes = {name: stack.enter_context(told(_stepper, name == KEPT)) for name in faults}

        def ask(name: str) -> None:
            pipes[name].send(STEPS)
            faults[name].append(pipes[name].recv() / STEPS)

        def case(name: str) -> Case:
            return Case(name=name, run=lambda: ask(name), against=(GIVEN_BACK,), parts=1 / STEPS)

        rows = interleaved("allocation", [case(name) for name in faults], setting)
    counted = [summary("allocation", f"{name}: pages", own[1:], "a step") for name, own in faults.items()]
    return [*rows, *counted]


def _stepper(keep: bool) -> Callable[[int], int]:
    """What trains so many steps, and counts the pages that they touch for the first time."""
    import resource  # not on Windows

    if keep:
        keep_freed_memory()
    device = torch.device("cpu")
    model = models.ours("scalearn", device, count=COUNT)
    models.use_attention(model, training=True, precision="auto")
    step = models.training_step(model, models.tokens(*SHAPE, device), "auto")

    def measure(steps: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(steps):
            step()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    return measure
