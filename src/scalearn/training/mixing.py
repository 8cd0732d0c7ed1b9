"""Which rows a joint run sees: every batch is of one task, drawn in proportion to the rows that it counts as.

    p(task) = counted^(1 / temperature) / sum        rows of a task with replacement

Source: Frohmann et al., Findings of ACL 2024, whose joint runs draw so with temperature 1. Here the batches of a task
are of rows of like length: see `scalearn.training.buckets`, also for what is drawn under a budget of tokens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from torch.utils.data import Dataset, Sampler

from scalearn.encoding import Features
from scalearn.training.buckets import RedrawnSampler, TokenBudgetSampler


class EndToEnd(Dataset[tuple[str, Features]]):
    """The rows of several tasks laid end to end, each with the name of its task.

    Args:
        rows: of each task by name, tokenised.
    """

    def __init__(self, rows: Mapping[str, Sequence[Features]]) -> None:
        self.names = list(rows)
        self.rows = list(rows.values())
        self.ends = list(accumulate(map(len, self.rows)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> tuple[str, Features]:
        task = bisect_right(self.ends, index)
        return self.names[task], self.rows[task][index - self.ends[task] + len(self.rows[task])]


class TaskMix(Sampler[list[int]]):
    """A batch sampler over the rows of several tasks laid end to end.

    The batch of a step depends on seed and step alone: the same on every rank, and after a resume.

    Args:
        batches: of each task: where its batches come from, round after round.
        batch_size: rows per batch, of all processes that share it together; looked at only where there are several.
        steps: batches in all.
        seed: of the sequence of tasks.
        counted: rows that each task counts as; None is its size.
        temperature: above 1 small tasks come more often, at 1 in proportion to their size.
    """

    def __init__(
        self,
        batches: Sequence[RedrawnSampler | TokenBudgetSampler],
        *,
        batch_size: int,
        steps: int,
        seed: int,
        counted: Sequence[int] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.batches = batches
        self.batch_size = batch_size
        sizes = [len(own.lengths) for own in batches]
        self.starts = [0, *accumulate(sizes)][:-1]
        weights = np.array(counted or sizes, dtype=np.float64) ** (1 / temperature)
        self.probabilities = weights / weights.sum()
        chance = np.random.default_rng((seed, len(batches), 0))  # the streams before are those of the tasks
        drawn = np.searchsorted(self.probabilities.cumsum(), chance.random(steps), side="right")
        self.tasks = np.minimum(drawn, len(sizes) - 1)
        """Of each step, counted from 0."""

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[list[int]]:
        own = [self._endless(task) for task in range(len(self.batches))]
        for task in self.tasks:
            yield next(own[task])

    def _endless(self, task: int) -> Iterator[list[int]]:
        """The batches of a task, round after round."""
        batches, start, epoch = self.batches[task], self.starts[task], 0
        while True:
            batches.set_epoch(epoch)
            for rows in batches:
                yield [start + row for row in rows]
            epoch += 1
