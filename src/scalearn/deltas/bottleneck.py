"""The Pfeiffer bottleneck adapter.

    delta(z) = U f(D z + d) + u        f = relu; gelu where a Compacter++ was written out as one; others as imported

Source: Pfeiffer et al., AdapterFusion (EACL 2021), section 3.1; Frohmann et al., ScaLearn (ACL Findings 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.errors import InputError

Activation = Literal["relu", "gelu", "gelu_new", "silu", "tanh", "leaky_relu"]
"""f; ``gelu_new`` is the tanh approximation of gelu, ``leaky_relu`` has slope 0.01 below zero."""

_FUNCTIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
}


class Bottleneck(nn.Module):
    """A two-layer bottleneck that is added to a layer's output.

    Args:
        width: d, the width of the backbone.
        bottleneck: r, the width inside the bottleneck.
        activation: f.
    """

    def __init__(self, *, width: int, bottleneck: int, activation: Activation = "relu") -> None:
        super().__init__()
        self.activation: Activation = activation
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for linear in (self.down, self.up):  # BERT's initialisation, as published
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        up: Tensor = self.up(activate(self.down(z), self.activation))
        return up


def activate(hidden: Tensor, activation: Activation) -> Tensor:
    """f, elementwise; f(0) = 0 for each, so that zero padding stays zero."""
    return _FUNCTIONS[activation](hidden)


class StackedSources(nn.Module):
    """T frozen bottlenecks of one layer, stacked so that one matrix product computes all of their hidden states.

    Narrower sources are padded with zeros to the widest, which changes nothing: f(0) = 0. Several modules may hold the
    same buffers (`scalearn.methods.sharing`): nothing writes into them.

    Args:
        sources: T bottlenecks of the same width d and activation; copied.

    Raises:
        InputError: their widths or activations differ.
    """

    down_weight: Tensor  # (T * r, d)
    down_bias: Tensor  # (T * r,)
    up_weight: Tensor  # (T, r, d)
    up_bias: Tensor  # (T, d)

    def __init__(self, sources: Sequence[Bottleneck]) -> None:
        super().__init__()
        kinds = {(source.up.out_features, source.activation) for source in sources}
        if len(kinds) > 1:
            found = ", ".join(f"width {width} with {activation}" for width, activation in sorted(kinds))
            raise InputError(f"sources of one width and activation can be combined, but there are {found}")
        self.activation: Activation = sources[0].activation
        widest = max(source.down.out_features for source in sources)

        def stack(tensors: Sequence[Tensor]) -> Tensor:
            """Pads the first axis of each tensor to `widest` and stacks them."""
            padded = [F.pad(t.detach(), [0, 0] * (t.ndim - 1) + [0, widest - t.shape[0]]) for t in tensors]
            return torch.stack(padded)

        stacked = {
            "down_weight": stack([s.down.weight for s in sources]).flatten(0, 1),
            "down_bias": stack([s.down.bias for s in sources]).flatten(),
            "up_weight": stack([s.up.weight.T for s in sources]),
            "up_bias": torch.stack([s.up.bias.detach() for s in sources]),
        }
        for name, tensor in stacked.items():  # not in the state_dict: loading one would write into what models share
            self.register_buffer(name, tensor, persistent=False)

    def hidden(self, z: Tensor) -> Tensor:
        """Maps (..., d) to the hidden states of all sources, (..., T * r)."""
        return activate(F.linear(z, self.down_weight, self.down_bias), self.activation)
