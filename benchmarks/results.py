"""What was measured: one row a case, in a CSV file that is replaced section by section."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one case."""

    section: str
    case: str
    n: int
    """Values that the figures are of; 0 for a note, whose text is `case`."""
    median: float
    minimum: float
    maximum: float
    lower: float
    """First quartile."""
    upper: float
    """Third quartile."""
    unit: str
    """``s``, ``MB``, ...; ``x`` for a ratio to `reference`."""
    reference: str = ""
    """The case that a ratio is to; its time was taken in the same round."""
    device: str = ""
    commit: str = ""
    date: str = ""

    def __str__(self) -> str:
        """The median, and in brackets the smallest and largest value where there are several."""
        median = figure(self.median)
        return median if self.n == 1 else f"{median} ({figure(self.minimum)} to {figure(self.maximum)})"


def figure(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    digits = 0 if value == 0 else int(np.floor(np.log10(abs(value))))
    return f"{value:,.{max(0, 2 - digits)}f}"


def summary(section: str, case: str, values: Sequence[float], unit: str, *, reference: str = "") -> Row:
    """The row of a case that was measured so many times."""
    smallest, lower, median, upper, largest = (float(q) for q in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return Row(
        section=section,
        case=case,
        n=len(values),
        median=median,
        minimum=smallest,
        maximum=largest,
        lower=lower,
        upper=upper,
        unit=unit,
        reference=reference,
    )


def note(section: str, text: str) -> Row:
    """What a reader of a section has to know beside its figures."""
    nothing = float("nan")
    return Row(
        section=section,
        case=text,
        n=0,
        median=nothing,
        minimum=nothing,
        maximum=nothing,
        lower=nothing,
        upper=nothing,
        unit="note",
    )


def read(path: Path) -> list[Row]:
    """The rows of a file; none if it does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_row(cells) for cells in csv.DictReader(file)]


def _row(cells: Mapping[str, str]) -> Row:
    kinds = {"int": int, "float": float, "str": str}
    values: dict[str, Any] = {field.name: kinds[str(field.type)](cells[field.name]) for field in fields(Row)}
    return Row(**values)


def put(path: Path, section: str, rows: Iterable[Row], *, device: str, commit: str, date: str) -> None:
    """Replaces the rows of a section in a file, which is written aside and renamed.

    Args:
        path: of the file; it need not exist.
        section: whose rows these are.
        rows: the new ones.
        device: what they were measured on.
        commit: of what was measured.
        date: when.
    """
    others = [row for row in read(path) if row.section != section]
    new = [replace(row, device=device, commit=commit, date=date) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    with aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in (*others, *new))
    os.replace(aside, path)
