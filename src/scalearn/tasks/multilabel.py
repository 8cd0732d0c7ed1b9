"""Label cells of a multi-label task: any number of class names a row.

A typed file (JSONL, Parquet) holds lists; a CSV or TSV file names with a separator between them. An empty cell is a row
without a label, which is an answer like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from scalearn.errors import InputError
from scalearn.tasks.labels import shorten
from scalearn.tasks.tables import Table


def holds_lists(table: Table, column: str) -> bool:
    """Whether a cell of the column is a list, so that the task can only be multi-label."""
    return any(isinstance(cell, list) for cell in table.cells[column])


def read_label_lists(table: Table, column: str, *, separator: str) -> list[list[str]]:
    """The labels of each row, without surrounding blanks.

    Raises:
        InputError: the separator is empty; or a cell is neither a list of names nor a string, or names a label twice.
    """
    if not separator:
        raise InputError("the separator is empty; give what stands between two labels of a row, for instance ';'")
    rows = []
    for row, cell in enumerate(table.cells[column]):
        parts = cell.split(separator) if isinstance(cell, str) else [] if cell is None else cell
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            odd = next((part for part in parts if not isinstance(part, str)), None) if isinstance(parts, list) else None
            found = f"a list with {odd!r} in it" if isinstance(parts, list) else f"of type {type(cell).__name__}"
            raise InputError(
                f"{table.place(row)}: the labels in column {column!r} are {found}; write a list of names "
                f"(strings), or names with {separator!r} between"
            )
        names = [part.strip() for part in parts if part.strip()]
        if len(set(names)) < len(names):
            raise InputError(f"{table.place(row)}: column {column!r} names a label twice; name each once")
        rows.append(names)
    return rows


def published_names(cell: object, known: Sequence[str] = ()) -> list[str] | None:
    """The labels of a published row: a list of names, of positions in `known`, or such a list written out as text.

    Returns:
        The names; None if the cell is nothing of the kind.
    """
    if isinstance(cell, str):
        try:
            cell = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(cell, list):
        return None
    names = [known[part] if isinstance(part, int) and 0 <= part < len(known) else part for part in cell]
    return names if all(isinstance(name, str) for name in names) else None


def label_names(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The distinct labels by code point, an order that depends on nothing else."""
    return tuple(sorted({name for row in rows for name in row}))


def multi_hot(rows: Sequence[Sequence[str]], names: Sequence[str], *, table: Table, column: str) -> list[list[int]]:
    """Per row, 1 for each of the names that it has and 0 for the others.

    Raises:
        InputError: a row has a label that is not among the names.
    """
    known = set(names)
    for number, row in enumerate(rows):
        for name in row:
            if name not in known:
                raise InputError(
                    f"{table.place(number)}: the label {shorten(name)} in column {column!r} does not occur in "
                    f"training; known labels are {', '.join(map(shorten, names))}; correct it, or add training rows "
                    "of that label"
                )
    return [[int(name in row) for name in names] for row in rows]
