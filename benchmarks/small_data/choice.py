"""Several methods trained on the same rows, of which the one is kept that dev rows prefer: what that is worth.

It is what `scalearn compare --methods scalearn,adapter --seeds 1` leaves in ``best``, but that of equal dev scores, of
which few rows give many, the mean is taken, as if by chance: the order of the methods has no say. Nor has any test
row. Nothing is trained here: the runs are those of the comparison, and cells where one of the methods was not run are
left out.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from benchmarks.small_data.records import Record

CHOICES: Mapping[str, tuple[str, ...]] = {
    "scalearn or adapter": ("scalearn", "adapter"),
    "scalearn's best variant": ("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"),
}
"""What is chosen from."""
AGAINST = ("adapter", "scalearn", "best-source", "adapterfusion", "setfit")
"""What it is compared with."""


def chosen(records: Iterable[Record], methods: tuple[str, ...]) -> dict[int, dict[tuple[str, int], float]]:
    """By rows, the test score of the method of the highest dev score, of equal ones their mean, by target and draw."""
    cells: dict[tuple[int, str, int], dict[str, Record]] = {}
    for record in records:
        if record.method in methods and record.dev is not None:
            cells.setdefault((record.k, record.target, record.draw), {})[record.method] = record
    found: dict[int, dict[tuple[str, int], float]] = {}
    for (k, target, draw), own in cells.items():
        if len(own) == len(methods):
            most = max(record.dev or 0.0 for record in own.values())
            best = [record.score for record in own.values() if record.dev == most]
            found.setdefault(k, {})[target, draw] = statistics.fmean(best)
    return found
