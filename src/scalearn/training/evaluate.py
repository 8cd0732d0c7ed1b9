"""Scores of a trained model on a split of its task."""

from __future__ import annotations

import torch

from scalearn.errors import InputError
from scalearn.model import TransferModel
from scalearn.precision import Precision
from scalearn.tasks import Task


def evaluate(
    model: TransferModel,
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
        task: where the rows are, if not in `model.task`, for instance because the model was loaded from disk.
        batch_size: rows at a time.
        precision: see `scalearn.precision`.

    Raises:
        InputError: the task has no such split, or its labels are not the model's.
    """
    task = task or model.task
    if split not in task.splits:
        raise InputError(f"task {task.name!r} has no split {split!r}; it has {', '.join(task.splits) or 'no data'}")
    if (task.kind, task.labels) != (model.task.kind, model.task.labels):
        raise InputError(
            f"task {task.name!r} has labels {list(task.labels)} ({task.kind}), the model was trained for "
            f"{list(model.task.labels)} ({model.task.kind}): give rows of the task it was trained for"
        )
    labels = torch.tensor(task.splits[split]["label"][:])
    logits = model.logits(model.rows_of(task, split), batch_size=batch_size, precision=precision)
    return {"loss": float(model.head.loss(logits, labels)), **task.score(labels.numpy(), task.answers(logits))}
