"""Which number format and attention kernel a device runs best, as a rule that can be overridden.

On a CPU with AMX, training runs under bf16 autocast with *eager* attention: the backward pass of fused attention in
bf16 is slow there. Inference has no backward pass and uses fused attention. Other CPUs compute in float32 with fused
attention. AVX512-BF16 alone does not pay: measured with MiniLM at 32 x 40, 72 and 128 tokens, medians of 7, a bf16 step
with eager attention takes 1.5 times a float32 one. CUDA with bf16 uses bf16 and fused attention (written for GPUs, not
yet run on one).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]
Attention = Literal["eager", "sdpa"]


def resolve(precision: Precision, device: torch.device) -> Precision:
    """The number format for `device`: `precision` itself, or what ``"auto"`` stands for there."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type == "cpu" and has_fast_bf16():
        return "bf16"
    return "fp32"


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in tiles (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def attention_for(*, training: bool, precision: Precision, device: torch.device) -> Attention:
    """The attention implementation that suits one way of running."""
    return "eager" if training and device.type == "cpu" and resolve(precision, device) == "bf16" else "sdpa"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which the backbone computes in `precision`."""
    if resolve(precision, device) == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
