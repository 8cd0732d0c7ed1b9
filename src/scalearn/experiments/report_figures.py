"""The pictures of a report: scores along the axis, mean ranks, and score against trained parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from scalearn.experiments.curves import Line, score_curves
from scalearn.experiments.efficiency import Mark, efficiency_figure
from scalearn.experiments.heatmap import write_figure
from scalearn.experiments.plan import Axis
from scalearn.experiments.ranks import rank_diagram
from scalearn.experiments.scoreboard import Board

_AXES: Mapping[Axis, tuple[str, str, bool]] = MappingProxyType(
    {
        "k": ("few-shot", "training rows k", True),
        "train_fraction": ("train-fraction", "share of the training rows", False),
        "sources": ("sources", "number of sources", False),
    }
)
"""File, name of the axis, and whether it is logarithmic."""


def write_curves(boards: Sequence[Board], folder: Path, *, suffix: str) -> Iterator[str]:
    """A picture of the scores along the axis, if there is one with anything on it; yields its line of Markdown.

    Args:
        boards: of one backbone.
        folder: where to write.
        suffix: of the file's name.
    """
    along = {board.point.value: board for board in boards if board.point is not None}
    panels: dict[str, dict[str, Line]] = {}
    first = boards[0]
    for task in dict.fromkeys(column.task for column in first.columns):
        for label in [line.label for line in first.lines]:
            scores = {
                value: line.cells[task, "test"]
                for value, board in sorted(along.items())
                for line in board.lines
                if line.label == label and line.cells[task, "test"].mean is not None
            }
            if scores:
                panels.setdefault(task, {})[label] = Line(
                    at=tuple(scores),
                    mean=tuple(score.mean or 0.0 for score in scores.values()),
                    spread=tuple(score.deviation or 0.0 for score in scores.values()),
                )
    if panels and first.point is not None:
        name, axis, logarithmic = _AXES[first.point.axis]
        figure = score_curves(panels, axis=axis, score_axis="test score (%)", logarithmic=logarithmic)
        write_figure(figure, folder / f"{name}{suffix}")
        yield f"![{first.backbone}: test scores by {axis}]({name}{suffix}.png)\n"


def write_ranks(board: Board, folder: Path, *, suffix: str) -> Iterator[str]:
    """The critical-difference diagram, if there is a critical difference; yields its line of Markdown."""
    if board.comparison is not None and board.comparison.critical_difference is not None:
        write_figure(rank_diagram(board.comparison), folder / f"ranks{suffix}")
        yield f"![{board.backbone}: mean ranks, what is joined does not differ](ranks{suffix}.png)\n"


def write_efficiency(board: Board, folder: Path, *, suffix: str) -> Iterator[str]:
    """Mean score against trained parameters, if two methods have both; yields its line of Markdown."""
    marks = [
        Mark(label=line.label, trained=line.trained, score=line.mean.mean, spread=line.mean.deviation or 0.0)
        for line in board.lines
        if line.trained is not None and line.mean.mean is not None
    ]
    if len(marks) > 1:
        write_figure(efficiency_figure(marks, score_axis="mean test score (%)"), folder / f"efficiency{suffix}")
        yield f"![{board.backbone}: mean score by trained parameters](efficiency{suffix}.png)\n"
