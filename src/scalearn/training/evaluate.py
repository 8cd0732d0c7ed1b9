"""Scores of a trained model on a split of its task."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scalearn.adapted import AdaptedModel
from scalearn.encoding import Features
from scalearn.errors import InputError
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
    """The task's metrics and the mean ``loss`` on one split.

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
    own, _ = model.select(task)
    task = task or own
    if split not in task.splits:
        raise InputError(f"task {task.name!r} has no split {split!r}; it has {', '.join(task.splits) or 'no data'}")
    if (task.kind, task.labels) != (own.kind, own.labels):
        raise InputError(
            f"task {task.name!r} has labels {list(task.labels)} ({task.kind}), the model was trained for "
            f"{list(own.labels)} ({own.kind}): give rows of the task it was trained for"
        )
    return scored(model, task, model.rows_of(task, split), batch_size=batch_size, precision=precision)


def scored(
    model: AdaptedModel,
    task: Task,
    rows: Sequence[Features],
    *,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> dict[str, float]:
    """The metrics of a task and the mean ``loss`` on tokenised rows with labels, from `AdaptedModel.rows_of`."""
    _, head = model.select(task)
    labels = torch.tensor([row["labels"] for row in rows])
    logits = model.logits_of(head, rows, batch_size=batch_size, precision=precision)
    return {"loss": float(head.loss(logits, labels)), **task.score(labels.numpy(), task.answers(logits.numpy()))}
