"""Label cells as a task needs them: class indices or finite numbers, and which of the two.

A label is the cell's text without surrounding blanks. Where the file gives types (JSONL, Parquet), an integer or an
integral float is written as an integer ("1"), a truth value as "true" or "false".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scalearn.errors import InputError
from scalearn.kinds import Kind
from scalearn.tasks.tables import Table

MOST_NUMERIC_CLASSES = 20
"""More distinct numbers than this are taken for a scale, not for classes."""
_MOST_SHOWN = 20


def read_labels(table: Table, column: str) -> list[str]:
    """The labels of `table`, one a row.

    Raises:
        InputError: a label is missing, or is of a type that is neither text nor number.
    """
    labels = []
    for row, cell in enumerate(table.cells[column]):
        label = _label(cell)
        if label is None:
            raise InputError(
                f"{table.place(row)}: the label in column {column!r} is of type {type(cell).__name__}; "
                "write a name or a number"
            )
        if not label:
            raise InputError(
                f"{table.place(row)}: the label in column {column!r} is missing; fill it in or drop the row"
            )
        labels.append(label)
    return labels


def _label(cell: object) -> str | None:
    match cell:
        case None:
            return ""
        case str():
            return cell.strip()
        case bool():
            return "true" if cell else "false"
        case float() if not math.isfinite(cell):
            return ""  # how typed files write a missing number
        case float() if cell.is_integer():
            return str(int(cell))
        case int() | float():
            return str(cell)
        case _:
            return None


def number(label: str) -> float | None:
    """The finite number `label` stands for, if it does."""
    try:
        value = float(label)
    except ValueError:
        return None
    # float("1_0") is 10.0, a notation of Python's and not of data files
    return value if math.isfinite(value) and "_" not in label else None


def infer_kind(labels: Sequence[str], *, table: Table, column: str) -> Kind:
    """Regression if the labels are numbers of which one is not an integer or more than 20 differ; else classification.

    Raises:
        InputError: at least half of the labels are such numbers and some are not numbers, which is a slip in a scale
            rather than hundreds of classes.
    """
    numbers = [number(label) for label in labels]
    known = [value for value in numbers if value is not None]
    infinite = sum(label.lower().lstrip("+-") in ("nan", "inf", "infinity") for label in labels)
    numeric = infinite > 0 and len(known) + infinite == len(labels)  # a scale with a slip, whatever its numbers
    if not numeric and all(value.is_integer() for value in known) and len(set(known)) <= MOST_NUMERIC_CLASSES:
        return "classification"
    if len(known) == len(labels):
        return "regression"
    if len(known) < len(labels) / 2:
        return "classification"
    row = numbers.index(None)
    raise InputError(
        f"{table.place(row)}: the label {shorten(labels[row])} in column {column!r} is not a finite number, while "
        f"{len(known)} of {len(labels)} labels are; correct it, or say kind='classification' if labels are classes"
    )


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels in an order that depends on nothing else: by value if all are numbers, else by code point."""
    names = sorted(set(labels))
    values: Mapping[str, float | None] = {name: number(name) for name in names}
    return tuple(sorted(names, key=lambda name: values[name] or 0.0) if None not in values.values() else names)


def class_indices(labels: Sequence[str], known: Sequence[str], *, table: Table, column: str) -> list[int]:
    """The position of each label in `known`.

    Raises:
        InputError: a label is not known.
    """
    index = {name: position for position, name in enumerate(known)}
    for row, label in enumerate(labels):
        if label not in index:
            raise InputError(
                f"{table.place(row)}: the label {shorten(label)} in column {column!r} does not occur in training; "
                f"known labels are {_listed(known)}; correct it, or add training rows of that label"
            )
    return [index[label] for label in labels]


def choice_indices(labels: Sequence[str], choices: Sequence[str], *, table: Table, column: str) -> list[int]:
    """The position of each label in `choices`: a label is the column of the right choice, or its number from 0.

    Raises:
        InputError: a label is neither.
    """
    index = {str(position): position for position in range(len(choices))}
    index |= {name: position for position, name in enumerate(choices)}  # a column may be called "1"
    for row, label in enumerate(labels):
        if label not in index:
            raise InputError(
                f"{table.place(row)}: the label {shorten(label)} in column {column!r} is no choice; write the column "
                f"of the right one ({_listed(choices)}) or its number, 0 to {len(choices) - 1}"
            )
    return [index[label] for label in labels]


def finite_numbers(labels: Sequence[str], *, table: Table, column: str) -> list[float]:
    """The labels as numbers.

    Raises:
        InputError: a label is not a finite number.
    """
    values = []
    for row, label in enumerate(labels):
        value = number(label)
        if value is None:
            raise InputError(
                f"{table.place(row)}: the label {shorten(label)} in column {column!r} is not a finite number, as "
                "regression needs; correct it or drop the row (or say kind='classification' if labels are classes)"
            )
        values.append(value)
    return values


def check_varied(labels: Sequence[str], *, table: Table, column: str) -> None:
    """Raises `InputError` if all labels are the same, so that there is nothing to learn."""
    if len(set(labels)) == 1:
        raise InputError(
            f"{table.path}: all {len(labels)} rows have the label {shorten(labels[0])} in column {column!r}; "
            "training needs at least two different labels"
        )


def shorten(value: str) -> str:
    """`value` in quotes, on one line, cut to what a message can hold."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(map(shorten, names[:_MOST_SHOWN])) + more
