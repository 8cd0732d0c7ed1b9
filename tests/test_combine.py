"""From sources to fused deltas: what fits together, what a fusion gives, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn import sites
from scalearn.backbones import Backbone, load_backbone, wrap_backbone
from scalearn.deltas import AdapterFusion, ScaledLoras, ScaledRescalings, ScaledSources
from scalearn.errors import InputError
from scalearn.methods import IA3, CompacterPlusPlus, LoRA, Method, ScaLearn, method_from_name
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

Make = Callable[..., Source]


@pytest.fixture
def train_source(tiny_backbone: str, task: Task) -> Make:
    """A source of any method with random weights."""

    def made(name: str, method: Method, seed: int = 1) -> Source:
        model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in (p for delta in model.deltas for p in delta.parameters()):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return model.to_source(name=name, metrics={}, provenance={})

    return made


def built(backbone: Backbone, task: Task, shelf: Shelf, name: str, **options: Any) -> TransferModel:
    return TransferModel.from_backbone(backbone, task=task, method=method_from_name(name, **options), sources=shelf)


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 5:] = 0
    return {"input_ids": torch.randint(5, 17, (2, 7), generator=generator), "attention_mask": mask}


@torch.no_grad()
def logits(model: TransferModel) -> torch.Tensor:
    return model.eval()(**inputs()).logits


# ---- what fits together


def test_scalearn_over_compacters_is_scalearn_over_their_bottlenecks(
    backbone: Backbone, task: Task, train_source: Make
) -> None:
    sources = [train_source(f"c{seed}", CompacterPlusPlus(reduction_factor=4), seed) for seed in (1, 2)]
    model = built(backbone, task, Shelf(sources), "scalearn-uniform++")
    assert all(isinstance(delta, ScaledSources) and delta.activation == "gelu" for delta in model.deltas)
    z = torch.randn(4, 16)
    omega = model.omega()[0]
    expected = sum(omega[t] * source.deltas()["layer"][0](z) for t, source in enumerate(sources))
    torch.testing.assert_close(model.deltas[0].eval()(z), expected)


def test_folding_over_compacters_keeps_the_activation(
    backbone: Backbone, task: Task, train_source: Make, tmp_path: Path
) -> None:
    sources = [train_source(f"c{seed}", CompacterPlusPlus(reduction_factor=4), seed) for seed in (1, 2)]
    model = built(backbone, task, Shelf(sources), "scalearn")
    before = logits(model)
    model.fold().save_pretrained(tmp_path / "folded")
    assert model.method.model_dump()["activation"] == "gelu"
    torch.testing.assert_close(logits(model), before)
    torch.testing.assert_close(logits(TransferModel.from_pretrained(tmp_path / "folded")), before)


@pytest.mark.parametrize("name", ["scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"])
def test_folding_over_lora_goes_into_the_weights(
    tiny_backbone: str, task: Task, train_source: Make, tmp_path: Path, name: str
) -> None:
    lora = LoRA(rank=2, modules=("query", "value", "intermediate"))
    sources = [train_source(f"l{seed}", lora, seed) for seed in (1, 2, 3)]
    backbone = load_backbone(tiny_backbone)
    plain = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    model = built(backbone, task, Shelf(sources), name)
    assert all(isinstance(delta, ScaledLoras) for delta in model.deltas)
    assert len({id(delta.omega) for delta in model.deltas}) == (3 if "++" in name else 6)
    with torch.no_grad():
        for omega in {delta.omega for delta in model.deltas}:
            omega.values.normal_()
    before = logits(model)
    model.fold()
    assert model.method == LoRA(rank=6, alpha=6.0, modules=("query", "value", "intermediate"), folded=True)
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)
    weight = model.backbone.get_parameter("encoder.layer.0.attention.self.query.weight")
    assert not torch.allclose(weight, plain["encoder.layer.0.attention.self.query.weight"])

    for delta in model.deltas:  # nothing is computed at the sites any more
        delta.forward = _never(delta.forward)
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)

    model.save_pretrained(tmp_path / "folded")
    loaded = TransferModel.from_pretrained(tmp_path / "folded")
    torch.testing.assert_close(logits(loaded), before, rtol=1e-4, atol=1e-5)
    assert all(delta.merged for delta in loaded.deltas), "folded once, folded after loading"
    torch.testing.assert_close(logits(loaded.fold().fold()), before, rtol=1e-4, atol=1e-5)  # once, however often
    with pytest.raises(InputError, match="load it anew to give it other tensors"):
        loaded.load_trained_state(loaded.trained_state())
    with pytest.raises(InputError, match="folded into the weights: load the model anew to train it"):
        loaded.train()(**inputs())


def _never(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def same(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        assert forward(x, y) is y
        return y

    return same


FFN = "encoder.layer.*.output.dense"
"""The second map of the feed-forward, which has no role of its own."""


def test_lora_sources_need_not_act_on_the_same_maps(
    backbone: Backbone, task: Task, train_source: Make, tmp_path: Path
) -> None:
    """Where a source has no update, its coefficient multiplies zero; folding gives all sites one rank."""
    sources = [
        train_source("a", LoRA(rank=2, alpha=3.0)).save(tmp_path / "a"),
        train_source("b", LoRA(rank=3, modules=("value", FFN)), 2).save(tmp_path / "b"),
    ]
    model = built(backbone, task, Shelf(sources), "lorahub", omega=(0.5, -1.5))
    assert set(model.placement) == {"query", "value", FFN}
    x, y = torch.randn(4, 16), torch.randn(4, 16)
    a, b = (source.deltas() for source in sources)
    torch.testing.assert_close(model.placement["query"][1](x, y) - y, 0.5 * (a["query"][1](x, y) - y))
    expected = 0.5 * (a["value"][0](x, y) - y) - 1.5 * (b["value"][0](x, y) - y)
    torch.testing.assert_close(model.placement["value"][0](x, y) - y, expected)
    before = logits(model)
    model.save_pretrained(tmp_path / "plain")
    torch.testing.assert_close(logits(TransferModel.from_pretrained(tmp_path / "plain")), before)
    model.fold().save_pretrained(tmp_path / "folded")
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)
    loaded = TransferModel.from_pretrained(tmp_path / "folded")
    torch.testing.assert_close(logits(loaded), before, rtol=1e-4, atol=1e-5)
    assert model.method.model_dump()["rank"] == 6, "query has rank 2 + 1, value 3 + 3, the feed-forward 1 + 3"


@pytest.mark.parametrize("name", ["scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"])
def test_scalearn_over_ia3(backbone: Backbone, task: Task, train_source: Make, tmp_path: Path, name: str) -> None:
    """1 + sum_t omega_t (l_t - 1), at outputs and at inputs, folded into one scale."""
    sources = [
        train_source("a", IA3()).save(tmp_path / "a"),
        train_source("b", IA3(modules=("key", f"{FFN}:input", FFN)), 2).save(tmp_path / "b"),
    ]
    model = built(backbone, task, Shelf(sources), name)
    assert all(isinstance(delta, ScaledRescalings) for delta in model.deltas)
    assert set(model.placement) == {"key", "value", "intermediate", FFN, f"{FFN}:input"}
    with torch.no_grad():
        for omega in {delta.omega for delta in model.deltas}:
            omega.values.normal_()
    a, b = (source.deltas() for source in sources)
    delta, y = model.placement["key"][1].eval(), torch.randn(4, 16)
    change = delta.omega.values[0] * (a["key"][1].scale - 1) + delta.omega.values[1] * (b["key"][1].scale - 1)
    torch.testing.assert_close(delta(torch.randn(4, 16), y), y * (1 + change))
    before = logits(model)
    plain = copy.deepcopy(model)
    for delta in plain.deltas:
        delta.omega.values.data.zero_()
    detached = copy.deepcopy(plain)
    sites.detach(detached.backbone)
    torch.testing.assert_close(logits(plain), logits(detached), msg="omega of zero is the backbone")
    assert (before - logits(plain)).abs().max() > 1e-3
    model.fold().save_pretrained(tmp_path / "folded")
    assert model.method.name == "ia3" and model.sources == ()
    torch.testing.assert_close(logits(model), before)
    torch.testing.assert_close(logits(TransferModel.from_pretrained(tmp_path / "folded")), before)


def test_one_ia3_source_alone_is_itself(tiny_backbone: str, task: Task, train_source: Make) -> None:
    """The unit vector gives the source; its scales act as they were trained to."""
    modules = ("query", f"{FFN}:input")
    source, other = train_source("a", IA3(modules=modules)), train_source("b", IA3(modules=modules), 2)
    alone = TransferModel.from_backbone(tiny_backbone, task=task, method=IA3(modules=modules), seed=0)
    with torch.no_grad():
        for site, layers in source.deltas().items():
            for ours, theirs in zip(alone.placement[site], layers, strict=True):
                ours.scale.copy_(theirs.scale)
    model = built(load_backbone(tiny_backbone), task, Shelf([source, other]), "probing", omega=(1.0, 0.0))
    torch.testing.assert_close(logits(model), logits(alone))


def test_a_soup_equals_a_plain_adapter(backbone: Backbone, task: Task, make_source: Make, tmp_path: Path) -> None:
    sources = [make_source(name, backbone).save(tmp_path / name) for name in ("a", "b", "c")]
    model = built(backbone, task, Shelf(sources), "adaptersoup", weights=(0.25, 0.0, 0.75))
    before = logits(model)
    first, _, third = (source.deltas()["layer"][1] for source in sources)
    model.fold()
    assert model.method.name == "adapter" and model.sources == ()
    torch.testing.assert_close(logits(model), before)
    for name, value in model.deltas[1].named_parameters():
        torch.testing.assert_close(value, 0.25 * first.get_parameter(name) + 0.75 * third.get_parameter(name))


def test_the_baselines_are_what_they_say(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    z = torch.randn(3, 16)
    alone = [source.deltas()["layer"][0](z) for source in shelf]
    mean = built(load_backbone(backbone.name), task, shelf, "uniform-average").deltas[0]
    torch.testing.assert_close(mean(z), sum(alone) / 3)
    best = built(load_backbone(backbone.name), task, shelf, "best-source", chosen=1).deltas[0]
    torch.testing.assert_close(best(z), alone[1])
    found = built(load_backbone(backbone.name), task, shelf, "lorahub", omega=(0.5, -1.0, 0.0)).deltas[0]
    torch.testing.assert_close(found(z), 0.5 * alone[0] - alone[1])


def test_what_was_searched_is_kept(backbone: Backbone, task: Task, shelf: Shelf, tmp_path: Path) -> None:
    model = built(backbone, task, shelf, "lorahub", evaluations=8)
    omega = model.method.model_dump()["omega"]
    assert len(omega) == 3 and all(abs(value) <= 1.5 for value in omega)
    model.save_pretrained(tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out")
    assert loaded.method.model_dump()["omega"] == omega
    assert torch.equal(logits(loaded), logits(model))


def test_fusion_says_how_strongly_each_source_acts(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    model = built(backbone, task, shelf, "adapterfusion")
    assert all(isinstance(delta, AdapterFusion) for delta in model.deltas)
    attention = model.deltas[0].eval().attention(torch.randn(2, 5, 16))
    assert attention.shape == (2, 5, 3)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 5))
    with torch.no_grad():
        model.deltas[0].value.weight.mul_(2)
    penalty = model.penalty()
    assert isinstance(penalty, torch.Tensor) and penalty.item() > 0.01


# ---- what does not


def refused(task: Task, backbone: Backbone, sources: list[Source], name: str, match: str) -> None:
    options = {"weights": (0.5, 0.5)} if name == "adaptersoup" else {}
    with pytest.raises(InputError, match=match) as error:
        built(backbone, task, Shelf(sources), name, **options)
    assert "\n" not in str(error.value)


def test_a_soup_of_unequal_shapes(backbone: Backbone, task: Task, make_source: Make) -> None:
    sources = [make_source("a", backbone, bottleneck=4), make_source("b", backbone, bottleneck=3)]
    refused(task, backbone, sources, "adaptersoup", r"of one shape, but there are 'a' \(adapter, bottleneck 4\), 'b'")


@pytest.mark.parametrize("name", ["scalearn", "adapterfusion", "uniform-average"])
def test_sources_of_unequal_width(backbone: Backbone, task: Task, make_source: Make, name: str) -> None:
    narrow = wrap_backbone(type(backbone.model)(_narrow(backbone)), None, name="narrow")
    sources = [make_source("a", backbone), make_source("b", narrow)]
    refused(task, backbone, sources, name, r"source 'b' has width 8 .* but .* has width 16")


def _narrow(backbone: Backbone) -> Any:
    config = type(backbone.model.config).from_dict(backbone.model.config.to_dict())
    config.hidden_size = 8
    return config


def test_a_soup_of_lora_sources_of_other_modules(backbone: Backbone, task: Task, train_source: Make) -> None:
    sources = [train_source("a", LoRA(rank=2)), train_source("b", LoRA(rank=2, modules=("key",)))]
    refused(task, backbone, sources, "adaptersoup", r"different places \('a' on query, value; 'b' on key\)")


def test_lora_beside_ia3(backbone: Backbone, task: Task, train_source: Make) -> None:
    sources = [train_source("a", LoRA(rank=2, modules=("key",))), train_source("b", IA3(modules=("key",)))]
    refused(task, backbone, sources, "scalearn", r"of one kind can be combined, but 'a' is of lora, 'b' is of ia3")


def test_one_map_by_two_names(backbone: Backbone, task: Task, train_source: Make) -> None:
    """Of two deltas at one place, one would act twice and the other not at all."""
    path = "encoder.layer.*.attention.self.query"
    sources = Shelf([train_source("a", LoRA()), train_source("b", LoRA(modules=(path,)))])
    with pytest.raises(InputError, match=r"'query' and 'encoder.layer.*query' are one place in BertModel"):
        built(backbone, task, sources, "scalearn")
    assert not sites.attached(backbone.model)
    with pytest.raises(InputError, match=r"are one place"):
        TransferModel.from_backbone(backbone, task=task, method=IA3(modules=("query:input", f"{path}:input")))
    TransferModel.from_backbone(backbone, task=task, method=IA3(modules=("query", f"{path}:input")))


def test_lora_beside_adapters(backbone: Backbone, task: Task, train_source: Make, make_source: Make) -> None:
    sources = [make_source("a", backbone), train_source("b", LoRA(rank=2))]
    refused(task, backbone, sources, "scalearn", r"different places \('a' on layer; 'b' on query, value\)")


def test_fusion_over_lora(backbone: Backbone, task: Task, train_source: Make) -> None:
    sources = [train_source("a", LoRA(rank=2)), train_source("b", LoRA(rank=2), seed=2)]
    refused(task, backbone, sources, "adapterfusion", r"reads the outputs of bottlenecks, but 'a' acts on query, value")


def test_adapters_beside_compacters(backbone: Backbone, task: Task, train_source: Make, make_source: Make) -> None:
    sources = [make_source("a", backbone), train_source("b", CompacterPlusPlus(reduction_factor=4))]
    refused(task, backbone, sources, "scalearn", "one width and activation")


def test_a_soup_without_embeddings_says_how_to_get_them(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    with pytest.raises(InputError, match=r"sources cola, mrpc, rte have no embedding .*scalearn similarity"):
        built(backbone, task, shelf, "adaptersoup")


def test_a_choice_needs_rows(backbone: Backbone, pair_task: Task, shelf: Shelf) -> None:
    for name in ("best-source", "lorahub"):
        with pytest.raises(InputError, match="'pairs' has no training rows to choose sources by"):
            built(backbone, pair_task, shelf, name)


def test_the_backbone_is_left_clean_when_a_method_is_refused(backbone: Backbone, task: Task, make_source: Make) -> None:
    sources = [make_source("a", backbone, bottleneck=4), make_source("b", backbone, bottleneck=3)]
    refused(task, backbone, sources, "adaptersoup", "of one shape")
    assert isinstance(built(backbone, task, Shelf(sources), ScaLearn().name).deltas[0], ScaledSources)


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.5, -0.5, 0.0)])
def test_weights_of_a_soup_are_checked(
    backbone: Backbone, task: Task, make_source: Make, weights: tuple[float, ...]
) -> None:
    sources = Shelf([make_source(name, backbone) for name in ("a", "b", "c")])
    with pytest.raises(InputError, match="give at least one above 0, and none below"):
        built(backbone, task, sources, "adaptersoup", weights=weights)


def test_what_a_folder_says_survives_loading_and_saving(
    backbone: Backbone, task: Task, shelf: Shelf, tmp_path: Path
) -> None:
    model = built(backbone, task, shelf, "scalearn")
    extra = {"metrics": {"dev": {"accuracy": 0.5}}, "tasks": [], "sha256": "x"}
    model.save_pretrained(tmp_path / "first", extra=extra)
    TransferModel.from_pretrained(tmp_path / "first").fold().save_pretrained(tmp_path / "second")
    described = json.loads((tmp_path / "second" / "scalearn.json").read_text())
    assert described["metrics"] == {"dev": {"accuracy": 0.5}}
    assert described["method"]["name"] == "adapter" and "tasks" not in described
    assert TransferModel.from_pretrained(tmp_path / "second").task == task
