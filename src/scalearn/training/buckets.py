"""Batches of rows of like length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

BUCKET = 8
"""Batches per bucket: rows are sorted by length within so many batches of a shuffled epoch."""


class LengthBucketSampler(Sampler[int]):
    """Shuffles the rows, sorts each bucket of `BUCKET` batches by length, and shuffles the batches.

    An epoch's order depends on seed and epoch alone: the same on every rank, and after a resume.

    Args:
        lengths: tokens per row, N.
        batch_size: rows per batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int] | NDArray[np.int64], *, batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        rows = torch.randperm(len(self.lengths), generator=generator).numpy()
        size = self.batch_size * BUCKET
        for start in range(0, len(rows), size):
            bucket = rows[start : start + size]
            rows[start : start + size] = bucket[np.argsort(self.lengths[bucket], kind="stable")]
        cuts = [rows[start : start + self.batch_size].tolist() for start in range(0, len(rows), self.batch_size)]
        # A batch that is not full goes last, or the loader, which cuts a stream, would cut the others askew.
        last = [cuts.pop()] if len(cuts[-1]) < self.batch_size else []
        order = torch.randperm(len(cuts), generator=generator).tolist()
        for batch in [cuts[i] for i in order] + last:
            yield from batch
