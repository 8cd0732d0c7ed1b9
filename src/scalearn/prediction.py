"""From rows of texts or images to the columns that are encoded, and from logits to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scalearn.errors import InputError
from scalearn.images import IMAGE, check_images, name_of
from scalearn.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one row."""

    label: str | float | tuple[str, ...]
    """The most probable class or choice; the predicted number; all labels of probability above 0.5 (multi-label)."""
    probabilities: Mapping[str, float]
    """Per class or choice, summing to 1; per label, each between 0 and 1 (multi-label); empty for regression."""


def columns_of(rows: Sequence[Any], task: Task) -> dict[str, Sequence[Any]]:
    """What `scalearn.encoding.encode` takes, from rows as `TransferModel.predict` does.

    Args:
        rows: texts, see `text_columns`; or images: paths, bytes of files, or PIL images. Each is opened once.
        task: whose rows they are.

    Raises:
        InputError: a row is not what the task has.
    """
    if task.image is None:
        return {**text_columns(rows, task)}
    if isinstance(rows, str | bytes | Path) or not isinstance(rows, Sequence):
        raise InputError("predict takes a list of rows: give [image], not image")
    images = list(rows)
    check_images(images, place=lambda row: f"row {row + 1}{name_of(images[row])}")
    return {IMAGE: images}


def text_columns(texts: Sequence[str | tuple[str, ...]], task: Task) -> dict[str, list[Any]]:
    """Columns ``text_a`` and, for pairs, ``text_b``, from one string or tuple of strings per row.

    Rows of a multiple choice are the text and then its choices, and become ``text_a`` and ``choices``.

    Raises:
        InputError: a row has another number of texts than the task, or one that is not a string.
    """
    if isinstance(texts, str):
        raise InputError("predict takes a list of rows: give [text], not text")
    rows = [tuple(row) if isinstance(row, list | tuple) else (row,) for row in texts]
    wanted = (*task.text, *task.choices)
    count = len(wanted)
    for number, row in enumerate(rows, start=1):
        if len(row) != count or not all(isinstance(text, str) for text in row):
            raise InputError(f"row {number} is {row!r}: give {count} text(s) per row ({', '.join(wanted)})")
    if task.choices:
        return {"text_a": [row[0] for row in rows], "choices": [list(row[1:]) for row in rows]}
    return {key: [row[i] for row in rows] for i, key in enumerate(("text_a", "text_b")[:count])}


def predictions(logits: ArrayLike, task: Task) -> list[Prediction]:
    """One answer per row of logits, (N, outputs), or (N, choices): an array, or a tensor on the CPU."""
    scores = np.asarray(logits)
    if task.kind == "regression":
        return [Prediction(label=value, probabilities={}) for value in scores[:, 0].tolist()]
    if task.kind == "multi-label":
        chances = (1 + np.tanh(scores / 2)) / 2  # the logistic function, without overflow
        rows = [dict(zip(task.labels, row, strict=True)) for row in chances.tolist()]
        return [Prediction(label=tuple(n for n, p in row.items() if p > 0.5), probabilities=row) for row in rows]
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    rows = [dict(zip(task.labels, row, strict=True)) for row in (powers / powers.sum(axis=-1, keepdims=True)).tolist()]
    return [Prediction(label=max(row, key=row.__getitem__), probabilities=row) for row in rows]
