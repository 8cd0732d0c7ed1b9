"""What a head reads of a backbone, and no more of it computed than that takes.

A head that reads the first token needs one row of the last layer: its keys and values come from all tokens, but its
queries, its feed-forward network and its delta from the first alone. The other rows are left out where the model
type is in `LAST_LAYERS`; the result is the same. With 6 layers that is some 15 % of a step, with 12 some 8 %. Hooks on
that layer see one row; those on its attention as a whole are passed by; those on its linear maps and normalisations, as
deltas are, act.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MethodType
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from scalearn.heads import Pooling, pool

Layer = Callable[..., Tensor]
"""From a layer, hidden states (B, S, d), mask and options of its attention to the output's first row, (B, 1, d)."""


def pooled(model: PreTrainedModel, batch: Mapping[str, Tensor], pooling: Pooling) -> Tensor:
    """What a head reads of a batch: (B, d), or (B, C, d) where each row is a multiple choice.

    Args:
        model: the backbone, with its deltas.
        batch: ``input_ids`` (B, S) or (B, C, S), and what else the backbone takes, of the same shape; or
            ``pixel_values`` (B, C, H, W).
        pooling: which tokens are read.
    """
    flat, shape = flattened(batch)
    mask = flat.get("attention_mask")
    if pooling == "first" and can_shorten(model) and (mask is None or bool(mask[:, 0].all())):
        layer = _last_layer(model)
        if "forward" not in vars(layer):
            layer.forward = MethodType(_forward, layer)
        token = _short.set((layer, LAST_LAYERS[model.config.model_type]))
        try:
            states = model(**flat).last_hidden_state[:, 0]
        finally:
            _short.reset(token)
    else:
        states = pool(model(**flat).last_hidden_state, mask, pooling)
    read: Tensor = states.view(*shape, -1)
    return read


def flattened(batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """A batch as the backbone takes it, a text or image a row; and the shape of its rows, (B,) or (B, C)."""
    if "pixel_values" in batch:
        return dict(batch), tuple(batch["pixel_values"].shape[:1])
    return {key: tokens.flatten(0, -2) for key, tokens in batch.items()}, tuple(batch["input_ids"].shape[:-1])


def can_shorten(model: PreTrainedModel) -> bool:
    """Whether the last layer of `model` can be computed for the first token alone, now.

    Not under activation checkpointing: the layer is computed once more in the backward pass, which must find it as it
    was. Nor where something else has put a forward of its own on the layer.
    """
    if model.config.model_type not in LAST_LAYERS or getattr(model.config, "is_decoder", False):
        return False
    layer = _last_layer(model)
    changed = "forward" in vars(layer) and getattr(layer.forward, "__func__", None) is not _forward
    return not changed and not (isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing)


_short: ContextVar[tuple[nn.Module | None, Layer]] = ContextVar("last layer", default=(None, lambda *_: NotImplemented))
"""The layer of which this thread computes one row, and how; another thread may compute all rows of it meanwhile."""


def _forward(layer: nn.Module, states: Tensor, *args: Any, **options: Any) -> Tensor:
    """The forward of a last layer: as its class has it, or of one row where `pooled` wants no more."""
    shortened, first_row = _short.get()
    if shortened is not layer:
        whole: Tensor = type(layer).forward(layer, states, *args, **options)
        return whole
    mask = args[0] if args else options.pop("attention_mask", None)
    # A mask for flash attention is (B, S) and says which keys there are; others are (B, 1, S, S).
    rows = mask[:, :, :1] if mask is not None and mask.ndim == 4 else mask
    return first_row(layer, states, rows, options)


def _last_layer(model: PreTrainedModel) -> nn.Module:
    layers = model.transformer.layer if model.config.model_type == "distilbert" else model.encoder.layer
    last: nn.Module = layers[-1]
    return last


def _attend(
    attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: Mapping[str, Any]
) -> Tensor:
    """The first row's attention, (B, 1, d), from query (B, 1, d), key and value (B, S, d)."""
    eager = sys.modules[type(attention).__module__].eager_attention_forward  # which transformers registers nowhere
    attend = AttentionInterface().get_interface(attention.config._attn_implementation, eager)
    heads = (
        states.view(*states.shape[:2], -1, attention.attention_head_size).transpose(1, 2)
        for states in (query, key, value)
    )
    dropout = attention.dropout.p if attention.training else 0.0
    mixed: Tensor = attend(attention, *heads, mask, dropout=dropout, scaling=attention.scaling, **options)[0]
    return mixed.flatten(-2)


def _bert(layer: Any, states: Tensor, mask: Tensor | None, options: Mapping[str, Any]) -> Tensor:
    attention, first = layer.attention.self, states[:, :1]
    known = ("encoder_hidden_states", "encoder_attention_mask", "past_key_values")  # of decoders; None here
    others = {name: value for name, value in options.items() if name not in known}
    mixed = _attend(attention, attention.query(first), attention.key(states), attention.value(states), mask, others)
    attended = layer.attention.output(mixed, first)
    output: Tensor = layer.output(layer.intermediate(attended), attended)
    return output


def _distilbert(layer: Any, states: Tensor, mask: Tensor | None, options: Mapping[str, Any]) -> Tensor:
    attention, first = layer.attention, states[:, :1]
    mixed = _attend(attention, attention.q_lin(first), attention.k_lin(states), attention.v_lin(states), mask, options)
    attended = layer.sa_layer_norm(attention.out_lin(mixed) + first)
    output: Tensor = layer.output_layer_norm(layer.ffn(attended) + attended)
    return output


LAST_LAYERS: dict[str, Layer] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "camembert": _bert,
    "electra": _bert,
    "ernie": _bert,
    "distilbert": _distilbert,
}
"""Model type to what computes the first row of its last layer."""
