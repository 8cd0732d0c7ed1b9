"""Dropout that costs little on a CPU: the same distribution as torch's, from random bytes drawn in bulk.

torch draws one 24-bit uniform number per element, one after another, about 5 ns each: 1.5 to 1.8 times a training step.
Here each element gets one random byte, drawn on all cores, and is dropped where the byte is below floor(256 p). What
is then missing from p, less than 1 / 256, comes from a second, sparse field: so many places, drawn with replacement,
that each is hit with just the missing probability. Both fields are independent from element to element, so the mask is
exactly Bernoulli(1 - p), as the published protocol has it.

The seed of a mask is drawn from torch's own generator: `torch.manual_seed`, the random states in Trainer's checkpoints
and activation checkpointing decide masks as ever, and the number of threads does not.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK = 1 << 19
"""Bytes drawn at a time, from a generator of their own: they stay in the cache until they are compared."""
SMALL = 1 << 14
"""Elements below which torch's own dropout is as quick."""

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def keep_mask(shape: tuple[int, ...], p: float) -> Tensor:
    """True with probability 1 - p, independently for each element.

    Args:
        shape: of the mask.
        p: probability of False, 0 <= p < 1.
    """
    count = math.prod(shape)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    whole = int(256 * p)
    kept = np.empty(count, dtype=np.bool_)

    def draw(start: int) -> None:
        part = kept[start : start + CHUNK]
        words: Any = np.random.SFC64([seed, start]).random_raw(-(-len(part) // 8))
        np.greater_equal(words.view(np.uint8)[: len(part)], whole, out=part)

    starts = range(0, count, CHUNK)
    if len(starts) > 1 and torch.get_num_threads() > 1:
        list(_threads(torch.get_num_threads()).map(draw, starts))  # both generator and comparison let go of the GIL
    else:
        for start in starts:
            draw(start)
    missing = (p - whole / 256) / (1 - whole / 256)
    if missing > 0:
        kept[_hit(count, missing, seed)] = False
    return torch.from_numpy(kept).view(shape)


def _hit(count: int, probability: float, seed: int) -> NDArray[np.int64]:
    """Places among `count`, each there with this probability, independently; some more than once.

    A Poisson number of places drawn with replacement: how often each is hit is then Poisson too, independently, and 0
    with probability exp(-rate).
    """
    generator = np.random.Generator(np.random.SFC64([seed, count, 1]))
    rate = -math.log1p(-probability)
    return generator.integers(count, size=generator.poisson(rate * count))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="scalearn-dropout")


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


def masked(x: Tensor, keep: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x where `keep`, 0 elsewhere, by a bitwise "and": several times as quick on a CPU as a product of unequal types.

    Args:
        x: floating-point.
        keep: boolean, of the same shape.
        out: where the result goes; may be `x`.
    """
    integers = _INTEGERS[x.element_size()]
    bits = keep.view(torch.int8).neg().to(integers)  # all bits set, or none
    return torch.bitwise_and(x.view(integers), bits, out=None if out is None else out.view(integers)).view(x.dtype)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep = keep_mask(tuple(x.shape), p)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - p)
        return masked(x.contiguous(), keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return masked(gradients[0].contiguous(), keep).mul_(ctx.scale), None


class BulkDropout(nn.Dropout):
    """`nn.Dropout` with masks from `keep_mask` where that is quicker: for large tensors on a CPU.

    It has first derivatives only.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (...) to (...)."""
        small = input.numel() < SMALL or input.device.type != "cpu" or not 0 < self.p < 1
        if not self.training or small or torch.compiler.is_compiling():
            return F.dropout(input, self.p, self.training)
        dropped: Tensor = _Dropped.apply(input, self.p)  # type: ignore[no-untyped-call]
        return dropped


def make_cheap(model: nn.Module) -> None:
    """Makes every `nn.Dropout` of `model` a `BulkDropout`, in place: names, hooks and rates stay as they are."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = BulkDropout
