"""Sparse omega: the proximal step of L1, and the straight-through choice of the top k."""

from __future__ import annotations

import copy

import pytest
import torch

from scalearn.deltas import Bottleneck, Omega, ScaledSources, TopSources, shrink
from scalearn.errors import InputError

WIDTH = 6


def omega_of(rows: list[list[float]]) -> Omega:
    omega = Omega(sources=len(rows), width=len(rows[0]))
    omega.values = torch.nn.Parameter(torch.tensor(rows))
    return omega


def test_shrinking_ends_in_exact_zeros() -> None:
    values = torch.tensor([[0.5, -0.5, 0.1, -0.1, 0.0, 0.2]])
    shrink(values, 0.2)
    torch.testing.assert_close(values, torch.tensor([[0.3, -0.3, 0.0, 0.0, 0.0, 0.0]]))
    assert (values[0, 2:] == 0).all()


def test_shrinking_solves_the_penalised_problem() -> None:
    """argmin_w (w - a)^2 / 2 + lambda |w|, found by a grid."""
    a, strength = torch.tensor([1.3, -0.7, 0.2]), 0.4
    grid = torch.linspace(-2, 2, 4001)
    losses = (grid[:, None] - a) ** 2 / 2 + strength * grid[:, None].abs()
    best, found = grid[losses.argmin(dim=0)], a.clone()
    shrink(found, strength)
    torch.testing.assert_close(found, best, atol=1e-3, rtol=0)


def test_the_top_k_act_alone_and_all_learn() -> None:
    omega = omega_of([[0.5, 0.5], [-0.9, -0.9], [0.1, 2.0], [0.2, 0.2]])
    TopSources([omega], keep=2)
    acting = omega()
    assert torch.equal(acting, omega.values * torch.tensor([[0.0], [1.0], [1.0], [0.0]]))
    assert (acting[0] == 0).all(), "not nearly"
    (acting * torch.arange(8.0).view(4, 2)).sum().backward()
    assert torch.equal(omega.values.grad, torch.arange(8.0).view(4, 2)), "as if all acted"


def test_layers_agree_on_the_mean_over_all_of_them() -> None:
    first, second = omega_of([[0.875], [0.5], [0.1]]), omega_of([[0.1], [0.5], [0.875]])
    TopSources([first, second, second], keep=1)  # an omega that layers share counts once
    for omega in (first, second):
        assert omega().flatten().tolist() == [0.0, 0.5, 0.0]


def test_a_source_that_is_left_out_comes_back() -> None:
    """Its gradient at zero says that it would help."""
    omega = omega_of([[0.5], [0.4]])
    TopSources([omega], keep=1)
    optimizer = torch.optim.Adam([omega.values], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        ((omega()[:, 0] - torch.tensor([0.0, 1.0])) ** 2).sum().backward()
        optimizer.step()
    assert omega()[0].item() == 0 and omega()[1].item() == pytest.approx(1, abs=0.1)


def test_a_copy_chooses_by_its_own_values() -> None:
    omegas = torch.nn.ModuleList([omega_of([[0.5], [0.4]]), omega_of([[0.5], [0.4]])])
    TopSources(omegas, keep=1)
    twin = copy.deepcopy(omegas)
    with torch.no_grad():
        for omega in twin:
            omega.values.copy_(torch.tensor([[0.1], [0.9]]))
    assert omegas[0]().flatten().tolist() == [0.5, 0.0]
    torch.testing.assert_close(twin[0]().flatten(), torch.tensor([0.0, 0.9]))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="keep=3 of 2 sources: give at most 2"):
        TopSources([omega_of([[0.5], [0.4]])], keep=3)


def test_what_folds_is_what_acts() -> None:
    sources = [Bottleneck(width=WIDTH, bottleneck=3) for _ in range(4)]
    fused = ScaledSources(sources, Omega(sources=4, width=WIDTH)).eval()
    torch.nn.init.uniform_(fused.omega.values, 0.2, 1.8)
    z = torch.randn(5, WIDTH)
    whole = fused(z)
    TopSources([fused.omega], keep=2)
    assert not torch.allclose(fused(z), whole)
    torch.testing.assert_close(fused.fold()(z), fused(z))
