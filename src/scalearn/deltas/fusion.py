"""AdapterFusion: attention over the outputs of frozen sources.

    delta(z) = V sum_t a_t u_t(z)        a = softmax_t(dropout((Q z + q) . (K u_t(z) + k)))        no 1 / sqrt(d)

with u_t the output of source t, bias included. No (..., T, d) tensor exists: (Q z + q) . (K u_t + k) is
(K^T (Q z + q)) . u_t plus a term that the softmax over t ignores, and u_t is linear in the hidden states of source t.

Source: Pfeiffer et al., AdapterFusion (EACL 2021), section 3.2; dropout and initialisation as in ScaLearn's code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas.bottleneck import Bottleneck, StackedSources
from scalearn.errors import InputError


class AdapterFusion(StackedSources):
    """Attention over T frozen bottlenecks of one layer.

    Args:
        sources: T of them, of the same width; copied, and frozen.
        width: d.
        value: whether the attended sum goes through a value matrix.
        dropout: on the attention scores.

    Raises:
        InputError: the sources' widths or activations differ, or their width is not d.
    """

    def __init__(self, sources: Sequence[Bottleneck], *, width: int, value: bool = True, dropout: float = 0.1) -> None:
        super().__init__(sources)
        if self.up_bias.shape[1] != width:
            raise InputError(
                f"the backbone has width {width}, but the sources have width {self.up_bias.shape[1]}: take sources "
                "that were trained on this backbone"
            )
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.value = nn.Linear(width, width, bias=False) if value else None
        if self.value is not None:
            with torch.no_grad():
                self.value.weight.copy_(torch.eye(width) + 1e-6 * (1 - torch.eye(width)))
        self.dropout = nn.Dropout(dropout)

    def attention(self, z: Tensor) -> Tensor:
        """How strongly each source acts, (..., T), summing to 1."""
        return self._attention(z, self._split(self.hidden(z)))

    def _split(self, hidden: Tensor) -> Tensor:
        return hidden.view(*hidden.shape[:-1], *self.up_weight.shape[:2])  # (..., T, r)

    def _attention(self, z: Tensor, hidden: Tensor) -> Tensor:
        query = self.query(z)
        asked = query @ self.key.weight  # (..., d)
        through_up = asked @ self.up_weight.flatten(0, 1).T  # (..., T * r)
        scores = (self._split(through_up) * hidden).sum(-1) + asked @ self.up_bias.T
        scores = scores + (query * self.key.bias).sum(-1, keepdim=True)  # dropout acts on the whole score
        attention: Tensor = self.dropout(scores).softmax(dim=-1)
        return attention

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        hidden = self._split(self.hidden(z))
        attention = self._attention(z, hidden)
        weighted = (hidden * attention.unsqueeze(-1)).flatten(-2)  # (..., T * r)
        fused = F.linear(weighted, self.up_weight.flatten(0, 1).T) + attention @ self.up_bias
        return fused if self.value is None else self.value(fused)

    def penalty(self) -> Tensor:
        """||I - V||^2, the paper's regulariser before its factor 0.01; 0 without a value matrix."""
        if self.value is None:
            return torch.zeros((), dtype=self.up_weight.dtype, device=self.up_weight.device)
        weight = self.value.weight
        return (torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device) - weight).square().sum()
