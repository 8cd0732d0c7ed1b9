"""The user's own files as the splits of a task.

From `tables` come the cells of one file; here they are checked to be what a task needs (the columns that a model reads,
see `inputs`, and a column of labels that means the same in every file) and become splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalearn.errors import InputError
from scalearn.kinds import KINDS, Kind
from scalearn.tasks.draws import split_rows
from scalearn.tasks.inputs import Inputs
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
from scalearn.tasks.splits import make_split
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
    return read_rows(path, replace(Inputs.checked(text=columns[:2]), choices=columns[2:]))


def read_rows(path: str | Path, inputs: Inputs) -> list[Any]:
    """What a model reads of a file without labels, or whose labels do not matter; see `Inputs.rows`.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        inputs: the columns.

    Raises:
        InputError: as `Task.from_files`; images are not opened yet.
    """
    return inputs.rows(read_table(path, inputs.columns))


def read_splits(
    train: str | Path,
    *,
    inputs: Inputs,
    label: str,
    dev: str | Path | None,
    test: str | Path | None,
    kind: Kind | None,
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
    if inputs.choices and kind not in (None, "multiple-choice"):
        raise InputError(f"kind={kind!r} does not go with choices; leave one of them out")
    if kind == "multiple-choice" and not inputs.choices:
        raise InputError("kind='multiple-choice' needs the columns of the choices; give choices=(...), --choices a,b")
    tables = {name: read_table(path, (*inputs.columns, label)) for name, path in paths.items()}
    train_table = tables["train"]
    read = {name: inputs.read(table) for name, table in tables.items()}
    if inputs.choices:
        kind, names = "multiple-choice", inputs.choices
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
        name: make_split(
            values=_values(table, label=label, names=names, kind=kind, separator=separator),
            labels=names,
            kind=kind,
            **read[name],
        )
        for name, table in tables.items()
    }
    if dev is None:
        classes = splits["train"]["label"][:] if kind in ("classification", "multiple-choice") else None
        splits |= _split_train(splits["train"], train_table, classes, fraction=dev_fraction, seed=split_seed)
    return kind, names, splits


def _values(table: Table, *, label: str, names: tuple[str, ...], kind: Kind, separator: str) -> Sequence[Any]:
    """The labels of a file as a split has them, checked."""
    if kind == "multi-label":
        lists = read_label_lists(table, label, separator=separator)
        return multi_hot(lists, names, table=table, column=label)
    if kind == "multiple-choice":
        return choice_indices(read_labels(table, label), names, table=table, column=label)
    if kind == "classification":
        return class_indices(read_labels(table, label), names, table=table, column=label)
    return finite_numbers(read_labels(table, label), table=table, column=label)


def read_labelled(
    path: str | Path, *, inputs: Inputs, label: str, names: tuple[str, ...], kind: Kind, separator: str = ";"
) -> Dataset:
    """Reads labelled rows of a task that is known already.

    Args:
        path: a CSV, TSV, JSONL or Parquet file.
        inputs: the columns that a model reads.
        label: the label column.
        names: those of classes or choices; none for regression.
        kind: of the task.
        separator: what stands between the labels of a row of a multi-label CSV or TSV file.

    Raises:
        InputError: as `Task.from_files`, or a label is not among the names.
    """
    table = read_table(path, (*inputs.columns, label))
    values = _values(table, label=label, names=names, kind=kind, separator=separator)
    return make_split(values=values, labels=names, kind=kind, **inputs.read(table))


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
