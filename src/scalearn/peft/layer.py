"""The layer of PEFT that stands for a linear map: its output, and for each adapter the scaled sources.

    out = W x + b + sum_t omega_t * s_t B_t A_t x        (`scalearn.deltas.ScaledLoras`)

Only omega is a parameter and is saved; the sources are buffers, shared by all adapters that have the same.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from scalearn.deltas import Lora, ScaledLoras
from scalearn.errors import InputError

DELTA = "scalearn_delta"
"""The attribute that holds the scaled sources, by adapter."""


class ScaLearnLayer(nn.Module, BaseTunerLayer):
    """A linear map with scaled sources.

    Args:
        base_layer: the map.
    """

    adapter_layer_names = (DELTA,)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.scalearn_delta = nn.ModuleDict()
        self.merged_adapters: list[str] = []
        self._disable_adapters = False
        self._folded: dict[str, Lora] = {}  # what `merge` added, to take it out again

    def add(self, adapter_name: str, delta: ScaledLoras) -> None:
        """Makes `delta` an adapter of this layer, where the map is."""
        device = next(self.get_base_layer().parameters()).device
        self.scalearn_delta[adapter_name] = delta.to(device)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output (..., outputs) for an input (..., inputs), in the map's own precision."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return y
        for name in self.active_adapters:
            if name in self.scalearn_delta:
                delta = self._delta(name)
                y = delta(x.to(delta.down_weight.dtype), y).to(y.dtype)
        return y

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Adds the update that the scaled sources make to the weight of the map.

        Args:
            safe_merge: refuse what would not be finite.
            adapter_names: which adapters; by default those that are active.

        Raises:
            InputError: the weights would not be finite.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.scalearn_delta:
                continue
            folded = self._delta(name).fold()
            if safe_merge and not bool(folded.weight().isfinite().all()):
                raise InputError(f"adapter {name!r} has an update that is not finite: train it anew")
            folded.merge(self.get_base_layer())
            self._folded[name] = folded
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Takes out what `merge` added."""
        while self.merged_adapters:
            self._folded.pop(self.merged_adapters.pop()).unmerge(self.get_base_layer())

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Yes: what it adds is a low-rank update of the weight."""
        return True

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """What an adapter adds to the weight, (outputs, inputs)."""
        return self._delta(adapter_name).fold().weight()

    def _delta(self, name: str) -> ScaledLoras:
        return cast(ScaledLoras, self.scalearn_delta[name])
