"""ScaLearn as a method of PEFT: what it computes, trains, saves and merges, through PEFT's own functions."""

from __future__ import annotations

import ast
import copy
import json
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AutoPeftModelForSequenceClassification,
    IA3Config,
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer, TrainingArguments

import scalearn.interop.peft
from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.interop.peft import read_peft
from scalearn.methods import ScaLearn
from scalearn.model import TransferModel
from scalearn.peft import ScaLearnConfig, ScaLearnLayer
from scalearn.peft.version import need_peft
from scalearn.shelf import Shelf
from scalearn.tasks import Task

IDS = torch.tensor([[2, 9, 13, 12, 3], [2, 6, 10, 8, 3]])
OMEGA = "scalearn_omega"

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")


@pytest.fixture
def sources(tiny_backbone: str, tmp_path: Path) -> list[str]:
    """Two LoRA checkpoints on different maps, of unequal rank, trained with a head."""
    folders = []
    for number, modules in enumerate((["query", "value"], ["value", "output.dense"])):
        torch.manual_seed(number)
        base = AutoModelForSequenceClassification.from_pretrained(tiny_backbone, num_labels=2)
        config = LoraConfig(r=2 + number, lora_alpha=3, target_modules=modules, task_type="SEQ_CLS")
        model = get_peft_model(base, config)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, std=0.3)
        folders.append(str(tmp_path / "loras" / f"source{number}"))
        model.save_pretrained(folders[-1])
    return folders


@pytest.fixture
def base(tiny_backbone: str) -> Callable[[], Any]:
    """A model with a head, the same each time."""

    def made() -> Any:
        torch.manual_seed(5)
        return AutoModelForSequenceClassification.from_pretrained(tiny_backbone, num_labels=3).eval()

    return made


@torch.no_grad()
def scale(model: PeftModel, seed: int = 1) -> None:
    """Gives the omegas of the active adapter numbers that matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if f"scalearn_delta.{model.active_adapter}." in name:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(input_ids=IDS).logits


def layers_of(model: nn.Module) -> dict[str, ScaLearnLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, ScaLearnLayer)}


@pytest.mark.parametrize(("uniform", "shared"), [(False, False), (True, False), (False, True), (True, True)])
def test_it_computes_what_a_transfer_model_does(
    tiny_backbone: str, sources: list[str], task: Task, uniform: bool, shared: bool
) -> None:
    config = ScaLearnConfig(sources=sources, uniform=uniform, shared=shared)
    theirs = get_peft_model(AutoModel.from_pretrained(tiny_backbone), config).eval()
    scale(theirs)
    backbone = load_backbone(tiny_backbone)
    shelf = Shelf([read_peft(folder, backbone=backbone) for folder in sources])
    method = ScaLearn(uniform=uniform, shared=shared)
    ours = TransferModel.from_backbone(backbone, task=task, method=method, sources=shelf).eval()
    names = {module: name for name, module in ours.backbone.named_modules()}
    with torch.no_grad():
        for name, layer in layers_of(theirs.base_model.model).items():
            (own,) = [module for module, known in names.items() if known == name]
            own.delta.omega.values.copy_(layer.scalearn_delta["default"].omega.values)
    assert len(layers_of(theirs)) == 8, "query, value, and both maps that end in output.dense"
    with torch.no_grad():
        expected = ours.backbone(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(theirs(input_ids=IDS).last_hidden_state, expected, rtol=1e-5, atol=1e-5)
    omegas = {parameter for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    assert len(omegas) == (4 if shared else 8) == len({delta.omega for delta in ours.deltas})
    assert {tuple(omega.shape) for omega in omegas} == {(2, 1 if uniform else 16)}


@pytest.mark.parametrize("shared", [False, True])
def test_saved_is_omega_and_head_and_where_the_sources_are(
    base: Callable[[], Any], sources: list[str], tmp_path: Path, shared: bool
) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources, shared=shared, task_type="SEQ_CLS"))
    scale(model)
    nn.init.normal_(model.base_model.model.classifier.modules_to_save["default"].weight)
    before = logits(model)
    model.save_pretrained(tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    omegas = [key for key in tensors if key.endswith(OMEGA)]
    assert len(omegas) == (4 if shared else 8)
    assert tensors.keys() - omegas == {f"base_model.model.classifier.{part}" for part in ("weight", "bias")}
    described = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert described["peft_type"] == "SCALEARN"
    assert described["sources"] == ["../loras/source0", "../loras/source1"] and len(described["sha256"][0]) == 64
    assert not (tmp_path / "out" / "sources").exists()
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_size < 5000

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys")
        loaded = PeftModel.from_pretrained(base(), str(tmp_path / "out"))
    assert torch.equal(logits(loaded), before)
    assert not any(parameter.requires_grad for name, parameter in loaded.named_parameters() if "scalearn" in name)
    again = PeftModel.from_pretrained(base(), str(tmp_path / "out"), is_trainable=True)
    assert sum(p.requires_grad for p in again.parameters()) == len(omegas) + 2
    if shared:
        values = {layer.scalearn_delta["default"].omega.values for layer in layers_of(loaded).values()}
        assert len(values) == 4, "layers share their omega after loading too"


def test_sources_can_be_included_and_moved_along(
    base: Callable[[], Any], sources: list[str], tmp_path: Path, tiny_backbone: str
) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources, include_sources=True, task_type="SEQ_CLS"))
    scale(model)
    before = logits(model)
    model.save_pretrained(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "loras").rename(tmp_path / "elsewhere")
    loaded = PeftModel.from_pretrained(base(), str(tmp_path / "moved"))
    assert torch.equal(logits(loaded), before)
    copies = sorted((tmp_path / "moved" / "sources").iterdir())
    loaded.save_pretrained(tmp_path / "moved")  # over itself
    assert sorted((tmp_path / "moved" / "sources").iterdir()) == copies and len(copies) == 2
    assert torch.equal(logits(PeftModel.from_pretrained(base(), str(tmp_path / "moved"))), before)
    loaded.save_pretrained(tmp_path / "copy")
    assert [path.name for path in sorted((tmp_path / "copy" / "sources").iterdir())] == [path.name for path in copies]
    auto = AutoPeftModelForSequenceClassification.from_pretrained(str(tmp_path / "moved"), num_labels=3)
    assert torch.equal(logits(auto), before)


def test_an_altered_or_missing_source_is_named(base: Callable[[], Any], sources: list[str], tmp_path: Path) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources))
    model.save_pretrained(tmp_path / "out")
    path = Path(sources[1]) / "adapter_config.json"
    path.write_text(path.read_text().replace('"lora_alpha": 3', '"lora_alpha": 4'))
    with pytest.raises(InputError, match=r"source1 has SHA-256 \w{12}\.\.\., not \w{12}\.\.\. as recorded"):
        PeftModel.from_pretrained(base(), str(tmp_path / "out"))
    path.unlink()
    with pytest.raises(InputError, match=r"source1/adapter_config.json does not exist"):
        PeftModel.from_pretrained(base(), str(tmp_path / "out"))


def test_merging_leaves_plain_weights(base: Callable[[], Any], sources: list[str]) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources))
    scale(model)
    plain, before = base(), logits(model)
    assert (before - logits(plain)).abs().max() > 1e-3
    model.merge_adapter()
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)
    merged = copy.deepcopy(model).merge_and_unload(safe_merge=True)
    assert type(merged) is type(plain) and merged.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(logits(merged), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(model.unload()), logits(plain), rtol=1e-4, atol=1e-5)


def test_adapters_are_switched_and_switched_off(base: Callable[[], Any], sources: list[str], tmp_path: Path) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources), adapter_name="first")
    scale(model)
    first = logits(model)
    model.add_adapter("second", ScaLearnConfig(sources=sources[:1], uniform=True))
    assert torch.equal(logits(model), first), "a new adapter is not active"
    model.set_adapter("second")
    scale(model, seed=2)
    second = logits(model)
    alone = get_peft_model(base(), ScaLearnConfig(sources=sources[:1], uniform=True))
    scale(alone, seed=2)
    assert (first - second).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(base()))
    assert torch.equal(logits(model), second)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        f"base_model.model.{name}.scalearn_delta.second.omega.values"
        for name in layers_of(model.base_model.model)
        if name.endswith(("query", "value"))
    }
    assert len(get_peft_model_state_dict(model, adapter_name="second")) == 4
    model.save_pretrained(tmp_path / "out")
    loaded = PeftModel.from_pretrained(base(), str(tmp_path / "out" / "second"), adapter_name="second")
    loaded.load_adapter(str(tmp_path / "out" / "first"), adapter_name="first")
    assert torch.equal(logits(loaded), second)
    model.delete_adapter("second")
    model.set_adapter("first")
    assert torch.equal(logits(model), first) and model.peft_config.keys() == {"first"}


def test_adapters_over_the_same_sources_hold_them_once(base: Callable[[], Any], sources: list[str]) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources))
    model.add_adapter("second", ScaLearnConfig(sources=sources))
    for layer in layers_of(model).values():
        one, other = layer.scalearn_delta["default"], layer.scalearn_delta["second"]
        assert one.up_weight.data_ptr() == other.up_weight.data_ptr() and one.omega is not other.omega


def test_trainer_trains_omega_and_head_alone(base: Callable[[], Any], sources: list[str], tmp_path: Path) -> None:
    model = get_peft_model(base(), ScaLearnConfig(sources=sources, dropout=0.0, task_type="SEQ_CLS"))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    rows = [{"input_ids": row, "labels": index} for index, row in enumerate(IDS.tolist())] * 2
    arguments = TrainingArguments(
        str(tmp_path / "run"),
        max_steps=2,
        learning_rate=0.1,
        per_device_train_batch_size=2,
        report_to=[],
        save_steps=2,
        use_cpu=True,
    )
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name in before if "omega" in name or "classifier.modules_to_save" in name}
    kept = PeftModel.from_pretrained(base(), str(tmp_path / "run" / "checkpoint-2"))
    torch.testing.assert_close(logits(kept), logits(model))


def test_a_half_precision_model(tiny_backbone: str, sources: list[str]) -> None:
    """The sources and omega stay in float32; outputs keep the model's type."""
    plain = AutoModel.from_pretrained(tiny_backbone)
    model = get_peft_model(plain.to(torch.bfloat16), ScaLearnConfig(sources=sources)).eval()
    scale(model)
    whole = get_peft_model(AutoModel.from_pretrained(tiny_backbone), ScaLearnConfig(sources=sources)).eval()
    scale(whole)
    states = model(input_ids=IDS).last_hidden_state
    assert states.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    torch.testing.assert_close(states.float(), whole(input_ids=IDS).last_hidden_state, rtol=0.1, atol=0.2)


# ---- what is refused


def test_bad_options(sources: list[str]) -> None:
    with pytest.raises(InputError, match="give a list of folders with LoRA checkpoints"):
        ScaLearnConfig()
    with pytest.raises(InputError, match="give a list of folders with LoRA checkpoints"):
        ScaLearnConfig(sources=sources[0])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ScaLearnConfig: dropout: .*; constraint: "):
        ScaLearnConfig(sources=sources, dropout=1.5, constraint="sum")  # type: ignore[arg-type]


def test_sources_that_are_not_lora_or_do_not_fit(
    base: Callable[[], Any], sources: list[str], tiny_backbone: str, tmp_path: Path
) -> None:
    scales = get_peft_model(AutoModel.from_pretrained(tiny_backbone), IA3Config())
    scales.save_pretrained(tmp_path / "ia3")
    with pytest.raises(InputError, match="only LoRA checkpoints here; combine IA3 with scalearn"):
        get_peft_model(base(), ScaLearnConfig(sources=[*sources, tmp_path / "ia3"]))
    with pytest.raises(InputError, match=r"adapter_config.json.* does not exist"):
        get_peft_model(base(), ScaLearnConfig(sources=[tmp_path / "none"]))
    other = base()
    other.bert.encoder.layer = other.bert.encoder.layer[:1]
    with pytest.raises(InputError, match=r"there is no linear map bert.encoder.layer.1.attention.self.query"):
        get_peft_model(other, ScaLearnConfig(sources=sources))
    with pytest.raises(InputError, match="leave low_cpu_mem_usage at False"):
        get_peft_model(base(), ScaLearnConfig(sources=sources), low_cpu_mem_usage=True)


def test_as_many_hashes_as_sources(base: Callable[[], Any], sources: list[str]) -> None:
    with pytest.raises(InputError, match="there are 2 sources, but sha256 of 1"):
        get_peft_model(base(), ScaLearnConfig(sources=sources, sha256=["0" * 64]))


def test_sources_with_embeddings_of_their_own(base: Callable[[], Any], tmp_path: Path) -> None:
    for name, module in (("head", "pooler"), ("embeddings", "word_embeddings")):
        config = LoraConfig(target_modules=["query"], modules_to_save=[module], task_type="SEQ_CLS")
        get_peft_model(base(), config).save_pretrained(tmp_path / name)
    get_peft_model(base(), ScaLearnConfig(sources=[str(tmp_path / "head")], task_type="SEQ_CLS"))
    with pytest.raises(InputError, match=r"bert.embeddings.word_embeddings was trained as a whole"):
        get_peft_model(base(), ScaLearnConfig(sources=[str(tmp_path / "embeddings")], task_type="SEQ_CLS"))


def test_a_checkpoint_of_the_hub_may_not_point_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was downloaded names no file of this machine, whatever it claims to be."""
    described = {"peft_type": "SCALEARN", "sources": ["sources/../../secret"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(described))
    monkeypatch.setattr("peft.config.hf_hub_download", lambda *_, **__: str(tmp_path / "adapter_config.json"))
    with pytest.raises(InputError, match=r"has its sources elsewhere \(sources/../../secret\)"):
        ScaLearnConfig.from_pretrained("user/checkpoint")


def test_included_sources_of_a_checkpoint_of_the_hub_are_fetched(
    base: Callable[[], Any], sources: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    get_peft_model(base(), ScaLearnConfig(sources=sources, include_sources=True)).save_pretrained(tmp_path / "out")
    asked = []

    def fetch(repo_id: str, **how: Any) -> Path:
        asked.append((repo_id, how))
        return tmp_path / "out"

    monkeypatch.setattr("peft.config.hf_hub_download", lambda *_, **__: str(tmp_path / "out" / "adapter_config.json"))
    monkeypatch.setattr("scalearn.peft.config.fetch", fetch)
    config = ScaLearnConfig.from_pretrained("user/checkpoint", revision="v1")
    assert asked == [("user/checkpoint", {"files": ["sources/*"], "revision": "v1", "token": None})]
    assert [path.parent for path in config.read_sources()] == [tmp_path / "out" / "sources"] * 2


@pytest.mark.parametrize("version", ["0.20.1", "0.22.0"])
def test_another_version_of_peft(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with pytest.raises(InputError, match=rf"needs peft>=0.21,<0.22, but {version} is installed: pip install"):
        need_peft()


def test_without_peft_checkpoints_are_read_and_the_facade_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in Path(scalearn.interop.peft.__file__).parent.glob("*.py"):
        imported = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = [getattr(node, "module", None) or node.names[0].name for node in imported]
        assert not any(name.split(".")[0] == "peft" for name in names), path

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(InputError, match=r"^scalearn.peft needs peft>=0.21,<0.22, which is not installed: pip install"):
        need_peft()
