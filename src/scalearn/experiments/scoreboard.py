"""The tables of an experiment as numbers: what Markdown, LaTeX, CSV and the page are all made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalearn.experiments.plan import Point
from scalearn.experiments.statistics import Comparison


@dataclass(frozen=True, kw_only=True)
class Column:
    """A task's test split."""

    task: str
    split: str
    metric: str
    """The main one."""

    @property
    def heading(self) -> str:
        """For people."""
        return self.task if self.split == "test" else f"{self.task} {self.split.removeprefix('test_')}"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A cell: one method on one test split, or its mean over all tasks; percent."""

    by_seed: Mapping[int, float]
    """Empty where no run is done."""
    mean: float | None
    deviation: float | None
    """Standard deviation over seeds (n - 1); None of fewer than two."""
    interval: tuple[float, float] | None
    """95 % of the mean over seeds, by Student's t; None of fewer than two."""
    standard_error: float | None
    """Of one seed's test rows, by bootstrap; None of several seeds."""
    best: bool
    """Significantly above every other method of its column: the only reason to print it bold."""
    published: float | None
    """The paper's, where the setting is the paper's."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table."""

    label: str
    trained: int | None
    """Parameters besides the head, the most over tasks; None where no run is done."""
    mean: Score
    """Over all tasks; without a mean where a task has no run."""
    cells: Mapping[tuple[str, str], Score]
    """By task and split."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A table: a backbone, and where the experiment has an axis a point of it."""

    backbone: str
    point: Point | None
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    comparison: Comparison | None
    """Of all methods by pairs over tasks and seeds; None of fewer than two with runs."""
