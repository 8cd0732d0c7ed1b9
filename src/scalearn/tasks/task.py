"""What is learned: texts, labels, how success is measured, and the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from scalearn.errors import InputError, faults
from scalearn.kinds import KINDS, Kind
from scalearn.tasks.draws import draw_rows
from scalearn.tasks.files import read_labelled, read_splits, text_columns
from scalearn.tasks.metrics import COMBINED, METRICS
from scalearn.tasks.splits import TEXTS, column_names

_USER_METRICS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "classification": ("accuracy", "f1_macro"),
        "regression": ("pearson", "spearman"),
        "multi-label": ("f1_macro", "precision_macro", "recall_macro", "subset_accuracy"),
        "multiple-choice": ("accuracy",),
    }
)
_USER_MAIN: Mapping[Kind, str] = MappingProxyType(
    {
        "classification": "accuracy",
        "regression": COMBINED,
        "multi-label": "f1_macro",
        "multiple-choice": "accuracy",
    }
)
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of one or two texts and one label a row; or of several labels, or of choices to pair with the text.

    Two tasks are equal if their descriptions are; `fingerprint` tells apart the data as well.

    Raises:
        InputError: the fields contradict one another; all contradictions are named.
    """

    name: str
    """What the task is called in tables and folders."""
    kind: Kind
    """What a label is: see `scalearn.kinds`."""
    text: tuple[str, ...]
    """The one or two text columns as the user's data names them."""
    label: str
    """The label column as the user's data names it."""
    labels: tuple[str, ...] = ()
    """Class names, or names of the choices, in the order of their indices; none for regression."""
    choices: tuple[str, ...] = ()
    """The columns of the choices as the user's data names them; for multiple choice only."""
    metrics: tuple[str, ...]
    """Names in `scalearn.tasks.metrics.METRICS`."""
    main_metric: str
    """The one to choose and compare by: one of `metrics`, or "combined_score", their mean."""
    max_length: int = 128
    """Tokens kept of a row."""
    splits: Mapping[str, Dataset] = field(default_factory=dict, compare=False, repr=False)
    """By name: "train", "dev", "test" (mnli: "test_mismatched" too); any may be absent. Columns: see `splits`."""

    def __post_init__(self) -> None:
        problems = list(_contradictions(self))
        if problems:
            raise InputError(f"task {self.name!r}: {'; '.join(problems)}")

    @property
    def outputs(self) -> int:
        """Width of the head: a score for each class, or one number, or one score for each choice in turn."""
        return 1 if self.kind == "multiple-choice" else len(self.labels) or 1

    def answers(self, logits: ArrayLike) -> NDArray[Any]:
        """What `score` takes as predictions.

        Args:
            logits: (n, outputs), or (n, choices) for multiple choice.

        Returns:
            (n,) class or choice indices, or numbers; (n, labels) of 0 and 1 where a label's probability is above 0.5.
        """
        values = np.asarray(logits)
        if self.kind == "regression":
            return values[:, 0]
        return (values > 0).astype(np.int64) if self.kind == "multi-label" else values.argmax(axis=-1)

    @classmethod
    def from_files(
        cls,
        train: str | Path,
        *,
        text: str | Sequence[str],
        label: str,
        dev: str | Path | None = None,
        test: str | Path | None = None,
        kind: Kind | None = None,
        choices: Sequence[str] = (),
        separator: str = ";",
        name: str | None = None,
        dev_fraction: float = 0.2,
        split_seed: int = 42,
        max_length: int = 128,
    ) -> Task:
        """A task from the user's own files: CSV, TSV, JSONL or Parquet, by suffix.

        Args:
            train: the training file.
            text: the column of text, or the two columns of a pair.
            label: the column of labels.
            dev: the development file; without it, `dev_fraction` of `train` is set aside.
            test: the test file, if there is one.
            kind: what labels are. If not given, numbers of which one is not an integer, or more than 20 differ, make it
                regression; all else is classification. Integers may be class names. Lists are multi-label.
            choices: the columns of the choices, two or more, make it multiple choice: the label is then the name of
                the right choice's column, or its number from 0.
            separator: what stands between the labels of a row of a multi-label CSV or TSV file.
            name: the task's; the training file's name without suffix if not given.
            dev_fraction: share of `train` that becomes dev, stratified by label (but not for several labels a row). A
                class keeps at least one row in train, and has one in dev if it has two rows.
            split_seed: of that split.
            max_length: tokens kept of a row.

        Raises:
            InputError: a file, a row or an argument cannot be used; the message names which, and the way out.
        """
        columns = text_columns(text, label=label, choices=choices)
        kind, labels, splits = read_splits(
            train,
            text=columns,
            label=label,
            dev=dev,
            test=test,
            kind=kind,
            choices=tuple(choices),
            separator=separator,
            dev_fraction=dev_fraction,
            split_seed=split_seed,
        )
        return cls(
            name=name if name is not None else Path(train).stem,
            kind=kind,
            text=columns,
            label=label,
            labels=labels,
            choices=tuple(choices),
            metrics=_USER_METRICS[kind],
            main_metric=_USER_MAIN[kind],
            max_length=max_length,
            splits=splits,
        )

    def describe(self) -> dict[str, Any]:
        """All fields but the data, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "text": list(self.text),
            "label": self.label,
            "labels": list(self.labels),
            **({"choices": list(self.choices)} if self.choices else {}),
            "metrics": list(self.metrics),
            "main_metric": self.main_metric,
            "max_length": self.max_length,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Task:
        """The task that `describe` described, without data.

        Raises:
            InputError: a key is missing, unknown or of the wrong type, or the fields contradict one another.
        """
        try:
            fields = _Description.model_validate(dict(description))
        except ValidationError as error:
            raise InputError(f"not the description of a task: {faults(error)}") from error
        return cls(**dict(fields))

    def score(self, labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
        """All metrics, and "combined_score" if that is the main one.

        Args:
            labels: (n,) class indices or floats; (n, labels) of 0 and 1 for multi-label.
            predictions: of the same shape, as `answers` gives them.

        Raises:
            InputError: the two differ in shape, or there is nothing to score.
        """
        gold, predicted = np.asarray(labels), np.asarray(predictions)
        dimensions = 2 if self.kind == "multi-label" else 1
        if gold.ndim != dimensions or gold.shape != predicted.shape or not len(gold):
            raise InputError(
                f"task {self.name!r}: cannot score predictions of shape {predicted.shape} against labels of shape "
                f"{gold.shape}; give one prediction a label, and at least one"
            )
        scores = {name: METRICS[name](gold, predicted) for name in self.metrics}
        return scores | ({COMBINED: sum(scores.values()) / len(scores)} if self.main_metric == COMBINED else {})

    def take(self, *, train_rows: int | None = None, dev_rows: int | None = None, seed: int) -> Task:
        """The same task with fewer rows, in the order of the data; the test splits stay whole.

        Draws are stratified by label for classification and multiple choice, and nested: with the same seed, a smaller
        draw is a subset of a larger one. Asking for more rows than there are keeps all.

        Args:
            train_rows: rows of "train" at most; None keeps all.
            dev_rows: rows of "dev" at most; None keeps all.
            seed: of the draws.

        Raises:
            InputError: a number of rows is below one, or the split is absent.
        """
        splits = dict(self.splits)
        for stream, (split, rows) in enumerate((("train", train_rows), ("dev", dev_rows))):
            if rows is None:
                continue
            if split not in splits:
                raise InputError(f"task {self.name!r} has no {split} split to draw {rows} rows from")
            if rows < 1:
                raise InputError(f"{split}_rows={rows}: draw at least one row")
            data = splits[split]
            classes = data["label"][:] if self.kind in ("classification", "multiple-choice") else None
            splits[split] = data.select(draw_rows(classes, len(data), rows=rows, seed=(seed, stream)))
        return replace(self, splits=splits)

    def with_file(self, path: str | Path, *, split: str = "test", separator: str = ";") -> Task:
        """The same task with labelled rows from a file as one of its splits; the columns are those of training.

        Args:
            path: a CSV, TSV, JSONL or Parquet file.
            split: what to call the rows.
            separator: what stands between the labels of a row of a multi-label CSV or TSV file.

        Raises:
            InputError: the file cannot be used, or has a label that this task does not know.
        """
        rows = read_labelled(
            path,
            text=self.text,
            label=self.label,
            names=self.labels,
            kind=self.kind,
            choices=self.choices,
            separator=separator,
        )
        return replace(self, splits={**self.splits, split: rows})

    def fingerprint(self) -> str:
        """SHA-256 of the description and of every row of every split, in hexadecimal."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(json.dumps([name, len(split)]).encode())
            for batch in split.iter(batch_size=_BATCH):
                digest.update(json.dumps(batch, sort_keys=True).encode())
        return digest.hexdigest()


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    choices: tuple[str, ...] = ()
    metrics: tuple[str, ...]
    main_metric: str
    max_length: int


def _contradictions(task: Task) -> list[str]:
    columns = column_names(texts=len(task.text), kind=task.kind)
    chooses = task.kind == "multiple-choice"
    checks = {
        f"kind {task.kind!r} is not one of {', '.join(KINDS)}": task.kind in KINDS,
        f"text names {len(task.text)} columns, not one or two": 1 <= len(task.text) <= len(TEXTS),
        "classification needs two labels or more": task.kind != "classification" or len(task.labels) > 1,
        "multi-label needs at least one label": task.kind != "multi-label" or bool(task.labels),
        "multiple choice needs two choices or more, named by labels, and one text": not chooses
        or (len(task.choices) == len(task.labels) > 1 and len(task.text) == 1),
        f"choices {', '.join(task.choices)} are for multiple choice": chooses or not task.choices,
        "subset_accuracy is of multi-label tasks": "subset_accuracy" not in task.metrics or task.kind == "multi-label",
        "regression has no labels": task.kind != "regression" or not task.labels,
        "two labels share a name": len(set(task.labels)) == len(task.labels),
        f"metrics {', '.join(task.metrics) or 'none'}: valid are {', '.join(METRICS)}": (
            bool(task.metrics) and set(task.metrics) <= set(METRICS)
        ),
        f"f1 is of two classes, not of {len(task.labels)}": "f1" not in task.metrics
        or (len(task.labels) == 2 and task.kind == "classification"),
        f"main_metric {task.main_metric!r} is neither one of the metrics nor {COMBINED!r}": (
            task.main_metric in (*task.metrics, COMBINED)
        ),
        f"max_length {task.max_length} is not positive": task.max_length > 0,
    }
    wrong = [message for message, holds in checks.items() if not holds]
    return wrong + [
        f"split {name!r} has the columns {split.column_names}, not {columns}"
        for name, split in task.splits.items()
        if split.column_names != columns
    ]
