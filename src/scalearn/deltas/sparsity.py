"""Sparse omega: an L1 penalty that ends in exact zeros, and the top k of T sources during training.

    L1       omega <- sign(omega) * max(|omega| - rate * lambda, 0)        after each step of the optimizer
    top k    omega_t acts for the k sources of largest mean |omega_t| over layers and dimensions, 0 for the others

The L1 step is proximal, and decoupled from Adam as AdamW's weight decay is: a subgradient in the loss would be divided
by Adam's second moment like every gradient, and step over zero for ever. Adam moves a coefficient by about one rate at
most, so lambda is the share of a step that its gradient must win to keep it away from zero.

The choice of the top k is straight-through (Bengio et al., 2013): the gradient reaches all T as if all acted, so that a
source that is left out grows, and comes back, where the loss asks for it. A hard projection would settle on those that
chance set first: omega starts almost equal. All layers keep the same k, so that the others can be dropped altogether.

Sources: soft-thresholding after Daubechies et al. (2004); the combination with ScaLearn is this library's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.deltas.scaling import Omega


@torch.no_grad()
def shrink(values: Tensor, amount: float) -> None:
    """Moves every entry towards 0 by `amount`, in place; those that are nearer become 0."""
    values.copy_(values.sign() * (values.abs() - amount).clamp(min=0))


class TopSources:
    """Which sources act: a choice that the omegas of all sites and layers share.

    Args:
        omegas: of one model; each then acts through this choice.
        keep: k.

    Raises:
        InputError: there are fewer than k sources.
    """

    def __init__(self, omegas: Iterable[Omega], *, keep: int) -> None:
        self.omegas: Sequence[Omega] = tuple({id(omega): omega for omega in omegas}.values())
        self.keep = keep
        count = self.omegas[0].values.shape[0]
        if keep > count:
            raise InputError(f"keep={keep} of {count} sources: give at most {count}, or leave it out")
        for omega in self.omegas:
            omega.top = self

    def acting(self) -> Tensor:
        """Which of the T sources act, (T, 1) of bool."""
        means = [omega.values.detach().abs().mean(dim=1) for omega in self.omegas]
        strengths = torch.stack(means).mean(dim=0)
        return torch.zeros_like(strengths, dtype=torch.bool).index_fill(0, strengths.topk(self.keep).indices, 1)[
            :, None
        ]

    def through(self, values: Tensor) -> Tensor:
        """The values (T, d) or (T, 1) of those that act, and exact zeros; their gradient reaches all."""
        return values - (values * ~self.acting()).detach()
