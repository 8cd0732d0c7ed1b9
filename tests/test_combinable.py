"""Deltas to tensors and back, for each kind of source, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scalearn.combinable import COMBINABLE, deltas_from, tensors_of
from scalearn.deltas import Bottleneck, Compacter, Lora, Rescaling
from scalearn.errors import InputError
from scalearn.methods import Setting, method_from_name
from scalearn.sites import Placement, Shape

SHAPE = Shape(
    architecture="bert",
    width=16,
    layers=2,
    linears={"query": (16, 16), "value": (16, 16), "intermediate": (16, 32)},
    paths={"encoder.layer.*.output.dense": (32, 16)},
)
OPTIONS = {
    "adapter": {"bottleneck": 4},
    "compacter++": {"reduction_factor": 4},
    "lora": {"rank": 3, "modules": ("query", "intermediate"), "alpha": 6.0},
    "ia3": {"modules": ("query", "intermediate:input", "encoder.layer.*.output.dense")},
}


def trained(name: str) -> tuple[Placement, dict[str, object], dict[str, Tensor]]:
    """Deltas of a method with random weights, its options, and their tensors."""
    method = method_from_name(name, **OPTIONS[name])
    placement = method.build(Setting(shape=SHAPE))
    for layers in placement.values():
        for delta in layers:
            for parameter in delta.parameters():
                nn.init.normal_(parameter, std=0.5)
    return placement, method.model_dump(), tensors_of(placement)


def read(name: str, options: dict[str, object], tensors: dict[str, Tensor], layers: int = 2) -> Placement:
    return deltas_from(tensors, method=name, options=options, width=16, layers=layers)


@pytest.mark.parametrize("name", COMBINABLE)
def test_what_was_written_computes_the_same_when_read(name: str) -> None:
    placement, options, tensors = trained(name)
    loaded = read(name, options, tensors)
    assert loaded.keys() == placement.keys()
    x = torch.randn(5, 16)
    for site, layers in placement.items():
        for ours, theirs in zip(loaded[site], layers, strict=True):
            if isinstance(theirs, Rescaling):
                inputs = (x, torch.randn(5, theirs.scale.shape[0]))
            else:
                inputs = (x, torch.randn(5, SHAPE.linears[site][1])) if isinstance(theirs, Lora) else (x,)
            torch.testing.assert_close(ours(*inputs), theirs(*inputs))


def test_names_of_tensors() -> None:
    assert set(trained("lora")[2]) == {
        f"layers.{i}.{role}.{part}.weight"
        for i in (0, 1)
        for role in ("query", "intermediate")
        for part in ("down", "up")
    }
    assert set(trained("ia3")[2]) == {
        f"layers.{i}.{site}.scale"
        for i in (0, 1)
        for site in ("query", "intermediate:input", "encoder.layer.*.output.dense")
    }
    assert "rule" in trained("compacter++")[2]
    assert not any("rule" in name for name in trained("compacter++")[2] if name != "rule"), "the rule is kept once"
    assert "layers.1.down.weight" in trained("adapter")[2]


def test_a_compacter_is_read_as_a_gelu_bottleneck() -> None:
    _, options, tensors = trained("compacter++")
    (delta, _) = read("compacter++", options, tensors)["layer"]
    assert isinstance(delta, Bottleneck) and not isinstance(delta, Compacter) and delta.activation == "gelu"


@pytest.mark.parametrize("name", COMBINABLE)
def test_a_tensor_too_few_or_too_many_is_named(name: str) -> None:
    _, options, tensors = trained(name)
    key = next(iter(tensors))
    with pytest.raises(InputError, match=r"layers\.0\."):
        read(name, options, {k: v for k, v in tensors.items() if k != key})
    with pytest.raises(InputError, match=r"has layers\.9\.x, which a backbone of 2 layers has no place for"):
        read(name, options, tensors | {"layers.9.x": torch.zeros(1)})
    with pytest.raises(InputError, match="no place for"):
        read(name, options, tensors, layers=1)


def test_lora_of_other_modules_than_described_is_refused() -> None:
    _, options, tensors = trained("lora")
    with pytest.raises(InputError, match=r"cannot be used at layers\.0\.key"):
        read("lora", {**options, "modules": ("query", "key")}, tensors)


def test_shapes_are_checked() -> None:
    _, options, tensors = trained("adapter")
    with pytest.raises(InputError, match=r"down.weight has shape \(4, 15\), expected \(bottleneck, 16\)"):
        read("adapter", options, tensors | {"layers.0.down.weight": torch.zeros(4, 15)})
    with pytest.raises(InputError, match=r"layers\.1\.: .*up\.weight"):
        read("adapter", options, tensors | {"layers.1.up.weight": torch.zeros(16, 5)})


def test_an_activation_or_method_that_is_none_is_refused() -> None:
    _, options, tensors = trained("adapter")
    with pytest.raises(InputError, match="activation 'sigmoid' is not one of relu, gelu"):
        read("adapter", {**options, "activation": "sigmoid"}, tensors)
    with pytest.raises(InputError, match="is of method 'propetl', but sources are adapter, compacter"):
        read("propetl", {}, tensors)
