"""IA3: its equation, its start, and where its scales act."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalearn import sites
from scalearn.backbones import Backbone
from scalearn.deltas import FixedOmega, Omega, Rescaling, ScaledRescalings
from scalearn.errors import InputError
from scalearn.methods import Setting, method_from_name
from scalearn.sites import Shape

ROLES = ("key", "value", "intermediate")
ROBERTA = Shape(
    architecture="roberta",
    width=768,
    layers=12,
    linears={"query": (768, 768), "key": (768, 768), "value": (768, 768), "intermediate": (768, 3072)},
)


def test_equation() -> None:
    delta = Rescaling(width=5)
    nn.init.normal_(delta.scale)
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 5)
    expected = torch.stack([y[..., i] * delta.scale[i] for i in range(5)], dim=-1)
    assert torch.equal(delta(x, y), expected)


def test_the_bias_is_scaled_too() -> None:
    linear, delta = nn.Linear(4, 5), Rescaling(width=5)
    nn.init.normal_(delta.scale), nn.init.normal_(linear.bias)
    x = torch.randn(2, 3, 4)
    scaled = F.linear(x, delta.scale.unsqueeze(1) * linear.weight, delta.scale * linear.bias)
    torch.testing.assert_close(delta(x, linear(x)), scaled)


def test_starts_at_one() -> None:
    delta = Rescaling(width=7)
    y = torch.randn(3, 7)
    assert torch.equal(delta.scale, torch.ones(7))
    assert torch.equal(delta(torch.randn(3, 2), y), y)


def test_gradient_is_the_sum_of_output_times_gradient() -> None:
    delta = Rescaling(width=5)
    y, weights = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    (delta(torch.randn(2, 3, 4), y) * weights).sum().backward()
    torch.testing.assert_close(delta.scale.grad, (y * weights).sum(dim=(0, 1)))


def random(count: int, width: int = 5) -> list[Rescaling]:
    """Scales as training leaves them."""
    sources = [Rescaling(width=width) for _ in range(count)]
    for source in sources:
        nn.init.uniform_(source.scale, 0.2, 1.8)
    return sources


@pytest.mark.parametrize("width", [1, 5])
def test_equation_of_the_combination(width: int) -> None:
    sources, omega = random(3), Omega(sources=3, width=width)
    nn.init.normal_(omega.values)
    x, y = torch.randn(2, 3, 4), torch.randn(2, 3, 5)
    expected = y.clone()
    for t, source in enumerate(sources):
        expected = expected + omega.values[t] * (source(x, y) - y)
    delta = ScaledRescalings(sources, omega)
    torch.testing.assert_close(delta(x, y), expected)
    torch.testing.assert_close(delta.fold()(x, y), expected)
    assert [name for name, _ in delta.named_parameters()] == ["omega.values"] and not delta.change.requires_grad


def test_no_coefficient_is_the_identity_and_a_unit_vector_its_source() -> None:
    sources, x, y = random(3), torch.randn(2, 4), torch.randn(2, 5)
    assert torch.equal(ScaledRescalings(sources, FixedOmega([0.0] * 3))(x, y), y)
    torch.testing.assert_close(ScaledRescalings(sources, FixedOmega([0.0, 1.0, 0.0]))(x, y), sources[1](x, y))
    assert torch.equal(sources[1].absent()(x, y), y)


def test_gradient_of_omega_is_right() -> None:
    sources, omega = random(2), Omega(sources=2, width=5).double()
    delta, y = ScaledRescalings(sources, omega).double(), torch.randn(3, 5, dtype=torch.float64)

    def at(values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(delta, {"omega.values": values}, (y, y))

    assert torch.autograd.gradcheck(at, torch.randn(2, 5, dtype=torch.float64, requires_grad=True))


def test_scales_of_unequal_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"maps of one width can be combined, but there are \[4, 5\]"):
        ScaledRescalings([*random(1, 4), *random(1, 5)], FixedOmega([1.0, 1.0]))


@torch.no_grad()
def test_a_scale_of_an_input_acts_as_scaled_columns(backbone: Backbone) -> None:
    site = "encoder.layer.*.output.dense:input"
    built = method_from_name("ia3", modules=("intermediate", site)).build(Setting(shape=Shape.of(backbone.model)))
    assert [delta.scale.shape[0] for delta in built[site]] == [32, 32]
    for layers in built.values():
        for delta in layers:
            nn.init.uniform_(delta.float().scale, 0.2, 1.8)
    scaled = copy.deepcopy(backbone.model).eval()
    for linear, delta in zip(sites.find_sites(scaled, site), built[site], strict=True):
        linear.weight.mul_(delta.scale)
    for linear, delta in zip(sites.find_sites(scaled, "intermediate"), built["intermediate"], strict=True):
        linear.weight.mul_(delta.scale.unsqueeze(1))
        linear.bias.mul_(delta.scale)
    ids = torch.randint(5, 15, (2, 6))
    plain = backbone.model.eval()(input_ids=ids).last_hidden_state
    sites.attach(backbone.model, built)
    ours = backbone.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, scaled(input_ids=ids).last_hidden_state, atol=1e-5, rtol=1e-5)
    assert sites.attached(copy.deepcopy(backbone.model)).keys() == built.keys()
    assert sites.detach(backbone.model).keys() == built.keys()
    assert torch.equal(backbone.model(input_ids=ids).last_hidden_state, plain)


def test_published_modules_go_unsaid_in_the_options() -> None:
    """What a run of IA3 is called did not change when other modules became possible."""
    assert method_from_name("ia3").model_dump() == {}
    assert method_from_name("ia3", modules=("key",)).model_dump() == {"modules": ("key",)}


def test_sites_and_count_at_roberta_base() -> None:
    with torch.device("meta"):
        built = method_from_name("ia3").build(Setting(shape=ROBERTA))
    assert set(built) == set(ROLES)
    assert {role: [delta.scale.shape[0] for delta in layers] for role, layers in built.items()} == {
        "key": [768] * 12,
        "value": [768] * 12,
        "intermediate": [3072] * 12,
    }
    assert sum(p.numel() for layers in built.values() for p in nn.ModuleList(layers).parameters()) == 55_296


def test_no_scale_is_shared() -> None:
    built = method_from_name("ia3").build(Setting(shape=ROBERTA))
    deltas = nn.ModuleList(delta for layers in copy.deepcopy(dict(built)).values() for delta in layers)
    assert len({id(p) for p in deltas.parameters()}) == 36


@torch.no_grad()
def test_scales_act_as_scaled_weights_of_the_backbone(backbone: Backbone) -> None:
    """In the key, in the value, and before the activation of the intermediate map: a backbone with scaled weights."""
    shape = Shape.of(backbone.model)
    built = method_from_name("ia3").build(Setting(shape=shape))
    for layers in built.values():
        for delta in layers:
            nn.init.uniform_(delta.float().scale, 0.2, 1.8)
    scaled = copy.deepcopy(backbone.model).eval()
    for role, layers in built.items():
        for linear, delta in zip(sites.find_sites(scaled, role), layers, strict=True):
            linear.weight.mul_(delta.scale.unsqueeze(1))
            linear.bias.mul_(delta.scale)
    ids = torch.randint(5, 15, (2, 6))
    plain = backbone.model.eval()(input_ids=ids).last_hidden_state
    sites.attach(backbone.model, built)
    ours = backbone.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, scaled(input_ids=ids).last_hidden_state, atol=1e-5, rtol=1e-5)
    assert (ours - plain).abs().max() > 1e-2


def test_an_architecture_without_such_maps_is_refused() -> None:
    shape = Shape(architecture="gpt2", width=768, layers=12, linears={"intermediate": (768, 3072)})
    with pytest.raises(InputError, match="gpt2 has no linear map 'key' of its own; it has intermediate"):
        method_from_name("ia3").build(Setting(shape=shape))


def test_terms_are_each_sources_own_and_sum_to_the_change() -> None:
    made = [Rescaling(width=6) for _ in range(3)]
    for source in made:
        nn.init.uniform_(source.scale, 0.5, 1.5)
    fused = ScaledRescalings(made, FixedOmega([0.3, 0.5, 0.9]))
    x, y = torch.randn(4, 8), torch.randn(4, 6)
    terms = list(fused.terms(x, y))
    for source, omega, term in zip(made, (0.3, 0.5, 0.9), terms, strict=True):
        torch.testing.assert_close(term, omega * (source(x, y) - y))
    torch.testing.assert_close(y + sum(terms), fused(x, y))
