"""Published suites: a task is a short declaration, read from the Hub or from a folder laid out like it.

Splits follow the published protocol (Frohmann et al., 2024): dev is a tenth of the official train split, drawn with
seed 42 and, where there are classes, stratified by label (but not cb's); test is the official validation split, since
official test labels are withheld. HumSet has three splits of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, load_dataset
from datasets.exceptions import DatasetsError
from datasets.utils.stratify import stratified_shuffle_split_generate_indices
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # under whichever name it is installed

from scalearn.errors import InputError
from scalearn.kinds import Kind
from scalearn.tasks.metrics import COMBINED
from scalearn.tasks.multilabel import label_names, published_names
from scalearn.tasks.splits import make_split
from scalearn.tasks.tables import check_columns, one_line
from scalearn.tasks.task import Task

DEV_FRACTION = 0.1
DEV_SEED = 42
_LABEL = "label"
_WITHHELD = -1
"""What the Hub writes for a label that is not published."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A task of a suite."""

    name: str
    """What the task is called, here and as the suite's configuration and folder."""
    text: tuple[str, ...]
    """The one or two text columns."""
    labels: tuple[str, ...] = ()
    """Names of classes or choices in the order of the suite's indices; none for regression and multi-label."""
    kind: Kind = "classification"
    """What a label is."""
    choices: tuple[str, ...] = ()
    """The columns of the choices, for multiple choice."""
    label: str = "label"
    """The label column; of a multi-label task it holds lists of names."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Of several, the main one is their mean, or the first for multi-label."""
    dev: str | None = None
    """The suite's name of the development split; None sets a tenth of train aside."""
    stratified: bool = True
    """Whether that tenth is drawn by class, where there are classes."""
    tests: tuple[tuple[str, str], ...] = (("test", "validation"),)
    """Our name and the suite's name of each test split."""
    prepare: Callable[[Mapping[str, list[Any]]], Mapping[str, list[Any]]] = dict
    """From the suite's columns to those named above."""
    reads: tuple[str, ...] = ()
    """Further columns that `prepare` reads."""

    @property
    def main_metric(self) -> str:
        """The metric to choose and compare by."""
        return self.metrics[0] if len(self.metrics) == 1 or self.kind == "multi-label" else COMBINED


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks that are published together."""

    repository: str | None
    """Dataset repository on the Hub; None if it is not there."""
    one_table: bool = False
    """Whether all tasks are columns of one data set, instead of a configuration and folder each."""
    files: str | None = None
    """Where a split's JSONL file is in the repository, for one that `datasets` cannot load by name."""
    folder: str
    """What the suite is called in a local folder."""
    tasks: tuple[Declaration, ...]
    """In the order in which tables show them."""


def load_from_suite(suite: Suite, declaration: Declaration, *, data: Path | None) -> Task:
    """Loads a declared task.

    Args:
        suite: that `declaration` belongs to.
        declaration: the task.
        data: a folder that holds ``<suite>/<task>/`` or ``<task>/`` with ``<split>-00000-of-00001.parquet`` files; None
            reads from the Hub.

    Raises:
        InputError: the data cannot be reached or read, or is not what the declaration says: a column is missing, class
            names differ, or a label is withheld.
    """
    published = ["train", *([declaration.dev] if declaration.dev else []), *(theirs for _, theirs in declaration.tests)]
    if data is None:
        where = f"{suite.repository} ({declaration.name})"
        raw = _read_hub(suite, declaration, published)
    else:
        folder = _task_folder(data, suite, declaration)
        where = str(folder)
        raw = {split: _read_folder(folder, split) for split in published}
    labels = declaration.labels
    if declaration.kind == "multi-label":  # one order for all splits, and the same in every process
        labels = label_names(
            [row for split, rows in raw.items() for row in _lists(rows, declaration, f"{where}, split {split}")]
        )
    whole = {split: _checked(rows, declaration, labels, f"{where}, split {split}") for split, rows in raw.items()}
    try:
        if declaration.dev is not None:
            train, dev = whole["train"], whole[declaration.dev]
        else:
            stratified = declaration.stratified and declaration.kind == "classification"
            train, dev = split_train(whole["train"], stratified=stratified)
    except ValueError as error:  # fewer rows than a stratified tenth needs
        raise InputError(
            f"{where}, split train: no tenth of its {len(whole['train'])} rows can be set aside for development: "
            f"{one_line(error)}; give the whole split"
        ) from error
    return Task(
        name=declaration.name,
        kind=declaration.kind,
        text=declaration.text,
        label=declaration.label,
        labels=labels,
        choices=declaration.choices,
        metrics=declaration.metrics,
        main_metric=declaration.main_metric,
        splits={
            "train": train,
            "dev": dev,
            **{ours: whole[theirs] for ours, theirs in declaration.tests},
        },
    )


def split_train(train: Dataset, *, stratified: bool) -> tuple[Dataset, Dataset]:
    """The published train and dev: row by row those of `Dataset.train_test_split`.

    Raises:
        ValueError: stratified, and a class has fewer than two rows or dev fewer rows than there are classes.
    """
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


def _read_hub(suite: Suite, declaration: Declaration, splits: Sequence[str]) -> dict[str, Dataset]:
    if suite.repository is None:
        raise InputError(
            f"{declaration.name} is not on the Hub: give a folder with --data DIR (data=DIR) that holds "
            f"{_layout(suite, declaration)}"
        )
    try:
        if suite.files is None:
            read = load_dataset(suite.repository, declaration.name)
        else:
            files = {split: f"hf://datasets/{suite.repository}/{suite.files.format(split=split)}" for split in splits}
            read = load_dataset("json", data_files=files)
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        raise InputError(
            f"{declaration.name}: cannot read {suite.repository} from the Hub: {one_line(error)}; connect, or give a "
            f"folder with --data DIR (data=DIR) that holds {_layout(suite, declaration)}"
        ) from error
    return {split: read[split] for split in splits}


def _layout(suite: Suite, declaration: Declaration) -> str:
    splits = ("train", *([declaration.dev] if declaration.dev else []), *(theirs for _, theirs in declaration.tests))
    files = ", ".join(f"{split}-00000-of-00001.parquet" for split in splits)
    if suite.one_table:
        return f"DIR/{suite.folder}/ with {files}"
    return f"DIR/{suite.folder}/{declaration.name}/ (or DIR/{declaration.name}/) with {files}"


def _task_folder(data: Path, suite: Suite, declaration: Declaration) -> Path:
    own = [data / suite.folder / declaration.name, data / declaration.name]
    for folder in [data / suite.folder] if suite.one_table else own:
        if folder.is_dir():
            return folder
    raise InputError(
        f"{data}: holds no data of {declaration.name}; "
        f"expected, with DIR for this folder, {_layout(suite, declaration)}"
    )


def _read_folder(folder: Path, split: str) -> Dataset:
    shards = sorted(folder.glob(f"{split}-*-of-*.parquet"))
    if not shards:
        raise InputError(f"{folder}: holds no {split}-00000-of-00001.parquet; copy the split from the Hub's repository")
    count = re.fullmatch(r".*-of-(\d+)\.parquet", shards[0].name)
    if count is None or int(count[1]) != len(shards):
        raise InputError(f"{folder}: {len(shards)} of the shards of {shards[0].name} are here; copy all of them")
    tables = []
    for shard in shards:
        try:
            tables.append(pq.ParquetFile(shard).read())
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{shard}: not a readable Parquet file: {one_line(error)}; copy it again") from error
    return Dataset(pa.concat_tables(tables))


def _lists(rows: Dataset, declaration: Declaration, where: str) -> list[list[str]]:
    """The label lists of a multi-label split."""
    check_columns(Path(where), rows.column_names, (*declaration.text, declaration.label))
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
    raw = (*declaration.text, *declaration.choices, declaration.label, *declaration.reads)
    check_columns(Path(where), rows.column_names, raw)
    feature = rows.features[declaration.label]
    if isinstance(feature, ClassLabel) and tuple(feature.names) != declaration.labels:
        raise InputError(
            f"{where}: the classes are {', '.join(feature.names)}, not {', '.join(declaration.labels) or 'numbers'}; "
            f"give the data of {declaration.name} as published"
        )
    for column in (*declaration.text, *declaration.reads):
        _check_text(rows[column][:], column, where)
    try:
        columns = declaration.prepare({column: rows[column][:] for column in raw})
    except KeyError as error:
        raise InputError(
            f"{where}: {error} is not known in {', '.join(declaration.reads)}; give the data of {declaration.name} as "
            "published"
        ) from error
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
    )


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
