"""The user's own files as the splits of a task.

From `tables` come the cells of one file; here they are checked to be what a task needs (one or two columns of text that
is not empty, and a column of labels that means the same in every file) and become splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalearn.errors import InputError
from scalearn.kinds import KINDS, Kind
from scalearn.tasks.draws import split_rows
from scalearn.tasks.labels import (
    check_varied,
    choice_indices,
    class_indices,
    class_names,
    finite_numbers,
    infer_kind,
    read_labels,
)
from scalearn.tasks.multilabel import holds_lists, label_names, multi_hot, read_label_lists
from scalearn.tasks.splits import TEXTS, make_split
from scalearn.tasks.tables import Table, read_table

if TYPE_CHECKING:
    from datasets import Dataset


def read_texts(path: str | Path, *, text: str | Sequence[str]) -> list[tuple[str, ...]]:
    """The texts of a file without labels, or whose labels do not matter.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        text: the one or two columns of text; for multiple choice, that of the text and those of the choices.

    Returns:
        One tuple a row, in the order of the file and of `text`.

    Raises:
        InputError: anything in the file or in `text` that `Task.from_files` would refuse as well.
    """
    columns = (text,) if isinstance(text, str) else tuple(text)
    columns = (*text_columns(columns[:2]), *columns[2:])
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
    choices: tuple[str, ...],
    separator: str,
    dev_fraction: float,
    split_seed: int,
) -> tuple[Kind, tuple[str, ...], dict[str, Dataset]]:
    """Reads and checks the files of one task; the arguments are those of `Task.from_files`.

    Returns:
        The kind, the names of classes or choices (none for regression) and the splits.

    Raises:
        InputError: as `Task.from_files`.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind={kind!r} is not known; valid are {', '.join(KINDS)}")
    paths = {name: path for name, path in (("train", train), ("dev", dev), ("test", test)) if path is not None}
    if choices and kind not in (None, "multiple-choice"):
        raise InputError(f"kind={kind!r} does not go with choices; leave one of them out")
    if kind == "multiple-choice" and not choices:
        raise InputError("kind='multiple-choice' needs the columns of the choices; give choices=(...), --choices a,b")
    tables = {name: read_table(path, (*text, *choices, label)) for name, path in paths.items()}
    train_table = tables["train"]
    for table in tables.values():
        for column in (*text, *choices):
            check_texts(table, column)
    if choices:
        kind, names = "multiple-choice", choices
    elif kind == "multi-label" or (kind is None and holds_lists(train_table, label)):
        kind, names = "multi-label", label_names(read_label_lists(train_table, label, separator=separator))
        if not names:
            raise InputError(f"{train_table.path}: no row has a label in column {label!r}; training needs some")
    else:
        cells = read_labels(train_table, label)
        check_varied(cells, table=train_table, column=label)
        kind = kind or infer_kind(cells, table=train_table, column=label)
        names = class_names(cells) if kind == "classification" else ()
    splits = {
        name: _split(table, text=text, label=label, names=names, kind=kind, choices=choices, separator=separator)
        for name, table in tables.items()
    }
    if dev is None:
        classes = splits["train"]["label"][:] if kind in ("classification", "multiple-choice") else None
        splits |= _split_train(splits["train"], train_table, classes, fraction=dev_fraction, seed=split_seed)
    return kind, names, splits


def _split(
    table: Table,
    *,
    text: Sequence[str],
    label: str,
    names: tuple[str, ...],
    kind: Kind,
    choices: Sequence[str],
    separator: str,
) -> Dataset:
    """The rows of a file as a split, checked."""
    values: Sequence[Any]
    if kind == "multi-label":
        lists = read_label_lists(table, label, separator=separator)
        values = multi_hot(lists, names, table=table, column=label)
    elif kind == "multiple-choice":
        values = choice_indices(read_labels(table, label), names, table=table, column=label)
    elif kind == "classification":
        values = class_indices(read_labels(table, label), names, table=table, column=label)
    else:
        values = finite_numbers(read_labels(table, label), table=table, column=label)
    columns = [check_texts(table, column) for column in choices]
    return make_split(
        [check_texts(table, column) for column in text],
        values,
        labels=names,
        kind=kind,
        choices=list(zip(*columns, strict=True)) if columns else None,
    )


def read_labelled(
    path: str | Path,
    *,
    text: Sequence[str],
    label: str,
    names: tuple[str, ...],
    kind: Kind,
    choices: Sequence[str],
    separator: str = ";",
) -> Dataset:
    """Reads labelled rows of a task that is known already.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        text: the columns of text.
        label: the label column.
        names: those of classes or choices; none for regression.
        kind: of the task.
        choices: the columns of the choices, for multiple choice.
        separator: what stands between the labels of a row of a multi-label CSV or TSV file.

    Raises:
        InputError: as `Task.from_files`, or a label is not among the names.
    """
    table = read_table(path, (*text, *choices, label))
    return _split(table, text=text, label=label, names=names, kind=kind, choices=choices, separator=separator)


def text_columns(
    text: str | Sequence[str], *, label: str | None = None, choices: Sequence[str] = ()
) -> tuple[str, ...]:
    """`text` as one or two column names.

    Raises:
        InputError: they are none or more than two, or two columns are the same (the label's and choices' included).
    """
    columns = (text,) if isinstance(text, str) else tuple(text)
    if not 1 <= len(columns) <= len(TEXTS):
        raise InputError(
            f"text names {len(columns)} columns ({', '.join(map(repr, columns)) or 'none'}); name one, or two for pairs"
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"text names the column {columns[0]!r} twice; name two different columns, or one")
    if choices and (len(columns) > 1 or len(choices) < 2):
        raise InputError(
            f"multiple choice pairs one text with two choices or more; text names {len(columns)} columns, choices "
            f"{len(choices)}"
        )
    if len({*columns, *choices}) < len(columns) + len(choices) or label in choices:
        raise InputError(f"choices names {', '.join(choices)}; name columns that are neither text nor label, each once")
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


def _split_train(
    split: Dataset, table: Table, classes: Sequence[int] | None, *, fraction: float, seed: int
) -> dict[str, Dataset]:
    if not 0 < fraction < 1:
        raise InputError(f"dev_fraction={fraction} is not a share of the training file; give a number between 0 and 1")
    train, dev = split_rows(classes, len(split), fraction=fraction, seed=seed)
    if not len(dev):
        few = "there is one row only" if classes is None else "no label has two rows"
        raise InputError(
            f"{table.path}: {few}, so none can be set aside for development; add rows, or give a development file"
        )
    return {"train": split.select(train), "dev": split.select(dev)}
