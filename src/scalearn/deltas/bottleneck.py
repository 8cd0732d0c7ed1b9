"""The Pfeiffer bottleneck adapter.

    delta(z) = U relu(D z + d) + u

Source: Pfeiffer et al., AdapterFusion (EACL 2021), section 3.1; Frohmann et al., ScaLearn (ACL Findings 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A two-layer bottleneck that is added to a layer's output.

    Args:
        width: d, the width of the backbone.
        bottleneck: r, the width inside the bottleneck.
    """

    def __init__(self, *, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for linear in (self.down, self.up):  # BERT's initialisation, as published
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        up: Tensor = self.up(torch.relu(self.down(z)))
        return up
