"""Tables as Markdown: any cells, and the scores of boards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scalearn.experiments.scoreboard import Board, Score
from scalearn.experiments.statistics import Comparison

NONE = "-"
"""What stands where there is nothing."""


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> str:
    """A Markdown table, with a line end.

    Args:
        headings: one for each column.
        rows: cells.
        names: so many columns on the left hold names; the others hold numbers and stand to the right.
    """
    rules = ["---" if column < names else "---:" for column in range(len(headings))]
    lines = ([cell.replace("|", r"\|") for cell in cells] for cells in (headings, rules, *rows))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def score_text(score: Score) -> str:
    """A score for people: mean ± standard deviation (seeds), or of one seed (se its standard error)."""
    if score.mean is None:
        return NONE
    text = f"**{score.mean:.1f}**" if score.best else f"{score.mean:.1f}"
    if score.deviation is not None:
        text += f" ± {score.deviation:.1f} ({len(score.by_seed)})"
    elif score.standard_error is not None:
        text += f" (se {score.standard_error:.1f})"
    return text if score.published is None else f"{text} [paper {score.published:.1f}]"


def board_title(board: Board) -> str:
    """Backbone, and the point of the axis."""
    return board.backbone + ("" if board.point is None else f", {board.point.axis} = {board.point.value:g}")


def board_table(board: Board) -> str:
    """A row for each method: trained parameters, the mean over tasks, and the score of each test split."""
    rows = []
    for line in board.lines:
        scores = [line.mean, *(line.cells[column.task, column.split] for column in board.columns)]
        rows.append([line.label, NONE if line.trained is None else f"{line.trained:,}", *map(score_text, scores)])
    return markdown_table(["method", "trained", "mean", *(column.heading for column in board.columns)], rows)


def interval_table(board: Board) -> str | None:
    """The 95 % intervals of the means over seeds; None where there is none."""
    rows = []
    for line in board.lines:
        scores = [line.mean, *(line.cells[column.task, column.split] for column in board.columns)]
        if any(score.interval for score in scores):
            rows.append([line.label, *(bounds_text(score.interval) for score in scores)])
    return markdown_table(["method", "mean", *(column.heading for column in board.columns)], rows) if rows else None


def bounds_text(bounds: tuple[float, float] | None) -> str:
    """From where to where; a dash where nothing is known."""
    return NONE if bounds is None or math.isinf(bounds[0]) else f"{bounds[0]:.1f} to {bounds[1]:.1f}"


def comparison_parts(found: Comparison) -> Iterator[str]:
    """Mean ranks and what they say, and a table of all pairs."""
    if len(found.tasks) > 1:
        ordered = sorted(found.ranks.items(), key=lambda item: item[1])
        ranks = ", ".join(f"{method} {rank:.2f}" for method, rank in ordered)
        yield f"Mean ranks over {', '.join(found.tasks)} (1 is the best): {ranks}.{_rank_test(found)}\n"
    rows = [
        [
            pair.first,
            pair.second,
            f"{pair.difference:+.1f}",
            bounds_text(pair.interval),
            p_text(pair.bootstrap),
            p_text(pair.wilcoxon),
            f"{pair.wins}/{pair.ties}/{pair.losses}",
        ]
        for pair in found.pairs
    ]
    if rows:
        headings = ["method", "against", "difference", "95 %", "p bootstrap", "p Wilcoxon", "wins/ties/losses"]
        yield markdown_table(headings, rows, names=2)


def p_text(p: float) -> str:
    """A p-value: three digits, and no 0.000."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rank_test(found: Comparison) -> str:
    if found.friedman is None or found.critical_difference is None:
        return ""
    return (
        f" That all rank alike has p {p_text(found.friedman)} (Friedman); two differ where their mean ranks are "
        f"more than {found.critical_difference:.2f} apart (Nemenyi, 0.05)."
    )
