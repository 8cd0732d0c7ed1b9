"""IA3: its equation, its start, and where its scales act."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalearn import sites
from scalearn.backbones import Backbone
from scalearn.deltas import Rescaling
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
