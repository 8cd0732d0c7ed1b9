"""The tables of an experiment as numbers: what Markdown, LaTeX, CSV and the page are all made of."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import Cell, Point
from scalearn.experiments.published import MEAN, published_scores
from scalearn.experiments.results import Results
from scalearn.experiments.statistics import Comparison, best_of, best_overall, compare_methods, interval
from scalearn.methods import Probing

_MAIN: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Column:
    """A task's test split."""

    task: str
    split: str
    metric: str
    """The main one, unless another was asked for; empty where no run is done."""

    @property
    def heading(self) -> str:
        """For people."""
        return self.task if self.split == "test" else f"{self.task} {self.split.removeprefix('test_')}"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A cell: one method on one test split, or its mean over all tasks; percent."""

    by_seed: Mapping[int, float]
    """Empty where no run is done; of the mean, the seeds that all tasks have."""
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


def boards(found: Results, *, metrics: Mapping[str, str] = _MAIN) -> tuple[Board, ...]:
    """The tables of an experiment, those of a backbone together; probing has tables of its own.

    Args:
        found: what is known by now.
        metrics: task to the metric to show instead of the main one.
    """
    made = []
    for backbone in found.plan.asked.backbones:
        groups = cell_groups(found, backbone)
        for point in dict.fromkeys(point for point, _ in groups):
            rows = {label: cells for (at, label), cells in groups.items() if at == point}
            made.append(_board(found, backbone, point, rows, metrics))
    return tuple(made)


def cell_groups(found: Results, backbone: str) -> Mapping[tuple[Point | None, str], list[Cell]]:
    """The cells of a backbone but those of probing, by table and row; rows in the recipe's order."""
    groups: dict[tuple[Point | None, str], list[Cell]] = {}
    for cell in found.plan.cells:
        if cell.run.backbone == backbone and not isinstance(cell.run.method, Probing):
            groups.setdefault((cell.point, cell.label), []).append(cell)
    labels = [choice.shown for choice in found.plan.asked.methods]
    return dict(sorted(groups.items(), key=lambda item: labels.index(item[0][1])))


def _board(
    found: Results, backbone: str, point: Point | None, rows: Mapping[str, list[Cell]], metrics: Mapping[str, str]
) -> Board:
    done = {label: [cell for cell in cells if cell.run.id in found.outcomes] for label, cells in rows.items()}
    columns = tuple(_columns(found, [found.outcomes[cell.run.id] for own in done.values() for cell in own], metrics))
    lines = [_line(found, label, cells, columns) for label, cells in done.items()]
    runs = {
        line.label: {
            (task, seed): value
            for (task, split), score in line.cells.items()
            if split == "test"
            for seed, value in score.by_seed.items()
        }
        for line in lines
    }
    comparison = compare_methods(runs)
    best = {
        (column.task, column.split): best_of(
            {line.label: line.cells[column.task, column.split].by_seed for line in lines}
        )
        for column in columns
    }
    overall = best_overall(comparison) if all(line.mean.mean is not None for line in lines) else None
    marked = tuple(
        replace(
            line,
            mean=replace(line.mean, best=line.label == overall),
            cells={where: replace(score, best=line.label == best[where]) for where, score in line.cells.items()},
        )
        for line in lines
    )
    return Board(backbone=backbone, point=point, columns=columns, lines=marked, comparison=comparison)


def _columns(found: Results, outcomes: Sequence[Outcome], metrics: Mapping[str, str]) -> Iterator[Column]:
    """The main test split of each task first."""
    for task in found.plan.asked.tasks:
        own = [outcome for outcome in outcomes if task in outcome.metrics]
        splits = {split for outcome in own for split in outcome.metrics[task] if split.startswith("test")}
        metric = metrics.get(task) or (own[0].main[task] if own else "")
        for split in sorted(splits | {"test"}):
            yield Column(task=task, split=split, metric=metric)


def _line(found: Results, label: str, cells: Sequence[Cell], columns: Sequence[Column]) -> Line:
    """A row, of cells whose runs are done."""
    tasks = found.plan.asked.tasks
    runs = {task: [cell.run for cell in cells if task in cell.run.tasks] for task in tasks}
    metrics = {column.task: column.metric for column in columns}
    published = published_scores(runs, found.outcomes, metrics=metrics)
    scores = {
        (column.task, column.split): _score(
            {run.seed: found.outcomes[run.id] for run in runs[column.task]},
            column,
            published.get(column.task) if column.split == "test" else None,
        )
        for column in columns
    }
    trained = [found.outcomes[cell.run.id].parameters["method"] for cell in cells]
    return Line(
        label=label,
        trained=max(trained, default=None),
        mean=_mean([scores[task, "test"] for task in tasks], published.get(MEAN)),
        cells=scores,
    )


def _score(outcomes: Mapping[int, Outcome], column: Column, published: float | None) -> Score:
    """A cell, of outcomes by seed."""
    there = {
        seed: outcome.metrics[column.task][column.split]
        for seed, outcome in outcomes.items()
        if column.split in outcome.metrics[column.task]
    }
    by_seed = {seed: 100 * metrics[column.metric] for seed, metrics in there.items() if column.metric in metrics}
    values = list(by_seed.values())
    errors = [metrics.get(f"{column.metric}_stderr") for metrics in there.values()]
    return Score(
        by_seed=by_seed,
        mean=statistics.fmean(values) if values else None,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        interval=interval(values),
        standard_error=100 * errors[0] if len(errors) == 1 and errors[0] is not None else None,
        best=False,
        published=published,
    )


def _mean(scores: Sequence[Score], published: float | None) -> Score:
    """The mean over tasks of their means over seeds.

    Its spread is that of the seeds that all tasks have; where some tasks have more, the interval is moved to the mean.
    """
    means = [score.mean for score in scores if score.mean is not None]
    mean = statistics.fmean(means) if len(means) == len(scores) else None
    seeds = sorted(set.intersection(*(set(score.by_seed) for score in scores)))
    by_seed = {seed: statistics.fmean(score.by_seed[seed] for score in scores) for seed in seeds}
    values = list(by_seed.values())
    bounds = interval(values)
    if bounds is not None and mean is not None:
        shift = mean - statistics.fmean(values)
        bounds = bounds[0] + shift, bounds[1] + shift
    return Score(
        by_seed=by_seed,
        mean=mean,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        interval=bounds,
        standard_error=None,
        best=False,
        published=published,
    )
