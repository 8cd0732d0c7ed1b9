"""The user's own files as the splits of a task.

From `tables` come the cells of one file; here they are checked to be what a task needs (one or two columns of text that
is not empty, and a column of labels that means the same in every file) and become splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from scalearn.errors import InputError
from scalearn.tasks.draws import split_rows
from scalearn.tasks.labels import (
    KINDS,
    Kind,
    check_varied,
    class_indices,
    class_names,
    finite_numbers,
    infer_kind,
    read_labels,
)
from scalearn.tasks.splits import TEXTS, make_split
from scalearn.tasks.tables import Table, read_table


def read_texts(path: str | Path, *, text: str | Sequence[str]) -> list[tuple[str, ...]]:
    """The texts of a file without labels, or whose labels do not matter.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        text: the one or two columns of text.

    Returns:
        One tuple a row, in the order of the file and of `text`.

    Raises:
        InputError: anything in the file or in `text` that `Task.from_files` would refuse as well.
    """
    columns = text_columns(text)
    table = read_table(path, columns)
    return list(zip(*(check_texts(table, column) for column in columns), strict=True))


def read_splits(
    train: str | Path,
    *,
    text: Sequence[str],
    label: str,
    dev: str | Path | None,
    test: str | Path | None,
    kind: Kind | None,
    dev_fraction: float,
    split_seed: int,
) -> tuple[Kind, tuple[str, ...], dict[str, Dataset]]:
    """Reads and checks the files of one task; the arguments are those of `Task.from_files`.

    Returns:
        The kind, the class names (none for regression) and the splits.

    Raises:
        InputError: as `Task.from_files`.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind={kind!r} is not known; valid are {', '.join(KINDS)}")
    paths = {name: path for name, path in (("train", train), ("dev", dev), ("test", test)) if path is not None}
    tables = {name: read_table(path, (*text, label)) for name, path in paths.items()}
    texts = {name: [check_texts(table, column) for column in text] for name, table in tables.items()}
    cells = {name: read_labels(table, label) for name, table in tables.items()}

    check_varied(cells["train"], table=tables["train"], column=label)
    kind = kind or infer_kind(cells["train"], table=tables["train"], column=label)
    names = class_names(cells["train"]) if kind == "classification" else ()
    splits = {
        name: make_split(texts[name], _values(cells[name], names, table=table, column=label), labels=names)
        for name, table in tables.items()
    }
    if dev is None:
        splits |= _split_train(splits["train"], tables["train"], names, fraction=dev_fraction, seed=split_seed)
    return kind, names, splits


def read_labelled(path: str | Path, *, text: Sequence[str], label: str, names: Sequence[str]) -> Dataset:
    """Reads labelled rows of a task that is known already.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        text: the columns of text.
        label: the label column.
        names: the class names; none for regression.

    Raises:
        InputError: as `Task.from_files`, or a label is not among the names.
    """
    table = read_table(path, (*text, label))
    texts = [check_texts(table, column) for column in text]
    return make_split(texts, _values(read_labels(table, label), names, table=table, column=label), labels=names)


def text_columns(text: str | Sequence[str], *, label: str | None = None) -> tuple[str, ...]:
    """`text` as one or two column names.

    Raises:
        InputError: they are none or more than two, or two columns are the same (the label's included).
    """
    columns = (text,) if isinstance(text, str) else tuple(text)
    if not 1 <= len(columns) <= len(TEXTS):
        raise InputError(
            f"text names {len(columns)} columns ({', '.join(map(repr, columns)) or 'none'}); name one, or two for pairs"
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"text names the column {columns[0]!r} twice; name two different columns, or one")
    if label in columns:
        raise InputError(f"the column {label!r} is named as text and as label; name two different columns")
    return columns


def check_texts(table: Table, column: str) -> list[str]:
    """The cells of a column as texts.

    Raises:
        InputError: one is not a string, is empty or blank, or holds half of a surrogate pair.
    """
    texts = []
    for row, cell in enumerate(table.cells[column]):
        if not isinstance(cell, str):
            found = "missing" if cell is None else f"of type {type(cell).__name__}, not a string"
            raise InputError(
                f"{table.place(row)}: the text in column {column!r} is {found}; write a string or drop the row"
            )
        if not cell.strip():
            raise InputError(f"{table.place(row)}: the text in column {column!r} is empty; fill it in or drop the row")
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{table.place(row)}: the text in column {column!r} has half of a surrogate pair at character "
                f"{error.start}, which is no character; write the character itself"
            ) from error
        texts.append(cell)
    return texts


def _values(labels: Sequence[str], names: Sequence[str], *, table: Table, column: str) -> list[int] | list[float]:
    if names:
        return class_indices(labels, names, table=table, column=column)
    return finite_numbers(labels, table=table, column=column)


def _split_train(
    split: Dataset, table: Table, names: Sequence[str], *, fraction: float, seed: int
) -> dict[str, Dataset]:
    if not 0 < fraction < 1:
        raise InputError(f"dev_fraction={fraction} is not a share of the training file; give a number between 0 and 1")
    classes = split["label"][:] if names else None
    train, dev = split_rows(classes, len(split), fraction=fraction, seed=seed)
    if not len(dev):
        raise InputError(
            f"{table.path}: no label has two rows, so none can be set aside for development; "
            "add rows, or give a development file"
        )
    return {"train": split.select(train), "dev": split.select(dev)}
