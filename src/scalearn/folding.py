"""Folding: what sources and coefficients amount to, as one ordinary delta per site and the method that builds such."""

from __future__ import annotations

from typing import cast

from scalearn.deltas import Bottleneck, Lora, Rescaling, Scaled, ScaledLoras
from scalearn.errors import InputError
from scalearn.methods import IA3, Adapter, LoRA, Method
from scalearn.sites import Placement


def check_foldable(placement: Placement, *, method: Method, backbone: str, quantised: bool) -> None:
    """Raises `InputError` where a model has nothing to fold, or updates cannot be added to quantised weights."""
    deltas = [delta for layers in placement.values() for delta in layers]
    if quantised and any(isinstance(delta, Lora | ScaledLoras) for delta in deltas):
        raise InputError(
            f"{backbone} is quantised, so LoRA updates cannot be added to its weights: load the model over the "
            "backbone as it was before (from_pretrained(..., backbone=load_backbone(NAME))), or leave it unfolded"
        )
    if not isinstance(method, LoRA) and not (deltas and all(isinstance(delta, Scaled) for delta in deltas)):
        raise InputError(
            f"method {method.name!r} has nothing to fold: only methods that scale or average sources, and lora, have"
        )


def folded_deltas(placement: Placement) -> Placement:
    """One ordinary delta for each fusion of sources; LoRA updates all of one rank, as `LoRA` builds them."""
    folded: Placement = {site: [cast(Scaled, delta).fold() for delta in layers] for site, layers in placement.items()}
    ranks = [d.down.out_features for layers in folded.values() for d in layers if isinstance(d, Lora)]
    if len(set(ranks)) > 1:
        return {site: [cast(Lora, d).widened(max(ranks)) for d in layers] for site, layers in folded.items()}
    return folded


def folded_method(folded: Placement) -> Method:
    """The single-task method that builds deltas like these."""
    first = next(iter(folded.values()))[0]
    if isinstance(first, Rescaling):
        return IA3(modules=tuple(folded))
    if isinstance(first, Lora):
        rank = first.down.weight.shape[0]
        return LoRA(rank=rank, alpha=float(rank), modules=tuple(folded))
    bottleneck = cast(Bottleneck, first)
    return Adapter(bottleneck=bottleneck.down.out_features, activation=bottleneck.activation)
