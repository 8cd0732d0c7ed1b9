"""The yardstick: the transfer layer as the equation is written, with a (B, S, T, d) tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalearn.deltas import Bottleneck, Omega


class LiteralScaling(nn.Module):
    """sum_t omega_t * adapter_t(z), every adapter for itself.

    Args:
        sources: the T source bottlenecks of one layer; frozen.
        omega: gives the coefficients.
    """

    def __init__(self, sources: Sequence[Bottleneck], omega: Omega) -> None:
        super().__init__()
        self.sources = nn.ModuleList(sources).requires_grad_(False)
        self.omega = omega

    def forward(self, z: Tensor) -> Tensor:
        """Maps (B, S, d) to (B, S, d)."""
        stacked = torch.stack([source(z) for source in self.sources], dim=2)  # (B, S, T, d)
        scaled: Tensor = stacked * self.omega()
        return scaled.sum(dim=2)
