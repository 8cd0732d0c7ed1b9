"""IA3: the output or the input of a linear map, rescaled, and several such scales combined by omega.

    out = l * (W x + b)        at the map's output: key, value and intermediate, before the activation
    out = W (l * x) + b        at its input, where PEFT has the scale of the feed-forward
    ScaLearn over IA3 sources:    1 + sum_t omega_t (l_t - 1)    in place of l

The combination is linear in omega: omega = 0 leaves the backbone as it is, omega = 1 for source t and 0 for the others
is source t. It folds into one scale.

Source: Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning (NeurIPS
2022). Scales of outputs only are the form of ScaLearn's code (the ``adapters`` library); the paper rescales after the
activation, PEFT before the second map of the feed-forward. The combination is this library's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from scalearn.deltas.scaling import FixedOmega, Omega, acting
from scalearn.errors import InputError


class Rescaling(nn.Module):
    """A learned factor per dimension, 1 at first.

    Args:
        width: outputs of the map, or its inputs.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def absent(self) -> Rescaling:
        """Scales of the same place that change nothing."""
        return Rescaling(width=self.scale.shape[0]).to(self.scale)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (..., width), given the input x and output y of what is rescaled."""
        return y * self.scale


class ScaledRescalings(nn.Module):
    """T frozen scales of one place, combined by omega.

    Args:
        sources: the T of them; copied, and frozen.
        omega: (T, width) or (T, 1).

    Raises:
        InputError: they are of unequal width.
    """

    change: Tensor  # (T, width)

    def __init__(self, sources: Sequence[Rescaling], omega: Omega | FixedOmega) -> None:
        super().__init__()
        widths = {source.scale.shape[0] for source in sources}
        if len(widths) > 1:
            raise InputError(f"IA3 sources of maps of one width can be combined, but there are {sorted(widths)}")
        change = torch.stack([source.scale.detach() - 1 for source in sources])
        self.register_buffer("change", change, persistent=False)  # see StackedSources
        self.omega = omega

    def _scale(self, omega: Tensor) -> Tensor:
        """The scale (width,) under `omega`."""
        return 1 + (omega * self.change).sum(dim=0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (..., width), given the input x and output y of what is rescaled."""
        return y * self._scale(self.omega())

    @torch.no_grad()
    def terms(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        """What each source adds to y in evaluation, omega_t (l_t - 1) y: T of (..., width), one at a time."""
        for omega, change in zip(acting(self.omega), self.change, strict=True):
            yield omega * change * y

    @torch.no_grad()
    def fold(self) -> Rescaling:
        """One ordinary scale that equals this delta in evaluation mode."""
        scale = self._scale(acting(self.omega))
        folded = Rescaling(width=scale.shape[0]).to(scale)
        folded.scale.copy_(scale)
        return folded
