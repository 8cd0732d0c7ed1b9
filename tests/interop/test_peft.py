"""PEFT checkpoints in and out, against PEFT itself on tiny random models; and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedModel,
)

from scalearn.backbones import Backbone, load_backbone, wrap_backbone
from scalearn.errors import InputError
from scalearn.interop.peft import read_peft, write_peft
from scalearn.methods import IA3, LoRA, Method, method_from_name
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

LAYERS, SPREAD = 3, 0.3
CONFIGS: Mapping[str, Callable[[], Any]] = {
    "bert": lambda: BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=20,
        initializer_range=SPREAD,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=40, n_embd=16, n_layer=LAYERS, n_head=2, n_positions=20, initializer_range=SPREAD, pad_token_id=0
    ),
    "llama": lambda: LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=20,
        initializer_range=SPREAD,
        pad_token_id=0,
    ),
}
IDS = torch.tensor([[5, 9, 13, 22, 7], [6, 6, 30, 8, 11]])

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a random model of a type, as a base of both libraries."""
    made: dict[str, str] = {}

    def folder(kind: str) -> str:
        if kind not in made:
            torch.manual_seed(0)
            path = tmp_path_factory.mktemp("base") / kind
            AutoModel.from_config(CONFIGS[kind]()).save_pretrained(path)
            made[kind] = str(path)
        return made[kind]

    return folder


Trained = tuple[PeftModel, str]


@pytest.fixture
def train(folders: Callable[[str], str], tmp_path: Path) -> Callable[..., Trained]:
    """A PEFT model with random updates, and its folder."""

    def trained(kind: str, config: Any, name: str = "one", *, head: bool = False, **options: Any) -> Trained:
        torch.manual_seed(sum(name.encode()))
        auto = AutoModelForSequenceClassification if head else AutoModel
        extra = {"num_labels": 3} if head else {}
        model = get_peft_model(auto.from_pretrained(folders(kind), **extra), config)
        randomise(model)
        model.eval().save_pretrained(str(tmp_path / name), **options)
        return model, str(tmp_path / name)

    return trained


@torch.no_grad()
def randomise(model: nn.Module, name: str = "default") -> None:
    for key, parameter in model.named_parameters():
        if ("lora_" in key or "modules_to_save" in key) and f".{name}." in key:
            parameter.copy_(SPREAD * torch.randn_like(parameter))
        if "ia3_" in key and key.endswith(f".{name}"):
            parameter.copy_(0.2 + 1.6 * torch.rand_like(parameter))


def backbone_of(folder: str) -> Backbone:
    return wrap_backbone(AutoModel.from_pretrained(folder), None, name=folder)


@torch.no_grad()
def states(model: PreTrainedModel | PeftModel) -> Tensor:
    """The last hidden states (2, 5, 16), in float64: what differs then, differs in meaning."""
    return copy.deepcopy(model).double().eval()(input_ids=IDS, output_hidden_states=True).hidden_states[-1]


def combined(folder: str, sources: list[Source], omega: tuple[float, ...], task: Task) -> TransferModel:
    method = method_from_name("probing", omega=omega)
    return TransferModel.from_backbone(backbone_of(folder), task=task, method=method, sources=Shelf(sources))


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


LORAS = {
    "query and value": ("bert", {"target_modules": ["query", "value"], "r": 2, "lora_alpha": 5}),
    "every map": ("bert", {"target_modules": "all-linear", "r": 2, "lora_alpha": 5}),
    "a regular expression": ("bert", {"target_modules": r".*layer\.\d+\.(intermediate|output)\.dense"}),
    "some layers": ("bert", {"target_modules": ["key", "output.dense"], "layers_to_transform": [0, 2]}),
    "ranks and alphas": (
        "bert",
        {
            "target_modules": ["query", "attention.output.dense"],
            "r": 3,
            "lora_alpha": 4,
            "rank_pattern": {"layer.1.attention.self.query": 5, r"\d+.attention.output.dense": 1},
            "alpha_pattern": {"layer.2.attention.self.query": 7},
        },
    ),
    "rank-stabilised": ("llama", {"target_modules": ["q_proj", "o_proj"], "use_rslora": True, "r": 3}),
    "minor components": ("bert", {"target_modules": ["query"], "init_lora_weights": "mica", "r": 4}),
    "orthogonal": ("bert", {"target_modules": ["query"], "init_lora_weights": "orthogonal", "r": 4}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_fc", "c_proj"], "fan_in_fan_out": True, "r": 3}),
    "every map of a decoder": ("llama", {"target_modules": "all-linear", "init_lora_weights": "gaussian"}),
}


@pytest.mark.parametrize("case", LORAS)
@pytest.mark.parametrize("head", [False, True])
def test_a_lora_checkpoint_computes_what_peft_does(
    folders: Callable[[str], str], train: Callable[..., Trained], task: Task, case: str, head: bool
) -> None:
    kind, options = LORAS[case]
    theirs, folder = train(kind, LoraConfig(task_type="SEQ_CLS" if head else None, **options), head=head)
    source = read_peft(folder, backbone=backbone_of(folders(kind)))
    assert source.method == "lora"
    plain = states(AutoModel.from_pretrained(folders(kind)))
    ours = states(combined(folders(kind), [source], (1.0,), task).backbone)
    close(ours, states(theirs))
    assert (ours - plain).abs().max() > 1e-2


IA3S = {
    "outputs": ("bert", {"target_modules": ["key", "value"], "feedforward_modules": []}),
    "PEFT's own for BERT": ("bert", {}),
    "some layers": ("bert", {"target_modules": r".*layer\.[02]\.attention\.self\.key", "feedforward_modules": []}),
    "a decoder": ("llama", {}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "mlp.c_proj"], "feedforward_modules": ["mlp.c_proj"]}),
}


@pytest.mark.parametrize("case", IA3S)
def test_an_ia3_checkpoint_computes_what_peft_does(
    folders: Callable[[str], str], train: Callable[..., Trained], task: Task, case: str
) -> None:
    kind, options = IA3S[case]
    theirs, folder = train(kind, IA3Config(fan_in_fan_out=kind == "gpt2", **options))
    source = read_peft(folder, backbone=backbone_of(folders(kind)), name="scales")
    assert source.method == "ia3" and source.name == "scales"
    plain = states(AutoModel.from_pretrained(folders(kind)))
    ours = states(combined(folders(kind), [source], (1.0,), task).backbone)
    close(ours, states(theirs))
    assert (ours - plain).abs().max() > 1e-2
    close(states(combined(folders(kind), [source], (0.0,), task).backbone), plain)


# ---- combined, and back


WEIGHTS = (0.7, -1.3)


def test_scaled_loras_are_what_peft_concatenates(
    folders: Callable[[str], str], train: Callable[..., Trained], task: Task, tmp_path: Path
) -> None:
    """`add_weighted_adapter` with combination_type="cat" at the same weights, of LoRAs on different maps."""
    first, one = train("bert", LoraConfig(r=2, lora_alpha=3, target_modules=["query", "value"]))
    _, two = train("bert", LoraConfig(r=3, lora_alpha=4, target_modules=["query", "output.dense"]), "two")
    first.load_adapter(two, "two")
    first.add_weighted_adapter(["default", "two"], list(WEIGHTS), "sum", combination_type="cat")
    first.set_adapter("sum")
    backbone = backbone_of(folders("bert"))
    model = combined(folders("bert"), [read_peft(path, backbone=backbone) for path in (one, two)], WEIGHTS, task)
    close(states(model.backbone), states(first))

    write_peft(model, tmp_path / "out")
    written = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(folders("bert")), tmp_path / "out"
    )
    close(states(written), states(first))
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    query = "base_model.model.bert.encoder.layer.1.attention.self.query"
    assert tensors[f"{query}.lora_A.weight"].shape == (6, 16), "one LoRA of rank T * r, the lower padded"
    merged = model.fold()
    close(states(merged.backbone), states(first))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_combined_ia3_is_written_as_one(
    folders: Callable[[str], str], train: Callable[..., Trained], task: Task, tmp_path: Path, kind: str
) -> None:
    backbone = backbone_of(folders(kind))
    shelf = [read_peft(train(kind, IA3Config(), name)[1], backbone=backbone) for name in ("one", "two")]
    model = combined(folders(kind), shelf, WEIGHTS, task)
    write_peft(model, tmp_path / "out")
    auto = AutoModelForSequenceClassification if kind == "bert" else AutoModel
    written = PeftModel.from_pretrained(auto.from_pretrained(folders(kind)), tmp_path / "out")
    close(states(written), states(model.backbone))
    again = combined(folders(kind), [read_peft(tmp_path / "out", backbone=backbone_of(folders(kind)))], (1.0,), task)
    close(states(again.backbone), states(model.backbone))
    close(states(model.fold().backbone), states(written))


HEADS = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet")


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_of_the_same_form_becomes_that_of_the_model(kind: str, task: Task, tmp_path: Path) -> None:
    """The whole model, head and all, through `AutoModelForSequenceClassification` and PEFT."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=40, **sizes)).save_pretrained(tmp_path / "base")
    method = LoRA(rank=2, alpha=3.0, modules=("query", "value"))
    model = TransferModel.from_backbone(backbone_of(str(tmp_path / "base")), task=task, method=method)
    with torch.no_grad():
        for parameter in (*model.head.parameters(), *(p for delta in model.deltas for p in delta.parameters())):
            parameter.normal_(std=SPREAD)
    write_peft(model, tmp_path / "out")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=2)
    written = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            written(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits, rtol=1e-5, atol=1e-6
        )
        merged = written.merge_and_unload()
        expected = model.fold()(input_ids=IDS).logits
        torch.testing.assert_close(merged(input_ids=IDS).logits, expected, rtol=1e-5, atol=1e-6)
    write_peft(model, tmp_path / "out", overwrite=True)  # a folded model says the same
    described = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (described["r"], described["lora_alpha"], described["rank_pattern"]) == (2, 3.0, {})
    assert described["base_model_name_or_path"] is None, "a folder of this machine is not told"
    assert str(tmp_path) not in (tmp_path / "out" / "scalearn-peft.json").read_text()


def test_another_head_is_beside_the_checkpoint(folders: Callable[[str], str], task: Task, tmp_path: Path) -> None:
    """The decoder's head reads the last token; docs/peft.md has these lines."""
    backbone = wrap_backbone(AutoModel.from_pretrained(folders("llama")), None, name=folders("llama"), pooling="last")
    method = LoRA(rank=2, modules=("query", "layers.*.mlp.down_proj"))
    model = TransferModel.from_backbone(backbone, task=task, method=method).eval()
    with torch.no_grad():
        for delta in model.deltas:
            delta.up.weight.normal_()
    write_peft(model, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "head.safetensors",
        "scalearn-peft.json",
    ]
    written = PeftModel.from_pretrained(AutoModel.from_pretrained(folders("llama")), tmp_path / "out").eval()
    head = load_file(tmp_path / "out" / "head.safetensors")
    with torch.no_grad():
        read = written(input_ids=IDS).last_hidden_state[:, -1]
        hidden = torch.tanh(read @ head["dense.weight"].T + head["dense.bias"])
        logits = hidden @ head["out.weight"].T + head["out.bias"]
        torch.testing.assert_close(logits, model(input_ids=IDS).logits, rtol=1e-5, atol=1e-6)
    facts = json.loads((tmp_path / "out" / "scalearn-peft.json").read_text())
    assert facts["pooling"] == "last" and facts["head"] == "head.safetensors" and facts["task"]["name"] == task.name


# ---- what a source keeps


def test_what_is_known_of_a_source(
    folders: Callable[[str], str], train: Callable[..., Trained], tmp_path: Path
) -> None:
    config = LoraConfig(target_modules="all-linear", r=2, lora_alpha=6, task_type="SEQ_CLS")
    _, folder = train("bert", config, "my LoRA, 2", head=True)
    source = read_peft(folder, backbone=backbone_of(folders("bert"))).save(tmp_path / "source")
    assert source.name == "my-LoRA--2" and source.task == {"name": "my-LoRA--2"}
    assert source.options == {
        "rank": 2,
        "alpha": 6.0,
        "modules": [
            "query",
            "key",
            "value",
            "intermediate",
            "encoder.layer.*.attention.output.dense",
            "encoder.layer.*.output.dense",
        ],
        "folded": False,
    }
    assert source.provenance["format"] == "peft" and source.provenance["adapter"]["lora_alpha"] == 6
    assert source.provenance["ignored_modules"] == ["classifier", "bert.pooler.dense"], "the head"
    card = (tmp_path / "source" / "README.md").read_text()
    assert "- Imported from: my LoRA, 2\n- Written by: peft\n" in card


def test_an_old_file_is_read_for_its_tensors(folders: Callable[[str], str], train: Callable[..., Trained]) -> None:
    config = LoraConfig(target_modules=["query"], r=2)
    backbone = backbone_of(folders("bert"))
    whole = read_peft(train("bert", config)[1], backbone=backbone)
    _, folder = train("bert", config, safe_serialization=False)
    (Path(folder) / "adapter_model.safetensors").unlink()
    assert (Path(folder) / "adapter_model.bin").is_file()
    read = read_peft(folder, backbone=backbone)
    assert read.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(read.tensors[key], whole.tensors[key]) for key in whole.tensors)
    (Path(folder) / "adapter_model.bin").unlink()
    torch.save({"x": Path("anything")}, Path(folder) / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model\.bin is not loaded .*holds more than tensors"):
        read_peft(folder, backbone=backbone)


def test_weights_of_a_plain_checkpoint_are_kept_bit_by_bit(
    folders: Callable[[str], str], train: Callable[..., Trained]
) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"], r=3, lora_alpha=7))
    source = read_peft(folder, backbone=backbone_of(folders("bert")))
    tensors = load_file(Path(folder) / "adapter_model.safetensors")
    theirs = tensors["base_model.model.encoder.layer.1.attention.self.query.lora_B.weight"]
    assert torch.equal(source.tensors["layers.1.query.up.weight"], theirs) and source.options["alpha"] == 7.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_fewer_bits_are_read_in_single(
    folders: Callable[[str], str], train: Callable[..., Trained], dtype: torch.dtype
) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"]))
    path = Path(folder) / "adapter_model.safetensors"
    tensors = {key: tensor.to(dtype) for key, tensor in load_file(path).items()}
    save_file(tensors, path)
    source = read_peft(folder, backbone=backbone_of(folders("bert")))
    theirs = tensors["base_model.model.encoder.layer.1.attention.self.query.lora_A.weight"]
    assert torch.equal(source.tensors["layers.1.query.down.weight"], theirs.float())


def test_a_source_of_the_hub_is_called_as_its_repository(
    folders: Callable[[str], str],
    train: Callable[..., Trained],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    cached = tmp_path / "cache" / "models--ann--my-lora" / "snapshots" / ("01234567" * 5)
    shutil.copytree(folder, cached)
    assert read_peft(cached, backbone=backbone_of(folders("bert"))).name == "my-lora"


# ---- what is refused


def test_the_backbones_own_modules_may_not_be_trained_as_a_whole(
    folders: Callable[[str], str], train: Callable[..., Trained]
) -> None:
    """Without their weights the updates would act on another backbone."""
    config = LoraConfig(target_modules=["query"], modules_to_save=["word_embeddings", "attention.output.LayerNorm"])
    for head in (False, True):
        _, folder = train("bert", config, head=head)
        with pytest.raises(InputError) as caught:
            read_peft(folder, backbone=backbone_of(folders("bert")))
        for module in ("embeddings.word_embeddings", "encoder.layer.2.attention.output.LayerNorm"):
            assert f"{module} was trained as a whole (modules_to_save)" in str(caught.value)
        assert "classifier" not in str(caught.value)


def edit(folder: str, **changes: Any) -> None:
    path = Path(folder) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_options_that_change_what_is_computed_are_named_together(
    folders: Callable[[str], str], train: Callable[..., Trained]
) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"]))
    edit(
        folder,
        use_dora=True,
        bias="all",
        layer_replication=[[0, 1]],
        init_lora_weights="pissa",
        lora_bias=True,
        some_new_option=3,
        lora_alpha=0,
        r=True,
        rank_pattern={"(": 3},
        alpha_pattern={"query": "x"},
    )
    with pytest.raises(InputError) as caught:
        read_peft(folder, backbone=backbone_of(folders("bert")))
    for fault in (
        "use_dora is True (supported: that it is off)",
        "bias is 'all'",
        "layer_replication is [[0, 1]]",
        "init_lora_weights is 'pissa', which changes the backbone's weights",
        "lora_bias is True",
        "some_new_option is 3",
        "lora_alpha is 0",
        "r is True",
        "rank_pattern is {'(': 3}",
        "alpha_pattern is {'query': 'x'}",
    ):
        assert fault in str(caught.value), fault
    assert "\n" not in str(caught.value)


def test_other_methods_of_peft(folders: Callable[[str], str], train: Callable[..., Trained]) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"]))
    edit(folder, peft_type="LOHA")
    with pytest.raises(InputError, match=r"peft_type is 'LOHA' \(supported: LORA, IA3\)"):
        read_peft(folder, backbone=backbone_of(folders("bert")))


def change(folder: str, tensors: Mapping[str, Tensor | None]) -> None:
    """Replaces tensors of a checkpoint; None takes one away."""
    path = Path(folder) / "adapter_model.safetensors"
    changed = {**load_file(path), **{f"base_model.model.{key}": tensor for key, tensor in tensors.items()}}
    save_file({key: tensor for key, tensor in changed.items() if tensor is not None}, path)


QUERY = "encoder.layer.{}.attention.self.query.lora_{}.weight"


def test_all_that_is_wrong_with_tensors_is_named(folders: Callable[[str], str], train: Callable[..., Trained]) -> None:
    backbone = backbone_of(folders("bert"))
    _, folder = train("bert", LoraConfig(target_modules=["query"], r=2))
    change(
        folder,
        {
            QUERY.format(0, "A"): torch.zeros(3, 16),
            QUERY.format(1, "B"): None,
            "embeddings.word_embeddings.lora_embedding_A": torch.zeros(2, 40),
        },
    )
    with pytest.raises(InputError) as caught:
        read_peft(folder, backbone=backbone)
    for fault in (
        "encoder.layer.0.attention.self.query has lora_A (3, 16) and lora_B (16, 2), of rank 2 by its options",
        "encoder.layer.1.attention.self.query has no lora_B",
        "embeddings.word_embeddings.lora_embedding_A is no LoRA update of a linear map",
    ):
        assert fault in str(caught.value), fault
    _, folder = train("bert", LoraConfig(target_modules=["query"], r=2))
    change(folder, {QUERY.format(0, "A"): torch.full((2, 16), torch.nan)})
    with pytest.raises(InputError, match=r"layer\.0\..*lora_A\.weight has values that are not finite"):
        read_peft(folder, backbone=backbone)


def test_another_backbone_is_named_map_by_map(folders: Callable[[str], str], train: Callable[..., Trained]) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"], r=2))
    with pytest.raises(InputError, match=r"no linear map encoder\.layer\.0\..*no linear map encoder\.layer\.2\."):
        read_peft(folder, backbone=backbone_of(folders("llama")))
    for layer in range(LAYERS):
        change(folder, {QUERY.format(layer, "A"): torch.zeros(2, 12)})
    with pytest.raises(InputError, match=r"layer\.0.*\.query maps 16 to 16, the checkpoint 12 to 16; .*layer\.2"):
        read_peft(folder, backbone=backbone_of(folders("bert")))
    _, folder = train("llama", IA3Config(), "scales")
    change(
        folder, {"layers.1.mlp.down_proj.ia3_l": torch.ones(1, 23), "layers.1.self_attn.k_proj.ia3_l": torch.ones(9, 1)}
    )
    with pytest.raises(
        InputError, match=r"down_proj maps from 24, the checkpoint from 23; .*k_proj maps to 8, the checkpoint to 9"
    ):
        read_peft(folder, backbone=backbone_of(folders("llama")))


def test_layers_that_the_options_promise_must_be_there(
    folders: Callable[[str], str], train: Callable[..., Trained]
) -> None:
    _, folder = train("bert", LoraConfig(target_modules=["query"], r=2))
    change(folder, {QUERY.format(1, part): None for part in "AB"})
    with pytest.raises(InputError, match="query has no update in layer 1"):
        read_peft(folder, backbone=backbone_of(folders("bert")))
    edit(folder, layers_to_transform=[0, 2])
    assert not read_peft(folder, backbone=backbone_of(folders("bert"))).tensors["layers.1.query.up.weight"].any()


def test_modules_outside_the_layers(
    folders: Callable[[str], str], train: Callable[..., Trained], tmp_path: Path
) -> None:
    backbone = backbone_of(folders("bert"))
    _, folder = train("bert", LoraConfig(target_modules=["pooler.dense"], r=2))
    with pytest.raises(InputError, match=r"acts on pooler\.dense alone"):
        read_peft(folder, backbone=backbone)


@pytest.mark.parametrize("method", ["adapter", "full"])
def test_models_without_lora_or_ia3_are_not_written(
    tiny_backbone: str, task: Task, tmp_path: Path, method: str
) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=method)
    with pytest.raises(InputError, match=rf"method '{method}' has neither LoRA nor IA3"):
        write_peft(model, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_both_ends_of_one_map_cannot_be_rescaled_by_peft(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    method: Method = IA3(modules=("intermediate", "intermediate:input"))
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=method)
    with pytest.raises(InputError, match=r"but here both of bert\.encoder\.layer\.0\.intermediate\.dense, "):
        write_peft(model, tmp_path / "out")


def test_other_folders_are_not_overwritten(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    model = TransferModel.from_backbone(load_backbone(tiny_backbone), task=task, method="lora")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="exists already"):
        write_peft(model, tmp_path / "theirs")
    with pytest.raises(InputError, match="is not replaced"):
        write_peft(model, tmp_path / "theirs", overwrite=True)
