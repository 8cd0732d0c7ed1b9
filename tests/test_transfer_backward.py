"""The backward pass of transfer methods: nothing below the first site, nothing for what is frozen, float32 sums."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import BertConfig, BertModel

from scalearn.backbones import Backbone, wrap_backbone
from scalearn.methods import Adapter, LoRA, method_from_name
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task

Build = Callable[..., TransferModel]
SCALING = ("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++")
CASES = [*((name, over) for name in SCALING for over in ("adapters", "loras")), ("adapterfusion", "adapters")]
SOURCES = {
    "adapters": Adapter(bottleneck=4),
    "loras": LoRA(rank=2, modules=("query", "key", "value", "intermediate")),
}
LAYERS = 2
IDS = torch.randint(0, 40, (32, 24), generator=torch.Generator().manual_seed(2))
LABELS = torch.ones(32, dtype=torch.long)  # all alike, so that gradients add up and do not cancel


def backbone() -> Backbone:
    """As mild as a trained one: attention as sharp as the tiny backbone's turns rounding into other gradients."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.05,
    )
    model = BertModel(config, add_pooling_layer=False)
    model.set_attn_implementation("eager")
    return wrap_backbone(model, None, name="mild", pooling="mean")


@pytest.fixture
def build(pair_task: Task) -> Build:
    """A transfer model in training mode, its backbone without dropout, over random adapters or LoRA updates."""

    def made(name: str, over: str, **options: float) -> TransferModel:
        sources = []
        for seed in (1, 2, 3):
            model = TransferModel.from_backbone(backbone(), task=pair_task, method=SOURCES[over], seed=seed)
            torch.manual_seed(seed)
            for parameter in (p for delta in model.deltas for p in delta.parameters()):
                nn.init.normal_(parameter, std=0.15)
            sources.append(model.to_source(name=f"source{seed}", metrics={}, provenance={}))
        method = method_from_name(name, **options)
        model = TransferModel.from_backbone(backbone(), task=pair_task, method=method, sources=Shelf(sources))
        model.backbone_dropout = False
        return model.train()

    return made


def loss_of(model: TransferModel) -> Tensor:
    """Through the plain backbone, so that only deltas and head are looked at."""
    hidden = model.backbone(input_ids=IDS).last_hidden_state
    return model.head.loss(model.head(hidden), LABELS) + model.penalty()


@pytest.mark.parametrize(("name", "over"), CASES)
def test_only_what_is_trained_gets_a_gradient(build: Build, name: str, over: str) -> None:
    model = build(name, over)
    loss_of(model).backward()
    trained = {key for key in model.trained_state() if key.startswith("head.")}
    trained |= {key for key, p in model.named_parameters() if ".delta." in key}
    assert {key for key, p in model.named_parameters() if p.grad is not None} == trained
    assert all(p.requires_grad == (key in trained) for key, p in model.named_parameters())
    assert all(buffer.grad is None and not buffer.requires_grad for buffer in model.buffers())


@pytest.mark.parametrize(("name", "over"), CASES)
def test_no_graph_below_the_first_site(build: Build, name: str, over: str) -> None:
    """Every module's output before the first delta is a constant, every one after it is not."""
    model = build(name, over)
    layer = model.backbone.encoder.layer[0]
    first = layer.output.LayerNorm if over == "adapters" else layer.attention.self.query
    below, above, seen = {}, {}, []

    def watch(key: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            tensor = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", output)
            (above if seen else below)[key] = tensor.grad_fn is not None
            seen.extend([True] if module is first else [])

        return hook

    deltas = {id(part) for delta in model.deltas for part in delta.modules()}
    for key, module in model.backbone.named_modules():
        if id(module) not in deltas:
            module.register_forward_hook(watch(key), prepend=True)  # sees the output before the delta is added
    loss_of(model)
    assert "embeddings" in below and not any(below.values())
    expected = {"adapters": 15, "loras": 1}[over]  # modules of the first layer that have run by then, the site included
    assert sum(key.startswith("encoder.layer.0") for key in below) == expected
    frozen = {"key", "value"} if over == "loras" else set()  # beside the first site, on the same constant input
    constant = {key for key, graph in above.items() if not graph}
    assert constant == {f"encoder.layer.0.attention.self.{role}" for role in frozen}


LAYER = 3 + 1 + 2  # input gradients of query, key and value, of the attention's output, and of the two maps behind it
HEAD = 4  # weight and input gradients of two maps
SITE = 3  # gradients of the scaled up weight, of the hidden states, and of the delta's input
FUSION = (
    11  # the same two inputs; query, key and value by weight and input; the biases' sum and its share in the scores
)
PRODUCTS = {
    ("scalearn", "adapters"): 1 + (LAYERS - 1) * (LAYER + SITE) + HEAD,  # at the first site only the up weight's
    ("scalearn", "loras"): 3 + (1 + 2 + SITE) + (LAYERS - 1) * (LAYER + 4 * SITE) + HEAD,
    ("adapterfusion", "adapters"): (FUSION - 2) + (LAYERS - 1) * (LAYER + FUSION) + HEAD,
}


@pytest.mark.parametrize(("name", "over"), PRODUCTS)
def test_the_backward_pass_has_no_product_too_many(build: Build, name: str, over: str) -> None:
    model = build(name, over)
    loss = loss_of(model)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        loss.backward()
    calls = {event.key: event.count for event in found.key_averages()}
    attention = 4 * (LAYERS if over == "loras" else LAYERS - 1)  # two products, each by both of its factors
    assert calls.get("aten::bmm") == attention
    assert calls["aten::mm"] + calls.get("aten::addmm", 0) == PRODUCTS[name, over]


@pytest.mark.parametrize("over", ["adapters", "loras"])
def test_constant_coefficients_leave_the_heads_gradient_alone(build: Build, over: str) -> None:
    model = build("uniform-average", over)
    loss = loss_of(model)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        loss.backward()
    calls = {event.key: event.count for event in found.key_averages()}
    assert calls["aten::mm"] == HEAD - 1 and "aten::bmm" not in calls, "the pooled state is a constant"


@pytest.mark.parametrize(("name", "over"), CASES)
def test_gradients_under_bf16_are_float32_and_near_the_exact_ones(build: Build, name: str, over: str) -> None:
    model = build(name, over, dropout=0.0)
    model.head.dropout.p = 0.0
    exact = copy.deepcopy(model).double()
    with torch.autocast("cpu", torch.bfloat16):
        loss_of(model).backward()
    loss_of(exact).backward()
    for part in (".delta.", "head."):
        ours, theirs = ([p for key, p in m.named_parameters() if part in key] for m in (model, exact))
        assert all(parameter.grad.dtype == torch.float32 for parameter in ours)
        rounded, wanted = (torch.cat([p.grad.double().flatten() for p in one]) for one in (ours, theirs))
        assert 0 < (rounded - wanted).norm() < 0.02 * wanted.norm()
