"""How long the rest of an experiment takes, from what its finished runs took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from scalearn.experiments.cost import cost_of
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.results import Results


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The time of runs that are not done, one after the other."""

    seconds: float
    measured: int
    """Finished runs it is taken from."""


def estimate(found: Results) -> Estimate | None:
    """The time that is left, as if one run followed the other; None where no run is finished.

    A run takes the seconds for each operation that is the median of the finished runs of its method on its backbone; of
    all finished runs where there are none of these.
    """
    done = [run for run in found.plan.runs if run.id in found.found]
    if not done:
        return None
    left = [run for run in found.plan.runs if run.id not in found.found]
    rates = {kind: _rate(found, (run for run in done if _kind(run) == kind)) for kind in map(_kind, done)}
    usual = _rate(found, done)
    seconds = sum(cost_of(run).operations * rates.get(_kind(run), usual) for run in left)
    return Estimate(seconds=seconds, measured=len(done))


def _kind(run: RunSpec) -> tuple[str, str]:
    return run.backbone, run.method.name


def _rate(found: Results, runs: Iterable[RunSpec]) -> float:
    """Seconds an operation."""
    return statistics.median(found.outcomes[run.id].seconds / cost_of(run).operations for run in runs)
