"""Sites: where a delta acts in each architecture, as a table, and how it is attached there.

    post-norm layer:  out = LN(s + delta(LN(s)))    the site is the layer's output LayerNorm; s is that norm's input
    pre-norm block:   out = y + delta(y)            the site is the block; y is its output

A delta is attached as the child module ``delta`` of its site, and a forward hook adds it. So `copy.deepcopy`,
`state_dict`, DDP and FSDP see it like any other part of the backbone, and detaching leaves the backbone as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from scalearn.errors import InputError

Kind = Literal["post-norm", "pre-norm"]


@dataclass(frozen=True)
class Family:
    """Where the deltas act in one model type."""

    path: str
    """Module path inside the base model; ``*`` stands for the layer's index."""
    kind: Kind


_BERT = Family("encoder.layer.*.output.LayerNorm", "post-norm")

FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "mpnet": _BERT,
    "deberta-v2": _BERT,
    "distilbert": Family("transformer.layer.*.output_layer_norm", "post-norm"),
    "modernbert": Family("layers.*", "pre-norm"),
    "gpt2": Family("h.*", "pre-norm"),
    "llama": Family("layers.*", "pre-norm"),
    "vit": Family("layers.*", "pre-norm"),
}
"""Model type (``config.model_type``) to its sites. Supporting another architecture is one more row and its test."""

_HANDLE = "delta_hook"


def find_sites(backbone: PreTrainedModel) -> list[nn.Module]:
    """The sites of `backbone`, one per layer, first layer first.

    Raises:
        InputError: the architecture is not in `FAMILIES`, or the number of matches is not its number of layers.
    """
    family = _family(backbone)
    pattern = re.compile(re.escape(family.path).replace(r"\*", r"(\d+)"))
    found = sorted(
        (int(match[1]), module)
        for name, module in backbone.base_model.named_modules()
        if (match := pattern.fullmatch(name))
    )
    if len(found) != backbone.config.num_hidden_layers:
        raise InputError(
            f"{type(backbone).__name__} ({backbone.config.model_type}) has {backbone.config.num_hidden_layers} layers, "
            f"but {len(found)} modules match {family.path!r}: this version of transformers names them differently; "
            "correct the row in scalearn/sites.py"
        )
    return [module for _, module in found]


def attach(backbone: PreTrainedModel, deltas: Sequence[nn.Module]) -> None:
    """Adds `deltas[i]` at the site of layer i.

    Raises:
        InputError: there is not one delta per layer, or the backbone carries deltas already.
    """
    sites = find_sites(backbone)
    if len(sites) != len(deltas):
        raise InputError(
            f"{len(deltas)} deltas for the {len(sites)} layers of {type(backbone).__name__}: give one per layer"
        )
    if any(hasattr(site, "delta") for site in sites):
        raise InputError(f"{type(backbone).__name__} carries deltas already: call scalearn.sites.detach on it first")
    hook = _add_post_norm if _family(backbone).kind == "post-norm" else _add_pre_norm
    for site, delta in zip(sites, deltas, strict=True):
        site.add_module("delta", delta)
        # The handle lives beside the delta, so that a deep copy of the backbone can detach its own hooks.
        setattr(site, _HANDLE, site.register_forward_hook(hook))


def detach(backbone: PreTrainedModel) -> list[nn.Module]:
    """Removes the deltas, restoring the backbone exactly, and returns them in the order of the layers."""
    deltas = attached(backbone)
    for site in find_sites(backbone):
        if hasattr(site, "delta"):
            getattr(site, _HANDLE).remove()
            delattr(site, _HANDLE)
            del site.delta
    return deltas


def attached(backbone: PreTrainedModel) -> list[nn.Module]:
    """The deltas that `backbone` carries, in the order of the layers; empty if there are none."""
    return [site.get_submodule("delta") for site in find_sites(backbone) if hasattr(site, "delta")]


def _family(backbone: PreTrainedModel) -> Family:
    model_type = backbone.config.model_type
    if model_type not in FAMILIES:
        raise InputError(
            f"{type(backbone).__name__} is of type {model_type!r}, whose sites are not known; known are "
            f"{', '.join(sorted(FAMILIES))}: choose one of these or add a row to scalearn/sites.py"
        )
    return FAMILIES[model_type]


def _add_post_norm(norm: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """LN(s + delta(LN(s))), given the norm's input s and output LN(s)."""
    added: Tensor = norm.forward(args[0] + norm.get_submodule("delta")(output))  # not __call__: no second hook
    return added


def _add_pre_norm(block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Adds delta(y) to y, the block's output y, which some architectures wrap in a tuple."""
    if isinstance(output, tuple):
        return (output[0] + block.get_submodule("delta")(output[0]), *output[1:])
    return output + block.get_submodule("delta")(output)
