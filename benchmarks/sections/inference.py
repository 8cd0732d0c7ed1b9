"""Answers: folded, unfolded, and the rivals, against the plain backbone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.models import Reference
from benchmarks.results import Row, note
from scalearn.heads import Pooling
from scalearn.precision import Precision, resolve

COUNT = 8
SHAPES = ((32, 128), (32, 40), (1, 40))
REPEATS = {(32, 128): 1, (32, 40): 3, (1, 40): 10}
"""Runs that are timed together, by shape."""
POOLINGS: tuple[tuple[str, Pooling], ...] = (("mean", "mean"), ("first token", "first"))
LORA_RANK = 8


def inference(setting: Setting) -> list[Row]:
    """Logits under `torch.inference_mode`, T = 8, with the attention of the rule. "Plain" is transformers' own model
    with the same head. "Folded" is `TransferModel.fold`: one adapter of width 192 a layer. "Unfolded" scales the
    sources at each call. PEFT's LoRA has rank 8 on query and value, unmerged. In the format of the rule and, at
    32 x 128, in fp32.
    """
    shapes: dict[Precision, Sequence[tuple[int, int]]] = {"fp32": SHAPES[:1], resolve("auto", setting.device): SHAPES}
    cases = [case for number_format, own in shapes.items() for case in _cases(number_format, own, setting)]
    rows = interleaved("inference", cases, setting)
    if not has_peft():
        rows.append(note("inference", "PEFT is not installed (`pip install peft`), so that its LoRA is missing here."))
    return rows


def _cases(number_format: Precision, shapes: Sequence[tuple[int, int]], setting: Setting) -> Iterator[Case]:
    device = setting.device
    built: list[tuple[str, str, Any]] = []
    for words, pooling in POOLINGS:
        built.append(("plain", words, Reference(pooling=pooling)))
        built.append(("folded", words, models.ours("scalearn", device, count=COUNT, pooling=pooling).fold()))
        built.append(("unfolded", words, models.ours("scalearn", device, count=COUNT, pooling=pooling)))
        built.append(("AdapterFusion", words, models.ours("adapterfusion", device, count=COUNT, pooling=pooling)))
    built.append(("literal ScaLearn", "mean", Reference(models.literal_scaling(COUNT))))
    built.append(("literal AdapterFusion", "mean", Reference(models.literal_fusion(COUNT))))
    if has_peft():
        built.append(("LoRA of PEFT", "mean", with_peft()))
    for rows, length in shapes:
        batch = models.tokens(rows, length, device)
        prefix = f"{number_format}, {rows} x {length}"
        for name, words, model in built:
            models.use_attention(model.to(device), training=False, precision=number_format)
            yield Case(
                name=f"{prefix}, {words}, {name}",
                run=models.answers(model, batch, number_format),
                against=(f"{prefix}, {words}, plain",),
                repeats=REPEATS[rows, length],
            )


def has_peft() -> bool:
    """Whether PEFT is installed."""
    return importlib.util.find_spec("peft") is not None


def with_peft() -> nn.Module:
    """The plain backbone with PEFT's LoRA on query and value."""
    from peft import LoraConfig, inject_adapter_in_model

    model = Reference()
    inject_adapter_in_model(LoraConfig(r=LORA_RANK, target_modules=["query", "value"]), model.backbone)
    return model
