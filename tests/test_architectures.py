"""What every architecture of the table has to do, from tiny random configurations: the way of a transferred model.

ScaLearn over two random sources: gradients of omega and head alone, answers that padding, copying, saving and folding
leave as they are.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from scalearn.backbones import Backbone, fingerprint, load_backbone, wrap_backbone
from scalearn.experiments.counting import skeleton
from scalearn.heads import pool
from scalearn.methods import LoRA
from scalearn.model import TransferModel
from scalearn.reading import can_shorten
from scalearn.shelf import Shelf
from scalearn.sites import FAMILIES, Shape
from scalearn.sources import Source
from scalearn.tasks import Task

CONFIGS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("architectures.json").read_text())
LAST = ("gpt2", "gpt_neox", "bloom", "opt", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
POOLING = dict.fromkeys((*LAST, "olmo2", "phi3", "xlnet"), "last") | dict.fromkeys(("t5", "mt5"), "mean")

TEXTS = {"text_a": ["good film and very long", "bad"]}

every_family = pytest.mark.parametrize("family", CONFIGS)


def loaded(family: str, tiny_backbone: str, *, seed: int = 0) -> Backbone:
    """A random model with the tiny tokenizer, or without one if it reads images."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **CONFIGS[family])
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # far from the symmetry of fresh weights
            parameter.add_(0.1 * torch.randn_like(parameter))
    tokenizer = None if "image_size" in CONFIGS[family] else AutoTokenizer.from_pretrained(tiny_backbone)
    return wrap_backbone(model, tokenizer, name=family)


def batch_of(model: TransferModel) -> dict[str, Tensor]:
    """Two rows of unequal length, the shorter one padded; or two images."""
    if model.backbone.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(2, 3, 16, 16)}
    rows = model.encode(TEXTS)
    length = max(len(row["input_ids"]) for row in rows)
    return {name: torch.tensor([row[name] + [0] * (length - len(row[name])) for row in rows]) for name in rows[0]}


def row(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """One row of a batch without its padding."""
    if "pixel_values" in batch:
        return {"pixel_values": batch["pixel_values"][index : index + 1]}
    length = int(batch["attention_mask"][index].sum())
    return {name: ids[index : index + 1, :length] for name, ids in batch.items()}


def close(found: Tensor, expected: Tensor, *, exact: bool) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 if exact else 1e-5)


def test_every_row_of_the_table_is_tested() -> None:
    assert CONFIGS.keys() == FAMILIES.keys()
    assert len(CONFIGS) >= 20


@every_family
def test_a_model_is_transferred_to(
    family: str, tiny_backbone: str, task: Task, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    backbone = loaded(family, tiny_backbone)
    assert backbone.pooling == POOLING.get(family, "first")
    shelf = Shelf(make_source(name, backbone).save(tmp_path / name) for name in ("one", "two"))
    if backbone.tokenizer is None:
        task = replace(task, text=(), image="image", splits={})
    model = TransferModel.from_backbone(backbone, task=task, method="scalearn", sources=shelf)
    batch = batch_of(model)
    model.train()
    model(**batch, labels=torch.tensor([0, 1])).loss.backward()
    graded = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert graded == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(".omega" in name or name.startswith("head.") for name in graded)
    assert all(parameter.grad.any() for name, parameter in model.named_parameters() if ".omega" in name)

    with torch.no_grad():
        for delta in model.deltas:
            delta.omega.values.normal_()
        model.eval()
        logits = model(**batch).logits
        if model.tokenizer is not None:
            close(model.logits(model.encode(TEXTS)), logits, exact=False)
        alone = torch.cat([model(**row(batch, index)).logits for index in range(2)])
        torch.testing.assert_close(alone, logits, rtol=0, atol=2e-5)
        if can_shorten(model.backbone) and model.pooling == "first":
            states = model.backbone(**batch).last_hidden_state
            close(model.head.score(pool(states, batch["attention_mask"], "first")), logits, exact=False)

        twin = copy.deepcopy(model)
        model.deltas[0].omega.values.add_(1.0)
        assert torch.equal(twin(**batch).logits, logits)
        assert not torch.equal(model(**batch).logits, logits)
        model.deltas[0].omega.values.sub_(1.0)

        model.save_pretrained(tmp_path / "saved")
        other = loaded(family, tiny_backbone)
        again = TransferModel.from_pretrained(tmp_path / "saved", backbone=other)
        close(again(**batch).logits, logits, exact=False)

        close(twin.fold()(**batch).logits, logits, exact=False)
        exact = model.double()
        batch = {name: ids.double() if ids.is_floating_point() else ids for name, ids in batch.items()}
        precise = exact(**batch).logits
        close(exact.fold()(**batch).logits, precise, exact=True)


@every_family
def test_it_is_loaded_from_a_folder_as_it_is_wrapped(family: str, tiny_backbone: str, tmp_path: Path) -> None:
    """Of sequence-to-sequence models the encoder, without head, pooler and memory of earlier tokens."""
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **CONFIGS[family]))
    model.save_pretrained(tmp_path)
    if model.main_input_name == "pixel_values":
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ViTImageProcessor"}))
    else:
        AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(tmp_path)
    found = load_backbone(str(tmp_path))
    wrapped = wrap_backbone(model, None, name="wrapped")
    assert found.fingerprint == wrapped.fingerprint == fingerprint(wrapped.model)
    assert (found.width, found.layers, found.pooling) == (32, 3, wrapped.pooling)
    assert type(found.model) is type(wrapped.model)
    assert not any("decoder" in name for name, _ in found.model.named_parameters() if family != "opt")
    assert not any("pooler" in name for name, _ in found.model.named_parameters())
    assert not getattr(found.model.config, "use_cache", False)
    assert wrap_backbone(found.model, None, name="again").model is found.model
    counted = skeleton(str(tmp_path))  # without weights
    assert counted.shape == Shape.of(found.model)
    assert counted.parameters == sum(parameter.numel() for parameter in found.model.parameters())


@pytest.mark.parametrize(
    ("family", "path"),
    [
        ("gpt2", "h.*.attn.c_attn"),
        ("modernbert", "layers.*.attn.Wqkv"),
        ("gpt_neox", "layers.*.attention.query_key_value"),
        ("t5", "block.*.layer.1.DenseReluDense.wo"),
    ],
)
def test_maps_without_a_role_are_trained_and_combined_by_path(
    family: str, path: str, tiny_backbone: str, task: Task, tmp_path: Path
) -> None:
    """Fused query, key and value, for instance: a LoRA, then ScaLearn over two, folded into the weights."""
    for name in "one", "two":
        source = TransferModel.from_backbone(
            loaded(family, tiny_backbone), task=task, method=LoRA(rank=2, modules=(path,))
        )
        batch = batch_of(source)
        source(**batch, labels=torch.tensor([0, 1])).loss.backward()
        assert all(delta.up.weight.grad.any() for delta in source.deltas)
        with torch.no_grad():
            for delta in source.deltas:
                delta.up.weight.normal_(std=0.1)
        source.to_source(name=name, metrics={}, provenance={}).save(tmp_path / "shelf" / name)
    model = TransferModel.from_backbone(
        loaded(family, tiny_backbone), task=task, sources=Shelf(tmp_path / "shelf"), method="scalearn-uniform"
    ).eval()
    assert list(model.placement) == [path]
    with torch.no_grad():
        logits = model(**batch).logits
        model.save_pretrained(tmp_path / "saved")
        again = TransferModel.from_pretrained(tmp_path / "saved", backbone=loaded(family, tiny_backbone))
        close(again(**batch).logits, logits, exact=False)
        assert not torch.allclose(source.eval()(**batch).logits, logits)
        close(model.fold()(**batch).logits, logits, exact=False)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_side_on_which_a_tokenizer_pads_changes_no_answer(family: str, tiny_backbone: str, task: Task) -> None:
    """On the left, absolute positions would be those of the text and its padding."""
    backbone = loaded(family, tiny_backbone)
    assert backbone.tokenizer is not None
    backbone.tokenizer.padding_side = "left"
    model = TransferModel.from_backbone(
        wrap_backbone(backbone.model, backbone.tokenizer, name=family), task=task, method="head"
    ).eval()
    rows = model.encode({"text_a": ["good film and very long", "bad", "a b c"]})
    together = model.logits(rows)
    with torch.no_grad():
        alone = [model(**{name: torch.tensor([ids]) for name, ids in own.items()}).logits for own in rows]
    close(together, torch.cat(alone), exact=False)


@pytest.mark.parametrize("family", ["bert", "roberta", "roformer", "bart", "gpt2", "opt"])
def test_texts_end_where_the_table_of_positions_does(family: str, tiny_backbone: str, task: Task) -> None:
    """Also where the tokenizer knows of no end; of 40 positions RoBERTa's first two are for no token."""
    backbone = loaded(family, tiny_backbone)
    assert backbone.tokenizer is not None
    backbone.tokenizer.model_max_length = 10**30
    again = wrap_backbone(backbone.model, backbone.tokenizer, name=family)
    model = TransferModel.from_backbone(again, task=task, method="head")
    (row,) = model.encode({"text_a": ["good film " * 60]})
    assert len(row["input_ids"]) == (38 if family == "roberta" else 40)
    assert model.logits([row]).isfinite().all()
