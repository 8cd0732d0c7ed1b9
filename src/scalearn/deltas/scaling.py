"""ScaLearn: frozen source adapters, combined by learned scaling coefficients omega.

    delta(z) = sum_t omega_t * (U_t relu(D_t z + d_t) + u_t)

omega is (T, d) per layer for ScaLearn, (T, 1) for ScaLearnUniform; the "++" variants share one omega among all layers.
The sum is computed as *one* bottleneck of width T*r (`ScaledSources`): the D_t are concatenated once, the rows of the
stacked U_t are scaled by omega in each step, and two matrix products remain. No (batch, length, T, d) tensor exists.

Source: Frohmann et al., ACL Findings 2024, section 4, equations 1 to 4; constraints and regulariser from its ablations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas.bottleneck import Bottleneck, StackedSources
from scalearn.deltas.sparsity import TopSources

Constraint = Literal["none", "mean", "softmax"]


class Omega(nn.Module):
    """Learned scaling coefficients of T sources.

    Args:
        sources: T.
        width: d for one coefficient per source and dimension, 1 for one per source (Uniform).
        init_scale: omega starts at Normal(init_scale / T, 0.001); the paper's choice is 2.
        starts: omega_t starts at Normal(starts_t, 0.001) instead, T numbers; empty goes by `init_scale`.
        dropout: probability of dropping an entry of omega, the rest rescaled by 1 / (1 - p). Each call draws its own
            mask, shared by batch and tokens; with width 1 it drops whole sources.
        constraint: per dimension, ``"mean"`` divides by the sum over sources, ``"softmax"`` takes their softmax.
    """

    def __init__(
        self,
        *,
        sources: int,
        width: int,
        init_scale: float = 2.0,
        starts: Sequence[float] = (),
        dropout: float = 0.0,
        constraint: Constraint = "none",
    ) -> None:
        super().__init__()
        values = torch.empty(sources, width).normal_(mean=0.0 if starts else init_scale / sources, std=0.001)
        self.values = nn.Parameter(values + torch.tensor(starts)[:, None] if starts else values)
        self.dropout = dropout
        self.constraint = constraint
        self.top: TopSources | None = None
        """Which sources act; None is all."""

    def constrained(self) -> Tensor:
        """Omega as it acts without dropout, (T, d) or (T, 1)."""
        if self.top is not None:
            return self.top.through(self.values)
        if self.constraint == "mean":
            return self.values / self.values.sum(dim=0, keepdim=True)
        if self.constraint == "softmax":
            return self.values.softmax(dim=0)
        return self.values

    def forward(self) -> Tensor:
        """Omega for one forward pass of one layer, (T, d) or (T, 1)."""
        return F.dropout(self.constrained(), self.dropout, self.training)

    def penalty(self) -> Tensor:
        """sum_t (1 - mean_d omega_t)^2 / T, the paper's omega regulariser before its factor lambda; a scalar."""
        return (1 - self.values.mean(dim=1)).square().mean()


class FixedOmega(nn.Module):
    """Constant coefficients, one per source: the probing of the paper's section 3.

    Args:
        values: one coefficient per source, in the order of the sources.
    """

    values: Tensor

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.get_default_dtype()).unsqueeze(1))

    def forward(self) -> Tensor:
        """The coefficients, (T, 1)."""
        return self.values


def acting(omega: Omega | FixedOmega) -> Tensor:
    """The coefficients as they act in evaluation."""
    return omega.constrained() if isinstance(omega, Omega) else omega()


class ScaledSources(StackedSources):
    """T frozen bottlenecks, scaled by omega and summed, as one fused bottleneck of width T * r.

    Args:
        sources: the T source bottlenecks of one layer, all of the same width d; copied, and frozen.
        omega: what gives the coefficients; one object shared by several layers makes the "++" variants.
    """

    def __init__(self, sources: Sequence[Bottleneck], omega: Omega | FixedOmega) -> None:
        super().__init__(sources)
        self.omega = omega

    def scaled_up(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """The weight (d, T * r) and bias (d,) of the up projection under `omega`, (T, d) or (T, 1)."""
        weight = self.up_weight * omega.unsqueeze(1)
        bias = (self.up_bias * omega).sum(dim=0)
        return weight.flatten(0, 1).T, bias

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        weight, bias = self.scaled_up(self.omega())
        return F.linear(self.hidden(z), weight, bias)

    @torch.no_grad()
    def terms(self, z: Tensor) -> Iterator[Tensor]:
        """What each source adds in evaluation, omega_t * (U_t f(D_t z + d_t) + u_t): T of (..., d), one at a time."""
        parts = self.hidden(z).chunk(self.up_weight.shape[0], dim=-1)  # T of (..., r)
        for t, omega in enumerate(acting(self.omega)):
            yield omega * (parts[t] @ self.up_weight[t] + self.up_bias[t])

    @torch.no_grad()
    def fold(self) -> Bottleneck:
        """One ordinary bottleneck of width T * r that equals this delta in evaluation mode."""
        weight, bias = self.scaled_up(acting(self.omega))
        folded = Bottleneck(width=weight.shape[0], bottleneck=weight.shape[1], activation=self.activation).to(weight)
        folded.down.weight.copy_(self.down_weight)
        folded.down.bias.copy_(self.down_bias)
        folded.up.weight.copy_(weight)
        folded.up.bias.copy_(bias)
        return folded
