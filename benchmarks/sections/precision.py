"""The evidence for the rule of `scalearn.precision`: number formats and attention kernels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import nn

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved, synchronise
from benchmarks.models import Reference
from benchmarks.results import Row, note, summary
from benchmarks.sections.step import SHAPE
from scalearn.attention import LEAN
from scalearn.precision import Attention, Precision

FORMATS: dict[str, tuple[Precision, torch.dtype]] = {
    "fp32": ("fp32", torch.float32),
    "bf16 autocast": ("bf16", torch.float32),
    "bf16 weights": ("fp32", torch.bfloat16),
}
"""Name to the precision of autocast and the format of the frozen weights."""
ATTENTION = [name for name in get_args(Attention) if name not in ("auto", "flash_attention_2")]
"""Flash attention needs a package of its own, and a GPU."""
REFERENCE = "fp32, sdpa"


def precision(setting: Setting) -> list[Row]:
    """The plain backbone, 32 x 128, mean pooling, no dropout: a training step as in `step`, and inference, in every
    format and with every attention that the library offers. "bf16 weights" stores the frozen weights so and needs no
    autocast. "Compiled" is `torch.compile` with frozen weights, at inference; the seconds that it takes the first time
    are told apart. Ratios are to fp32 with SDPA.
    """
    batch = models.tokens(*SHAPE, setting.device)
    rows = interleaved("precision", list(_training(batch, setting)), setting)
    cases = list(_inference(batch, setting))
    if _has_compiler(setting.device):
        compiled, first = _compiled(batch, setting)
        cases += compiled
        rows += first
    else:
        rows.append(note("precision", "There is no C++ compiler, which torch.compile needs on a CPU: not measured."))
    return [*rows, *interleaved("precision", cases, setting)]


def _models(setting: Setting) -> Iterator[tuple[str, Precision, Reference]]:
    for name, (autocast, dtype) in FORMATS.items():
        for attention in ATTENTION:
            if attention == LEAN and setting.device.type != "cpu":
                continue
            model = Reference(dtype=dtype)
            model.backbone.set_attn_implementation(attention)
            yield f"{name}, {attention}", autocast, model


def _training(batch: models.Batch, setting: Setting) -> Iterator[Case]:
    for name, autocast, model in _models(setting):
        models.from_first_site(model)
        step = models.training_step(model.to(setting.device), batch, autocast)
        yield Case(name=f"training, {name}", run=step, against=(f"training, {REFERENCE}",))


def _inference(batch: models.Batch, setting: Setting) -> Iterator[Case]:
    for name, autocast, model in _models(setting):
        run = models.answers(model.to(setting.device), batch, autocast)
        yield Case(name=f"inference, {name}", run=run, against=(f"inference, {REFERENCE}",))


def _has_compiler(device: torch.device) -> bool:
    return device.type == "cuda" or any(shutil.which(name) for name in ("g++", "clang++"))


def _compiled(batch: models.Batch, setting: Setting) -> tuple[list[Case], list[Row]]:
    """Compiled models with SDPA, and the seconds of their first call."""
    cases, rows = [], []
    for name, (autocast, dtype) in FORMATS.items():
        model: Any = Reference(dtype=dtype).to(setting.device)
        model.backbone.set_attn_implementation("sdpa")
        compiled: nn.Module = torch.compile(model.eval(), options={"freezing": True})  # type: ignore[assignment]
        run = models.answers(compiled, batch, autocast)
        start = time.perf_counter()
        run()
        synchronise(setting.device)
        case = f"inference, {name}, sdpa, compiled"
        rows.append(summary("precision", f"{case}: first call", [time.perf_counter() - start], "s"))
        cases.append(Case(name=case, run=run, against=(f"inference, {REFERENCE}",)))
    return cases, rows
