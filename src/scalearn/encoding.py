"""From texts to padded batches of token ids, bucketed by length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

Features = dict[str, Any]
"""One row: ``input_ids``, ``attention_mask``, where the backbone has them ``token_type_ids``, and maybe ``labels``.

Or ``pooled``, ``length`` (tokens) and ``labels``, where the frozen part was computed before (`AdaptedModel.pooled_of`).
"""


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Sequence[Any]],
    *,
    max_length: int,
    labels: Sequence[Any] | None = None,
) -> list[Features]:
    """Tokenises rows of one or two texts, or of one text and its choices.

    Args:
        tokenizer: the backbone's.
        texts: ``text_a`` and, for pairs, ``text_b``, N texts each; or ``choices``, N lists of C texts, each of which
            makes a pair with the row's ``text_a``.
        max_length: tokens kept of a text or pair; the longer text of a pair is cut first.
        labels: N class indices, numbers or lists of 0 and 1, if there are any.

    Returns:
        N rows, not padded. With choices each column of a row is a list of C lists.
    """
    if not len(texts["text_a"]):
        return []
    if "choices" in texts:
        rows = _encode_choices(tokenizer, texts["text_a"], texts["choices"], max_length=max_length)
    else:
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


def _encode_choices(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], choices: Sequence[Sequence[str]], *, max_length: int
) -> list[Features]:
    pairs = {
        "text_a": [text for text, own in zip(texts, choices, strict=True) for _ in own],
        "text_b": [choice for own in choices for choice in own],
    }
    flat = iter(encode(tokenizer, pairs, max_length=max_length))
    rows = []
    for own in choices:
        encoded = [next(flat) for _ in own]
        rows.append({key: [choice[key] for choice in encoded] for key in encoded[0]})
    return rows


def row_length(row: Features) -> int:
    """Tokens that a row costs in a batch of its like; of a multiple choice, those of its longest choice times C."""
    if "pooled" in row:
        return int(row["length"])
    ids = row["input_ids"]
    return len(ids) * max(map(len, ids)) if isinstance(ids[0], list) else len(ids)


def collator(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Features]], dict[str, Tensor]]:
    """Pads a batch to its longest row, rounded up to a multiple of 8 for the sake of the matrix kernels.

    Returns:
        What makes of rows a batch: tensors (B, S), or (B, C, S) for multiple choice; ``labels`` (B,), or
        floats (B, labels).
    """
    pad = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)

    def collate(rows: Sequence[Features]) -> dict[str, Tensor]:
        if "pooled" in rows[0]:
            return {"pooled": torch.stack([row["pooled"] for row in rows]), "labels": _labels(rows)}
        features = [{key: value for key, value in row.items() if key != "labels"} for row in rows]
        nested = isinstance(features[0]["input_ids"][0], list)
        if nested:
            features = [
                {key: row[key][choice] for key in row} for row in features for choice in range(len(row["input_ids"]))
            ]
        batch = {key: value for key, value in pad(features).items() if isinstance(value, Tensor)}
        if nested:
            batch = {key: value.view(len(rows), -1, value.shape[-1]) for key, value in batch.items()}
        if "labels" in rows[0]:
            batch["labels"] = _labels(rows)
        return batch

    return collate


def _labels(rows: Sequence[Features]) -> Tensor:
    labels = [row["labels"] for row in rows]
    return torch.tensor(labels, dtype=torch.float32 if isinstance(labels[0], list) else None)


def batches(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Features], *, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of rows of like length, longest first, each with the positions of its rows in `rows`."""
    order = sorted(range(len(rows)), key=lambda i: row_length(rows[i]), reverse=True)
    pad = collator(tokenizer)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield chosen, pad([rows[i] for i in chosen])
