"""Scores of a trained model on a split of its task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from scalearn.adapted import AdaptedModel
from scalearn.encoding import Features
from scalearn.errors import InputError
from scalearn.heads import Head
from scalearn.precision import Precision
from scalearn.tasks import Task


def evaluate(
    model: AdaptedModel,
    split: str = "test",
    *,
    task: Task | None = None,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> dict[str, float]:
    """The task's metrics, their standard errors (``accuracy_stderr``) and the mean ``loss`` on one split.

    Args:
        model: trained.
        split: a split of the task.
        task: where the rows are, if not in the model's own task, for instance because the model was loaded from disk;
            for a `JointModel` also which task.
        batch_size: rows at a time.
        precision: see `scalearn.precision`.

    Raises:
        InputError: the task has no such split, or its labels are not the model's.
    """
    return evaluated(model, split, task=task, batch_size=batch_size, precision=precision)[0]


def evaluated(
    model: AdaptedModel,
    split: str,
    *,
    task: Task | None = None,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> tuple[dict[str, float], NDArray[np.float32]]:
    """As `evaluate`, with the logits in the order of the rows, (N, outputs) or (N, choices)."""
    task, head = target_of(model, split, task=task)
    rows = task.splits[split]
    logits = model.logits_of(head, model.rows_of(task, split), batch_size=batch_size, precision=precision)
    scores = {**_scores(head, task, rows, logits), **task.standard_errors(rows, logits.numpy())}
    return scores, logits.numpy()


def target_of(model: AdaptedModel, split: str, *, task: Task | None) -> tuple[Task, Head]:
    """The task whose rows are to be scored, and the model's head for it.

    Raises:
        InputError: the task has no such split, or its labels are not the model's.
    """
    own, head = model.select(task)
    task = task or own
    if split not in task.splits:
        raise InputError(f"task {task.name!r} has no split {split!r}; it has {', '.join(task.splits) or 'no data'}")
    if (task.kind, task.labels) != (own.kind, own.labels):
        raise InputError(
            f"task {task.name!r} has labels {list(task.labels)} ({task.kind}), the model was trained for "
            f"{list(own.labels)} ({own.kind}): give rows of the task it was trained for"
        )
    return task, head


def scored(
    model: AdaptedModel,
    task: Task,
    rows: Sequence[Features],
    split_rows: Dataset,
    *,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> dict[str, float]:
    """The metrics of a task and the mean ``loss``.

    Args:
        model: in training.
        task: one of the model's.
        rows: tokenised, from `AdaptedModel.rows_of`.
        split_rows: the same rows of the split, in the same order.
        batch_size: rows at a time.
        precision: see `scalearn.precision`.
    """
    _, head = model.select(task)
    return _scores(head, task, split_rows, model.logits_of(head, rows, batch_size=batch_size, precision=precision))


def _scores(head: Head, task: Task, rows: Dataset, logits: Tensor) -> dict[str, float]:
    loss = head.loss(logits, torch.tensor(rows["label"][:]))
    return {"loss": float(loss), **task.judge(rows, logits.numpy())}
