"""Where the layers of each architecture are, as a table: what `scalearn.sites` looks up.

A path leads from the base model (of sequence-to-sequence models: from the encoder) to one module in every layer; ``*``
stands for a number, and ``a|b`` at its end for either name. Supporting another architecture is one more row and its
configuration in tests/architectures.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["post-norm", "pre-norm"]


@dataclass(frozen=True)
class Family:
    """Where the deltas act in one model type."""

    path: str
    """Of the sites on layer outputs."""
    kind: Kind
    """Post-norm: the site is the LayerNorm that ends a layer. Pre-norm: the site is the layer itself."""
    linears: Mapping[str, str] = field(default_factory=dict)
    """Role of a linear map to its path. ``intermediate`` is the map whose output meets the activation."""


def _linears(attention: str, query: str, key: str, value: str, intermediate: str) -> dict[str, str]:
    return {
        **{role: f"{attention}.{name}" for role, name in (("query", query), ("key", key), ("value", value))},
        "intermediate": intermediate,
    }


_INTERMEDIATE = "encoder.layer.*.intermediate.dense"
_SELF = "encoder.layer.*.attention.self"
_BERT = Family("encoder.layer.*.output.LayerNorm", "post-norm", _linears(_SELF, "query", "key", "value", _INTERMEDIATE))
_GATED = _linears("layers.*.self_attn", "q_proj", "k_proj", "v_proj", "layers.*.mlp.gate_proj")
_LLAMA = Family("layers.*", "pre-norm", _GATED)
_VIT = Family("layers.*", "pre-norm", _linears("layers.*.attention", "q_proj", "k_proj", "v_proj", "layers.*.mlp.fc1"))
_T5 = Family(
    "block.*",
    "pre-norm",
    _linears("block.*.layer.0.SelfAttention", "q", "k", "v", "block.*.layer.1.DenseReluDense.wi|wi_0"),
)
_ALBERT = "encoder.albert_layer_groups.*.albert_layers.*"

FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "ernie": _BERT,
    "roformer": _BERT,
    "mpnet": Family(_BERT.path, "post-norm", _linears("encoder.layer.*.attention.attn", "q", "k", "v", _INTERMEDIATE)),
    "deberta": Family(_BERT.path, "post-norm", {"intermediate": _INTERMEDIATE}),
    "deberta-v2": Family(
        _BERT.path, "post-norm", _linears(_SELF, "query_proj", "key_proj", "value_proj", _INTERMEDIATE)
    ),
    "distilbert": Family(
        "transformer.layer.*.output_layer_norm",
        "post-norm",
        _linears("transformer.layer.*.attention", "q_lin", "k_lin", "v_lin", "transformer.layer.*.ffn.lin1"),
    ),
    # ALBERT passes through one layer's weights many times. A delta belongs to the weights and acts in every pass, as in
    # AdapterHub: one per pass would have to count passes, which recomputation in the backward pass upsets.
    "albert": Family(
        f"{_ALBERT}.full_layer_layer_norm",
        "post-norm",
        _linears(f"{_ALBERT}.attention", "query", "key", "value", f"{_ALBERT}.ffn"),
    ),
    "xlnet": Family("layer.*.ff.layer_norm", "post-norm", {"intermediate": "layer.*.ff.layer_1"}),
    "nomic_bert": Family("layers.*.post_mlp_layernorm", "post-norm", _GATED),
    "bart": Family(
        "layers.*.final_layer_norm",
        "post-norm",
        _linears("layers.*.self_attn", "q_proj", "k_proj", "v_proj", "layers.*.fc1"),
    ),
    "t5": _T5,
    "mt5": _T5,
    # One map may give query, key and value, or the activation's input and its gate: it has no role, but its path.
    "modernbert": Family("layers.*", "pre-norm"),
    "eurobert": _LLAMA,
    "gpt2": Family("h.*", "pre-norm", {"intermediate": "h.*.mlp.c_fc"}),
    "gpt_neox": Family("layers.*", "pre-norm", {"intermediate": "layers.*.mlp.dense_h_to_4h"}),
    "bloom": Family("h.*", "pre-norm", {"intermediate": "h.*.mlp.dense_h_to_4h"}),
    "opt": Family(
        "decoder.layers.*",
        "pre-norm",
        _linears("decoder.layers.*.self_attn", "q_proj", "k_proj", "v_proj", "decoder.layers.*.fc1"),
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "olmo2": _LLAMA,
    "phi3": Family("layers.*", "pre-norm"),
    "vit": _VIT,
    "deit": _VIT,
    "dinov2": Family(
        "encoder.layer.*",
        "pre-norm",
        _linears("encoder.layer.*.attention", "q_proj", "k_proj", "v_proj", "encoder.layer.*.mlp.fc1"),
    ),
}
"""Model type (``config.model_type``) to its sites."""

COUNTED_BY: dict[str, tuple[str, ...]] = {"albert": ("num_hidden_groups", "inner_group_num")}
"""Fields of the configuration whose product is the number of layers, where that is not ``num_hidden_layers``."""
