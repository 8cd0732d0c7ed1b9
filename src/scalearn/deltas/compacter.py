"""Compacter++: a bottleneck whose weights are sums of Kronecker products (parametrised hypercomplex multiplication).

    delta(z) = phm_up(gelu(phm_down(z)))        phm(x) = x H + b,    H = sum_i kron(rule_i, left_i right_i)

rule (n, n, n) is one for all layers and both projections; left_i right_i has rank 1.

Source: Karimi Mahabadi et al., Compacter (NeurIPS 2021), section 3. ScaLearn's code loses the shared rule when it goes
back to the best checkpoint; here it is a parameter like any other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scalearn.deltas.bottleneck import Bottleneck, activate
from scalearn.errors import InputError


def new_rule(size: int = 4) -> nn.Parameter:
    """A rule for `Compacter`, (n, n, n), drawn from N(0, 0.0001)."""
    return nn.Parameter(torch.empty(size, size, size).normal_(std=1e-4))


class PHM(nn.Module):
    """One projection.

    Args:
        inputs: divisible by n.
        outputs: divisible by n.
        rule: (n, n, n), shared.

    Raises:
        InputError: a width is not divisible by n.
    """

    def __init__(self, *, inputs: int, outputs: int, rule: nn.Parameter) -> None:
        super().__init__()
        n = rule.shape[0]
        if inputs % n or outputs % n:
            raise InputError(
                f"Compacter++ with phm_dim {n} needs widths divisible by {n}, but maps {inputs} to {outputs}: choose "
                "another reduction_factor or phm_dim"
            )
        self.left = nn.Parameter(torch.empty(n, inputs // n, 1))
        self.right = nn.Parameter(torch.empty(n, 1, outputs // n))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for i in range(n):
            nn.init.xavier_normal_(self.left.data[i])
            nn.init.xavier_normal_(self.right.data[i])

    def weight(self, rule: Tensor) -> Tensor:
        """H, (inputs, outputs)."""
        blocks = self.left @ self.right  # (n, inputs / n, outputs / n)
        n = rule.shape[0]
        product: Tensor = torch.einsum("iab,icd->acbd", rule, blocks).reshape(n * blocks.shape[1], n * blocks.shape[2])
        return product


class Compacter(nn.Module):
    """A gelu bottleneck of two PHM projections.

    Args:
        width: d.
        bottleneck: r.
        rule: (n, n, n) from `new_rule`, the same object in every layer.
    """

    def __init__(self, *, width: int, bottleneck: int, rule: nn.Parameter) -> None:
        super().__init__()
        self.rule = rule
        self.down = PHM(inputs=width, outputs=bottleneck, rule=rule)
        self.up = PHM(inputs=bottleneck, outputs=width, rule=rule)

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        hidden = activate(z @ self.down.weight(self.rule) + self.down.bias, "gelu")
        return hidden @ self.up.weight(self.rule) + self.up.bias

    @torch.no_grad()
    def bottleneck(self) -> Bottleneck:
        """The same function as an ordinary bottleneck with H written out, for combining it with others."""
        down, up = self.down.weight(self.rule), self.up.weight(self.rule)
        plain = Bottleneck(width=down.shape[0], bottleneck=down.shape[1], activation="gelu").to(down)
        plain.down.weight.copy_(down.T)
        plain.down.bias.copy_(self.down.bias)
        plain.up.weight.copy_(up.T)
        plain.up.bias.copy_(self.up.bias)
        return plain
