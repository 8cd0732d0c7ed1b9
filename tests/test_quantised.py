"""Quantised backbones are left alone: deltas in full precision over weights of 8 and 4 bits."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BitsAndBytesConfig

from scalearn.backbones import Backbone, BackboneReference, fingerprint, load_backbone, wrap_backbone
from scalearn.errors import InputError
from scalearn.methods import Adapter, LoRA, Recipe
from scalearn.model import TransferModel
from scalearn.quantised import is_packed, is_quantised, plain, quantisation_from, quantisation_of
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train

RECIPE = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=1, steps=3, batch_size=8)
TEXTS = ["the film was good", "bad", "a long and very short film"]


def int8() -> Any:
    return BitsAndBytesConfig(load_in_8bit=True)


def nf4() -> Any:
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def torchao_int8() -> Any:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


without_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
every_kind = pytest.mark.parametrize("kind", [int8, nf4, pytest.param(torchao_int8, marks=without_torchao)])


@pytest.fixture(scope="module")
def folder(tiny_backbone: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT as wide as the kernels for 4 bits want it, with the tiny tokenizer."""
    folder = tmp_path_factory.mktemp("backbones") / "wider"
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.1, **sizes)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def backbone(folder: str) -> Backbone:
    """It in full precision."""
    return load_backbone(folder)


@pytest.fixture
def shelf(backbone: Backbone, make_source: Callable[..., Source]) -> Shelf:
    """Two random sources for it."""
    return Shelf([make_source("one", backbone), make_source("two", backbone)])


def packed(model: nn.Module) -> dict[str, torch.Tensor]:
    """The numbers of what is quantised."""
    return {name: plain(value).clone() for name, value in model.named_parameters() if is_packed(value)}


def answers(model: TransferModel) -> torch.Tensor:
    return model.logits(model.encode({"text_a": TEXTS}))


@every_kind
def test_sources_of_the_float_backbone_are_combined_over_its_quantised_copy(
    kind: Callable[[], Any], folder: str, backbone: Backbone, task: Task, shelf: Shelf, tmp_path: Path
) -> None:
    quantised = load_backbone(folder, quantization_config=kind())
    assert is_quantised(quantised.model) and not is_quantised(backbone.model)
    assert quantised.fingerprint == backbone.fingerprint != fingerprint(quantised.model)
    before = packed(quantised.model)

    model = TransferModel.from_backbone(quantised, task=task, method="scalearn", sources=shelf)
    omega = model.omega().clone()
    assert {p.dtype for delta in model.deltas for p in delta.parameters()} == {torch.float32}
    train(model, tmp_path / "model", recipe=RECIPE, progress=False, include_sources=True)
    assert not torch.equal(model.omega(), omega)
    after = packed(model.backbone)
    assert before.keys() == after.keys() and before
    assert all(torch.equal(value, after[name]) for name, value in before.items())

    again = TransferModel.from_pretrained(tmp_path / "model")  # as recorded: quantised likewise
    assert quantisation_of(again.backbone) == quantisation_of(quantised.model)
    expected = answers(model)
    torch.testing.assert_close(answers(again), expected)
    torch.testing.assert_close(answers(copy.deepcopy(again)), expected)
    again.train()
    again(torch.tensor([[2, 5, 3]]), labels=torch.tensor([1])).loss.backward()
    assert all(delta.omega.values.grad.any() for delta in again.deltas), "no gradient passes after evaluation"
    torch.testing.assert_close(answers(again.fold()), expected, rtol=0, atol=1e-5)
    floating = TransferModel.from_pretrained(tmp_path / "model", backbone=backbone)  # as asked for: not
    assert not is_quantised(floating.backbone)
    torch.testing.assert_close(answers(floating), expected, rtol=0.5, atol=0.5)


def test_a_quantised_model_of_ones_own_fits_by_the_fingerprint_of_what_it_was_made_of(
    folder: str, backbone: Backbone, task: Task, shelf: Shelf
) -> None:
    model = AutoModel.from_pretrained(folder, quantization_config=int8(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = wrap_backbone(model, tokenizer, name="mine")
    with pytest.raises(InputError, match=r"not on mine .*which is quantised; where it was made of .*original="):
        TransferModel.from_backbone(own, task=task, sources=shelf)
    own = wrap_backbone(model, tokenizer, name="mine", original=backbone.fingerprint)
    assert TransferModel.from_backbone(own, task=task, sources=shelf).has_omega


def test_weights_that_are_quantised_are_neither_trained_nor_folded_into(folder: str, task: Task) -> None:
    def quantised() -> Backbone:
        return load_backbone(folder, quantization_config=int8())

    with pytest.raises(InputError, match="is quantised, so method 'full' cannot train its weights: choose another"):
        TransferModel.from_backbone(quantised(), task=task, method="full")
    model = TransferModel.from_backbone(quantised(), task=task, method=LoRA(rank=2)).eval()
    before = answers(model)
    with pytest.raises(InputError, match="is quantised, so LoRA updates cannot be added to its weights"):
        model.fold()
    assert torch.equal(answers(model), before)


def test_what_was_quantised_elsewhere_has_to_be_given(
    backbone: Backbone, folder: str, task: Task, tmp_path: Path
) -> None:
    model = AutoModel.from_pretrained(folder, quantization_config=int8(), dtype=torch.float32)
    del model.config.quantization_config
    twin = copy.deepcopy(model)
    own = wrap_backbone(model, backbone.tokenizer, name=folder, original=backbone.fingerprint)
    TransferModel.from_backbone(own, task=task, method=Adapter(bottleneck=4)).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"quantised by means that its configuration does not tell.*backbone="):
        TransferModel.from_pretrained(tmp_path / "model")
    other = wrap_backbone(twin, backbone.tokenizer, name="twin", original=backbone.fingerprint)
    assert TransferModel.from_pretrained(tmp_path / "model", backbone=other).method.name == "adapter"


def test_a_folder_that_is_quantised_already_is_loaded_so(
    folder: str, backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    AutoModel.from_pretrained(folder, quantization_config=int8()).save_pretrained(tmp_path / "int8")
    backbone.tokenizer.save_pretrained(tmp_path / "int8")
    stored = load_backbone(str(tmp_path / "int8"))
    assert is_quantised(stored.model) and stored.fingerprint != backbone.fingerprint
    model = TransferModel.from_backbone(stored, task=task, method=Adapter(bottleneck=4)).eval()
    model.save_pretrained(tmp_path / "model")
    torch.testing.assert_close(answers(TransferModel.from_pretrained(tmp_path / "model")), answers(model))


def test_a_quantisation_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"quantised in a way that cannot be read here .*no-such.*backbone="):
        quantisation_from({"quant_method": "no-such"})


def test_references_to_other_backbones_have_no_new_fields(
    backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    reference = BackboneReference.of(backbone)
    assert set(reference.model_dump()) == {"name", "fingerprint", "model_type", "width", "layers"}
    assert BackboneReference.model_validate_json(reference.model_dump_json()) == reference
