"""The Pfeiffer bottleneck against its equation."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from scalearn.deltas import Activation, Bottleneck
from scalearn.deltas.bottleneck import activate

EQUATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "tanh": lambda x: 1 - 2 / (torch.exp(2 * x) + 1),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
}


@pytest.mark.parametrize("activation", get_args(Activation))
def test_equation(activation: Activation, perturbed, assert_same_function) -> None:
    delta = perturbed(Bottleneck(width=6, bottleneck=3, activation=activation))
    z = torch.randn(2, 4, 6, requires_grad=True)
    hidden = z @ delta.down.weight.T + delta.down.bias
    hidden = EQUATIONS[activation](hidden)
    assert_same_function(delta(z), hidden @ delta.up.weight.T + delta.up.bias, [z, *delta.parameters()])


@pytest.mark.parametrize("activation", get_args(Activation))
def test_zero_stays_zero(activation: Activation) -> None:
    """What padding narrow sources with zeros relies on."""
    assert activate(torch.zeros(3), activation).tolist() == [0, 0, 0]


def test_starts_as_published(trained) -> None:
    delta = Bottleneck(width=512, bottleneck=64)
    assert delta.activation == "relu"
    for linear in (delta.down, delta.up):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not linear.bias.any()
    with torch.device("meta"):
        assert trained(Bottleneck(width=768, bottleneck=48) for _ in range(12)) == 894_528


def test_activation_survives_in_the_module(perturbed) -> None:
    first, second = (perturbed(Bottleneck(width=6, bottleneck=3, activation="gelu")) for _ in range(2))
    second.load_state_dict(first.state_dict())
    z = torch.randn(4, 6)
    assert torch.equal(first(z), second(z))
    assert torch.equal(first(z), nn.Sequential(first.down, nn.GELU(), first.up)(z))
