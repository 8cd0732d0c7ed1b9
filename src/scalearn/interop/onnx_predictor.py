"""`OnnxPredictor`: answers of a model that `scalearn.interop.onnx` exported, by onnxruntime and tokenizers alone.

Texts are cut, padded and batched, and logits read, as `TransferModel.predict` does it, by the same code; neither torch
nor transformers is imported, which is most of what a command that answers a few rows waits for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from scalearn.checked import check_file, read_description
from scalearn.encoding import by_length, encode, padder
from scalearn.errors import InputError
from scalearn.prediction import Prediction, predictions, text_columns
from scalearn.tasks import Task

FORMAT_VERSION = 1
DESCRIPTION = "scalearn-onnx.json"
File = Literal["model.onnx", "model.onnx.data", "tokenizer.json"]
GRAPH: File = "model.onnx"
TOKENIZER: File = "tokenizer.json"
FILES: tuple[File, ...] = get_args(File)
"""What answers depend on; the second is there where the weights are too large to lie in the graph's own file."""
Input = Literal["input_ids", "attention_mask", "token_type_ids"]
INPUTS: tuple[Input, ...] = get_args(Input)
"""Of the graph, in this order; the last where the backbone has it."""


class Tokens(BaseModel):
    """What `tokenizer.json` does not say of how texts become batches."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    inputs: tuple[Input, ...]
    """The graph's inputs, by name."""
    limit: int
    """Tokens kept of a row: what the task says, or the backbone takes."""
    truncation_side: Literal["left", "right"]
    padding_side: Literal["left", "right"]
    pad_token_id: int
    pad_token_type_id: int


class OnnxDescription(BaseModel):
    """The fields of `scalearn-onnx.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: int
    scalearn: str
    """Its version, as of all that wrote the folder."""
    torch: str
    transformers: str
    task: dict[str, Any]
    """`Task.describe()`."""
    method: str
    """Of the model before it was folded."""
    backbone: str
    tokens: Tokens
    files: dict[File, str]
    """File to its SHA-256."""


class OnnxPredictor:
    """A graph and its tokenizer. Build it with `load`.

    Args:
        session: takes batches of tokens and gives logits.
        tokenizer: of the backbone.
        task: what is answered.
        inputs: the graph's, by name.
    """

    def __init__(self, session: _Session, tokenizer: _Tokenizer, *, task: Task, inputs: Sequence[str]) -> None:
        self.task = task
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = inputs

    @classmethod
    def load(cls, folder: str | Path) -> OnnxPredictor:
        """Loads an exported model, checking every hash.

        Args:
            folder: what `export_onnx` wrote.

        Raises:
            InputError: onnxruntime is not installed; something is missing or altered.
        """
        need("onnxruntime")
        folder = Path(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InputError(
                f"{folder} is no model exported to ONNX ({DESCRIPTION} is not there): write one with `scalearn export "
                "MODEL --format onnx --out DIR` and give that DIR"
            )
        described = read_description(folder / DESCRIPTION, OnnxDescription, version=FORMAT_VERSION)
        if unknown := sorted({GRAPH, TOKENIZER} - described.files.keys()):
            names = ", ".join(unknown)
            raise InputError(f"{folder / DESCRIPTION} names no hash of {names}: restore the file, or export anew")
        for name, sha256 in described.files.items():
            check_file(folder / name, sha256=sha256)

        from onnxruntime import InferenceSession, SessionOptions
        from tokenizers import Tokenizer

        options = SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may want the cores
        try:
            session = InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # neither library has a narrower class
            reason = " ".join(str(error).split())
            raise InputError(f"{folder} cannot be loaded ({reason}): install newer versions, or export anew") from error
        return cls(
            session,
            _Tokenizer(tokenizer, described.tokens),
            task=Task.from_description(described.task),
            inputs=described.tokens.inputs,
        )

    def predict(self, texts: Sequence[str | tuple[str, ...]], *, batch_size: int = 64) -> list[Prediction]:
        """Answers rows of texts; see `TransferModel.predict`.

        Args:
            texts: one string, or a tuple of one or two, per row, as the task has them; for multiple choice, the text
                and then its choices.
            batch_size: rows at a time; rows of like length go together.

        Raises:
            InputError: a row has another number of texts than the task, or one that is not a string.
        """
        return predictions(self.logits(texts, batch_size=batch_size), self.task)

    def logits(self, texts: Sequence[str | tuple[str, ...]], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Logits of rows of texts, in their order: (N, outputs), or (N, C) for multiple choice."""
        columns, task = text_columns(texts, self.task), self.task
        rows = encode(self._tokenizer, columns, max_length=task.max_length, truncation=task.truncation)
        result = np.empty((len(rows), len(task.choices) or task.outputs), dtype=np.float32)
        pad = padder(self._tokenizer)
        for positions in by_length(rows, batch_size=batch_size):
            batch = pad([rows[i] for i in positions])
            (result[positions],) = self._session.run(["logits"], {name: batch[name] for name in self._inputs})
        return result


def need(*modules: str) -> None:
    """Raises `InputError` where one of these is not installed."""
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        raise InputError(f"ONNX needs {', '.join(absent)}: install with `pip install 'scalearn[onnx]'`")


class _Session(Protocol):
    def run(self, outputs: list[str], inputs: Mapping[str, NDArray[np.int64]], /) -> list[NDArray[np.float32]]: ...


class _Tokenizer:
    """What `scalearn.encoding` asks of a transformers tokenizer, from `tokenizer.json` alone.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        tokens: what its file does not say.
    """

    def __init__(self, tokenizer: Any, tokens: Tokens) -> None:
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._direction = tokens.truncation_side
        self.model_max_length = tokens.limit
        self.padding_side = tokens.padding_side
        self.pad_token_id = tokens.pad_token_id
        self.pad_token_type_id = tokens.pad_token_type_id

    def num_special_tokens_to_add(self, *, pair: bool) -> int:
        """How many tokens of its own it puts around a text or a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    def __call__(
        self,
        first: list[str],
        second: list[str] | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: bool | str,
        max_length: int,
    ) -> dict[str, list[list[int]]]:
        """The tokens of N texts or pairs, cut to `max_length`."""
        strategy = "longest_first" if truncation is True else truncation
        self._tokenizer.enable_truncation(max_length, strategy=strategy, direction=self._direction)
        rows = first if second is None else list(zip(first, second, strict=True))
        encoded = self._tokenizer.encode_batch(rows, add_special_tokens=add_special_tokens)
        return {
            "input_ids": [row.ids for row in encoded],
            "token_type_ids": [row.type_ids for row in encoded],
            "attention_mask": [row.attention_mask for row in encoded],
        }
