"""The tokens of a split: computed once, kept on disk by content, and read through a memory map.

    <cache of datasets>/scalearn-tokens/SHA-256(texts, tokenizer, max_length, truncation)/tokens.arrow

The file has a list column for each of ``input_ids``, ``attention_mask``, ...: N lists of tokens, or for multiple choice
N lists of C lists. A row takes up memory only while it is looked at: ReCoRD's 1.2 million rows are 300 million tokens.
Images are not kept so: their pixels are hundreds of kilobytes each, and are made when a row is looked at.
A cache is no result: an entry that is broken is computed again, and one that cannot be written is done without.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedTokenizerBase

from scalearn.atomic import new_folder
from scalearn.encoding import Features, encode
from scalearn.errors import InputError
from scalearn.images import IMAGE, ImageProcessor, undecoded
from scalearn.kinds import Truncation

if TYPE_CHECKING:
    from hashlib import _Hash

    import datasets
    import pyarrow as pa

    from scalearn.encoding import Processor

FORMAT = 2
"""Of an entry; another number leaves all entries of this one aside."""
KEPT_FROM = 2_000
"""Rows of a split from which on its tokens are kept: fewer are tokenised in less time than it takes to tell."""
SHOWN_FROM = 50_000
"""Rows from which on there is time to look at a progress bar."""
BATCH = 4_000
"""Rows that are tokenised at a time, so that memory stays bounded: a record batch of the file."""
FILE = "tokens.arrow"
TEXT_COLUMNS = ("text_a", "text_b", "choices")
"""The columns of a split that are tokenised."""
INPUT_COLUMNS = (*TEXT_COLUMNS, IMAGE)
"""The columns of a split that a model reads."""


class Tokens(Sequence[Features]):
    """Tokenised rows in an Arrow table; a row becomes Python lists when it is looked at.

    Args:
        table: N rows of list columns, as an entry of the cache has them.
        labels: N class indices, numbers or lists of 0 and 1.
    """

    def __init__(self, table: pa.Table, labels: Sequence[Any]) -> None:
        batches = table.to_batches()
        self.labels = labels
        self.parts = [{name: _Lists(batch.column(name)) for name in batch.schema.names} for batch in batches]
        self.starts = np.cumsum([0, *map(len, batches)]).tolist()
        self.lengths = np.concatenate([part["input_ids"].costs() for part in self.parts])
        """`scalearn.encoding.row_length` of each row, (N,)."""

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Features: ...
    @overload
    def __getitem__(self, index: slice) -> list[Features]: ...
    def __getitem__(self, index: int | slice) -> Features | list[Features]:
        positions = range(len(self))
        if isinstance(index, slice):
            return [self[i] for i in positions[index]]
        row = positions[index]
        part = bisect_right(self.starts, row) - 1
        lists = self.parts[part]
        features: Features = {name: column[row - self.starts[part]] for name, column in lists.items()}
        return features | {"labels": self.labels[row]}


class _Lists:
    """A list column as numpy sees it, without a copy: its values, or again lists, and where each list starts."""

    def __init__(self, array: pa.ListArray) -> None:
        import pyarrow as pa

        self.starts: NDArray[np.int32] = array.offsets.to_numpy()
        nested = pa.types.is_list(array.values.type)
        self.values = _Lists(array.values) if nested else array.values.to_numpy()

    def __getitem__(self, index: int) -> list[Any]:
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        if isinstance(self.values, _Lists):
            return [self.values[inner] for inner in range(start, end)]
        values: list[Any] = self.values[start:end].tolist()
        return values

    def costs(self) -> NDArray[np.int64]:
        """Number of values of each list; of a list of lists, its longest list's times their number."""
        sizes = np.diff(self.starts).astype(np.int64)
        if isinstance(self.values, _Lists):
            sizes *= np.maximum.reduceat(self.values.costs(), self.starts[:-1])
        return sizes


def tokens_of(
    tokenizer: Processor,
    split: datasets.Dataset,
    *,
    max_length: int,
    truncation: Truncation = "longest_first",
    labels: Sequence[Any],
    progress: bool = False,
) -> Sequence[Features]:
    """The rows of a split as `encode` gives them: a list where they are few, else `Tokens` from the cache, or `Images`.

    Args:
        tokenizer: the backbone's, or its image processor.
        split: N rows with some of `TEXT_COLUMNS`; other columns are not looked at.
        max_length: see `encode`.
        truncation: see `encode`.
        labels: N of them.
        progress: show a bar while a large split is tokenised.
    """
    if isinstance(tokenizer, ImageProcessor):
        images = {IMAGE: undecoded(split)[IMAGE]}  # a column that is read where it is looked at
        return encode(tokenizer, images, max_length=max_length, labels=labels)
    texts = split.select_columns([name for name in TEXT_COLUMNS if name in split.column_names])
    if len(texts) < KEPT_FROM:
        return encode(tokenizer, texts[:], max_length=max_length, truncation=truncation, labels=labels)

    import datasets
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        return _tokenised(tokenizer, texts, max_length=max_length, truncation=truncation, progress=progress)

    name = _key(tokenizer, texts, max_length=max_length, truncation=truncation)
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "scalearn-tokens" / name
    table = _read(folder, rows=len(texts))
    if table is None:
        shutil.rmtree(folder, ignore_errors=True)  # broken, if it is there
        with suppress(OSError, InputError, pa.ArrowException):
            _write(folder, batches())
        table = _read(folder, rows=len(texts))
    return Tokens(pa.Table.from_batches(batches()) if table is None else table, labels)


def _read(folder: Path, *, rows: int) -> pa.Table | None:
    """The table of an entry; None if it is not there or broken."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.memory_map(str(folder / FILE))).read_all()
        table.validate(full=True)
    except (OSError, pa.ArrowException):
        return None
    return table if len(table) == rows else None


def _write(folder: Path, batches: Iterator[pa.RecordBatch]) -> None:
    import pyarrow as pa

    first = next(batches)
    with (
        new_folder(folder) as aside,
        pa.OSFile(str(aside / FILE), "wb") as file,
        pa.ipc.new_file(file, first.schema) as writer,
    ):
        for batch in chain([first], batches):
            writer.write_batch(batch)


def _tokenised(
    tokenizer: PreTrainedTokenizerBase,
    texts: datasets.Dataset,
    *,
    max_length: int,
    truncation: Truncation,
    progress: bool,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    ids = pa.uint16() if len(tokenizer) <= 2**16 else pa.int32()
    console = Console(stderr=True)
    shown = progress and len(texts) >= SHOWN_FROM and console.is_terminal
    starts = range(0, len(texts), BATCH)
    for start in track(starts, "tokenising", console=console, transient=True, disable=not shown):
        rows = encode(tokenizer, texts[start : start + BATCH], max_length=max_length, truncation=truncation)
        columns = {}
        for name in rows[0]:
            kind = pa.list_(ids if name == "input_ids" else pa.int8())
            kind = pa.list_(kind) if "choices" in texts.column_names else kind
            columns[name] = pa.array([row[name] for row in rows], type=kind)
        yield pa.record_batch(columns)


def _key(
    tokenizer: PreTrainedTokenizerBase, texts: datasets.Dataset, *, max_length: int, truncation: Truncation
) -> str:
    """SHA-256 of all that decides the tokens, in hexadecimal."""
    limit = min(max_length, tokenizer.model_max_length)
    settings = [FORMAT, limit, truncation, texts.column_names, _identity(tokenizer)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for batch in texts.iter(batch_size=BATCH):
        for column in batch.values():
            _add(digest, column)
    return digest.hexdigest()


def _add(digest: _Hash, column: Sequence[Any]) -> None:
    """Texts, or lists of texts, with their lengths, so that it shows where one ends."""
    digest.update(np.array([len(value) for value in column], dtype="<i8").tobytes())
    if isinstance(column[0], str):
        digest.update("".join(column).encode())
    else:
        _add(digest, [text for own in column for text in own])


def _identity(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """What of a tokenizer decides the tokens."""
    settings = [type(tokenizer).__name__, tokenizer.model_input_names, tokenizer.truncation_side]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [*settings, tokenizer.get_vocab(), json.dumps(tokenizer.init_kwargs, sort_keys=True, default=str)]
    state = json.loads(backend.to_str())
    # A backend remembers how it was last told to cut and pad: each call of `encode` tells it anew.
    return [*settings, {name: value for name, value in state.items() if name not in ("truncation", "padding")}]
