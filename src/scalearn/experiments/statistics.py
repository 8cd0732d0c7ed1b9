"""What differences between methods are worth: intervals over seeds, and paired comparisons over tasks and seeds.

Seeds say how much training varies on one task, tasks how much methods vary over tasks; a few of either say little.
Student's t of three seeds has 2 degrees of freedom: its interval is 2.5 standard deviations to each side, and a
difference must be that steady to count. Seeds of one task are no independent data sets, so over tasks only means over
seeds are tested (Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 2006). Whatever is tested
more than once is corrected by Holm (1979). Scores here are plain numbers; reports give percent.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Runs = Mapping[tuple[str, int], float]
"""Task and seed to score."""

ALPHA = 0.05
"""Where a difference counts as significant."""
_DRAWS = 10_000
_SEED = 0
_SAME = 1e-9
"""What two scores may differ by and be the same: rounding in the last digits of sums."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods, on the tasks and seeds that both have."""

    first: str
    second: str
    difference: float
    """Mean over tasks of the mean over seeds of first - second, points of percent."""
    interval: tuple[float, float]
    """95 %, by paired bootstrap of tasks, and of seeds within a task; without bounds where there is one run of each."""
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
    """Those that all methods have, with at least one seed in common."""
    ranks: Mapping[str, float]
    """Mean rank of each over the tasks, 1 the best, ties averaged; empty where there is no task."""
    friedman: float | None
    """p of Friedman's test that all rank alike; None of fewer than three methods or two tasks."""
    critical_difference: float | None
    """Of mean ranks at 0.05, by Nemenyi's test (Demsar, JMLR 2006, section 3.2.2); None likewise."""
    pairs: tuple[Pair, ...]
    """Each two once, in the order of the methods; those that share no run are left out."""


def interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """95 % of the mean over seeds by Student's t, n - 1 degrees of freedom; None of fewer than two scores."""
    if len(scores) < 2:
        return None
    mean = statistics.fmean(scores)
    reach = float(stats.t.ppf(1 - ALPHA / 2, len(scores) - 1)) * statistics.stdev(scores) / math.sqrt(len(scores))
    return mean - reach, mean + reach


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values: the j-th smallest of m times m - j + 1, ascending, at most 1."""
    adjusted = [1.0] * len(p_values)
    most = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        most = max(most, min(1.0, (len(p_values) - done) * p_values[index]))
        adjusted[index] = most
    return tuple(adjusted)


def best_of(by_method: Mapping[str, Mapping[int, float]]) -> str | None:
    """The method whose scores are significantly above those of every other one, on one task.

    Each rival is met in a paired t-test over the seeds that both have, Holm-corrected over the rivals. The tests are
    two-sided: the candidate is the one that looks best, and one-sided tests would make two equal methods differ twice
    as often as `ALPHA` says.

    Args:
        by_method: seed to score; methods without scores are no rivals.

    Returns:
        None if there is no rival, if no method is above all, or if fewer than three seeds are common with one.
    """
    scored = {method: scores for method, scores in by_method.items() if scores}
    if len(scored) < 2:
        return None
    best = max(scored, key=lambda method: statistics.fmean(scored[method].values()))
    p_values = []
    for rival in scored.keys() - {best}:
        common = sorted(scored[best].keys() & scored[rival].keys())
        differences = [scored[best][seed] - scored[rival][seed] for seed in common]
        if len(differences) < 3 or statistics.fmean(differences) <= _SAME:
            return None
        p_values.append(_paired_t(differences))
    return best if max(holm(p_values)) < ALPHA else None


def best_overall(found: Comparison | None) -> str | None:
    """The method that is significantly above every other one over tasks, by the bootstrap and by Wilcoxon's test."""
    if found is None:
        return None
    above: dict[str, int] = dict.fromkeys(found.methods, 0)
    for pair in found.pairs:
        if max(pair.bootstrap, pair.wilcoxon) < ALPHA and pair.difference:
            above[pair.first if pair.difference > 0 else pair.second] += 1
    return next((method for method, count in above.items() if count == len(found.methods) - 1), None)


def compare_methods(scores: Mapping[str, Runs]) -> Comparison | None:
    """Compares methods by pairs and by ranks; None of fewer than two that have scores.

    The bootstrap draws tasks, and seeds within each drawn task, `_DRAWS` times with a fixed generator. Percentiles of
    such draws are too narrow where tasks are few, so the interval is the mean and t of n - 1 degrees of freedom times
    the draws' standard deviation times sqrt(n / (n - 1)), of n tasks (of one task: n seeds); with one seed a task it is
    Student's. p is the larger of what that t says and of twice the share of draws beyond 0, counting one more.
    Wilcoxon's p cannot be below 2^(1 - n) before it is corrected: of eight tasks 0.008, of five 0.06.
    """
    runs = {method: own for method, own in scores.items() if own}
    if len(runs) < 2:
        return None
    compared = []
    for first, second in itertools.combinations(runs, 2):
        if by_task := _differences(runs[first], runs[second]):
            compared.append((first, second, by_task, *_bootstrap(by_task), _wilcoxon(by_task)))
    bootstrap = holm([p for *_, p, _ in compared])
    wilcoxon = holm([p for *_, p in compared])
    pairs = []
    for (first, second, by_task, bounds, _, _), p_bootstrap, p_wilcoxon in zip(
        compared, bootstrap, wilcoxon, strict=True
    ):
        each = [difference for own in by_task for difference in own]
        pairs.append(
            Pair(
                first=first,
                second=second,
                difference=statistics.fmean(map(statistics.fmean, by_task)),
                interval=bounds,
                bootstrap=p_bootstrap,
                wilcoxon=p_wilcoxon,
                wins=sum(difference > _SAME for difference in each),
                ties=sum(abs(difference) <= _SAME for difference in each),
                losses=sum(difference < -_SAME for difference in each),
            )
        )
    tasks, table = _common(runs)
    ranked = len(runs) > 2 and len(tasks) > 1
    return Comparison(
        methods=tuple(runs),
        tasks=tasks,
        ranks=dict(zip(runs, mean_ranks(table), strict=True)) if tasks else {},
        friedman=_friedman(table) if ranked else None,
        critical_difference=critical_difference(methods=len(runs), tasks=len(tasks)) if ranked else None,
        pairs=tuple(pairs),
    )


def mean_ranks(table: NDArray[np.floating]) -> list[float]:
    """The mean rank of each method over tasks, 1 the best, ties averaged.

    Args:
        table: scores, (tasks, methods).
    """
    return [float(rank) for rank in stats.rankdata(-table.round(9), axis=1).mean(axis=0)]


def critical_difference(*, methods: int, tasks: int) -> float:
    """By how much mean ranks must differ at 0.05: q sqrt(k (k + 1) / 6 N), q of the Studentized range over sqrt(2)."""
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * tasks))


def _paired_t(differences: Sequence[float]) -> float:
    """Two-sided p that the mean difference is 0.

    Differences that are all the same leave t without a denominator. Their signs remain: p = 2^(1 - n), which six seeds
    make significant and three do not.
    """
    count, deviation = len(differences), statistics.stdev(differences)
    if deviation <= _SAME:
        return 2.0 ** (1 - count)
    return 2 * float(stats.t.sf(abs(statistics.fmean(differences)) * math.sqrt(count) / deviation, count - 1))


def _differences(first: Runs, second: Runs) -> list[list[float]]:
    """For each task that both have, the differences of the seeds that both have."""
    by_task: dict[str, list[float]] = {}
    for task, seed in sorted(first.keys() & second.keys()):
        by_task.setdefault(task, []).append(first[task, seed] - second[task, seed])
    return list(by_task.values())


def _bootstrap(by_task: Sequence[Sequence[float]]) -> tuple[tuple[float, float], float]:
    """The interval of the mean over tasks, and the p that it is 0; of equal differences only the signs count."""
    counts = tuple(map(len, by_task))
    units = len(counts) if len(counts) > 1 else counts[0]
    if units == 1:
        return (-math.inf, math.inf), 1.0
    means = _weights(counts) @ np.array([difference for own in by_task for difference in own])
    centre = statistics.fmean(map(statistics.fmean, by_task))
    error = float(means.std()) * math.sqrt(units / (units - 1))
    reach = float(stats.t.ppf(1 - ALPHA / 2, units - 1)) * error
    beyond = (min(int((means <= _SAME).sum()), int((means >= -_SAME).sum())) + 1) / (_DRAWS + 1)
    student = 2.0 ** (1 - units) if error <= _SAME else 2 * float(stats.t.sf(abs(centre) / error, units - 1))
    return (centre - reach, centre + reach), min(1.0, max(2 * beyond, student))


@lru_cache(maxsize=8)
def _weights(counts: tuple[int, ...]) -> NDArray[np.float64]:
    """What each run weighs in each draw, (draws, runs): pairs that have the same runs share their draws.

    Args:
        counts: seeds of each task; the runs stand task by task.
    """
    generator = np.random.default_rng(_SEED)
    tasks, seeds = len(counts), np.array(counts)
    begin = np.cumsum(seeds) - seeds
    drawn = generator.integers(tasks, size=(_DRAWS, tasks))
    inside = generator.random((_DRAWS, tasks, max(counts)))
    runs = begin[drawn][..., None] + (inside * seeds[drawn][..., None]).astype(np.int64)  # (draws, tasks, seeds)
    counted = np.arange(max(counts)) < seeds[drawn][..., None]  # a task of fewer seeds draws fewer
    weight = counted / (tasks * seeds[drawn][..., None])
    places = np.arange(_DRAWS)[:, None, None] * sum(counts) + runs
    flat = np.bincount(places.ravel(), weights=weight.ravel(), minlength=_DRAWS * sum(counts))
    return flat.reshape(_DRAWS, sum(counts)).astype(np.float64)


def _wilcoxon(by_task: Sequence[Sequence[float]]) -> float:
    """Two-sided p of the signed ranks of the tasks' mean differences; zeros count half to each side."""
    means = np.array([statistics.fmean(own) for own in by_task]).round(9)
    if len(means) < 2 or not means.any():
        return 1.0
    return float(stats.wilcoxon(means, zero_method="zsplit").pvalue)


def _common(runs: Mapping[str, Runs]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The tasks on which all methods share a seed, and the means over the shared seeds, (tasks, methods)."""
    shared = set.intersection(*(set(own) for own in runs.values()))
    tasks = tuple(dict.fromkeys(task for task, seed in next(iter(runs.values())) if (task, seed) in shared))
    means = [
        [statistics.fmean(own[run] for run in sorted(shared) if run[0] == task) for own in runs.values()]
        for task in tasks
    ]
    return tasks, np.array(means).reshape(len(tasks), len(runs))


def _friedman(table: NDArray[np.float64]) -> float:
    """p that all methods rank alike; 1 where they tie on every task."""
    rounded = table.round(9)
    if (rounded == rounded[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*rounded.T).pvalue)
