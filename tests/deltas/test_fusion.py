"""Fused AdapterFusion against one that stacks the outputs of all sources."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from scalearn.deltas import AdapterFusion, Bottleneck
from scalearn.errors import InputError

WIDTH = 12


@pytest.fixture
def sources(perturbed):
    def make(count: int, *, bottlenecks: tuple[int, ...] = (4,), **options) -> list[Bottleneck]:
        sizes = [bottlenecks[t % len(bottlenecks)] for t in range(count)]
        return [perturbed(Bottleneck(width=WIDTH, bottleneck=size, **options)) for size in sizes]

    return make


def literal(fusion: AdapterFusion, adapters: list[Bottleneck], z: Tensor, dropout: float = 0.0) -> Tensor:
    """The published layer: queries, keys and values of the stacked outputs (..., T, d)."""
    outputs = torch.stack([adapter(z) for adapter in adapters], dim=-2)  # (..., T, d)
    keys = outputs @ fusion.key.weight.T + fusion.key.bias
    query = z @ fusion.query.weight.T + fusion.query.bias
    scores = (keys * query.unsqueeze(-2)).sum(-1)  # (..., T)
    attention = torch.softmax(F.dropout(scores, dropout, training=dropout > 0), dim=-1)
    attended = (attention.unsqueeze(-1) * outputs).sum(-2)
    return attended if fusion.value is None else attended @ fusion.value.weight.T


@pytest.mark.parametrize("bottlenecks", [(4,), (3, 6, 1)], ids=["equal", "unequal"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("value", [True, False], ids=["dynamic", "static"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_equals_literal(count, value, activation, bottlenecks, sources, perturbed, assert_same_function) -> None:
    adapters = sources(count, bottlenecks=bottlenecks, activation=activation)
    fusion = perturbed(AdapterFusion(adapters, width=WIDTH, value=value)).eval()
    z = torch.randn(2, 5, WIDTH, requires_grad=True)
    assert_same_function(fusion(z), literal(fusion, adapters, z), [z, *fusion.parameters()])


def test_gradients(sources, perturbed) -> None:
    fusion = perturbed(AdapterFusion(sources(3, activation="gelu"), width=WIDTH), std=0.2).eval()
    assert torch.autograd.gradcheck(fusion, torch.randn(3, WIDTH, requires_grad=True))


@pytest.mark.parametrize("shape", [(WIDTH,), (7, WIDTH), (2, 3, 5, WIDTH)])
def test_any_leading_shape(shape: tuple[int, ...], sources, assert_near) -> None:
    adapters = sources(3)
    fusion = AdapterFusion(adapters, width=WIDTH).eval()
    z = torch.randn(shape)
    assert fusion.attention(z).shape == (*shape[:-1], 3)
    assert_near(fusion.attention(z).sum(-1), torch.ones(shape[:-1]))
    assert_near(fusion(z), literal(fusion, adapters, z))


@pytest.mark.parametrize("value", [True, False], ids=["dynamic", "static"])
def test_dropout_is_on_the_whole_score(value, sources, perturbed, assert_same_function) -> None:
    adapters = sources(4, bottlenecks=(3, 6))
    fusion = perturbed(AdapterFusion(adapters, width=WIDTH, value=value, dropout=0.4)).train()
    z = torch.randn(2, 5, WIDTH, requires_grad=True)
    torch.manual_seed(5)
    ours = fusion(z)
    torch.manual_seed(5)
    assert_same_function(ours, literal(fusion, adapters, z, dropout=0.4), [z, *fusion.parameters()])
    assert not torch.allclose(ours, fusion.eval()(z))


def test_starts_as_published(sources) -> None:
    fusion = AdapterFusion([Bottleneck(width=256, bottleneck=4)], width=256)
    for linear in (fusion.query, fusion.key):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
    assert fusion.value.bias is None
    assert torch.equal(fusion.value.weight.diagonal(), torch.ones(256))
    assert fusion.value.weight.mean().item() == pytest.approx((256 + 1e-6 * 256 * 255) / 256**2, rel=1e-12)
    assert fusion.dropout.p == 0.1
    value = AdapterFusion([Bottleneck(width=48, bottleneck=4)], width=48).value.weight
    assert value.mean().item() == pytest.approx(0.02083431249999999, rel=1e-12), "measured on the published code"
    assert value.std().item() == pytest.approx(0.14285700000000023, rel=1e-3)


def test_penalty(sources, assert_near) -> None:
    fusion = AdapterFusion(sources(2), width=WIDTH)
    assert fusion.penalty().item() == pytest.approx(WIDTH * (WIDTH - 1) * 1e-12)
    weight = fusion.value.weight
    torch.nn.init.normal_(weight)
    expected = sum((float(i == j) - weight[i, j].item()) ** 2 for i in range(WIDTH) for j in range(WIDTH))
    assert fusion.penalty().item() == pytest.approx(expected)
    fusion.penalty().backward()
    assert_near(weight.grad, 2 * (weight - torch.eye(WIDTH)))


def test_penalty_without_value_is_zero(sources) -> None:
    fusion = AdapterFusion(sources(2), width=WIDTH, value=False).float()
    assert fusion.penalty().item() == 0 and fusion.penalty().dtype == torch.float32
    assert fusion.value is None


def test_sources_are_frozen_copies(sources) -> None:
    adapters = sources(3)
    fusion = AdapterFusion(adapters, width=WIDTH).eval()
    names = {"query.weight", "query.bias", "key.weight", "key.bias", "value.weight"}
    assert {name for name, _ in fusion.named_parameters()} == names
    z = torch.randn(4, WIDTH)
    before = fusion(z)
    with torch.no_grad():
        for adapter in adapters:
            adapter.up.weight.zero_()
    assert torch.equal(fusion(z), before)
    assert torch.equal(copy.deepcopy(fusion)(z), before)


def test_mixed_activations_are_refused(sources) -> None:
    with pytest.raises(InputError, match=r"gelu.*relu"):
        AdapterFusion([*sources(1), *sources(1, activation="gelu")], width=WIDTH)


def test_mixed_widths_are_refused(sources) -> None:
    with pytest.raises(InputError, match=r"width 8 .*width 12 "):
        AdapterFusion([*sources(1), Bottleneck(width=8, bottleneck=4)], width=WIDTH)


def test_sources_of_another_width_are_refused(sources) -> None:
    with pytest.raises(InputError, match="width 16, but the sources have width 12"):
        AdapterFusion(sources(2), width=16)


def test_no_tensor_of_sources_times_tokens_times_width(perturbed, largest_saved) -> None:
    count, width, bottleneck, tokens = 6, 48, 3, 32
    adapters = [perturbed(Bottleneck(width=width, bottleneck=bottleneck)) for _ in range(count)]
    fusion = AdapterFusion(adapters, width=width).eval()
    z = torch.randn(4, tokens // 4, width, requires_grad=True)
    allowed = max(tokens * count * bottleneck, tokens * width, width * width)
    assert largest_saved(lambda: fusion(z)) <= allowed < tokens * count * width
    assert largest_saved(lambda: literal(fusion, adapters, z)) == tokens * count * width, "the measure must see it"


def test_published_count(trained) -> None:
    with torch.device("meta"):
        adapters = [Bottleneck(width=768, bottleneck=48) for _ in range(8)]
        assert trained(AdapterFusion(adapters, width=768) for _ in range(12)) == 21_252_096
