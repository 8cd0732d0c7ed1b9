"""The Pfeiffer bottleneck against its equation."""

import pytest
import torch

from scalearn.deltas import Bottleneck


def test_equation() -> None:
    delta = Bottleneck(width=6, bottleneck=3).double()
    for parameter in delta.parameters():
        torch.nn.init.normal_(parameter)
    z = torch.randn(2, 4, 6, dtype=torch.float64)
    hidden = (z @ delta.down.weight.T + delta.down.bias).clamp(min=0)
    torch.testing.assert_close(delta(z), hidden @ delta.up.weight.T + delta.up.bias, rtol=0, atol=1e-12)


def test_starts_as_published() -> None:
    delta = Bottleneck(width=512, bottleneck=64)
    for linear in (delta.down, delta.up):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not linear.bias.any()
