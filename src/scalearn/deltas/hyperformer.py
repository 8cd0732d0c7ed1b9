"""HyperFormer: bottlenecks generated from an embedding of the task.

    e = LN(W2 relu(W1 [t; l] + b1) + b2)        t the task's embedding; l the layer's, in HyperFormer++ only
    D, d, U, u, g, b = linear maps of e
    delta(z) = g * norm(U gelu(D z + d) + u) + b

HyperFormer has maps of its own for every layer, HyperFormer++ one set for all.

Source: Karimi Mahabadi et al., Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks
(ACL 2021), section 2; the sizes are those of ScaLearn's code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas.conditioning import TaskSwitch, safe_key


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map as all of HyperFormer's begin: weights N(0, 0.02), biases 0."""
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear


class TaskEncoder(nn.Module):
    """From the active task (and a layer) to what the hypernetworks read.

    Args:
        switch: the tasks, and which of them is computed.
        embedding: width of the embeddings.
        hidden: width inside the encoder.
        projected: width of e.
        layers: number of layers that are embedded too (HyperFormer++); None embeds none.
    """

    def __init__(
        self, switch: TaskSwitch, *, embedding: int = 512, hidden: int = 128, projected: int = 64, layers: int | None
    ) -> None:
        super().__init__()
        self.switch = switch
        self.tasks = nn.ParameterDict({safe_key(name): torch.randn(embedding) for name in switch.names})
        self.layers = None if layers is None else nn.Parameter(torch.empty(layers, embedding).normal_(std=0.02))
        self.hidden = _linear(embedding if layers is None else 2 * embedding, hidden)
        self.projected = _linear(hidden, projected)
        self.norm = nn.LayerNorm(projected, eps=1e-6)

    def forward(self, layer: int) -> Tensor:
        """e of the active task in one layer, (projected,)."""
        embedding = self.tasks[safe_key(self.switch.active)]
        if self.layers is not None:
            embedding = torch.cat([embedding, self.layers[layer]])
        encoded: Tensor = self.norm(self.projected(torch.relu(self.hidden(embedding))))
        return encoded


class HyperNetworks(nn.Module):
    """The linear maps from e to the parts of a bottleneck and of the LayerNorm behind it.

    Args:
        width: d.
        bottleneck: r.
        projected: width of e.
    """

    def __init__(self, *, width: int, bottleneck: int, projected: int) -> None:
        super().__init__()
        self.width = width
        self.bottleneck = bottleneck
        self.down_weight = _linear(projected, width * bottleneck)
        self.down_bias = _linear(projected, bottleneck)
        self.up_weight = _linear(projected, width * bottleneck)
        self.up_bias = _linear(projected, width)
        self.norm_weight = _linear(projected, width)
        self.norm_bias = _linear(projected, width)

    def forward(self, encoded: Tensor, z: Tensor) -> Tensor:
        """The generated delta of z (..., d), (..., d)."""
        down = self.down_weight(encoded).view(self.bottleneck, self.width)
        hidden = F.gelu(F.linear(z, down, self.down_bias(encoded)), approximate="tanh")
        up = F.linear(hidden, self.up_weight(encoded).view(self.width, self.bottleneck), self.up_bias(encoded))
        return F.layer_norm(up, (self.width,), self.norm_weight(encoded), self.norm_bias(encoded), 1e-5)


class GeneratedBottleneck(nn.Module):
    """The delta of one layer.

    Args:
        encoder: the same object in every layer.
        networks: of this layer, or the same object in every layer (HyperFormer++).
        layer: its index.
    """

    def __init__(self, encoder: TaskEncoder, networks: HyperNetworks, *, layer: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.networks = networks
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        added: Tensor = self.networks(self.encoder(self.layer), z)
        return added
