"""Few-shot: k training rows, under two protocols.

``paper`` (Frohmann et al., 2024): the first k rows of train in the order in which the split drew them, the same for
every seed, classes as they come; the dev split as it is, up to 5,000 rows. So seeds differ in initialisation alone, and
the best checkpoint is chosen on far more rows than were trained on.

``true`` (Perez et al., NeurIPS 2021, "true few-shot learning"): k rows for training and k others for development, both
with the classes in balance and drawn anew for every seed; nothing else is seen. Questions about one paragraph (MultiRC)
are all on one side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from scalearn.errors import InputError
from scalearn.tasks.draws import draw_halves
from scalearn.tasks.questions import numbered
from scalearn.tasks.splits import QUESTION, TEXTS
from scalearn.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

FewShotProtocol = Literal["paper", "true"]
DEV_CAP = 5_000
_STREAM = 2
"""Beside the streams of `Task.take`."""


def few_shot(task: Task, *, k: int, protocol: FewShotProtocol = "true", seed: int) -> Task:
    """The same task with k training rows (k questions, where one row of a question is picked); test splits stay whole.

    Args:
        task: with train and dev rows.
        k: rows of train, and with protocol ``true`` of dev. A draw of fewer is a subset of a draw of more.
        protocol: see the module.
        seed: of the draw; has no effect on protocol ``paper``.

    Raises:
        InputError: the protocol is unknown, k is below 1, a split is absent, or there are too few rows.
    """
    if protocol not in get_args(FewShotProtocol):
        raise InputError(f"few-shot protocol {protocol!r}: valid are {', '.join(get_args(FewShotProtocol))}")
    if k < 1:
        raise InputError(f"k={k}: give at least one row")
    for split in ("train", "dev"):
        if split not in task.splits:
            raise InputError(f"task {task.name!r} has no {split} rows to draw from: load it with its data")
    from datasets import concatenate_datasets

    train, dev = task.splits["train"], task.splits["dev"]
    if protocol == "paper":
        drawn = _first(task, train, k), _capped(task, dev)
    else:
        drawn = _balanced(task, concatenate_datasets([train, dev]), k, seed)
    return replace(task, splits={**task.splits, "train": drawn[0], "dev": drawn[1]})


def _first(task: Task, train: Dataset, k: int) -> Dataset:
    first = np.sort(np.unique(_examples(task, train), return_index=True)[1])  # where each example begins
    if len(first) < k:
        raise InputError(f"task {task.name!r}: k={k}, but train has {len(first)} only: give a smaller k")
    end = len(train) if len(first) == k else int(first[k])
    return train.select(range(end))


def _capped(task: Task, dev: Dataset) -> Dataset:
    """The first rows of dev up to the cap, without the beginning of a question that it would cut."""
    end = min(DEV_CAP, len(dev))
    examples = _examples(task, dev)
    while 0 < end < len(dev) and examples[end] == examples[end - 1]:
        end -= 1
    return dev.select(range(end))


def _balanced(task: Task, pool: Dataset, k: int, seed: int) -> tuple[Dataset, Dataset]:
    examples = _examples(task, pool)
    count = len(np.unique(examples))
    classes = task.classes(pool) if task.unit != "pick" else None
    passages = numbered(pool[TEXTS[0]][:]) if task.unit == "question" else None  # their questions stay on one side
    halves = draw_halves(classes, count, rows=k, seed=(seed, _STREAM), groups=passages)
    if min(map(len, halves)) < k:
        raise InputError(
            f"task {task.name!r}: k={k} for training and as many for development need {2 * k}, but train and dev have "
            f"{count} together{', which are not divided as needed' if 2 * k <= count else ''}: give a smaller k"
        )
    _, number = np.unique(examples, return_inverse=True)
    return pool.select(np.flatnonzero(np.isin(number, halves[0]))), pool.select(
        np.flatnonzero(np.isin(number, halves[1]))
    )


def _examples(task: Task, rows: Dataset) -> np.ndarray:
    """What k counts: rows, or questions where one row of each is picked."""
    return np.asarray(rows[QUESTION][:]) if task.unit == "pick" else np.arange(len(rows))
