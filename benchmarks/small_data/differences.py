"""What two methods differ by on small data, on the runs that both have.

A difference is paired: both methods saw the same rows of the same target. Draws of one target are no independent data
sets, so its draws are averaged first, and a mean over targets stands for targets like these. Targets that are columns
of one table share their rows: for interval and p they are averaged to one data set, and the interval, about the mean
over targets, is as wide as over data sets. It is that of `scalearn.experiments.statistics.compare_methods`, a
hierarchical paired bootstrap: 10,000 times, with a fixed seed, as many data sets as there are are drawn with
replacement, and within each as many of its draws; its mean is the mean over the drawn data sets of the mean over their
drawn differences. With so few data sets it is how they vary that matters: more draws would hardly narrow it.
Percentiles of so few are too narrow, so the bounds are the mean and Student's t, of one degree of freedom fewer than
there are data sets, times the resamples' standard deviation times sqrt(n / (n - 1)). It errs on the wide side, for the
noise of draws is in the differences between data sets already. p is Wilcoxon's signed-rank test over the means of data
sets; of n it cannot be below 2^(1 - n).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scipy import stats

from benchmarks.small_data.records import Record
from scalearn.experiments.statistics import ALPHA, Runs, compare_methods

Scores = Mapping[tuple[int, str], Runs]
"""Rows and method to the scores, by target and draw."""
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One method minus another, points."""

    mean: float
    """Over targets, of the mean over draws."""
    interval: tuple[float, float]
    """95 % of it; infinite where there is one run. Of a single data set it is over draws."""
    p: float
    """Two-sided, not corrected for what else is tested."""
    by_target: Mapping[str, float]
    """The mean over draws of each target."""
    runs: int
    """Pairs of target and draw that both have."""

    @property
    def worst(self) -> str:
        """The target where the first method does worst."""
        return min(self.by_target, key=lambda target: self.by_target[target])

    @property
    def record(self) -> str:
        """Targets won / tied / lost."""
        values = self.by_target.values()
        wins, losses = sum(value > _SAME for value in values), sum(value < -_SAME for value in values)
        return f"{wins}/{len(self.by_target) - wins - losses}/{losses}"


def scores_of(records: Iterable[Record]) -> dict[tuple[int, str], dict[tuple[str, int], float]]:
    """The scores of records, by rows and method."""
    scores: dict[tuple[int, str], dict[tuple[str, int], float]] = {}
    for record in records:
        scores.setdefault((record.k, record.method), {})[record.target, record.draw] = record.score
    return scores


def difference(ours: Runs, other: Runs) -> Difference | None:
    """Ours minus the other; None where they share no run."""
    paired = {cell: ours[cell] - other[cell] for cell in sorted(ours.keys() & other.keys())}
    if not paired:
        return None
    by_set: dict[tuple[str, int], list[float]] = {}
    for (target, draw), value in paired.items():
        by_set.setdefault((data_set(target), draw), []).append(value)
    found = compare_methods(
        {"ours": {cell: statistics.fmean(own) for cell, own in by_set.items()}, "other": dict.fromkeys(by_set, 0.0)}
    )
    assert found is not None, "they share runs"
    pair = found.pairs[0]
    by_target = means(paired)
    mean = statistics.fmean(by_target.values())
    low, high = (mean + bound - pair.difference for bound in pair.interval)
    return Difference(mean=mean, interval=(low, high), p=pair.wilcoxon, by_target=by_target, runs=len(paired))


def data_set(target: str) -> str:
    """What a target's rows are of: the columns of one table are one data set."""
    return target.partition("-")[0]


def means(runs: Runs) -> dict[str, float]:
    """The mean over draws of each target."""
    return {target: statistics.fmean(own) for target, own in draws_of(runs).items()}


def draws_of(runs: Runs) -> dict[str, list[float]]:
    """The draws of each target."""
    own: dict[str, list[float]] = {}
    for (target, _), value in runs.items():
        own.setdefault(target, []).append(value)
    return own


def mean_over_draws(runs: Runs) -> tuple[float, float | None]:
    """The mean over targets, and the reach of its 95 % interval if other rows of these same targets were drawn.

    Its variance is that of the targets' means over T^2, with degrees of freedom by Welch and Satterthwaite. It says
    nothing of other targets. None if some target has a single draw.
    """
    own = draws_of(runs)
    mean = statistics.fmean(map(statistics.fmean, own.values()))
    if any(len(draws) < 2 for draws in own.values()):
        return mean, None
    variances = [statistics.variance(draws) / len(draws) for draws in own.values()]
    if sum(variances) == 0:
        return mean, 0.0
    freedom = sum(variances) ** 2 / sum(v**2 / (len(d) - 1) for v, d in zip(variances, own.values(), strict=True))
    error = math.sqrt(sum(variances)) / len(own)
    return mean, float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error


def comparable(scores: Scores, *, methods: Iterable[str], rows: Iterable[int], by_runs: bool = False) -> Scores:
    """Scores cut down to targets and draws where means can be compared, between methods and along rows.

    At each number of rows a method counts that has at least half as many targets as the one that has most, and a number
    of rows counts likewise. Kept are the runs that all that count have, of targets that remain at all numbers of rows.

    Args:
        scores: of all runs.
        methods: that may count.
        rows: that may count.
        by_runs: a method counts by its runs instead, so that one of a single draw does not cost the others theirs.
    """
    wanted = list(methods)
    targets = {
        k: {method: {target for target, _ in scores[k, method]} for method in wanted if (k, method) in scores}
        for k in rows
    }
    most = {k: max(map(len, own.values()), default=0) for k, own in targets.items()}
    sizes = {
        k: {method: len(scores[k, method]) if by_runs else len(has) for method, has in own.items()}
        for k, own in targets.items()
    }
    kept = {
        k: [method for method, size in own.items() if 2 * size >= max(own.values())]
        for k, own in sizes.items()
        if most[k] and 2 * most[k] >= max(most.values())
    }
    if not kept:
        return {}
    cells = {k: set.intersection(*(set(scores[k, method]) for method in own)) for k, own in kept.items()}
    common = set.intersection(*({target for target, _ in own} for own in cells.values()))
    cut = {
        (k, method): {
            cell: score for cell, score in scores[k, method].items() if cell in cells[k] and cell[0] in common
        }
        for k, own in kept.items()
        for method in own
    }
    return cut if common else {}
