"""The Pfeiffer bottleneck against its equation."""

import pytest
import torch
from torch import nn

from scalearn.deltas import Activation, Bottleneck
from scalearn.deltas.bottleneck import activate


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_equation(activation: Activation, perturbed, assert_same_function) -> None:
    delta = perturbed(Bottleneck(width=6, bottleneck=3, activation=activation))
    z = torch.randn(2, 4, 6, requires_grad=True)
    hidden = z @ delta.down.weight.T + delta.down.bias
    hidden = hidden.clamp(min=0) if activation == "relu" else hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert_same_function(delta(z), hidden @ delta.up.weight.T + delta.up.bias, [z, *delta.parameters()])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
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
