"""Pruning: sources that hardly act are dropped from a trained model, from its memory and from its computation.

    mean_t    = mean over layers and dimensions of |omega_t|        keep k:       those of the k largest stay
    largest_t = the largest |omega_t| in any layer and dimension    threshold p:  t stays if largest_t > p max largest

What is left is the model over a shorter shelf, with the same coefficients: its answers differ by the dropped terms
omega_t * adapter_t(z) alone, and not at all where these coefficients are 0. Omega is what acts: constraints and the
choice of the top k are resolved first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from scalearn.deltas import Omega, Scaled
from scalearn.deltas.scaling import acting
from scalearn.errors import InputError
from scalearn.methods import Method, Setting
from scalearn.methods.combine import Transfer
from scalearn.sites import Placement, Shape
from scalearn.sources import Source


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How strongly one source acts."""

    source: str
    """Its name."""
    mean: float
    """Of |omega| over layers and dimensions, every site alike."""
    largest: float
    """|omega| in any layer and dimension."""


def scaling(placement: Placement, method: Method, sources: Sequence[Source]) -> list[Scaled]:
    """The deltas of a model in which each source has a coefficient.

    Args:
        placement: of the model.
        method: its own.
        sources: its own.

    Raises:
        InputError: it is a model of another kind.
    """
    if not (isinstance(method, Transfer) and method.scales_sources and sources):
        raise InputError(
            f"method {method.name!r} has no coefficient for each source: scalearn (all variants, not folded), probing, "
            "lorahub and uniform-average have"
        )
    return [cast(Scaled, delta) for layers in placement.values() for delta in layers]


@torch.no_grad()
def strengths(deltas: Sequence[Scaled], sources: Sequence[Source]) -> list[Strength]:
    """How strongly each source acts, in the order of the sources."""
    sizes = [acting(delta.omega).abs().float() for delta in deltas]
    means = torch.stack([size.mean(dim=1) for size in sizes]).mean(dim=0).tolist()
    largest = torch.stack([size.amax(dim=1) for size in sizes]).amax(dim=0).tolist()
    return [
        Strength(source=source.name, mean=mean, largest=most)
        for source, mean, most in zip(sources, means, largest, strict=True)
    ]


def staying(found: Sequence[Strength], *, threshold: float | None = None, keep: int | None = None) -> list[int]:
    """Which sources stay, in their order.

    Args:
        found: of each source.
        threshold: see above; 0, also where neither is given, drops those whose coefficients are all 0.
        keep: k.

    Raises:
        InputError: both are given, one is out of range, or no coefficient differs from 0.
    """
    if threshold is not None and keep is not None:
        raise InputError(f"threshold {threshold:g} and keep {keep} both say which sources stay: give either")
    most = max(one.largest for one in found)
    if not most:
        raise InputError("all coefficients are 0: nothing would be left")
    if keep is not None:
        if not 1 <= keep <= len(found):
            raise InputError(f"keep {keep} of {len(found)} sources: give a number from 1 to {len(found)}")
        order = sorted(range(len(found)), key=lambda t: -found[t].mean)
        return sorted(order[:keep])
    if not 0 <= (threshold or 0.0) < 1:
        raise InputError(f"threshold {threshold:g} is a share of the largest coefficient: give one from 0 to below 1")
    return [t for t, one in enumerate(found) if one.largest > (threshold or 0.0) * most]


@torch.no_grad()
def narrowed(
    deltas: Placement, *, method: Method, sources: Sequence[Source], kept: Sequence[int], shape: Shape
) -> tuple[Transfer, Placement]:
    """The method and the deltas that are left with the sources that stay.

    Args:
        deltas: of the model.
        method: its own.
        sources: its own.
        kept: which of them stay, in order.
        shape: of the backbone.

    Raises:
        InputError: the method has nothing to prune.
    """
    left = cast(Transfer, method).narrowed(kept)
    made = left.build(Setting(shape=shape, sources=[sources[t] for t in kept]))
    for site, layers in made.items():
        for new, old in zip(layers, cast(Sequence[Scaled], deltas[site]), strict=True):
            new.to(next(old.buffers(recurse=False)))
            if isinstance(new.omega, Omega):
                new.omega.values.copy_(acting(old.omega)[list(kept)])
    return left, made
