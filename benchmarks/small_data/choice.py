"""Several methods trained on the same rows, of which the one is kept that dev rows prefer: what that is worth.

It is what `scalearn compare --methods scalearn,adapter` leaves in ``best``. No test row has a say; of equal dev scores
the method named first is kept. Nothing is trained here: the runs are those of the comparison, and cells where one of
the methods was not run are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.small_data.records import Record

CHOICES: Mapping[str, tuple[str, ...]] = {
    "scalearn or adapter": ("scalearn", "adapter"),
    "scalearn's best variant": ("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"),
}
"""What is chosen from."""
AGAINST = ("adapter", "scalearn", "best-source", "adapterfusion", "setfit")


def chosen(records: Iterable[Record], methods: tuple[str, ...]) -> dict[int, dict[tuple[str, int], float]]:
    """By rows, the test score of the method of the highest dev score, by target and draw."""
    cells: dict[tuple[int, str, int], dict[str, Record]] = {}
    for record in records:
        if record.method in methods and record.dev is not None:
            cells.setdefault((record.k, record.target, record.draw), {})[record.method] = record
    found: dict[int, dict[tuple[str, int], float]] = {}
    for (k, target, draw), own in cells.items():
        if len(own) == len(methods):
            best = max((own[method] for method in methods), key=lambda record: record.dev or 0.0)
            found.setdefault(k, {})[target, draw] = best.score
    return found
