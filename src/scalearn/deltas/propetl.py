"""ProPETL: one bottleneck for all layers, seen by each through binary masks.

    delta(z) = (m_up * U) f((m_down * D) z + d) + u        m = 1 where |score| is among the largest fraction k

ProPETL-m has masks of the task too: m = 1 - (1 - m_task)(1 - m_layer), so a weight is kept if either keeps it. The
gradient goes straight through the threshold: that of a score is the mask's times sign(score).

Source: Zeng et al., One Network, Many Masks (ACL 2023), section 3. ScaLearn's single-task runs left the masks as drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas.bottleneck import Bottleneck, activate
from scalearn.deltas.conditioning import TaskSwitch, safe_key


class _TopFraction(torch.autograd.Function):
    """1 for the fraction `keep` of entries with the largest absolute value, 0 for the rest."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, keep: float) -> Tensor:
        ctx.save_for_backward(scores)
        flat = scores.abs().flatten()
        dropped = int((1 - keep) * flat.numel())
        mask = torch.ones_like(flat)
        mask[flat.topk(dropped, largest=False, sorted=False).indices] = 0
        return mask.view_as(scores)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        return gradients[0] * scores.sign(), None


class MaskScores(nn.Module):
    """Scores of a weight's entries, and the binary mask that they give.

    Args:
        shape: of the weight.
        keep: k, the fraction of entries that the mask keeps.
    """

    def __init__(self, shape: tuple[int, ...], *, keep: float) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.empty(shape))
        self.keep = keep
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))

    def forward(self) -> Tensor:
        """The mask, of the weight's shape."""
        mask: Tensor = _TopFraction.apply(self.scores, self.keep)  # type: ignore[no-untyped-call]
        return mask


class MaskedBottleneck(nn.Module):
    """The shared bottleneck behind one layer's masks.

    Args:
        shared: the same object in every layer.
        down: of `shared.down.weight`.
        up: of `shared.up.weight`.
    """

    def __init__(self, shared: Bottleneck, down: MaskScores, up: MaskScores) -> None:
        super().__init__()
        self.shared = shared
        self.down_mask = down
        self.up_mask = up

    def masks(self) -> tuple[Tensor, Tensor]:
        """Those of the down and up weights."""
        return self.down_mask(), self.up_mask()

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        down, up = self.masks()
        hidden = F.linear(z, self.shared.down.weight * down, self.shared.down.bias)
        return F.linear(activate(hidden, self.shared.activation), self.shared.up.weight * up, self.shared.up.bias)


class JointMaskedBottleneck(MaskedBottleneck):
    """The shared bottleneck behind the masks of a layer and of the active task.

    Args:
        shared: the same object in every layer.
        down: the layer's, of `shared.down.weight`.
        up: the layer's, of `shared.up.weight`.
        task_down: task name to mask, the same objects in every layer.
        task_up: likewise.
        switch: says which task is computed.
    """

    def __init__(
        self,
        shared: Bottleneck,
        down: MaskScores,
        up: MaskScores,
        *,
        task_down: Mapping[str, MaskScores],
        task_up: Mapping[str, MaskScores],
        switch: TaskSwitch,
    ) -> None:
        super().__init__(shared, down, up)
        self.task_down = nn.ModuleDict({safe_key(name): mask for name, mask in task_down.items()})
        self.task_up = nn.ModuleDict({safe_key(name): mask for name, mask in task_up.items()})
        self.switch = switch

    def masks(self) -> tuple[Tensor, Tensor]:
        """Those of the down and up weights: kept by the task or by the layer."""
        key = safe_key(self.switch.active)
        down, up = super().masks()
        return 1 - (1 - self.task_down[key]()) * (1 - down), 1 - (1 - self.task_up[key]()) * (1 - up)
