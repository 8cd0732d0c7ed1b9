"""Averaging weights, parameter by parameter."""

import pytest
import torch
from torch import nn

from scalearn.deltas import Bottleneck, Lora, average
from scalearn.errors import InputError

WEIGHTS = (0.5, 0.3, 0.2)


def bottlenecks(*sizes: int) -> list[Bottleneck]:
    made = [Bottleneck(width=6, bottleneck=size) for size in sizes]
    for delta in made:
        for parameter in delta.parameters():
            nn.init.normal_(parameter)
    return made


def test_every_weight_and_bias_is_averaged() -> None:
    made = bottlenecks(3, 3, 3)
    before = [{name: p.clone() for name, p in delta.named_parameters()} for delta in made]
    soup = average(made, WEIGHTS)
    assert isinstance(soup, Bottleneck)
    assert len(list(soup.parameters())) == 4
    for name, mixed in soup.named_parameters():
        torch.testing.assert_close(mixed.data, sum(w * own[name].data for w, own in zip(WEIGHTS, before, strict=True)))
    for delta, own in zip(made, before, strict=True):
        assert all(torch.equal(p, own[name]) for name, p in delta.named_parameters()), "the sources stay"


def test_order_matters_and_weights_need_not_sum_to_one() -> None:
    first, second = bottlenecks(3, 3)
    ours, other = average([first, second], [2.0, -1.0]), average([first, second], [-1.0, 2.0])
    torch.testing.assert_close(ours.up.bias.data, 2 * first.up.bias.data - second.up.bias.data)
    torch.testing.assert_close(other.up.bias.data, 2 * second.up.bias.data - first.up.bias.data)


def test_the_average_is_not_the_average_of_outputs() -> None:
    made = bottlenecks(3, 3)
    z = torch.randn(4, 6)
    mean = sum(0.5 * delta(z) for delta in made)
    assert not torch.allclose(average(made, [0.5, 0.5])(z), mean, atol=1e-2)


def test_one_alone_is_itself_but_a_copy() -> None:
    (only,) = bottlenecks(3)
    soup = average([only], [1.0])
    z = torch.randn(4, 6)
    before = soup(z)
    assert torch.equal(before, only(z))
    nn.init.zeros_(only.up.weight)
    assert torch.equal(soup(z), before)


def test_loras_are_averaged_too() -> None:
    made = [Lora(inputs=5, outputs=4, rank=2, alpha=4.0) for _ in range(2)]
    for delta in made:
        nn.init.normal_(delta.up.weight)
    soup = average(made, [0.25, 0.75])
    torch.testing.assert_close(soup.down.weight.data, 0.25 * made[0].down.weight + 0.75 * made[1].down.weight)
    torch.testing.assert_close(soup.up.weight.data, 0.25 * made[0].up.weight + 0.75 * made[1].up.weight)
    assert soup.scaling == 2.0


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"among equal shapes only, but down\.weight has \(3, 6\), \(4, 6\)"):
        average(bottlenecks(4, 3), [0.5, 0.5])


def test_one_weight_a_delta() -> None:
    with pytest.raises(ValueError):
        average(bottlenecks(3, 3), [1.0])


def test_activations_that_differ_are_refused() -> None:
    with pytest.raises(InputError):
        average([Bottleneck(width=6, bottleneck=3, activation=name) for name in ("relu", "gelu")], [0.5, 0.5])


def test_alphas_that_differ_are_refused() -> None:
    """An update is alpha / r times its weights, so these weights do not mean the same."""
    with pytest.raises(InputError):
        average([Lora(inputs=5, outputs=4, rank=2, alpha=alpha) for alpha in (4.0, 8.0)], [0.5, 0.5])
