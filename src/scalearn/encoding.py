"""From texts to padded batches of token ids, bucketed by length. torch is imported where its tensors are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from scalearn.errors import InputError
from scalearn.kinds import Truncation

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

Features = dict[str, Any]
"""One row: ``input_ids``, ``attention_mask``, where the backbone has them ``token_type_ids``, and maybe ``labels``.

Or ``pooled``, ``length`` (tokens) and ``labels``, where the frozen part was computed before (`AdaptedModel.pooled_of`).
"""

MULTIPLE = 8
"""Texts are padded to a multiple of so many tokens, for the sake of the matrix kernels."""


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Sequence[Any]],
    *,
    max_length: int,
    truncation: Truncation = "longest_first",
    labels: Sequence[Any] | None = None,
) -> list[Features]:
    """Tokenises rows of one or two texts, or of one text and its choices.

    Args:
        tokenizer: the backbone's.
        texts: ``text_a`` and, for pairs, ``text_b``, N texts each; or ``choices``, N lists of C texts, each of which
            makes a pair with the row's ``text_a``.
        max_length: tokens kept of a text or pair.
        truncation: which text of a pair is cut; where the second alone fills the room, always the longer one.
        labels: N class indices, numbers or lists of 0 and 1, if there are any.

    Returns:
        N rows, not padded. With choices each column of a row is a list of C lists.
    """
    if not len(texts["text_a"]):
        return []
    limit = min(max_length, tokenizer.model_max_length)
    if "choices" in texts:
        rows = _encode_choices(tokenizer, texts["text_a"], texts["choices"], limit=limit, truncation=truncation)
    elif "text_b" in texts:
        rows = _encode_pairs(
            tokenizer, list(texts["text_a"]), list(texts["text_b"]), limit=limit, truncation=truncation
        )
    else:
        rows = _rows(tokenizer(list(texts["text_a"]), truncation=True, max_length=limit))
    if labels is not None:
        for row, label in zip(rows, labels, strict=True):
            row["labels"] = label
    return rows


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[Features]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _encode_pairs(
    tokenizer: PreTrainedTokenizerBase, first: list[str], second: list[str], *, limit: int, truncation: Truncation
) -> list[Features]:
    if truncation == "longest_first":
        return _rows(tokenizer(first, second, truncation=truncation, max_length=limit))
    room = limit - tokenizer.num_special_tokens_to_add(pair=True)
    alone = tokenizer(second, add_special_tokens=False, truncation=True, max_length=max(room, 1))["input_ids"]
    rows: list[Features] = [{}] * len(first)
    for how, full in (("only_first", False), ("longest_first", True)):
        # Nothing of the first text would be left where the second is full: the tokenizer refuses to cut so.
        chosen = [i for i, ids in enumerate(alone) if (len(ids) >= room) == full]
        if chosen:
            pairs = [first[i] for i in chosen], [second[i] for i in chosen]
            for i, row in zip(chosen, _rows(tokenizer(*pairs, truncation=how, max_length=limit)), strict=True):
                rows[i] = row
    return rows


def _encode_choices(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    choices: Sequence[Sequence[str]],
    *,
    limit: int,
    truncation: Truncation,
) -> list[Features]:
    first = [text for text, own in zip(texts, choices, strict=True) for _ in own]
    second = [choice for own in choices for choice in own]
    flat = iter(_encode_pairs(tokenizer, first, second, limit=limit, truncation=truncation))
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


def lengths_of(rows: Sequence[Features]) -> NDArray[np.int64]:
    """`row_length` of each row, (N,); from the rows' own ``lengths`` where they have them, without reading a row."""
    known: NDArray[np.int64] | None = getattr(rows, "lengths", None)
    return np.array([row_length(row) for row in rows], dtype=np.int64) if known is None else known


def padded_lengths_of(rows: Sequence[Features]) -> NDArray[np.int64]:
    """Tokens that each of N >= 1 rows of one task takes up in a batch of its like, padding included, (N,)."""
    ids = rows[0]["input_ids"]
    multiple = MULTIPLE * (len(ids) if isinstance(ids[0], list) else 1)  # each of C choices is padded
    return -(-lengths_of(rows) // multiple) * multiple


class Reordered(Sequence[Features]):
    """Rows in another order, without a copy.

    Args:
        rows: N of them.
        order: positions in `rows`.
    """

    def __init__(self, rows: Sequence[Features], order: NDArray[np.int64]) -> None:
        self.rows = rows
        self.order = order

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return lengths_of(self.rows)[self.order]

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> Features: ...
    @overload
    def __getitem__(self, index: slice) -> Reordered: ...
    def __getitem__(self, index: int | slice) -> Features | Reordered:
        if isinstance(index, slice):
            return Reordered(self.rows, self.order[index])
        return self.rows[int(self.order[index])]


def padder(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Features]], dict[str, NDArray[np.int64]]]:
    """Pads a batch to its longest row, rounded up to a `MULTIPLE`, on the tokenizer's side and with its ids.

    Returns:
        What makes of rows their tokens: (B, S), or (B, C, S) for multiple choice.

    Raises:
        InputError: the tokenizer has nothing to pad with.
    """
    if tokenizer.pad_token_id is None:
        raise InputError("the tokenizer has no padding token: set one (tokenizer.pad_token = tokenizer.eos_token)")
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id, "attention_mask": 0}
    left = tokenizer.padding_side == "left"

    def pad(rows: Sequence[Features]) -> dict[str, NDArray[np.int64]]:
        nested = isinstance(rows[0]["input_ids"][0], list)
        columns = {name: [row[name] for row in rows] for name in rows[0] if name != "labels"}
        if nested:
            columns = {name: list(chain.from_iterable(column)) for name, column in columns.items()}
        lengths = np.fromiter(map(len, columns["input_ids"]), dtype=np.int64)[:, None]
        room = np.arange(-(-lengths.max() // MULTIPLE) * MULTIPLE)
        taken = room >= len(room) - lengths if left else room < lengths  # (B, S), or (B * C, S)
        batch = {name: _padded(column, taken, fill[name]) for name, column in columns.items()}
        return {name: ids.reshape(len(rows), -1, len(room)) for name, ids in batch.items()} if nested else batch

    return pad


def collator(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Features]], dict[str, Tensor]]:
    """As `padder`, with labels, as tensors.

    The tensors are those of transformers' ``DataCollatorWithPadding``, which takes 20 times as long.

    Returns:
        What makes of rows a batch: tensors (B, S), or (B, C, S) for multiple choice; ``labels`` (B,), or
        floats (B, labels).

    Raises:
        InputError: the tokenizer has nothing to pad with.
    """
    import torch

    pad = padder(tokenizer)

    def labels_of(rows: Sequence[Features]) -> Tensor:
        labels = [row["labels"] for row in rows]
        return torch.tensor(labels, dtype=torch.float32 if isinstance(labels[0], list) else None)

    def collate(rows: Sequence[Features]) -> dict[str, Tensor]:
        if "pooled" in rows[0]:
            return {"pooled": torch.stack([row["pooled"] for row in rows]), "labels": labels_of(rows)}
        batch = {name: torch.from_numpy(ids) for name, ids in pad(rows).items()}
        if "labels" in rows[0]:
            batch["labels"] = labels_of(rows)
        return batch

    return collate


def _padded(rows: Sequence[Sequence[int]], taken: NDArray[np.bool_], fill: int) -> NDArray[np.int64]:
    """The values of each row where they are taken, and `fill` elsewhere."""
    padded = np.full(taken.shape, fill, dtype=np.int64)
    padded[taken] = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(taken.sum()))
    return padded


def by_length(rows: Sequence[Features], *, batch_size: int) -> Iterator[list[int]]:
    """The positions in `rows` of batches of like length, longest first."""
    order = np.argsort(-lengths_of(rows), kind="stable").tolist()
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def batches(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Features], *, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of rows of like length, longest first, each with the positions of its rows in `rows`."""
    collate = collator(tokenizer)
    for chosen in by_length(rows, batch_size=batch_size):
        yield chosen, collate([rows[i] for i in chosen])
