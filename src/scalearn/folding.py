"""Folding: what sources and coefficients amount to, as one ordinary delta per site and the method that builds such."""

from __future__ import annotations

from typing import cast

from scalearn.deltas import Bottleneck, Lora, Rescaling, Scaled
from scalearn.methods import IA3, Adapter, LoRA, Method
from scalearn.sites import Placement


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
