"""LoRA: a low-rank update of a linear map, and several of them scaled by omega.

    out = W x + b + (alpha / r) U D x
    ScaLearn over LoRA sources:    out = W x + b + sum_t omega_t * (alpha_t / r_t) U_t D_t x

As with bottlenecks the sum is one update of rank T * r (`ScaledLoras`). It has no activation, so it folds into W
itself: inference then costs nothing more.

Source: Hu et al., LoRA (ICLR 2022), section 4.1; the combination is this library's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas.scaling import FixedOmega, Omega, acting
from scalearn.errors import InputError


class Lora(nn.Module):
    """A low-rank update of one linear map.

    Args:
        inputs: of the map.
        outputs: of the map.
        rank: r.
        alpha: the update is scaled by alpha / r.
    """

    def __init__(self, *, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        self.alpha = alpha
        self.merged = False
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    @property
    def scaling(self) -> float:
        """alpha / r."""
        return self.alpha / self.down.out_features

    def absent(self) -> Lora:
        """An update of the same map that changes nothing, of rank 1."""
        absent = Lora(inputs=self.down.in_features, outputs=self.up.out_features, rank=1, alpha=1.0)
        nn.init.zeros_(absent.down.weight)
        return absent.to(self.up.weight)

    @torch.no_grad()
    def widened(self, rank: int) -> Lora:
        """The same update padded with zeros to a rank that is at least its own, scaled by 1."""
        wide = Lora(inputs=self.down.in_features, outputs=self.up.out_features, rank=rank, alpha=float(rank))
        wide = wide.to(self.up.weight)
        spare = rank - self.down.out_features
        wide.down.weight.copy_(F.pad(self.down.weight, [0, 0, 0, spare]))
        wide.up.weight.copy_(F.pad(self.scaling * self.up.weight, [0, spare]))
        return wide

    def weight(self) -> Tensor:
        """What is added to W, (outputs, inputs)."""
        return self.scaling * (self.up.weight @ self.down.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (..., outputs), given the map's input x (..., inputs) and output y.

        Raises:
            InputError: in training, after `merge`.
        """
        if self.merged:
            if self.training:
                raise InputError("this update was folded into the weights: load the model anew to train it")
            return y
        update: Tensor = self.up(self.down(x))
        return y + self.scaling * update

    @torch.no_grad()
    def merge(self, linear: nn.Module) -> None:
        """Adds the update to the weight of the map itself, once; from then on nothing is computed here.

        Args:
            linear: an `nn.Linear`, or GPT-2's Conv1D, whose weight is (inputs, outputs).
        """
        if not self.merged:
            self._add_to(linear, 1)
            self.merged = True

    @torch.no_grad()
    def unmerge(self, linear: nn.Module) -> None:
        """Takes out of the weight of the map what `merge` added, but for rounding."""
        if self.merged:
            self._add_to(linear, -1)
            self.merged = False

    def _add_to(self, linear: nn.Module, sign: int) -> None:
        update = self.weight()
        linear.get_parameter("weight").add_(update if isinstance(linear, nn.Linear) else update.T, alpha=sign)


class ScaledLoras(nn.Module):
    """T frozen updates of one map, scaled by omega and summed, as one update of rank T * r.

    Args:
        sources: the T updates; copied, and frozen. Lower ranks are padded with zeros.
        omega: (T, outputs) or (T, 1).

    Raises:
        InputError: they are updates of maps of unequal size.
    """

    down_weight: Tensor  # (T * r, inputs)
    up_weight: Tensor  # (T, r, outputs)

    def __init__(self, sources: Sequence[Lora], omega: Omega | FixedOmega) -> None:
        super().__init__()
        sizes = {(source.down.in_features, source.up.out_features) for source in sources}
        if len(sizes) > 1:
            raise InputError(f"LoRA sources of maps of one size can be combined, but there are {sorted(sizes)}")
        rank = max(source.down.out_features for source in sources)
        downs = [F.pad(s.down.weight.detach(), [0, 0, 0, rank - s.down.out_features]) for s in sources]
        ups = [F.pad(s.scaling * s.up.weight.detach().T, [0, 0, 0, rank - s.down.out_features]) for s in sources]
        self.register_buffer("down_weight", torch.cat(downs), persistent=False)  # see StackedSources
        self.register_buffer("up_weight", torch.stack(ups), persistent=False)
        self.omega = omega

    def scaled_up(self, omega: Tensor) -> Tensor:
        """The weight (outputs, T * r) of the up projection under `omega`."""
        return (self.up_weight * omega.unsqueeze(1)).flatten(0, 1).T

    def hidden(self, x: Tensor) -> Tensor:
        """Maps (..., inputs) to the hidden states of all sources, (..., T * r)."""
        return F.linear(x, self.down_weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (..., outputs), given the map's input x (..., inputs) and output y."""
        return y + F.linear(self.hidden(x), self.scaled_up(self.omega()))

    @torch.no_grad()
    def terms(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        """What each source adds to y in evaluation: T of (..., outputs), one at a time."""
        parts = self.hidden(x).chunk(self.up_weight.shape[0], dim=-1)  # T of (..., r)
        for t, omega in enumerate(acting(self.omega)):
            yield omega * (parts[t] @ self.up_weight[t])

    @torch.no_grad()
    def fold(self) -> Lora:
        """One ordinary update of rank T * r that equals this delta in evaluation mode."""
        up = self.scaled_up(acting(self.omega))
        rank = up.shape[1]
        folded = Lora(inputs=self.down_weight.shape[1], outputs=up.shape[0], rank=rank, alpha=float(rank)).to(up)
        folded.down.weight.copy_(self.down_weight)
        folded.up.weight.copy_(up)
        return folded
