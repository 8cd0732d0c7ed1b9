"""What each source did, of all explained runs of an experiment: by method and target, over seeds.

A source is said to hurt a method on a target (negative transfer) if it does in more than half of the seeds, each by the
verdict of its own run (`scalearn.explanation`). Errors of seeds are not pooled: all seeds are judged by the same dev
rows, or each by rows of its own where these are drawn anew.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalearn.experiments.plan import Point
from scalearn.experiments.results import Results
from scalearn.explanation import Effect, Explanation


@dataclass(frozen=True, kw_only=True)
class SourceEffect:
    """One source for one method on one target; scores in percent, means over seeds."""

    source: str
    by_seed: Mapping[int, Effect]
    """Of the seeds whose run combined it."""

    @property
    def share(self) -> float:
        """Of the norm of what all sources add, in percent."""
        return 100 * statistics.fmean(effect.share for effect in self.by_seed.values())

    @property
    def without(self) -> float:
        """Score without it."""
        return 100 * statistics.fmean(effect.without for effect in self.by_seed.values())

    @property
    def alone(self) -> float:
        """Score with it alone."""
        return 100 * statistics.fmean(effect.alone for effect in self.by_seed.values())

    @property
    def difference(self) -> float:
        """Score without it minus that of the whole model, in points: above 0 where it hurts."""
        return 100 * statistics.fmean(effect.difference for effect in self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the difference over seeds, in points; None of one seed."""
        differences = [100 * effect.difference for effect in self.by_seed.values()]
        return statistics.stdev(differences) if len(differences) > 1 else None

    @property
    def standard_error(self) -> float | None:
        """Of one seed's difference by a bootstrap of rows, in points; None of several."""
        errors = [100 * effect.stderr for effect in self.by_seed.values()]
        return errors[0] if len(errors) == 1 else None

    @property
    def error_text(self) -> str:
        """As scores have it: ± standard deviation (seeds), or of one seed (se its standard error)."""
        if self.deviation is not None:
            return f"± {self.deviation:.1f} ({len(self.by_seed)})"
        return f"(se {self.standard_error:.1f})"

    @property
    def verdict(self) -> str:
        """That of the one seed, or each with how many seeds have it, the most frequent first."""
        found = Counter(effect.verdict for effect in self.by_seed.values())
        if len(self.by_seed) == 1:
            return next(iter(found))
        return ", ".join(f"{verdict} {count}" for verdict, count in found.most_common())

    @property
    def hurts(self) -> bool:
        """Whether it hurts in more than half of the seeds."""
        return 2 * sum(effect.verdict == "hurts" for effect in self.by_seed.values()) > len(self.by_seed)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One method on one target, of all its explained seeds."""

    backbone: str
    point: Point | None
    label: str
    """Of the method in the tables."""
    task: str
    by_seed: Mapping[int, Explanation]

    @property
    def metric(self) -> str:
        """The main metric of the target."""
        return next(iter(self.by_seed.values())).metric

    @property
    def score(self) -> float:
        """Mean over seeds of the whole model on dev, in percent."""
        return 100 * statistics.fmean(found.score for found in self.by_seed.values())

    @property
    def bare(self) -> float:
        """Likewise with no source."""
        return 100 * statistics.fmean(found.bare for found in self.by_seed.values())

    @property
    def effects(self) -> Sequence[SourceEffect]:
        """Of each source that some seed combined, in order."""
        named: dict[str, dict[int, Effect]] = {}
        for seed, found in self.by_seed.items():
            for effect in found.effects:
                named.setdefault(effect.source, {})[seed] = effect
        return [SourceEffect(source=name, by_seed=by_seed) for name, by_seed in named.items()]

    @property
    def warnings(self) -> list[str]:
        """A sentence for each source that hurts."""
        return [self._warning(effect) for effect in self.effects if effect.hurts]

    def _warning(self, effect: SourceEffect) -> str:
        where = "" if self.point is None else f" at {self.point.axis} {self.point.value:g}"
        seeds = len(effect.by_seed)
        hurting = sum(one.verdict == "hurts" for one in effect.by_seed.values())
        often = f", in {hurting} of {seeds} seeds" if seeds > 1 else ""
        return (
            f"{effect.source} hurts {self.label} on {self.task}{where}{often}: without it dev {self.metric} changes by "
            f"{effect.difference:+.1f} points {effect.error_text}"
        )


def explained(found: Results) -> list[Explained]:
    """Every method and target of which a run was explained, in the order of the plan."""
    groups: dict[tuple[str, Point | None, str, str], dict[int, Explanation]] = {}
    for cell in found.plan.cells:
        if (told := found.explanations.get(cell.run.id)) is not None:
            (task,) = cell.run.tasks
            groups.setdefault((cell.run.backbone, cell.point, cell.label, task), {})[cell.run.seed] = told
    return [
        Explained(backbone=backbone, point=point, label=label, task=task, by_seed=by_seed)
        for (backbone, point, label, task), by_seed in groups.items()
    ]
