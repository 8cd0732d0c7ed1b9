"""What an experiment found as CSV: ``scores.csv`` has a line for each cell of its tables, ``runs.csv`` for each run,
``sources.csv`` for each source of an explained run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.published import MEAN
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board, Line, Score
from scalearn.experiments.source_effects import Explained

_SCORES = ("mean", "deviation", "low", "high", "n", "stderr", "best", "published")
_RUN = ("run", "backbone", "method", "options", "task", "seed", "k", "train_fraction", "sources", "metric")
_COST = (
    *("trained", "train_rows", "steps", "best_step", "attempts", "seconds", "tokens_per_second", "peak_memory"),
    *("bytes", "commit", "finished"),
)


def scores_csv(boards: Sequence[Board]) -> str:
    """A line for each method and test split, and for its mean over tasks; percent, 95 % from low to high, n seeds."""
    names = ("backbone", "axis", "value", "method", "trained", "task", "split", "metric", *_SCORES)
    return _csv([names, *(row for board in boards for line in board.lines for row in _line(board, line))])


def runs_csv(found: Results) -> str:
    """A line for each finished run and task; scores in percent."""
    splits = sorted({split for one in found.outcomes.values() for own in one.metrics.values() for split in own})
    names = [*_RUN, *(f"{split}{kind}" for split in splits for kind in ("", "_stderr")), *_COST]
    done = [(run, found.outcomes[run.id]) for run in found.plan.runs if run.id in found.outcomes]
    return _csv([names, *(_run(run, outcome, task, splits) for run, outcome in done for task in run.tasks)])


def sources_csv(groups: Sequence[Explained]) -> str:
    """A line for each explained run and source; scores in percent."""
    names = (
        *("backbone", "axis", "value", "method", "task", "seed", "split", "rows", "metric", "score", "score_stderr"),
        *("bare", "source", "mean_omega", "share", "without", "difference", "stderr", "alone", "verdict"),
    )
    lines: list[Sequence[object]] = [names]
    for group in groups:
        for seed, found in group.by_seed.items():
            first = [group.backbone, *(group.point or (None, None)), group.label, group.task, seed, found.split]
            first += [found.rows, found.metric, 100 * found.score, 100 * found.stderr, 100 * found.bare]
            for effect in found.effects:
                scores = [100 * effect.without, 100 * effect.difference, 100 * effect.stderr, 100 * effect.alone]
                lines.append([*first, effect.source, effect.mean_omega, 100 * effect.share, *scores, effect.verdict])
    return _csv(lines)


def _line(board: Board, line: Line) -> Iterator[Sequence[object]]:
    first = [board.backbone, *(board.point or (None, None)), line.label, line.trained]
    yield [*first, MEAN, "test", None, *_score(line.mean)]
    for column in board.columns:
        yield [*first, column.task, column.split, column.metric, *_score(line.cells[column.task, column.split])]


def _score(score: Score) -> Sequence[object]:
    low, high = score.interval or (None, None)
    last = [score.standard_error, int(score.best), score.published]
    return [score.mean, score.deviation, low, high, len(score.by_seed), *last]


def _run(run: RunSpec, outcome: Outcome, task: str, splits: Sequence[str]) -> Sequence[object]:
    options = " ".join(f"{name}={value}" for name, value in run.options.items())
    first = [run.id, run.backbone, run.method.name, options, task, run.seed, run.draw.k, run.draw.train_fraction]
    scores: list[object] = []
    for split in splits:
        there = split in outcome.metrics[task]
        scores += [outcome.score(task, split), outcome.standard_error(task, split)] if there else [None, None]
    cost = [
        *(outcome.parameters["method"], outcome.rows[task].get("train"), outcome.steps, outcome.best_step),
        *(outcome.attempts, f"{outcome.seconds:.1f}", outcome.tokens_per_second, f"{outcome.peak_memory:.2f}"),
        *(outcome.bytes, outcome.commit, outcome.finished),
    ]
    return [*first, " ".join(outcome.sources or run.source_names), outcome.main[task], *scores, *cost]


def _csv(rows: Sequence[Sequence[object]]) -> str:
    """Numbers with a point have four digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return stream.getvalue()
