"""What differences between methods are worth: intervals over seeds, and paired comparisons over tasks and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods, on the tasks and seeds that both have."""

    first: str
    second: str
    difference: float
    """Mean over tasks of the mean over seeds of first - second, points of percent."""
    interval: tuple[float, float]
    """95 %, by paired bootstrap of tasks, and of seeds within a task."""
    bootstrap: float
    """Two-sided p of that, Holm-corrected over all pairs."""
    wilcoxon: float
    """Two-sided p of the signed-rank test over the tasks' mean differences, Holm-corrected over all pairs."""
    wins: int
    """Pairs of task and seed where the first scores higher."""
    ties: int
    losses: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods against each other."""

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    """Those that all methods have."""
    ranks: Mapping[str, float]
    """Mean rank of each over the tasks, 1 the best, ties averaged."""
    friedman: float | None
    """p of Friedman's test that all rank alike; None of fewer than three methods or two tasks."""
    critical_difference: float | None
    """Of mean ranks at 0.05, by Nemenyi's test (Demsar, JMLR 2006, section 3.2.2); None likewise."""
    pairs: tuple[Pair, ...]
    """Each two once, in the order of the methods."""
