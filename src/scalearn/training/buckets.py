"""Batches of rows of like length, so that little of a batch is padding.

| sampler | a batch holds | a round is |
|---|---|---|
| `LengthBucketSampler` | so many rows | an epoch: every row once |
| `TokenBudgetSampler` | rows of so many tokens | an epoch: every row once |
| `RedrawnSampler` | so many rows | `BUCKET` batches of rows drawn with replacement |

The order of a round depends on seed and round alone: the same on every rank, and after a resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from scalearn.encoding import MULTIPLE

BUCKET = 8
"""Batches per bucket: rows are sorted by length within so many batches of a shuffled epoch."""
LARGEST_BUCKET, BUCKETS = 32, 4
"""A long epoch has larger buckets, of up to so many batches, as long as there are so many buckets of them: on GLUE-like
lengths padded tokens are 1.31 times the real ones with 8 batches of 32 rows to a bucket, and 1.13 times with 32."""


class LengthBucketSampler(Sampler[int]):
    """Shuffles the rows, sorts each bucket of `BUCKET` batches or more by padded length, and shuffles the batches.

    Rows that are padded alike stay in random order: where length tells of the label, batches of one exact length would
    hardly mix labels.

    Args:
        lengths: tokens per row, N.
        batch_size: rows per batch.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int] | NDArray[np.int64], *, batch_size: int, seed: int) -> None:
        self.lengths = -(-np.asarray(lengths) // MULTIPLE)
        self.batch_size = batch_size
        batches = len(self.lengths) // (BUCKETS * batch_size)
        self.bucket = batch_size * max(BUCKET, min(batches, LARGEST_BUCKET))
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
        for start in range(0, len(rows), self.bucket):
            bucket = rows[start : start + self.bucket]
            rows[start : start + self.bucket] = bucket[np.argsort(self.lengths[bucket], kind="stable")]
        cuts = [rows[start : start + self.batch_size].tolist() for start in range(0, len(rows), self.batch_size)]
        # A batch that is not full goes last, or the loader, which cuts a stream, would cut the others askew.
        last = [cuts.pop()] if len(cuts[-1]) < self.batch_size else []
        order = torch.randperm(len(cuts), generator=generator).tolist()
        for batch in [cuts[i] for i in order] + last:
            yield from batch


class TokenBudgetSampler(Sampler[list[int]]):
    """Sorts the rows by padded length, equals in random order, cuts them where the budget is full, and shuffles that.

    A step of short rows holds more of them than one of long rows. The sorted padded lengths are the same in every
    epoch, and so are the cuts and their number.

    Args:
        lengths: tokens that each row takes up in a batch, padding included, N.
        tokens: at most so many per batch: rows times their greatest length. A longer row is a batch of its own.
        seed: of the order.
        stream: of several samplers with one seed, which.
    """

    def __init__(self, lengths: NDArray[np.int64], *, tokens: int, seed: int, stream: int = 0) -> None:
        self.lengths = lengths
        self.entropy = (seed, stream)
        self.epoch = 0
        self.starts = [0]
        longest_first = -np.sort(-lengths)
        while self.starts[-1] < len(lengths):
            rows = max(1, tokens // max(1, int(longest_first[self.starts[-1]])))  # an empty text may have no tokens
            self.starts.append(min(self.starts[-1] + rows, len(lengths)))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.default_rng((*self.entropy, self.epoch))
        rows = chance.permutation(len(self.lengths))
        rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
        for batch in chance.permutation(len(self)):
            yield rows[self.starts[batch] : self.starts[batch + 1]].tolist()


class RedrawnSampler(Sampler[list[int]]):
    """Draws the rows of `BUCKET` batches with replacement, sorts them by length, cuts them, and shuffles the batches.

    Args:
        lengths: tokens that each row takes up in a batch, padding included, N. Rows that are padded alike stay in
            random order: where length tells of the label, batches of one exact length would hardly mix labels.
        batch_size: rows per batch.
        seed: of the draws.
        stream: of several samplers with one seed, which.
    """

    def __init__(self, lengths: NDArray[np.int64], *, batch_size: int, seed: int, stream: int = 0) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.entropy = (seed, stream)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the round that the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return BUCKET

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.default_rng((*self.entropy, self.epoch))
        rows = chance.integers(len(self.lengths), size=BUCKET * self.batch_size)
        rows = rows[np.argsort(self.lengths[rows], kind="stable")].reshape(BUCKET, self.batch_size)
        # In random order within a batch too: where processes share it, the first ones have no shorter rows.
        yield from chance.permuted(chance.permutation(rows), axis=1).tolist()
