"""Times side by side: every round runs every case once, in an order of its own, so that whatever else the machine does
falls on all of them. A ratio is one of times of the same round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import Progress, track

from benchmarks.results import Row, summary

_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the sections measure."""

    device: torch.device
    rounds: int
    seed: int
    """Of the order within rounds, of data and of weights."""
    out: Path
    """Where more than rows goes: curves."""
    data: Path | None = None
    """A folder of GLUE as parquet, for what needs real texts."""
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def track(self, items: Sequence[_Item], section: str) -> Iterable[_Item]:
        """The items, with a progress bar."""
        return track(items, description=section, console=self.console)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is timed."""

    name: str
    run: Callable[[], object]
    against: tuple[str, ...] = ()
    """Names of the cases that its time is divided by."""
    parts: float = 1
    """How many such runs make the whole: above 1, the others cost the same and are not run; below 1, a run is more."""
    repeats: int = 1
    """Runs per round, timed together, where one is too short."""


def interleaved(section: str, cases: Sequence[Case], setting: Setting) -> list[Row]:
    """Seconds of every case, and its ratios, over the rounds; a first round warms up and does not count."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    with Progress(console=setting.console) as progress:
        bar = progress.add_task(section, total=(setting.rounds + 1) * len(cases))
        for index, order in enumerate(_orders(cases, f"{section} {setting.seed}", rounds=setting.rounds + 1)):
            for case in order:
                taken = timed(case, setting.device)
                if index:
                    seconds[case.name].append(taken)
                progress.advance(bar)
    return rows_of(section, cases, seconds)


def rows_of(section: str, cases: Sequence[Case], seconds: dict[str, list[float]]) -> list[Row]:
    """The rows of times that were taken round by round."""
    rows = []
    for case in cases:
        own = seconds[case.name]
        rows.append(summary(section, case.name, own, "s"))
        for reference in case.against:
            if reference == case.name:
                continue
            ratios = [mine / other for mine, other in zip(own, seconds[reference], strict=True)]
            rows.append(summary(section, case.name, ratios, "x", reference=reference))
    return rows


def timed(case: Case, device: torch.device) -> float:
    """Seconds that the whole of a case takes, once."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(case.repeats):
        case.run()
    synchronise(device)
    return (time.perf_counter() - start) * case.parts / case.repeats


def synchronise(device: torch.device) -> None:
    """Waits for whatever a GPU still computes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _orders(cases: Sequence[Case], seed: str, *, rounds: int) -> Iterator[list[Case]]:
    chance = random.Random(seed)
    for _ in range(rounds):
        yield chance.sample(list(cases), len(cases))
