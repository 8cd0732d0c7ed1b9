"""PEFT checkpoints in and out, against PEFT itself on tiny random models; and what is refused."""

from __future__ import annotations

import copy
import json
import warnings
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
from scalearn.sources import Shelf, Source
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
