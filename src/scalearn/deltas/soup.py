"""Averaging the weights of deltas: AdapterSoup.

    theta = sum_t w_t * theta_t    for every weight and bias theta of the deltas

Source: Chronopoulou et al., AdapterSoup (Findings of EACL 2023), section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from scalearn.errors import InputError

_Delta = TypeVar("_Delta", bound=nn.Module)


@torch.no_grad()
def average(deltas: Sequence[_Delta], weights: Sequence[float]) -> _Delta:
    """One delta whose parameters are the weighted sums of those of `deltas`, all of one class.

    Raises:
        InputError: two have parameters of unequal shape, or differ in an option (activation, alpha): their weights do
            not mean the same.
    """
    options = [name for name in vars(deltas[0]) if not name.startswith("_") and name != "training"]
    for option in options:
        found = {str(getattr(delta, option)) for delta in deltas}
        if len(found) > 1:
            raise InputError(
                f"weights can be averaged among deltas of equal {option} only, but it is {', '.join(sorted(found))}: "
                "choose sources trained alike"
            )
    soup = copy.deepcopy(deltas[0])
    for name, mixed in soup.named_parameters():
        parts = [delta.get_parameter(name) for delta in deltas]
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise InputError(
                f"weights can be averaged among equal shapes only, but {name} has {', '.join(map(str, sorted(shapes)))}"
            )
        mixed.copy_(sum((weight * part for weight, part in zip(weights, parts, strict=True)), torch.zeros_like(mixed)))
    return soup
