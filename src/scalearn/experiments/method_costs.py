"""What each method cost: medians over its finished runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalearn.experiments.outcome import Outcome
from scalearn.experiments.results import Results


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """A row of the table."""

    label: str
    runs: int
    trained: int
    """Parameters besides the head, the most of a run."""
    head: int
    """Parameters of the head, the most of a run."""
    steps: float
    """Median."""
    seconds: float
    """Median."""
    tokens_per_second: float | None
    """Median; None where the backbone did not train along."""
    memory: float
    """GB, the most of a run."""
    gpu_memory: float
    """GB, the most of a run."""
    megabytes: float
    """Of the model's files, median."""


def costs_of(found: Results) -> list[MethodCost]:
    """A row for each method in the tables' order, sources that are in no table last."""
    groups: dict[str, dict[str, Outcome]] = {}
    for cell in found.plan.cells:
        if cell.run.id in found.outcomes:
            groups.setdefault(cell.label, {})[cell.run.id] = found.outcomes[cell.run.id]
    for run in found.plan.only_sources:
        if run.id in found.outcomes:
            groups.setdefault(f"{run.method.name} (sources)", {})[run.id] = found.outcomes[run.id]
    return [_cost(label, list(own.values())) for label, own in groups.items()]


def _cost(label: str, outcomes: Sequence[Outcome]) -> MethodCost:
    def median(value: Callable[[Outcome], float]) -> float:
        return statistics.median(map(value, outcomes))

    speeds = [one.tokens_per_second for one in outcomes if one.tokens_per_second is not None]
    return MethodCost(
        label=label,
        runs=len(outcomes),
        trained=max(one.parameters["method"] for one in outcomes),
        head=max(one.parameters.get("head", 0) for one in outcomes),
        steps=median(lambda one: one.steps),
        seconds=median(lambda one: one.seconds),
        tokens_per_second=statistics.median(speeds) if speeds else None,
        memory=max(one.peak_memory for one in outcomes),
        gpu_memory=max(one.gpu_memory for one in outcomes),
        megabytes=median(lambda one: one.bytes) / 1e6,
    )
