"""Which rows a joint run sees: every batch is of one task, drawn in proportion to the rows that it counts as.

    p(task) = counted^(1 / temperature) / sum        rows of a task with replacement

Source: Frohmann et al., Findings of ACL 2024, whose joint runs draw so with temperature 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import torch
from torch.utils.data import Dataset, Sampler

from scalearn.encoding import Features


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
        sizes: rows of each task.
        batch_size: rows per batch; where several processes share a batch, of all of them together.
        steps: batches in all.
        seed: of the draws.
        counted: rows that each task counts as; None is its size.
        temperature: above 1 small tasks come more often, at 1 in proportion to their size.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        batch_size: int,
        steps: int,
        seed: int,
        counted: Sequence[int] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.sizes = list(sizes)
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        weights = torch.tensor(counted or self.sizes, dtype=torch.float64) ** (1 / temperature)
        self.probabilities = weights / weights.sum()
        self.starts = [sum(self.sizes[:task]) for task in range(len(sizes))]

    def __len__(self) -> int:
        return self.steps

    def task(self, step: int) -> int:
        """The task of a step, counted from 0."""
        return self._draw(step)[0]

    def _draw(self, step: int) -> tuple[int, list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_000_007 + step)
        task = int(torch.multinomial(self.probabilities, 1, generator=generator))
        rows = torch.randint(self.sizes[task], (self.batch_size,), generator=generator)
        return task, (rows + self.starts[task]).tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.steps):
            yield self._draw(step)[1]
