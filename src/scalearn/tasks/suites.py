"""From the published rows of a suite's task to a `Task`.

Splits follow the published protocol (Frohmann et al., 2024): dev is a tenth of the official train split, drawn with
seed 42 and, where there are classes, stratified by label (but not cb's); test is the official validation split, since
official test labels are withheld. HumSet has three splits of its own. ReCoRD's tenth is one of queries, so that no
query is in both (the published code used its test rows for development).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalearn.errors import InputError
from scalearn.tasks.declarations import Declaration, Row, Suite
from scalearn.tasks.multilabel import label_names, published_names
from scalearn.tasks.questions import numbered
from scalearn.tasks.reading import read_published
from scalearn.tasks.splits import QUESTION, WORTH, make_split
from scalearn.tasks.tables import check_columns, one_line
from scalearn.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

DEV_FRACTION = 0.1
DEV_SEED = 42
_LABEL = "label"
_WITHHELD = -1
"""What the Hub writes for a label that is not published."""


def load_from_suite(suite: Suite, declaration: Declaration, *, data: Path | None) -> Task:
    """Loads a declared task.

    Args:
        suite: that `declaration` belongs to.
        declaration: the task.
        data: see `scalearn.tasks.reading`.

    Raises:
        InputError: the data cannot be reached or read, or is not what the declaration says: a column is missing, class
            names differ, a row cannot be prepared, or a label is withheld.
    """
    where, raw = read_published(suite, declaration, data=data)
    labels = declaration.labels
    if declaration.kind == "multi-label":  # one order for all splits, and the same in every process
        labels = label_names(
            [row for split, rows in raw.items() for row in _lists(rows, declaration, f"{where}, split {split}")]
        )
    whole = {split: _checked(rows, declaration, labels, f"{where}, split {split}") for split, rows in raw.items()}
    try:
        if declaration.dev is not None:
            train, dev = whole["train"], whole[declaration.dev]
        elif declaration.unit == "pick":
            train, dev = split_questions(whole["train"])
        else:
            stratified = declaration.stratified and declaration.kind in ("classification", "multiple-choice")
            train, dev = split_train(whole["train"], stratified=stratified)
    except ValueError as error:  # fewer rows than a stratified tenth needs
        raise InputError(
            f"{where}, split train: no tenth of its {len(whole['train'])} rows can be set aside for development: "
            f"{one_line(error)}; give the whole split"
        ) from error
    tests = {ours: whole[theirs] for ours, theirs in declaration.tests}
    return declared_task(declaration, labels=labels, splits={"train": train, "dev": dev, **tests})


def declared_task(declaration: Declaration, *, labels: tuple[str, ...], splits: Mapping[str, Dataset]) -> Task:
    """The task that a declaration describes, with these labels and rows."""
    return Task(
        name=declaration.name,
        kind=declaration.kind,
        text=declaration.text,
        label=declaration.label,
        labels=labels,
        choices=declaration.choices,
        unit=declaration.unit,
        metrics=declaration.metrics,
        main_metric=declaration.main_metric,
        max_length=declaration.max_length,
        truncation=declaration.truncation,
        version=declaration.version,
        splits=splits,
    )


def split_train(train: Dataset, *, stratified: bool) -> tuple[Dataset, Dataset]:
    """The published train and dev: row by row those of `Dataset.train_test_split`.

    Raises:
        ValueError: stratified, and a class has fewer than two rows or dev fewer rows than there are classes.
    """
    from datasets.utils.stratify import stratified_shuffle_split_generate_indices

    if not stratified:
        parts = train.train_test_split(test_size=DEV_FRACTION, seed=DEV_SEED, keep_in_memory=True)
        return parts["train"], parts["test"]
    # what train_test_split calls after reading the labels one row at a time, which takes it half a minute for MNLI
    dev_rows = math.ceil(len(train) * DEV_FRACTION)
    draws = stratified_shuffle_split_generate_indices(
        np.asarray(train[_LABEL][:]), len(train) - dev_rows, dev_rows, np.random.default_rng(DEV_SEED)
    )
    kept, set_aside = next(draws)
    return train.select(kept), train.select(set_aside)


def split_questions(train: Dataset) -> tuple[Dataset, Dataset]:
    """Train and dev of whole questions: a tenth of the questions, drawn as `Dataset.train_test_split` draws rows.

    Raises:
        ValueError: there are too few questions.
    """
    from datasets import Dataset

    asked, begin, sizes = np.unique(np.asarray(train[QUESTION][:]), return_index=True, return_counts=True)
    parts = split_train(Dataset.from_dict({QUESTION: list(range(len(asked)))}), stratified=False)

    def rows(questions: Dataset) -> np.ndarray:
        return np.concatenate([np.arange(begin[q], begin[q] + sizes[q]) for q in questions[QUESTION][:]])

    return train.select(rows(parts[0])), train.select(rows(parts[1]))


def _lists(rows: Dataset, declaration: Declaration, where: str) -> list[list[str]]:
    """The label lists of a multi-label split."""
    from datasets import ClassLabel

    check_columns(Path(where), rows.column_names, declaration.columns)
    item = getattr(rows.features[declaration.label], "feature", None)
    known = item.names if isinstance(item, ClassLabel) else ()
    lists = []
    for row, cell in enumerate(rows[declaration.label][:]):
        names = published_names(cell, known)
        if names is None:
            raise InputError(
                f"{where}: row {row + 1} has {cell!r} for {declaration.label}, not a list of names; give the data of "
                f"{declaration.name} as published"
            )
        lists.append(names)
    return lists


def _checked(rows: Dataset, declaration: Declaration, labels: Sequence[str], where: str) -> Dataset:
    """A split of the suite's as one of a task."""
    from datasets import ClassLabel

    check_columns(Path(where), rows.column_names, declaration.columns)
    if not len(rows):
        raise InputError(f"{where}: there are no rows; give the data of {declaration.name} as published")
    feature = rows.features.get(declaration.label)
    if isinstance(feature, ClassLabel) and tuple(feature.names) != declaration.labels:
        raise InputError(
            f"{where}: the classes are {', '.join(feature.names)}, not {', '.join(declaration.labels) or 'numbers'}; "
            f"give the data of {declaration.name} as published"
        )
    columns = _prepared(rows, declaration, where)
    for column in (*declaration.text, *declaration.choices):
        _check_text(columns[column], column, where)
    values = columns[declaration.label]
    if declaration.kind == "multi-label":
        values = [[int(name in row) for name in labels] for row in _lists(rows, declaration, where)]
    else:
        _check_known(values, declaration, where)
    choices = [columns[column] for column in declaration.choices]
    return make_split(
        [columns[column] for column in declaration.text],
        values,
        labels=labels,
        kind=declaration.kind,
        choices=list(zip(*choices, strict=True)) if choices else None,
        questions=numbered(columns[QUESTION]) if declaration.unit != "row" else None,
        worths=columns[WORTH] if declaration.unit == "pick" else None,
    )


def _prepared(rows: Dataset, declaration: Declaration, where: str) -> dict[str, list[Any]]:
    """The columns of a split after the declaration's preprocessing."""
    raw = {column: rows[column][:] for column in declaration.columns}
    if declaration.prepare is None:
        return raw
    prepared = list(_each(raw, declaration, where))
    if not prepared:
        raise InputError(f"{where}: no row of {declaration.name} is in it; give the data as published")
    return {column: [row[column] for row in prepared] for column in prepared[0]}


def _each(raw: dict[str, list[Any]], declaration: Declaration, where: str) -> Iterator[Row]:
    assert declaration.prepare is not None
    for number, cells in enumerate(zip(*raw.values(), strict=True), start=1):
        try:
            yield from declaration.prepare(dict(zip(raw, cells, strict=True)))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{where}: row {number} cannot be read as a row of {declaration.name} ({one_line(error)} in one of the "
                f"columns {', '.join(declaration.columns)}); give the data as published"
            ) from error


def _check_text(cells: Sequence[Any], column: str, where: str) -> None:
    if not all(isinstance(cell, str) for cell in cells):
        raise InputError(f"{where}: column {column!r} holds cells that are not text; give the data as published")


def _check_known(labels: Sequence[Any], declaration: Declaration, where: str) -> None:
    for row, label in enumerate(labels):
        known = label in range(len(declaration.labels)) if declaration.labels else _is_score(label)
        if not known:
            withheld = " (withheld)" if label == _WITHHELD else ""
            raise InputError(f"{where}: row {row + 1} has the label {label}{withheld}; give a split with labels")


def _is_score(label: object) -> bool:
    return isinstance(label, float) and math.isfinite(label) and label != _WITHHELD
