"""IA3: the output of a linear map, rescaled.

    out = scale * (W x + b)        on key, value and intermediate, before the activation

Source: Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning (NeurIPS
2022). This is the form of ScaLearn's code (the ``adapters`` library); the paper rescales after the activation, PEFT
before the second map of the feed-forward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Rescaling(nn.Module):
    """A learned factor per output of a linear map, 1 at first.

    Args:
        width: outputs of the map.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (..., width), given the map's input x and output y."""
        return y * self.scale
