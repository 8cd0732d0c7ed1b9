"""Score tables as the template prints them, and as numbers for the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalearn.experiments.report_page.rounding import rounded
from scalearn.experiments.report_page.runs import point_title
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board, Line, Score
from scalearn.experiments.statistics import Pair

RunsOfCell = Mapping[tuple[str, str], Mapping[int, str]]
"""Label and task to seed to `RunSpec.id`."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A board with what the page needs besides."""

    board: Board
    title: str
    runs: RunsOfCell
    metrics: Mapping[str, str]
    """Heading to metric."""

    def scores(self, line: Line) -> list[Score | None]:
        """The mean's, and that of each column; None where the line has none."""
        return [line.mean, *(line.cells.get((column.task, column.split)) for column in self.board.columns)]

    def data(self, places: Mapping[str, int]) -> dict[str, Any]:
        """For JSON.

        Args:
            places: of runs in the page's list.
        """
        point, comparison = self.board.point, self.board.comparison
        return {
            "title": self.title,
            "backbone": self.board.backbone,
            "axis": point.axis if point else None,
            "at": point.value if point else None,
            "columns": ["mean", *(column.heading for column in self.board.columns)],
            "lines": [
                {
                    "label": line.label,
                    "trained": line.trained,
                    "scores": [_score(score) for score in self.scores(line)],
                    "runs": [
                        {str(seed): places[run] for seed, run in self.runs.get((line.label, column.task), {}).items()}
                        for column in self.board.columns
                    ],
                }
                for line in self.board.lines
            ],
            "ranks": None
            if comparison is None or not comparison.ranks
            else {
                "mean": {label: rounded(rank) for label, rank in comparison.ranks.items()},
                "critical": rounded(comparison.critical_difference),
                "friedman": rounded(comparison.friedman, 3),
                "tasks": list(comparison.tasks),
            },
        }

    @property
    def reach(self) -> float:
        """The largest difference that an interval of a pair comes to, for drawing them to one scale."""
        pairs = self.board.comparison.pairs if self.board.comparison else ()
        ends = [abs(value) for pair in pairs for value in (*pair.interval, pair.difference) if math.isfinite(value)]
        return max(ends, default=0.0) or 1.0

    def bar(self, pair: Pair) -> tuple[float, float, float]:
        """Left end, width, and place of the difference of a pair's interval, percent of the drawing's width."""
        ends = (max(-self.reach, min(self.reach, value)) for value in (*pair.interval, pair.difference))
        low, high, at = (50 + 50 * value / self.reach for value in ends)
        return low, high - low, at


def tables_of(found: Results, boards: Sequence[Board]) -> list[Table]:
    """A table for each board."""
    several = len(found.plan.asked.backbones) > 1
    return [
        Table(
            board=board,
            title=", ".join(filter(None, [board.backbone if several else "", point_title(board.point)])),
            runs=_runs(found, board),
            metrics={column.heading: column.metric for column in board.columns},
        )
        for board in boards
    ]


def _runs(found: Results, board: Board) -> RunsOfCell:
    runs: dict[tuple[str, str], dict[int, str]] = {}
    for cell in found.plan.cells:
        if cell.run.backbone == board.backbone and cell.point == board.point:
            for task in cell.run.tasks:
                runs.setdefault((cell.label, task), {})[cell.run.seed] = cell.run.id
    return runs


def _score(score: Score | None) -> dict[str, Any] | None:
    if score is None or score.mean is None:
        return None
    return {
        "mean": rounded(score.mean),
        "deviation": rounded(score.deviation, 3),
        "interval": None if score.interval is None else [rounded(bound) for bound in score.interval],
        "error": rounded(score.standard_error, 3),
        "published": rounded(score.published),
        "seeds": {str(seed): rounded(value) for seed, value in score.by_seed.items()},
    }
