"""Compacter++ against sums of Kronecker products, written out."""

import copy

import pytest
import torch
from torch import Tensor, nn

from scalearn.deltas import Bottleneck, Compacter, FixedOmega, ScaledSources, new_rule
from scalearn.deltas.compacter import PHM
from scalearn.errors import InputError


@pytest.fixture
def delta(perturbed) -> Compacter:
    return perturbed(Compacter(width=12, bottleneck=8, rule=new_rule()))


def literal_weight(projection: PHM, rule: Tensor) -> Tensor:
    """H = sum_i kron(rule_i, left_i right_i), block by block."""
    total = torch.zeros(projection.left.shape[1] * len(rule), projection.right.shape[2] * len(rule))
    for i in range(len(rule)):
        block = torch.outer(projection.left[i, :, 0], projection.right[i, 0])
        total = total + torch.cat([torch.cat([c * block for c in row], dim=1) for row in rule[i]], dim=0)
    return total


def literal(delta: Compacter, z: Tensor) -> Tensor:
    hidden = z @ literal_weight(delta.down, delta.rule) + delta.down.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return hidden @ literal_weight(delta.up, delta.rule) + delta.up.bias


@pytest.mark.parametrize("size", [1, 2, 4])
def test_equals_literal(size: int, perturbed, assert_same_function) -> None:
    delta = perturbed(Compacter(width=12, bottleneck=8, rule=new_rule(size)))
    z = torch.randn(2, 3, 12, requires_grad=True)
    assert_same_function(delta(z), literal(delta, z), [z, *delta.parameters()])


def test_gradients(delta: Compacter) -> None:
    names = [name for name, _ in delta.named_parameters()]

    def run(z: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(delta, dict(zip(names, values, strict=True)), z)

    values = [parameter.detach().clone().requires_grad_() for parameter in delta.parameters()]
    assert torch.autograd.gradcheck(run, (torch.randn(2, 12, requires_grad=True), *values))


def test_shapes(delta: Compacter) -> None:
    assert {name: tuple(p.shape) for name, p in delta.named_parameters()} == {
        "rule": (4, 4, 4),
        "down.left": (4, 3, 1),
        "down.right": (4, 1, 2),
        "down.bias": (8,),
        "up.left": (4, 2, 1),
        "up.right": (4, 1, 3),
        "up.bias": (12,),
    }


def test_starts_as_published() -> None:
    delta = Compacter(width=2000, bottleneck=1500, rule=new_rule(50))
    assert delta.rule.std().item() == pytest.approx(1e-4, rel=0.05)
    for projection in (delta.down, delta.up):
        assert not projection.bias.any()
        for factor in (projection.left, projection.right):
            fan = factor[0].numel() + 1  # of each (a, 1) matrix, not of the (n, a, 1) tensor
            assert factor.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.1)
            assert factor.abs().max().item() > 1.2 * (6 / fan) ** 0.5, "normal, not uniform"


def test_published_count(trained) -> None:
    with torch.device("meta"):
        rule = new_rule()
        assert trained(Compacter(width=768, bottleneck=48, rule=rule) for _ in range(12)) == 29_440


def test_layers_share_the_rule() -> None:
    rule = new_rule()
    layers = nn.ModuleList(Compacter(width=8, bottleneck=4, rule=rule) for _ in range(2))
    twin = copy.deepcopy(layers)
    assert twin[0].rule is twin[1].rule and twin[0].rule is not rule
    assert [name for name, _ in layers.named_parameters() if name.endswith("rule")] == ["0.rule"]
    nn.init.ones_(rule)
    twin.load_state_dict(layers.state_dict())
    assert torch.equal(twin[1].rule, rule)
    sum(layer(torch.randn(3, 8)).sum() for layer in layers).backward()
    assert rule.grad is not None and rule.grad.any()


@pytest.mark.parametrize(("width", "bottleneck"), [(10, 8), (12, 6)])
def test_refuses_widths_that_do_not_divide(width: int, bottleneck: int) -> None:
    with pytest.raises(InputError, match=rf"divisible by 4.*{width}.*{bottleneck}"):
        Compacter(width=width, bottleneck=bottleneck, rule=new_rule())


def test_written_out_it_is_an_ordinary_source(delta: Compacter, assert_near) -> None:
    plain = delta.bottleneck()
    z = torch.randn(5, 12)
    assert isinstance(plain, Bottleneck) and plain.activation == "gelu"
    assert_near(plain(z), delta(z))
    assert_near(ScaledSources([plain, plain], FixedOmega([0.3, 0.7]))(z), delta(z))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert delta(z).any(), "a copy"
