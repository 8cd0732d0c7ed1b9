"""Attention for training on a CPU: transformers' eager attention as one function with a backward pass of its own.

    P = softmax(scaling Q K^T + mask)        out = (P * keep) V / (1 - p)

Fused attention (SDPA) has a slow backward pass on CPUs in bf16. Eager attention has not, but makes a new tensor of
(B, heads, S, S) for the scaling, the mask and the dropout each, and draws the last one slowly. Here only P is made and
kept, with one byte per element for `keep` (see `scalearn.dropout`). In float64 the numbers are eager attention's; in
bf16 they are rounded at other places. For CPUs only, and first derivatives.

It is registered with transformers as attention implementation ``"lean"``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from scalearn.dropout import keep_mask, masked

LEAN = "lean"

SUPPORTED = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "distilbert"})
"""Model types whose eager attention is the formula above, nothing more: no grouped keys, no relative positions."""


def supports_lean(backbone: PreTrainedModel) -> bool:
    """Whether ``"lean"`` computes what the backbone's own attention does."""
    return backbone.config.model_type in SUPPORTED


class _Attention(torch.autograd.Function):
    """Forward and backward pass, on (N, S, h) with N = B * heads."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float) -> Tensor:
        scores = torch.bmm(query, key.transpose(1, 2))
        if mask is not None:
            scores.view(mask.shape[0], -1, *scores.shape[1:]).add_(mask)
        attention = torch.softmax(scores, dim=-1)
        keep = keep_mask(tuple(attention.shape), p) if p else None
        if p:
            value = value / (1 - p)
        ctx.save_for_backward(query, key, value, attention, keep)
        ctx.p = p
        return torch.bmm(_kept(attention, keep), value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, attention, keep = ctx.saved_tensors
        gradient = gradients[0]
        of_value = torch.bmm(_kept(attention, keep).transpose(1, 2), gradient)
        of_attention = torch.bmm(gradient, value.transpose(1, 2))
        if keep is not None:
            of_value /= 1 - ctx.p
            masked(of_attention, keep, out=of_attention)
        of_scores = torch._softmax_backward_data(of_attention, attention, -1, attention.dtype)
        return torch.bmm(of_scores, key), torch.bmm(of_scores.transpose(1, 2), query), of_value, None, None


def _kept(attention: Tensor, keep: Tensor | None) -> Tensor:
    return attention if keep is None else masked(attention, keep)


def lean_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for attention ``"lean"``.

    Args:
        module: the attention; not looked at.
        query: (B, heads, S, h).
        key: (B, heads, K, h).
        value: (B, heads, K, h).
        attention_mask: (B, 1, S, K), added to the scores; None adds nothing.
        scaling: of the scores; None is 1 / sqrt(h).
        dropout: probability of dropping an entry of P, 0 outside training.
        others: what else transformers hands to any attention.

    Returns:
        (B, S, heads, h), and no attention weights.
    """
    rows, heads, length, width = query.shape
    # One format for all, that of the products: a delta may have made keys or values float32 under autocast.
    device = query.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    query, key, value = query.to(kind), key.to(kind), value.to(kind)
    scaled = query * (width**-0.5 if scaling is None else scaling)
    if attention_mask is not None:  # the lowest number of float32 is -inf in other formats
        attention_mask = attention_mask.clamp_min(torch.finfo(scaled.dtype).min).to(scaled.dtype)
    flat = (states.reshape(rows * heads, -1, width) for states in (scaled, key, value))
    out: Tensor = _Attention.apply(*flat, attention_mask, dropout)  # type: ignore[no-untyped-call]
    return out.view(rows, heads, length, width).transpose(1, 2), None


AttentionInterface.register(LEAN, lean_attention)
AttentionMaskInterface.register(LEAN, eager_mask)
