"""What is learned: texts or images, labels, how success is measured, and the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalearn.errors import InputError
from scalearn.images import IMAGE, digests, undecoded
from scalearn.kinds import Kind, Truncation
from scalearn.tasks.description import fields_of
from scalearn.tasks.draws import draw_questions, draw_rows
from scalearn.tasks.files import read_labelled, read_rows, read_splits
from scalearn.tasks.inputs import Inputs
from scalearn.tasks.metrics import COMBINED, USER_MAIN, USER_METRICS
from scalearn.tasks.rules import contradictions
from scalearn.tasks.scoring import (
    Answers,
    AnswersToQuestions,
    LabelSets,
    Outcome,
    Picks,
    drawn_scores,
    standard_errors,
    with_mean,
)
from scalearn.tasks.splits import LABEL, QUESTION, WORTH, Unit

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of one or two texts or an image, and one label a row; or several, or choices to pair with the text.

    Two tasks are equal if their descriptions are; `fingerprint` tells apart the data as well.

    Raises:
        InputError: the fields contradict one another; all contradictions are named.
    """

    name: str
    """What the task is called in tables and folders."""
    kind: Kind
    """What a label is: see `scalearn.kinds`."""
    text: tuple[str, ...] = ()
    """The one or two text columns as the user's data names them; none of images."""
    image: str | None = None
    """The column of images as the user's data names it; none of texts."""
    label: str
    """The label column as the user's data names it."""
    labels: tuple[str, ...] = ()
    """Class names, or names of the choices, in the order of their indices; none for regression."""
    choices: tuple[str, ...] = ()
    """The columns of the choices as the user's data names them; for multiple choice only."""
    unit: Unit = "row"
    """What is scored: see `scalearn.tasks.splits`."""
    metrics: tuple[str, ...]
    """Names of `scalearn.tasks.metrics.METRICS`; of questions "exact_match" too, of picks that and "f1" only."""
    main_metric: str
    """The one to choose and compare by: one of `metrics`, or "combined_score", their mean."""
    max_length: int = 128
    """Tokens kept of a row."""
    truncation: Truncation = "longest_first"
    """Which text is cut."""
    version: int = 1
    """Of a suite's task: counts its definitions here."""
    splits: Mapping[str, Dataset] = field(default_factory=dict, compare=False, repr=False)
    """By name: "train", "dev", "test" (mnli: "test_mismatched" too); any may be absent. Columns: see `splits`."""

    def __post_init__(self) -> None:
        problems = contradictions(self)
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
        text: str | Sequence[str] = (),
        image: str | None = None,
        image_folder: str | Path | None = None,
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
            image: instead of text, the column of images: paths, or in a Parquet file the images themselves. Every image
                is opened once, so that a damaged one is found now.
            image_folder: that the paths of images start at, and lie in; that of each file by default.
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
        inputs = Inputs.checked(text=text, label=label, choices=choices, image=image, folder=image_folder)
        kind, labels, splits = read_splits(
            train,
            inputs=inputs,
            label=label,
            dev=dev,
            test=test,
            kind=kind,
            separator=separator,
            dev_fraction=dev_fraction,
            split_seed=split_seed,
        )
        return cls(
            name=name if name is not None else Path(train).stem,
            kind=kind,
            text=inputs.text,
            image=image,
            label=label,
            labels=labels,
            choices=inputs.choices,
            metrics=USER_METRICS[kind],
            main_metric=USER_MAIN[kind],
            max_length=max_length,
            splits=splits,
        )

    def describe(self) -> dict[str, Any]:
        """All fields but the data, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "text": list(self.text),
            **({"image": self.image} if self.image else {}),
            "label": self.label,
            "labels": list(self.labels),
            **({"choices": list(self.choices)} if self.choices else {}),
            "unit": self.unit,
            "metrics": list(self.metrics),
            "main_metric": self.main_metric,
            "max_length": self.max_length,
            "truncation": self.truncation,
            "version": self.version,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Task:
        """The task that `describe` described, without data.

        Raises:
            InputError: a key is missing, unknown or of the wrong type, or the fields contradict one another.
        """
        return cls(**fields_of(description))

    def score(self, labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
        """All metrics of single rows, and "combined_score" if that is the main one.

        Args:
            labels: (n,) class indices or floats; (n, labels) of 0 and 1 for multi-label.
            predictions: of the same shape, as `answers` gives them.

        Raises:
            InputError: the two differ in shape, there is nothing to score, or rows make up questions (use `judge`).
        """
        if self.unit != "row":
            raise InputError(f"task {self.name!r} scores questions, not rows: give the split and logits to judge")
        gold, predicted = np.asarray(labels), np.asarray(predictions)
        self._check_shapes(gold, predicted)
        answers = Answers if gold.ndim == 1 else LabelSets
        return with_mean(answers(labels=gold, given=predicted).scores(self.metrics), self.main_metric)

    def judge(self, rows: Dataset, logits: ArrayLike) -> dict[str, float]:
        """All metrics of a model's logits, and "combined_score" if that is the main one.

        Args:
            rows: N rows of a split.
            logits: (N, outputs), or (N, choices), in the same order.

        Raises:
            InputError: there is nothing to score, or not one row of logits for each row.
        """
        return with_mean(self._outcome(rows, logits).scores(self.metrics), self.main_metric)

    def standard_errors(self, rows: Dataset, logits: ArrayLike) -> dict[str, float]:
        """The bootstrap standard error of each score that `judge` gives, under its name and "_stderr".

        Args:
            rows: N rows of a split.
            logits: (N, outputs), or (N, choices), in the same order.

        Raises:
            InputError: as `judge`.
        """
        return standard_errors(self._outcome(rows, logits), metrics=self.metrics, main_metric=self.main_metric)

    def drawn(self, rows: Dataset, logits: ArrayLike) -> NDArray[np.float64]:
        """The main metric on each of the bootstrap's draws of rows, the same draws for all logits of these rows.

        The standard deviation of the difference of two such is the standard error of a paired comparison.

        Args:
            rows: N rows of a split.
            logits: (N, outputs), or (N, choices), in the same order.

        Raises:
            InputError: as `judge`.
        """
        needed = self.metrics if self.main_metric == COMBINED else (self.main_metric,)
        found = drawn_scores(self._outcome(rows, logits), metrics=needed, main_metric=self.main_metric)
        return np.array([scores[self.main_metric] for scores in found])

    def _outcome(self, rows: Dataset, logits: ArrayLike) -> Outcome:
        if self.unit == "pick":
            values, worths = np.asarray(logits), np.asarray(rows[WORTH][:], dtype=np.float64)
            paired = values.ndim == 2 and values.shape[1] == 2
            strengths = (
                values[:, 1] - values[:, 0] if paired else values[..., None]
            )  # the log odds, in the order of p(1)
            self._check_shapes(np.asarray(rows[LABEL][:]), strengths)
            return Picks.of(questions=np.asarray(rows[QUESTION][:]), strengths=strengths, worths=worths)
        labels, given = np.asarray(rows[LABEL][:]), self.answers(logits)
        self._check_shapes(labels, given)
        if self.unit == "question":
            return AnswersToQuestions(labels=labels, given=given, questions=np.asarray(rows[QUESTION][:]))
        return (Answers if labels.ndim == 1 else LabelSets)(labels=labels, given=given)

    def _check_shapes(self, gold: NDArray[Any], predicted: NDArray[Any]) -> None:
        dimensions = 2 if self.kind == "multi-label" else 1
        if gold.ndim != dimensions or gold.shape != predicted.shape or not len(gold):
            raise InputError(
                f"task {self.name!r}: cannot score predictions of shape {predicted.shape} against labels of shape "
                f"{gold.shape}; give one prediction a label, and at least one"
            )

    def take(
        self,
        *,
        train_rows: int | None = None,
        dev_rows: int | None = None,
        train_fraction: float | None = None,
        seed: int,
    ) -> Task:
        """The same task with fewer rows, in the order of the data; the test splits stay whole.

        Draws are stratified by label for classification and multiple choice, and nested: with the same seed, a smaller
        draw is a subset of a larger one. Rows of one question stay together. Asking for more rows than there are keeps
        all.

        Args:
            train_rows: rows of "train" at most; None keeps all.
            dev_rows: rows of "dev" at most; None keeps all.
            train_fraction: rows of "train" at most, as a share of all; the paper has 0.05, 0.10, ... 1.
            seed: of the draws.

        Raises:
            InputError: a number of rows is below one, the share is not above 0 and at most 1, both are given, or the
                split is absent.
        """
        if train_fraction is not None:
            if train_rows is not None or not 0 < train_fraction <= 1:
                both = " beside train_rows" if train_rows is not None else ""
                raise InputError(f"train_fraction={train_fraction}{both}: give a share up to 1, or a number of rows")
            train_rows = max(1, round(train_fraction * len(self.splits.get("train", ()))))
        splits = dict(self.splits)
        for stream, (split, rows) in enumerate((("train", train_rows), ("dev", dev_rows))):
            if rows is None:
                continue
            if split not in splits:
                raise InputError(f"task {self.name!r} has no {split} split to draw {rows} rows from")
            if rows < 1:
                raise InputError(f"{split}_rows={rows}: draw at least one row")
            data = splits[split]
            seeds = (seed, stream)
            if self.unit != "row":
                drawn = draw_questions(data[QUESTION][:], rows=rows, seed=seeds)
            else:
                drawn = draw_rows(self.classes(data), len(data), rows=rows, seed=seeds)
            splits[split] = data.select(drawn)
        return replace(self, splits=splits)

    def classes(self, rows: Dataset) -> list[int] | None:
        """The class, or right choice, of each row of a split; None if the task has neither."""
        return list(rows[LABEL][:]) if self.kind in ("classification", "multiple-choice") else None

    def inputs(self, *, image_folder: str | Path | None = None) -> Inputs:
        """The columns that a model reads, to find them in a file.

        Args:
            image_folder: that the paths of images start at, and lie in; that of the file by default.

        Raises:
            InputError: there is a folder, but no images.
        """
        return Inputs.checked(
            text=self.text, choices=self.choices, label=self.label, image=self.image, folder=image_folder
        )

    def read_rows(self, path: str | Path, *, image_folder: str | Path | None = None) -> list[Any]:
        """The rows of a file without labels, as `TransferModel.predict` takes them.

        Args:
            path: a CSV, TSV, JSONL or Parquet file with the columns of training.
            image_folder: see `inputs`.

        Raises:
            InputError: the file cannot be used; images are not opened yet.
        """
        return read_rows(path, self.inputs(image_folder=image_folder))

    def with_file(
        self,
        path: str | Path,
        *,
        split: str = "test",
        separator: str = ";",
        image_folder: str | Path | None = None,
    ) -> Task:
        """The same task with labelled rows from a file as one of its splits; the columns are those of training.

        Args:
            path: a CSV, TSV, JSONL or Parquet file.
            split: what to call the rows.
            separator: what stands between the labels of a row of a multi-label CSV or TSV file.
            image_folder: see `inputs`.

        Raises:
            InputError: the file cannot be used, has a label that this task does not know, or rows of this task make up
                questions, which a file of texts and labels does not have.
        """
        if self.unit != "row":
            raise InputError(f"task {self.name!r} scores questions of several rows: give its data with --data DIR")
        rows = read_labelled(
            path,
            inputs=self.inputs(image_folder=image_folder),
            label=self.label,
            names=self.labels,
            kind=self.kind,
            separator=separator,
        )
        return replace(self, splits={**self.splits, split: rows})

    def fingerprint(self) -> str:
        """SHA-256 of the description and of every row of every split, in hexadecimal; of images the content counts."""
        digest = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for name in sorted(self.splits):
            split = self.splits[name] if self.image is None else undecoded(self.splits[name])
            digest.update(json.dumps([name, len(split)]).encode())
            for batch in split.iter(batch_size=_BATCH):
                if self.image is not None:
                    batch = {**batch, IMAGE: digests(batch[IMAGE])}
                digest.update(json.dumps(batch, sort_keys=True).encode())
        return digest.hexdigest()
