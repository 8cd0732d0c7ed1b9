"""How near each path comes to what the machine can do at most (`benchmarks.cost`)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from benchmarks import cost
from benchmarks.results import Row, figure
from benchmarks.sections.step import SHAPE, SOURCES

PATHS = {
    "plain": cost.training_operations(*SHAPE),
    "ours, T = 8": cost.training_operations(*SHAPE, sources=8),
    "ours, first token, T = 8": cost.training_operations(*SHAPE, sources=8, first_token=True),
    "literal, T = 8": cost.training_operations(*SHAPE, sources=8, literal=True),
    "ours, T = 64": cost.training_operations(*SHAPE, sources=64),
    "ours, first token, T = 64": cost.training_operations(*SHAPE, sources=64, first_token=True),
    "literal, T = 64": cost.training_operations(*SHAPE, sources=64, literal=True),
}
"""Case of the section `step` to its floating-point operations."""

_TABLE = """
"Arithmetic" is the operations over the best rate of any product measured in that format; "bytes" twice the saved ones
over the rate of a copy. A step cannot take less than the larger of the two; "reached" is that over the time measured.
What is missing is elementwise work, products of smaller matrices, and time between operators.

| path | GFlop | arithmetic, ms | saved, MB | bytes, ms | measured, ms | reached |
|---|---:|---:|---:|---:|---:|---:|
"""


def text(rows: Sequence[Row]) -> str:
    """The cost model and the table, as far as `step`, `memory` and `machine` were measured."""
    lines = list(_lines(rows))
    model = (inspect.getdoc(cost) or "") + "\n"
    return model + (_TABLE + "\n".join(lines) + "\n" if lines else "")


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    medians = {(row.section, row.case): row.median for row in rows if row.unit != "x"}
    copied = medians.get(("machine", "copy"))  # GB/s
    for number_format in SOURCES:
        products = [m for (section, case), m in medians.items() if section == "machine" and _of(case, number_format)]
        for path, operations in PATHS.items():
            case = f"{number_format}, {path}"
            seconds, saved = medians.get(("step", case)), medians.get(("memory", f"{case}: saved"))
            if not (products and copied and seconds and saved):
                continue
            arithmetic, moved = operations / max(products) / 1e6, 2 * saved / copied  # both ms
            reached = max(arithmetic, moved) / (1e3 * seconds)
            cells = [operations / 1e9, arithmetic, saved, moved, 1e3 * seconds]
            yield f"| {case} | {' | '.join(map(figure, cells))} | {100 * reached:.0f} % |"


def _of(case: str, number_format: str) -> bool:
    return case.startswith(f"{number_format}, ")
