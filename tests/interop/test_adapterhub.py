"""AdapterHub in and out, against files and logits of the adapters library (tests/fixtures/adapterhub)."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForImageClassification, AutoModelForSequenceClassification, PreTrainedModel

from scalearn import sites
from scalearn.backbones import Backbone, wrap_backbone
from scalearn.deltas import Activation
from scalearn.errors import InputError
from scalearn.heads import Pooling
from scalearn.interop.adapterhub import read_adapter, write_adapter
from scalearn.interop.adapterhub.names import ARCHITECTURES
from scalearn.interop.adapterhub.options import factor_of, written
from scalearn.kinds import Kind
from scalearn.methods import Adapter, LoRA, Method, ScaLearn
from scalearn.methods.combine import averaged
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sites import LAYER
from scalearn.sources import Source
from scalearn.tasks import Task

FIXTURES = Path(__file__).parents[1] / "fixtures" / "adapterhub"
FAMILIES = sorted(ARCHITECTURES)
FLEX_KINDS: dict[str, Kind] = {
    "bert": "multiple-choice",
    "electra": "regression",
    "llama": "regression",
    "deberta": "multi-label",
    "gpt2": "multi-label",
}
"""Of the head in `flex/`, where it is not classification."""
EXACT = {"rtol": 0.0, "atol": 1e-6}


def base_of(family: str, *, name: str | None = None, pooling: Pooling | None = None) -> Backbone:
    model = AutoModel.from_pretrained(FIXTURES / family / "base")
    return wrap_backbone(model, None, name=name or family, pooling=pooling or ARCHITECTURES[family].pooling)


def classifier_of(family: str) -> PreTrainedModel:
    kind = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    return kind.from_pretrained(FIXTURES / family / "base").eval()


def expected_of(family: str, start: str) -> dict[str, Tensor]:
    found = load_file(FIXTURES / family / "expected.safetensors")
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def task_of(kind: Kind) -> Task:
    labels = {"regression": (), "multiple-choice": ("first", "second")}.get(kind, ("no", "perhaps", "yes"))
    return Task(
        name="target",
        kind=kind,
        text=("text",),
        label="label",
        labels=labels,
        choices=labels if kind == "multiple-choice" else (),
        metrics=("accuracy",),
        main_metric="accuracy",
    )


def model_of(source: Source, backbone: Backbone, *, kind: Kind = "classification") -> TransferModel:
    """A model whose deltas are those of the source."""
    method = Adapter(bottleneck=source.options["bottleneck"], activation=source.options["activation"])
    model = TransferModel(backbone, task=task_of(kind), method=method)
    for delta, own in zip(model.deltas, source.deltas()[LAYER], strict=True):
        delta.load_state_dict(own.state_dict())
    return model.eval()


def transfer_of(family: str, *, kind: Kind = "classification") -> TransferModel:
    """ScaLearn over the three sources of a family, after a few steps that learn random labels."""
    backbone = base_of(family)
    sources = [read_adapter(FIXTURES / family / name, backbone=backbone) for name in ("s0", "s1", "s2")]
    model = TransferModel(backbone, task=task_of(kind), method=ScaLearn(), sources=sources)
    inputs = batch_of(family, kind)
    labels = {
        "regression": torch.tensor([0.3, -0.2]),
        "multi-label": torch.tensor([[1, 0, 1], [0, 0, 1]]),
    }.get(kind, torch.tensor([1, 0]))
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model.head.loss(model.answer(model.head, inputs).logits, labels).backward()
        optimiser.step()
    return model.eval()


def batch_of(family: str, kind: Kind) -> dict[str, Tensor]:
    inputs = expected_of(family, "flex/")
    several = family == "bert"
    if kind == "multiple-choice":
        return inputs if several else {key: torch.stack([value, value.flip(0)], 1) for key, value in inputs.items()}
    return {key: value[:, 0] for key, value in inputs.items()} if several else inputs


@torch.no_grad()
def logits_of(model: TransferModel, inputs: dict[str, Tensor]) -> Tensor:
    return model.answer(model.head, inputs).logits


def read_tensors(folder: Path, names: tuple[str, str]) -> dict[str, Tensor]:
    safe, pickled = (folder / name for name in names)
    return load_file(safe) if safe.exists() else dict(torch.load(pickled, weights_only=True))


ADAPTER = ("adapter.safetensors", "pytorch_adapter.bin")
HEAD = ("model_head.safetensors", "pytorch_model_head.bin")


# ---- in


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "deberta"])
@torch.no_grad()
def test_sources_give_the_logits_of_the_library(family: str) -> None:
    backbone, classifier = base_of(family), classifier_of(family)
    inputs, logits = expected_of(family, "input/"), expected_of(family, "logits/")
    torch.testing.assert_close(classifier(**inputs).logits, logits["none"], **EXACT)
    sources = [read_adapter(FIXTURES / family / name, backbone=backbone) for name in ("s0", "s1", "s2")]
    placements = {source.name: source.deltas() for source in sources} | {"avg": averaged(sources, [0.2, 0.3, 0.5])}
    for name, deltas in placements.items():
        sites.attach(classifier, deltas)
        assert (logits[name] - logits["none"]).abs().max() > 5e-4
        torch.testing.assert_close(classifier(**inputs).logits, logits[name], **EXACT)
        sites.detach(classifier)


@pytest.mark.parametrize("family", FAMILIES)
def test_options_and_heads_give_the_logits_of_the_library(family: str) -> None:
    backbone = base_of(family)
    source = read_adapter(FIXTURES / family / "flex", backbone=backbone)
    kind = FLEX_KINDS.get(family, "classification")
    assert source.task.get("kind") == kind
    model = model_of(source, backbone, kind=kind)
    head = read_tensors(FIXTURES / family / "flex", HEAD)
    for number, linear in ((1, model.head.dense), (4, model.head.out)):
        linear.load_state_dict({part: head[f"heads.flex.{number}.{part}"] for part in ("weight", "bias")})
    computed = logits_of(model, expected_of(family, "flex/"))
    torch.testing.assert_close(computed, expected_of(family, "logits/")["flex"], **EXACT)


def test_what_a_source_says_of_its_adapter() -> None:
    source = read_adapter(FIXTURES / "xlm-roberta" / "flex", backbone=base_of("xlm-roberta"), name="mine")
    assert source.name == "mine" and source.method == "adapter"
    assert source.task == {"name": "flex", "kind": "classification", "labels": ["no", "perhaps", "yes"]}
    assert source.options == {"bottleneck": 4, "activation": "relu"}
    assert source.provenance["imported_from"] == "flex"
    assert source.provenance["versions"] == {"adapters": "1.3.0"}
    assert source.provenance["adapter"]["config"]["reduction_factor"] == {"0": 4, "default": 8}
    assert source.tensors["layers.1.down.weight"][2:].count_nonzero() == 0  # padded: 2 of the 4 were there


def test_layers_left_out_add_nothing() -> None:
    source = read_adapter(FIXTURES / "bert" / "flex", backbone=base_of("bert"))
    first, second = source.deltas()[LAYER]
    z = torch.randn(3, 16)
    assert not first(z).any() and second(z).any()


# ---- out


@pytest.mark.parametrize("adapter", ["s0", "flex"])
@pytest.mark.parametrize("family", FAMILIES)
def test_written_as_the_library_writes(family: str, adapter: str, tmp_path: Path) -> None:
    """The same keys, options and tensors; of layers left out, narrower, or scaled, those that act the same."""
    given = FIXTURES / family / adapter
    backbone = base_of(family)
    source = read_adapter(given, backbone=backbone)
    kind = FLEX_KINDS.get(family, "classification") if adapter == "flex" else "classification"
    write_adapter(model_of(source, backbone, kind=kind), tmp_path / "out", name=adapter)
    theirs, ours = (json.loads((folder / "adapter_config.json").read_text()) for folder in (given, tmp_path / "out"))
    assert ours.keys() == theirs.keys()
    same = {"name", "hidden_size", "model_type", "version"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    rewritten = {"reduction_factor", "leave_out", "scaling", "dropout", "non_linearity"} if adapter == "flex" else set()
    assert ours["config"].keys() == theirs["config"].keys()
    assert {k: v for k, v in ours["config"].items() if k not in rewritten} == {
        k: v for k, v in theirs["config"].items() if k not in rewritten
    }
    tensors, known = read_tensors(tmp_path / "out", ADAPTER), read_tensors(given, ADAPTER)
    if family not in ("bert", "xlm-roberta", "electra") or adapter == "s0":
        assert tensors.keys() == known.keys()
        assert all(torch.equal(tensors[key], known[key]) for key in known)
    again = read_adapter(tmp_path / "out", backbone=backbone)
    assert again.options == source.options
    assert all(torch.equal(again.tensors[key], source.tensors[key]) for key in source.tensors)
    if adapter == "s0":
        return
    theirs, ours = (json.loads((folder / "head_config.json").read_text()) for folder in (given, tmp_path / "out"))
    assert ours["model_class"] == theirs["model_class"] and ours["name"] == theirs["name"]
    free = {"dropout_prob", "label2id", "num_labels" if kind == "multiple-choice" else ""}
    assert ours["config"].keys() == theirs["config"].keys()
    assert {k: v for k, v in ours["config"].items() if k not in free} == {
        k: v for k, v in theirs["config"].items() if k not in free
    }
    heads = [read_tensors(folder, HEAD) for folder in (given, tmp_path / "out")]
    assert {k: v.shape for k, v in heads[0].items()} == {k: v.shape for k, v in heads[1].items()}


CASES = [(family, kind) for family in FAMILIES for kind, _ in ARCHITECTURES[family].head_types]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_export_for_the_adapters_library(family: str, kind: Kind, tmp_path: Path) -> None:
    """Import, transfer, export, import: the same deltas; `with_adapters.py check` loads what this leaves."""
    model = transfer_of(family, kind=kind)
    logits = logits_of(model, batch_of(family, kind))
    write_adapter(model, tmp_path / "torch")
    write_adapter(model, tmp_path / "safetensors", safetensors=True)
    (tmp_path / "base.txt").write_text(str(FIXTURES / family / "base"))
    inputs = {f"input/{key}": value.contiguous() for key, value in batch_of(family, kind).items()}
    save_file({**inputs, "logits": logits.contiguous()}, tmp_path / "expected.safetensors")
    assert model.sources, "the model itself is not folded"
    backbone = base_of(family)
    for folder in ("torch", "safetensors"):
        source = read_adapter(tmp_path / folder, backbone=backbone)
        assert source.task["kind"] == kind
        for ours, folded in zip(source.deltas()[LAYER], [delta.fold() for delta in model.deltas], strict=True):
            assert all(torch.equal(ours.state_dict()[key], value) for key, value in folded.state_dict().items())
    again = model_of(source, backbone, kind=kind)
    again.head.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(logits_of(again, batch_of(family, kind)), logits, **EXACT)


def test_every_bottleneck_has_a_reduction_factor() -> None:
    """The library computes int(width // factor), and the factor goes through JSON."""
    for width in (16, 384, 768, 1000, 4096):
        for bottleneck in [*range(1, width), 2 * width, 3 * width - 1]:
            factor = json.loads(json.dumps(factor_of(width=width, bottleneck=bottleneck)))
            assert int(width // factor) == bottleneck


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_is_written_and_read(activation: Activation, tmp_path: Path) -> None:
    backbone = base_of("bert")
    model = TransferModel(backbone, task=task_of("classification"), method=Adapter(activation=activation, bottleneck=3))
    write_adapter(model, tmp_path / "out")
    sites.detach(model.backbone)
    assert read_adapter(tmp_path / "out", backbone=backbone).options == {"bottleneck": 3, "activation": activation}


@pytest.mark.parametrize(
    ("method", "kind", "pooling", "name", "fault"),
    [
        (LoRA(), "classification", "first", None, r"'lora' is no bottleneck.*--format peft"),
        (Adapter(), "classification", "mean", None, r"reads the mean.*BertAdapterModel.*first.*--no-head"),
        (Adapter(), "classification", "first", "a.b", r"adapter name 'a\.b'"),
        (Adapter(), "classification", "first", "../up", r"adapter name '\.\./up'"),
    ],
)
def test_what_the_library_cannot_hold_is_not_written(
    method: Method, kind: Kind, pooling: Pooling, name: str | None, fault: str, tmp_path: Path
) -> None:
    model = TransferModel(base_of("bert", pooling=pooling), task=task_of(kind), method=method)
    with pytest.raises(InputError, match=fault):
        write_adapter(model, tmp_path / "out", name=name)
    assert not list(tmp_path.iterdir())


def test_a_head_that_the_library_has_not_can_be_left_out(tmp_path: Path) -> None:
    model = TransferModel(base_of("gpt2"), task=task_of("multiple-choice"), method=Adapter())
    with pytest.raises(InputError, match=r"GPT2AdapterModel has no head for multiple-choice.*--no-head"):
        write_adapter(model, tmp_path / "out")
    write_adapter(model, tmp_path / "out", head=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "adapter_config.json",
        "pytorch_adapter.bin",
        "scalearn-adapterhub.json",
    }


def test_only_what_scalearn_wrote_is_replaced(adapter: Path, tmp_path: Path) -> None:
    model = TransferModel(base_of("bert"), task=task_of("classification"), method=Adapter())
    with pytest.raises(InputError, match="is not replaced"):
        write_adapter(model, adapter, overwrite=True)
    write_adapter(model, tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        write_adapter(model, tmp_path / "out")
    write_adapter(model, tmp_path / "out", safetensors=True, overwrite=True)
    assert not (tmp_path / "out" / "pytorch_adapter.bin").exists()
    facts = json.loads((tmp_path / "out" / "scalearn-adapterhub.json").read_text())
    assert facts["task"]["name"] == "target" and facts["backbone"]["model_type"] == "bert"


def test_a_model_is_not_replaced_by_its_export(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scalearn.json").touch()
    with pytest.raises(InputError, match=r"run is not replaced: it holds other things than an export"):
        write_adapter(transfer_of("bert"), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "scalearn.json").exists()


@pytest.mark.parametrize("safetensors", [False, True])
def test_all_files_may_be_read_by_whom_the_umask_says(tmp_path: Path, safetensors: bool) -> None:
    write_adapter(transfer_of("bert"), tmp_path / "out", safetensors=safetensors)
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1


def test_sites_elsewhere_than_the_librarys(tmp_path: Path) -> None:
    """What a BERT adds after its layers, as GPT-2 does, is no adapter of theirs."""
    model = AutoModel.from_pretrained(FIXTURES / "bert" / "base")
    backbone = wrap_backbone(model, None, name="bert", pooling="first", sites="encoder.layer.*")
    fault = r"deltas act at 'encoder.layer.\*' .* the adapters library has 'encoder.layer.\*.output.LayerNorm'"
    with pytest.raises(InputError, match=fault):
        read_adapter(FIXTURES / "bert" / "s0", backbone=backbone)
    with pytest.raises(InputError, match=fault):
        write_adapter(TransferModel(backbone, task=task_of("classification"), method=Adapter()), tmp_path / "out")
    same = wrap_backbone(base_of("bert").model, None, name="bert", sites="encoder.layer.*.output.LayerNorm")
    assert read_adapter(FIXTURES / "bert" / "s0", backbone=same).name == "s0"


def test_labels_stand_in_their_order(tmp_path: Path) -> None:
    """The library lists them as its file does."""
    task = replace(task_of("classification"), labels=("yes", "no", "a"))
    write_adapter(TransferModel(base_of("bert"), task=task, method=Adapter()), tmp_path / "out")
    described = json.loads((tmp_path / "out" / "head_config.json").read_text())
    assert list(described["config"]["label2id"].items()) == [("yes", 0), ("no", 1), ("a", 2)]
    assert read_adapter(tmp_path / "out", backbone=base_of("bert")).task["labels"] == ["yes", "no", "a"]


def test_folders_of_this_machine_are_not_named(tmp_path: Path) -> None:
    for name, written_name in ((str(FIXTURES / "bert" / "base"), ""), ("org/bert", "org/bert")):
        model = TransferModel(base_of("bert", name=name), task=task_of("classification"), method=Adapter())
        write_adapter(model, tmp_path / (written_name or "local").replace("/", "-"))
    configs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/adapter_config.json"))]
    assert [config["model_name"] for config in configs] == ["", "org/bert"]


# ---- files that are older, other or bad

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A copy of bert/s0 to be spoilt."""
    return Path(shutil.copytree(FIXTURES / "bert" / "s0", tmp_path / "s0"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def options(folder: Path, **changes: Any) -> None:
    edit(folder, config=json.loads((folder / "adapter_config.json").read_text())["config"] | changes)


def tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    path = folder / "pytorch_adapter.bin"
    content = dict(torch.load(path, weights_only=True))
    replaced = change(content)
    torch.save(content if replaced is None else replaced, path)


def same_as_s0(source: Source) -> bool:
    known = read_adapter(FIXTURES / "bert" / "s0", backbone=base_of("bert"))
    return all(torch.equal(source.tensors[key], value) for key, value in known.tensors.items())


@pytest.mark.parametrize("word", ["layer_text_task_adapters", "layer_text_lang_adapters"])
def test_release_1_of_the_library(word: str, adapter: Path) -> None:
    """Other words in the keys, options in fewer words, an invertible adapter that task adapters name and have not."""
    old = {
        "ln_after": False,
        "ln_before": False,
        "mh_adapter": False,
        "output_adapter": True,
        "adapter_residual_before_ln": False,
        "attention_type": "sent-lvl-dynamic",
        "new_attention_norm": False,
        "non_linearity": "gelu",
        "original_ln_after": True,
        "original_ln_before": True,
        "reduction_factor": 4,
        "residual_before_ln": True,
        "invertible_adapter": {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2},
    }
    described = {"type": "text_task", "model_type": "bert", "model_name": "bert-base-uncased", "name": "s0"}
    described |= {
        "hidden_size": 16,
        "model_class": "BertModelWithHeads",
        "config": old,
        "config_id": "9076f36a74755ac4",
    }
    (adapter / "adapter_config.json").write_text(json.dumps(described))
    tensors(adapter, lambda t: {key.replace(".adapters.", f".{word}."): value for key, value in t.items()})
    source = read_adapter(adapter, backbone=base_of("bert"))
    assert same_as_s0(source)
    assert source.options["activation"] == "gelu_new", "what gelu meant before files had a version"
    edit(adapter, type="text_lang")
    with pytest.raises(InputError, match=r"inv_adapter is \{'block_type': 'nice'.*supported: None"):
        read_adapter(adapter, backbone=base_of("bert"))


def test_a_model_without_head_leaves_the_first_word_out(adapter: Path) -> None:
    tensors(adapter, lambda t: {key.removeprefix("bert."): value for key, value in t.items()})
    assert same_as_s0(read_adapter(adapter, backbone=base_of("bert")))


def test_options_may_be_a_name(adapter: Path) -> None:
    edit(adapter, config="pfeiffer")
    with pytest.raises(InputError, match=r"adapter_down\.0\.weight has shape \(4, 16\), expected \(1, 16\)"):
        read_adapter(adapter, backbone=base_of("bert"))
    tensors(
        adapter, lambda t: {k: v[:1] if ".adapter_down" in k else v[:, :1] if v.ndim == 2 else v for k, v in t.items()}
    )
    assert read_adapter(adapter, backbone=base_of("bert")).options == {"bottleneck": 1, "activation": "relu"}
    edit(adapter, config="houlsby")
    with pytest.raises(InputError, match=r"config is 'houlsby'.*seq_bn, pfeiffer"):
        read_adapter(adapter, backbone=base_of("bert"))


def test_half_precision_is_read_in_single(adapter: Path) -> None:
    tensors(adapter, lambda t: {key: value.half() for key, value in t.items()})
    assert read_adapter(adapter, backbone=base_of("bert")).tensors["layers.0.up.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mh_adapter", True),
        ("output_adapter", False),
        ("cross_adapter", True),
        ("is_parallel", True),
        ("original_ln_before", False),
        ("original_ln_after", False),
        ("residual_before_ln", "post_add"),
        ("residual_before_ln", False),
        ("ln_before", True),
        ("ln_after", True),
        ("use_gating", True),
        ("phm_layer", True),
        ("inv_adapter", "nice"),
        ("scaling", "learned"),
        ("scaling", True),
        ("non_linearity", "sigmoid"),
        ("reduction_factor", 0),
        ("reduction_factor", {}),
        ("reduction_factor", {"0": "8"}),
        ("leave_out", "0"),
        ("architecture", "lora"),
        ("something_new", 3),
    ],
)
def test_options_that_a_source_cannot_follow_are_named(option: str, value: object, adapter: Path) -> None:
    options(adapter, **{option: value})
    with pytest.raises(InputError) as refused:
        read_adapter(adapter, backbone=base_of("bert"))
    assert f"{option} is {value!r} (supported: " in str(refused.value)


def test_all_options_and_the_backbone_are_named_at_once(adapter: Path) -> None:
    options(adapter, mh_adapter=True, non_linearity="sigmoid")
    with pytest.raises(InputError) as refused:
        read_adapter(adapter, backbone=base_of("roberta"))
    for fault in (
        "mh_adapter is True (supported: False)",
        "non_linearity is 'sigmoid' (supported: relu, ",
        "model_type is 'bert' (of the backbone: 'roberta')",
        "hidden_size is 16 (of the backbone: 64)",
    ):
        assert fault in str(refused.value)


def test_all_tensors_that_do_not_fit_are_named(adapter: Path) -> None:
    start = "bert.encoder.layer"

    def spoil(content: dict[str, Tensor]) -> None:
        content.pop(f"{start}.0.output.adapters.s0.adapter_up.bias")
        content[f"{start}.0.output.adapters.s0.adapter_up.weight"] = torch.zeros(16, 5)
        content[f"{start}.1.output.adapters.s0.adapter_down.0.bias"][2] = torch.nan
        content[f"{start}.1.output.adapters.s0.adapter_up.bias"] = torch.zeros(16, dtype=torch.long)
        content[f"{start}.2.output.adapters.s0.adapter_up.bias"] = torch.zeros(16)
        content[f"{start}.0.attention.output.adapters.s0.adapter_up.bias"] = torch.zeros(16)
        content[f"{start}.0.output.adapters.s1.adapter_up.bias"] = torch.zeros(16)

    tensors(adapter, spoil)
    with pytest.raises(InputError) as refused:
        read_adapter(adapter, backbone=base_of("bert"))
    for fault in (
        f"{start}.0.output.adapters.s0.adapter_up.bias is missing",
        f"{start}.0.output.adapters.s0.adapter_up.weight has shape (16, 5), expected (16, 4)",
        f"{start}.1.output.adapters.s0.adapter_down.0.bias has values that are not finite",
        f"{start}.1.output.adapters.s0.adapter_up.bias holds torch.int64",
        f"{start}.2.output.adapters.s0.adapter_up.bias is unknown",
        f"{start}.0.attention.output.adapters.s0.adapter_up.bias is unknown",
        f"{start}.0.output.adapters.s1.adapter_up.bias is unknown",
    ):
        assert fault in str(refused.value)


class _Malicious:
    """Unpickling it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.target,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickles_that_run_code_do_not(writer: str, adapter: Path, tmp_path: Path) -> None:
    bad = {"bert.encoder": _Malicious(tmp_path / "run")}
    path = adapter / "pytorch_adapter.bin"
    torch.save(bad, path) if writer == "torch" else path.write_bytes(pickle.dumps(bad, protocol=2))
    with pytest.raises(InputError, match=r"pytorch_adapter\.bin is not loaded .*can run any code"):
        read_adapter(adapter, backbone=base_of("bert"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"a": 1}, {1: torch.zeros(2)}, torch.zeros(2)])
def test_pickles_of_other_things_are_refused(content: object, adapter: Path) -> None:
    tensors(adapter, lambda _: content)
    with pytest.raises(InputError, match="does not hold tensors by name"):
        read_adapter(adapter, backbone=base_of("bert"))


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "adapter.safetensors", "adapter_config.json"])
def test_files_cut_anywhere_are_refused(name: str, adapter: Path) -> None:
    if name == "adapter.safetensors":
        save_file(torch.load(adapter / "pytorch_adapter.bin", weights_only=True), adapter / name)
    whole = (adapter / name).read_bytes()
    for length in (0, 1, 7, 100, len(whole) // 2, len(whole) - 3):
        (adapter / name).write_bytes(whole[:length])
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_adapter(adapter, backbone=base_of("bert"))


@pytest.mark.parametrize("content", ["[]", "3", "null", "[" * 100_000, '{"name": 3}', "{}"])
def test_descriptions_of_other_things_are_refused(content: str, adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text(content)
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        read_adapter(adapter, backbone=base_of("bert"))


def test_names_in_a_description_lead_nowhere_else(adapter: Path, tmp_path: Path) -> None:
    """Sources are stored under their names: one that is a path is not taken."""
    edit(adapter, name="../s0", config=json.loads((adapter / "adapter_config.json").read_text())["config"])
    tensors(adapter, lambda t: {key.replace(".s0.", ".../s0."): value for key, value in t.items()})
    with pytest.raises(InputError, match=r"source name '\.\./s0': choose one \(--name"):
        read_adapter(adapter, backbone=base_of("bert"))
    assert read_adapter(adapter, backbone=base_of("bert"), name="s0").save(tmp_path / "shelf" / "s0").name == "s0"


def test_a_folder_of_adapters_says_which_there_are() -> None:
    with pytest.raises(InputError, match=r"the folder has adapters in flex, s0, s1, s2: give one"):
        read_adapter(FIXTURES / "bert", backbone=base_of("bert"))


def test_other_model_types_are_refused() -> None:
    from transformers import MPNetConfig, MPNetModel

    config = MPNetConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    backbone = wrap_backbone(MPNetModel(config), None, name="other")
    with pytest.raises(InputError, match=r"model type 'mpnet' are not exchanged; those of bert, roberta"):
        write_adapter(TransferModel(backbone, task=task_of("classification"), method=Adapter()), "nowhere")


def test_sources_lie_on_a_shelf(tmp_path: Path) -> None:
    backbone = base_of("distilbert")
    for name in ("s0", "s1"):
        read_adapter(FIXTURES / "distilbert" / name, backbone=backbone).save(tmp_path / name)
    shelf = Shelf(tmp_path)
    shelf.check_fits(backbone)
    assert shelf.names == ("s0", "s1")
    with pytest.raises(InputError, match="has width 16 and 2 layers"):
        shelf.check_fits(base_of("roberta"))


def test_options_written_are_those_of_release_1_3() -> None:
    known = json.loads((FIXTURES / "bert" / "s0" / "adapter_config.json").read_text())["config"]
    assert written(activation="relu", width=16, bottleneck=4) == known
