"""Rows of lengths as GLUE has them, and what an epoch over them is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import nn

from benchmarks import models
from benchmarks.models import Batch
from scalearn.encoding import Features, collator, lengths_of, padded_lengths_of
from scalearn.precision import Precision, autocast
from scalearn.training.buckets import LengthBucketSampler, TokenBudgetSampler

ROWS = 4096
"""Enough for the library's largest buckets, as GLUE's own tasks mostly are."""
BATCH = 32
TOKENS = 2048
"""Per batch, where a batch is a budget of tokens: rows times padded length."""
MEAN, DEVIATION, LEAST, MOST = 39, 24, 4, 128
"""Tokens per row: of a lognormal distribution, cut at both ends."""
TIMED = 2
"""Batches that are timed of an epoch whose batches all cost the same."""
EVERY = 8
"""Of an epoch's other batches, by padded length, one in so many is timed."""

Batching = Literal["padded", "buckets", "tokens"]
"""All rows padded to `MOST`; the library's buckets of like length; its batches of so many tokens."""


def rows(count: int = ROWS, *, seed: int = 0) -> list[Features]:
    """Random token ids between [CLS] and [SEP], with labels."""
    chance = np.random.default_rng(seed)
    variance = math.log(1 + (DEVIATION / MEAN) ** 2)
    drawn = chance.lognormal(math.log(MEAN) - variance / 2, math.sqrt(variance), size=count)
    made: list[Features] = []
    for length in np.clip(np.rint(drawn), LEAST, MOST).astype(int).tolist():
        ids = [101, *chance.integers(1000, 20000, size=length - 2).tolist(), 102]
        own = {"input_ids": ids, "token_type_ids": [0] * length, "attention_mask": [1] * length}
        made.append({**own, "labels": int(chance.integers(2))})
    return made


def batches(own: list[Features], batching: Batching, *, seed: int = 0) -> tuple[list[Batch], float]:
    """Some of the batches of an epoch, and how many times as many make the whole.

    Where all are padded alike, the first `TIMED`; else every `EVERY`th by padded length, in random order.
    """
    tokenizer = models.backbone().tokenizer
    assert tokenizer is not None, "MiniLM has one"
    pad = collator(tokenizer)
    if batching == "padded":
        longest = [_padded(row) for row in own[: TIMED * BATCH]]
        timed = [pad(longest[start * BATCH : (start + 1) * BATCH]) for start in range(TIMED)]
        return timed, len(own) / (TIMED * BATCH)
    if batching == "tokens":
        rows_of = list(TokenBudgetSampler(padded_lengths_of(own), tokens=TOKENS, seed=seed))
    else:
        order = list(LengthBucketSampler(lengths_of(own), batch_size=BATCH, seed=seed))
        rows_of = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    made = sorted(
        (pad([own[row] for row in batch]) for batch in rows_of), key=lambda batch: batch["input_ids"].shape[1]
    )
    timed = made[EVERY // 2 :: EVERY] or made
    random.Random(seed).shuffle(timed)
    return timed, len(made) / len(timed)


def _padded(row: Features) -> Features:
    missing = MOST - len(row["input_ids"])
    return {key: value if key == "labels" else [*value, *[0] * missing] for key, value in row.items()}


class Epoch:
    """Forward, loss, backward, clipping at 1 and a step of the optimizer, for every batch.

    Args:
        model: in training mode, with its attention set.
        batches: gives the same ones each time.
        optimizer: of all that is trained.
        precision: of autocast.
    """

    def __init__(
        self, model: nn.Module, batches: Iterable[Batch], optimizer: torch.optim.Optimizer, *, precision: Precision
    ) -> None:
        self.model = model
        self.batches = batches
        self.optimizer = optimizer
        self.precision = precision
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self) -> None:
        """Trains for one epoch."""
        device = self.trained[0].device
        for batch in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            with autocast(self.precision, device):
                loss = self.model(**{key: value.to(device) for key, value in batch.items()}).loss
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
