"""How many rows and tokens a task has, from its declaration: without data, without network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from scalearn.kinds import Kind
from scalearn.tasks import declared, load_task
from scalearn.tasks.builtin import POLICY_CLAIMS
from scalearn.tasks.suites import DEV_FRACTION

_ROWS_A_QUERY = {"record": 12}
"""A row for each entity of a query: the 100,730 training queries of ReCoRD make 1.2 million rows."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a task is."""

    kind: Kind
    train: int
    """Rows."""
    dev: int
    test: int
    """Rows of all test splits."""
    rows_an_example: int = 1
    """Rows that few-shot counts as one: those of a query."""
    tokens: int
    """The most that a row has: of a multiple choice, with all choices."""


def canonical(task: str) -> str:
    """The name that a task goes by.

    Raises:
        InputError: there is no such task.
    """
    return task if task == POLICY_CLAIMS else declared(task).name


@cache
def size_of(task: str) -> Size:
    """The size of a task with all its rows.

    Raises:
        InputError: there is no such task.
    """
    if task == POLICY_CLAIMS:
        whole = load_task(task)
        counts = {split: len(rows) for split, rows in whole.splits.items()}
        return Size(kind=whole.kind, tokens=whole.max_length, **counts)
    declaration = declared(task)
    rows = {split: count * _ROWS_A_QUERY.get(declaration.name, 1) for split, count in declaration.rows.items()}
    dev = rows[declaration.dev] if declaration.dev else math.ceil(DEV_FRACTION * rows["train"])
    return Size(
        kind=declaration.kind,
        train=rows["train"] - (0 if declaration.dev else dev),
        dev=dev,
        test=sum(rows[theirs] for _, theirs in declaration.tests),
        rows_an_example=_ROWS_A_QUERY.get(declaration.name, 1),
        tokens=declaration.max_length * max(1, len(declaration.choices)),
    )
