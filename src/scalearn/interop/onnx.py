"""A model as an ONNX graph: any runtime of that format answers as it does, without this library.

A folder of:
    model.onnx            ``input_ids``, ``attention_mask`` and, where the backbone has them, ``token_type_ids``, each
                          (B, S), or (B, C, S) for multiple choice, to ``logits`` (B, outputs), or (B, C)
    model.onnx.data       the weights, where they are more than 1.5 GB
    tokenizer.json, ...   the backbone's tokenizer
    scalearn-onnx.json    the task, how texts become batches, versions, hashes (`OnnxDescription`)

Sources and coefficients are folded first, so that the graph holds one ordinary delta per site; pooling and head are in
it. B and S are free. The folder takes its name only after onnxruntime has given the model's own answers from it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from scalearn.atomic import new_folder, refuse_existing
from scalearn.deltas import Lora, Scaled
from scalearn.encoding import collator
from scalearn.errors import InputError
from scalearn.heads import Head, pool
from scalearn.interop.onnx_predictor import (
    DESCRIPTION,
    FILES,
    FORMAT_VERSION,
    GRAPH,
    INPUTS,
    TOKENIZER,
    OnnxDescription,
    OnnxPredictor,
    Tokens,
    need,
)
from scalearn.model import TransferModel
from scalearn.prediction import text_columns
from scalearn.tasks import Task

TOLERANCE = 1e-4
"""Largest difference between the logits of the graph and of the model, absolute or relative."""


def export_onnx(model: TransferModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Writes a model as an ONNX graph with all that `OnnxPredictor` needs; the model itself stays as it is.

    Args:
        model: of any method; what can be folded is folded.
        folder: must not exist, unless `overwrite`.
        overwrite: replace a folder that this library wrote.

    Raises:
        InputError: the model reads images; `onnx`, `onnxscript` or `onnxruntime` is not installed; the tokenizer has no
            `tokenizer.json`; the backbone has no ONNX form; or what onnxruntime answers is not what the model does.
    """
    need("onnx", "onnxscript", "onnxruntime")
    folder = Path(folder)
    refuse_existing(folder, overwrite=overwrite)
    if model.task.image is not None:
        raise InputError(f"{model.task.name!r} is a task of images: only models of texts are exported to ONNX")
    tokenizer = model.need_tokenizer()
    if not tokenizer.is_fast:
        raise InputError(
            f"the tokenizer of {model.reference.name} ({type(tokenizer).__name__}) has no {TOKENIZER}: ONNX models "
            "here need one, so choose a backbone whose tokenizer has"
        )
    plain = plain_copy(model)
    texts = _sample(model.task)
    rows = plain.encode(text_columns(texts, plain.task))
    tokens = collator(tokenizer)(rows[:2])  # of one row or one token torch would take the axis for a constant
    batch: dict[str, Tensor] = {name: tokens[name] for name in INPUTS if name in tokens}
    with new_folder(folder, overwrite=overwrite) as aside:
        _write_graph(_Graph(plain.backbone, plain.head), batch, aside / GRAPH, name=model.reference.name)
        tokenizer.save_pretrained(aside)
        described = OnnxDescription(
            format_version=FORMAT_VERSION,
            scalearn=metadata.version("scalearn"),
            torch=metadata.version("torch"),
            transformers=metadata.version("transformers"),
            task=model.task.describe(),
            method=model.method.name,
            backbone=model.reference.name,
            tokens=Tokens(
                inputs=tuple(name for name in INPUTS if name in batch),
                limit=min(model.task.max_length, tokenizer.model_max_length),
                truncation_side=tokenizer.truncation_side,
                padding_side=tokenizer.padding_side,
                pad_token_id=tokenizer.pad_token_id,
                pad_token_type_id=tokenizer.pad_token_type_id,
            ),
            files={name: _sha256(aside / name) for name in FILES if (aside / name).exists()},
        )
        text = json.dumps(described.model_dump(), indent=2, ensure_ascii=False)
        (aside / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        found = torch.from_numpy(OnnxPredictor.load(aside).logits(texts))
        expected = plain.logits(rows, precision="fp32")
        if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise InputError(
                f"onnxruntime {metadata.version('onnxruntime')} answers otherwise than the model, by "
                f"{(found - expected).abs().max():.1g}, so nothing was written: try other versions of torch and "
                "onnxruntime"
            )


def plain_copy(model: TransferModel) -> TransferModel:
    """A copy in float32, on the CPU, in evaluation mode, and folded where it can be."""
    own = copy.deepcopy(model).to("cpu", torch.float32)
    if own.deltas and all(isinstance(delta, Lora | Scaled) for delta in own.deltas):
        own.fold()
    own.attention = "auto"
    own.backbone.config.use_cache = False  # of keys and values, in decoders
    return own.requires_grad_(False).eval()


class _Graph(nn.Module):
    """From tokens to logits, with no step that depends on the values of the tokens."""

    def __init__(self, backbone: PreTrainedModel, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        flat = {name: ids.flatten(0, -2) for name, ids in batch.items() if ids is not None}
        hidden = self.backbone(**flat).last_hidden_state
        scores: Tensor = self.head.score(pool(hidden, flat["attention_mask"], self.head.pooling))
        return scores if input_ids.ndim == 2 else scores.view(input_ids.shape[:2])


def _write_graph(graph: _Graph, batch: Mapping[str, Tensor], path: Path, *, name: str) -> None:
    """Traces a graph from one batch, with the number of rows and of tokens left open."""
    free = torch.export.Dim.DYNAMIC
    graph.backbone.set_attn_implementation("sdpa")
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                graph.eval(),
                kwargs=dict(batch),
                dynamo=True,
                dynamic_shapes={key: {0: free, ids.ndim - 1: free} for key, ids in batch.items()},
                input_names=list(batch),
                output_names=["logits"],
                verbose=False,
            )
            assert program is not None, "with dynamo it returns what it made"
            program.save(path)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{name} has no ONNX form with torch {torch.__version__} ({reason})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are absent and of functions that torch itself calls."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _sample(task: Task) -> list[tuple[str, ...]]:
    """Rows of a task to compare answers on: short and long texts, in several orders."""
    texts = ("the film was good", "It wasn't.", " ".join(f"{n} déjà vu, and so on;" for n in range(200)), "bad " * 9)
    columns = len(task.text) + len(task.choices)
    return [tuple(texts[(row + column) % len(texts)] for column in range(columns)) for row in range(len(texts))]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
