"""From texts to padded batches of token ids, bucketed by length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

Features = dict[str, Any]
"""One row: ``input_ids``, ``attention_mask``, where the backbone has them ``token_type_ids``, and maybe ``labels``."""


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Sequence[str]],
    *,
    max_length: int,
    labels: Sequence[int] | Sequence[float] | None = None,
) -> list[Features]:
    """Tokenises rows of one or two texts.

    Args:
        tokenizer: the backbone's.
        texts: ``text_a`` and, for pairs, ``text_b``; N texts each.
        max_length: tokens kept of a row; the longer text of a pair is cut first.
        labels: N class indices or numbers, if there are any.

    Returns:
        N rows, not padded.
    """
    if not len(texts["text_a"]):
        return []
    columns = tokenizer(
        list(texts["text_a"]),
        list(texts["text_b"]) if "text_b" in texts else None,
        truncation=True,
        max_length=min(max_length, tokenizer.model_max_length),
    )
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if labels is not None:
        for row, label in zip(rows, labels, strict=True):
            row["labels"] = label
    return rows


def collator(tokenizer: PreTrainedTokenizerBase) -> DataCollatorWithPadding:
    """Pads a batch to its longest row, rounded up to a multiple of 8 for the sake of the matrix kernels."""
    return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)


def batches(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Features], *, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of rows of like length, longest first, each with the positions of its rows in `rows`."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]), reverse=True)
    pad = collator(tokenizer)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad([rows[i] for i in chosen])
        yield chosen, {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
