"""Which rows of a task a run sees: the same rule on data, and on numbers where there is no data yet."""

from __future__ import annotations

from dataclasses import replace

from pydantic import model_validator

from scalearn.experiments.sizes import Size
from scalearn.methods.base import Frozen
from scalearn.tasks import FewShotProtocol, Task, few_shot
from scalearn.tasks.fewshot import DEV_CAP


class Draw(Frozen):
    """A draw of rows; all of them by default."""

    train: int | None = None
    """At most so many training rows."""
    dev: int | None = None
    """At most so many dev rows."""
    test: int | None = None
    """At most so many rows of each test split, the first ones."""
    train_fraction: float | None = None
    """A share of the training rows."""
    k: int | None = None
    """Few-shot: so many training rows, under `protocol`."""
    protocol: FewShotProtocol = "true"
    """Of a few-shot draw: see `scalearn.tasks.fewshot`."""

    @model_validator(mode="after")
    def _few_alone(self) -> Draw:
        if self.k is not None and (self.train or self.dev or self.train_fraction):
            raise ValueError("a few-shot draw decides about train and dev rows: leave out the others")
        return self

    @property
    def by_seed(self) -> bool:
        """Whether another seed draws other rows of train or dev."""
        return bool(self.train or self.dev or self.train_fraction) or (self.k is not None and self.protocol == "true")

    def of(self, task: Task, *, seed: int) -> Task:
        """The task with the rows of this draw.

        Raises:
            InputError: a split is absent, or has too few rows.
        """
        if self.k is not None:
            task = few_shot(task, k=self.k, protocol=self.protocol, seed=seed)
        else:
            task = task.take(train_rows=self.train, dev_rows=self.dev, train_fraction=self.train_fraction, seed=seed)
        if self.test is None:
            return task
        first = {
            split: rows.select(range(min(self.test, len(rows)))) if split.startswith("test") else rows
            for split, rows in task.splits.items()
        }
        return replace(task, splits=first)

    def counted(self, size: Size) -> Size:
        """The size of a task with the rows of this draw."""
        if self.k is not None:
            rows = self.k * size.rows_an_example
            size = replace(size, train=rows, dev=rows if self.protocol == "true" else min(size.dev, DEV_CAP))
        share = size.train if self.train_fraction is None else max(1, round(self.train_fraction * size.train))
        return replace(
            size,
            train=min(self.train or share, share),
            dev=min(self.dev or size.dev, size.dev),
            test=min(self.test or size.test, size.test),
        )


ALL_ROWS = Draw()
