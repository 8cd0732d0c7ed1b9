"""The yardsticks: transfer layers as their equations are written, with (..., T, d) tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalearn.deltas import AdapterFusion, Bottleneck, Omega


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
        """Maps (..., d) to (..., d)."""
        stacked = torch.stack([source(z) for source in self.sources], dim=-2)  # (..., T, d)
        scaled: Tensor = stacked * self.omega()
        return scaled.sum(dim=-2)


class LiteralFusion(nn.Module):
    """V sum_t a_t u_t with a = softmax_t((Q z + q) . (K u_t + k)) and u_t = adapter_t(z), every adapter for itself.

    Args:
        sources: the T source bottlenecks of one layer; frozen.
        fusion: whose query, key and value maps are used, and whose dropout acts on the scores.
    """

    def __init__(self, sources: Sequence[Bottleneck], fusion: AdapterFusion) -> None:
        super().__init__()
        self.sources = nn.ModuleList(sources).requires_grad_(False)
        self.query, self.key, self.value, self.dropout = fusion.query, fusion.key, fusion.value, fusion.dropout

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        stacked = torch.stack([source(z) for source in self.sources], dim=-2)  # (..., T, d)
        keys = self.key(stacked)
        values = stacked if self.value is None else self.value(stacked)
        scores = (keys @ self.query(z).unsqueeze(-1)).squeeze(-1)  # (..., T)
        attention = self.dropout(scores).softmax(dim=-1)
        attended: Tensor = (values * attention.unsqueeze(-1)).sum(dim=-2)
        return attended
