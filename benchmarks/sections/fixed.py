"""What does not depend on a batch: cold starts, and several runs on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.measure import Setting
from benchmarks.results import Row, summary
from benchmarks.startup import cold_starts
from benchmarks.throughput import grid as measured_grid


def start(setting: Setting) -> list[Row]:
    """Cold starts, each in a process of its own: `benchmarks/startup.py`."""
    return _rows("start", cold_starts(setting.rounds, seed=setting.seed), "s")


def grid(setting: Setting) -> list[Row]:
    """Several runs on one machine, threads against processes: `benchmarks/throughput.py`. All runs together."""
    return _rows("grid", measured_grid(setting.rounds, seed=setting.seed), "tokens/s")


def _rows(section: str, measured: Mapping[str, Sequence[float]], unit: str) -> list[Row]:
    return [summary(section, case, values, unit) for case, values in measured.items()]
