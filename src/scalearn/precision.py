"""Which number format and attention kernel a device runs best, as a rule that can be overridden.

A CPU computes under bf16 autocast where its bf16 matrix product is at least `WORTHWHILE` times as fast as its float32
one, which is measured once per process (20 ms): AMX and the newer AVX512-BF16 units are (4 and more; where it was 2.3,
a whole run of MiniLM took 0.56 times as long as in float32), the older ones are not (with those a bf16 step of MiniLM
took 1.5 times a float32 one). CUDA uses bf16 where it has it. Other devices compute in float32.

In training on a CPU the backward pass of fused attention (SDPA) is slow in bf16, and dropout is slow in both formats:
there attention is ``"lean"`` (`scalearn.attention`), or eager where the backbone's attention is another. Elsewhere it
is SDPA. benchmarks/RESULTS.md has the evidence. Written for GPUs, not yet run on one.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal, cast, get_args

import torch

from scalearn.errors import InputError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Attention = Literal["auto", "lean", "eager", "sdpa", "flash_attention_2"]

VARIABLE = "SCALEARN_PRECISION"
"""The environment's word on what ``"auto"`` is, for whole grids, and where machines of unlike speed must agree."""
WORTHWHILE = 2.0
"""Products of a step that are in bf16 must make up for what is not: casts, softmax, normalisation."""
_SIZE, _TRIES = 512, 6


def resolve(precision: Precision, device: torch.device) -> Precision:
    """The number format for `device`: `precision` itself, or what ``"auto"`` stands for there.

    Raises:
        InputError: fp16 on a CPU, whose gradients would need scaling that nothing here does; or the environment's
            `VARIABLE` is no format.
    """
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 is for GPUs: give bf16 or fp32 on a CPU, or auto to choose the faster")
    if precision != "auto":
        return precision
    if told := os.environ.get(VARIABLE):
        if told not in get_args(Precision):
            raise InputError(f"{VARIABLE}={told}: give {', '.join(get_args(Precision))}, or unset it")
        if told != "auto":
            return resolve(cast(Precision, told), device)
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type == "cpu" and has_fast_bf16():
        return "bf16"
    return "fp32"


def has_fast_bf16() -> bool:
    """Whether this CPU has instructions for bf16 products, and they are `WORTHWHILE`."""
    has_any = any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)
    return has_any and bf16_advantage() >= WORTHWHILE


@cache
def bf16_advantage() -> float:
    """How many times as fast one core of this CPU multiplies matrices in bf16 as in float32; the best of some tries.

    In the time of this thread alone: what else the machine does must not decide about the numbers of a run.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrices = [torch.ones(_SIZE, _SIZE, dtype=kind) for kind in (torch.float32, torch.bfloat16)]
        seconds = [min(_timed(matrix) for _ in range(_TRIES)) for matrix in matrices]
    finally:
        torch.set_num_threads(threads)
    return seconds[0] / seconds[1]


def _timed(matrix: torch.Tensor) -> float:
    fine = time.get_clock_info("thread_time").resolution < 1e-5  # on Windows it is coarser than a product takes
    clock = time.thread_time if fine else time.perf_counter
    start = clock()
    torch.mm(matrix, matrix)
    return clock() - start


def attention_for(
    *,
    training: bool,
    precision: Precision,
    device: torch.device,
    lean: bool = False,
    fused: bool = True,
    dropout: bool = False,
) -> Attention:
    """The attention implementation that suits one way of running.

    Args:
        training: with a backward pass.
        precision: see `resolve`.
        device: that computes.
        lean: whether the backbone can use ``"lean"``.
        fused: whether it can use SDPA. Capped scores, as in Gemma 2, and relative positions take eager attention.
        dropout: whether attention weights are dropped.
    """
    sdpa: Attention = "sdpa" if fused else "eager"
    if not training or device.type != "cpu":
        return sdpa
    if resolve(precision, device) == "bf16":
        return "lean" if lean else "eager"
    return "lean" if lean and dropout else sdpa


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which the backbone computes in `precision`."""
    formats = {"bf16": torch.bfloat16, "fp16": torch.float16}
    chosen = formats.get(resolve(precision, device))
    return nullcontext() if chosen is None else torch.autocast(device.type, dtype=chosen)
