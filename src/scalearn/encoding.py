"""From texts to padded batches of token ids, bucketed by length, and from images to batches of pixels.

torch is imported where its tensors are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from scalearn.errors import InputError
from scalearn.images import IMAGE, ImageProcessor, Images
from scalearn.kinds import Truncation

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    Processor: TypeAlias = PreTrainedTokenizerBase | ImageProcessor
    """What turns rows into tensors: a backbone's tokenizer, or its image processor."""

Features = dict[str, Any]
"""One row: ``input_ids``, ``attention_mask``, where the backbone has them ``token_type_ids``, and maybe ``labels``.

Of an image ``pixel_values``, ``length`` (patches) and maybe ``labels``; where the frozen part was computed before
(`AdaptedModel.pooled_of`), ``pooled``, ``length`` (tokens or patches) and ``labels``.
"""

MULTIPLE = 8
"""Texts are padded to a multiple of so many tokens, for the sake of the matrix kernels."""

_ALONE = {"attention_mask": 1, "token_type_ids": 0}
"""Of the one token of a text that has none: it is read as a token of padding that is not masked."""

SEPARATOR = "\n"
"""Stands between the texts of a pair where the tokenizer puts no token of its own there, as GPT-2's does not."""


def encode(
    processor: Processor,
    columns: Mapping[str, Sequence[Any]],
    *,
    max_length: int,
    truncation: Truncation = "longest_first",
    labels: Sequence[Any] | None = None,
) -> Sequence[Features]:
    """Tokenises rows of one or two texts, or of one text and its choices; or has rows of images opened when looked at.

    Args:
        processor: the backbone's.
        columns: ``text_a`` and, for pairs, ``text_b``, N texts each; or ``choices``, N lists of C texts, each of which
            makes a pair with the row's ``text_a``; or ``image``, N images as `scalearn.images.open_image` takes them.
        max_length: tokens kept of a text or pair.
        truncation: which text of a pair is cut; where the second alone fills the room, always the longer one.
        labels: N class indices, numbers or lists of 0 and 1, if there are any.

    Returns:
        N rows, not padded. With choices each column of a row is a list of C lists.
    """
    if isinstance(processor, ImageProcessor):
        return Images(processor, columns[IMAGE], labels)
    if not len(columns["text_a"]):
        return []
    limit = min(max_length, processor.model_max_length)
    if "choices" in columns:
        rows = _encode_choices(processor, columns["text_a"], columns["choices"], limit=limit, truncation=truncation)
    elif "text_b" in columns:
        rows = _encode_pairs(
            processor, list(columns["text_a"]), list(columns["text_b"]), limit=limit, truncation=truncation
        )
    else:
        rows = _rows(processor, list(columns["text_a"]), truncation=True, max_length=limit)
    if labels is not None:
        for row, label in zip(rows, labels, strict=True):
            row["labels"] = label
    return rows


def _rows(tokenizer: PreTrainedTokenizerBase, *texts: list[str], **how: Any) -> list[Features]:
    columns: Mapping[str, Sequence[Any]] = tokenizer(*texts, **how)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if tokenizer.pad_token_id is not None:
        for row in rows:
            if not row["input_ids"]:  # an empty text, of a tokenizer that puts nothing around it, as GPT-2's
                row |= {name: [tokenizer.pad_token_id if name == "input_ids" else _ALONE[name]] for name in row}
    return rows


def _encode_pairs(
    tokenizer: PreTrainedTokenizerBase, first: list[str], second: list[str], *, limit: int, truncation: Truncation
) -> list[Features]:
    if tokenizer.num_special_tokens_to_add(pair=True) == tokenizer.num_special_tokens_to_add(pair=False):
        second = [SEPARATOR + text for text in second]
    if truncation == "longest_first":
        return _rows(tokenizer, first, second, truncation=truncation, max_length=limit)
    room = limit - tokenizer.num_special_tokens_to_add(pair=True)
    alone = tokenizer(second, add_special_tokens=False, truncation=True, max_length=max(room, 1))["input_ids"]
    rows: list[Features] = [{}] * len(first)
    for how, full in (("only_first", False), ("longest_first", True)):
        # Nothing of the first text would be left where the second is full: the tokenizer refuses to cut so.
        chosen = [i for i, ids in enumerate(alone) if (len(ids) >= room) == full]
        if chosen:
            pairs = [first[i] for i in chosen], [second[i] for i in chosen]
            for i, row in zip(chosen, _rows(tokenizer, *pairs, truncation=how, max_length=limit), strict=True):
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
    """Tokens that a row costs in a batch of its like; of a multiple choice, those of its longest choice times C.

    Of an image, patches.
    """
    if "length" in row:
        return int(row["length"])
    ids = row["input_ids"]
    return len(ids) * max(map(len, ids)) if isinstance(ids[0], list) else len(ids)


def lengths_of(rows: Sequence[Features]) -> NDArray[np.int64]:
    """`row_length` of each row, (N,); from the rows' own ``lengths`` where they have them, without reading a row."""
    known: NDArray[np.int64] | None = getattr(rows, "lengths", None)
    return np.array([row_length(row) for row in rows], dtype=np.int64) if known is None else known


def labels_of(rows: Sequence[Features]) -> Sequence[Any]:
    """The label of each of N rows that have them; from the rows' own ``labels`` if they can, without reading a row."""
    known: Sequence[Any] | None = getattr(rows, "labels", None)
    return [row["labels"] for row in rows] if known is None else known


def padded_lengths_of(rows: Sequence[Features]) -> NDArray[np.int64]:
    """Tokens that each of N >= 1 rows of one task takes up in a batch of its like, padding included, (N,)."""
    first = rows[0]
    if "input_ids" not in first:  # images are all of one size
        return lengths_of(rows)
    ids = first["input_ids"]
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

    @property
    def labels(self) -> list[Any]:
        """The label of each row."""
        labels = labels_of(self.rows)
        return [labels[position] for position in self.order.tolist()]

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


def padder(processor: Processor) -> Callable[[Sequence[Features]], dict[str, NDArray[Any]]]:
    """Pads a batch to its longest row, rounded up to a `MULTIPLE`, on the tokenizer's side and with its ids.

    Returns:
        What makes of rows their tokens: (B, S), or (B, C, S) for multiple choice; of images their pixels, float32
        (B, C, H, W).

    Raises:
        InputError: the tokenizer has nothing to pad with.
    """
    return _stack if isinstance(processor, ImageProcessor) else _padder(processor)


def _stack(rows: Sequence[Features]) -> dict[str, NDArray[np.float32]]:
    return {"pixel_values": np.stack([row["pixel_values"] for row in rows])}


def _padder(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Features]], dict[str, NDArray[np.int64]]]:
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
        longest = int(lengths.max())  # not rounded up past what the backbone has positions for
        room = np.arange(max(longest, min(-(-longest // MULTIPLE) * MULTIPLE, tokenizer.model_max_length)))
        taken = room >= len(room) - lengths if left else room < lengths  # (B, S), or (B * C, S)
        batch = {name: _padded(column, taken, fill[name]) for name, column in columns.items()}
        return {name: ids.reshape(len(rows), -1, len(room)) for name, ids in batch.items()} if nested else batch

    return pad


def collator(processor: Processor) -> Callable[[Sequence[Features]], dict[str, Tensor]]:
    """As `padder`, with labels, as tensors.

    The tensors are those of transformers' ``DataCollatorWithPadding``, which takes 20 times as long.

    Returns:
        What makes of rows a batch: tensors (B, S), or (B, C, S) for multiple choice, or pixels; ``labels`` (B,), or
        floats (B, labels).

    Raises:
        InputError: the tokenizer has nothing to pad with.
    """
    import torch

    pad = padder(processor)

    def labels(rows: Sequence[Features]) -> Tensor:
        values = [row["labels"] for row in rows]
        return torch.tensor(values, dtype=torch.float32 if isinstance(values[0], list) else None)

    def collate(rows: Sequence[Features]) -> dict[str, Tensor]:
        if "pooled" in rows[0]:
            return {"pooled": torch.stack([row["pooled"] for row in rows]), "labels": labels(rows)}
        batch = {name: torch.from_numpy(ids) for name, ids in pad(rows).items()}
        if "labels" in rows[0]:
            batch["labels"] = labels(rows)
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
    processor: Processor, rows: Sequence[Features], *, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of rows of like length, longest first, each with the positions of its rows in `rows`."""
    collate = collator(processor)
    for chosen in by_length(rows, batch_size=batch_size):
        yield chosen, collate([rows[i] for i in chosen])
