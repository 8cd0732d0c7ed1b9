"""Rows of different targets in one batch get the answers of the separate models."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, DistilBertConfig, DistilBertModel, GPT2Config, GPT2Model

from scalearn import InputError, MultiTaskPredictor
from scalearn.backbones import Backbone, BackboneReference, load_backbone, wrap_backbone
from scalearn.methods import (
    AdapterSoup,
    BestSource,
    CompacterPlusPlus,
    LoraHub,
    Method,
    Probing,
    ScaLearn,
    Setting,
    method_from_name,
)
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sites import Shape
from scalearn.sources import Source
from scalearn.tasks import Task

Build = Callable[..., TransferModel]
Tasks = dict[str, Task]
Texts = dict[str, list[Any]]

CLOSE = {"rtol": 2e-6, "atol": 1e-6}
"""In float32: sums in another order, a few units in the last place, which ones depends on the CPU."""
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}

METHODS: list[str | Method] = [
    "scalearn",
    "scalearn-uniform",
    "scalearn++",
    "scalearn-uniform++",
    ScaLearn(constraint="softmax"),
    ScaLearn(constraint="mean", uniform=True),
    ScaLearn(keep=2, l1=0.1),
    ScaLearn(keep=1, uniform=True, shared=True),
    Probing(omega=(0.5, -1.0, 0.25)),
    LoraHub(omega=(0.1, 0.2, -0.3)),
    "uniform-average",
    BestSource(chosen=1),
    "head",
    "adapter",
    CompacterPlusPlus(reduction_factor=4),
]


def doubled(backbone: Backbone) -> Backbone:
    """The backbone in float64."""
    return replace(backbone, model=backbone.model.double())


def separate(model: TransferModel, rows: Sequence[Any]) -> list[torch.Tensor]:
    """The logits of a model by itself, row by row, in what it computes in."""
    from scalearn.encoding import collator
    from scalearn.prediction import text_columns

    collate = collator(model.need_tokenizer())
    with torch.no_grad():
        encoded = model.encode(text_columns(rows, model.task))
        return [model.answer(model.head, collate([row])).logits[0] for row in encoded]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_all_methods_and_kinds_of_task_in_one_batch(
    tiny_backbone: str,
    shared_shelf: Shelf,
    build: Build,
    tasks: Tasks,
    texts: Texts,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    def backbone() -> Backbone:
        loaded = load_backbone(tiny_backbone)
        return doubled(loaded) if dtype == torch.float64 else loaded

    many = MultiTaskPredictor(backbone(), sources=shared_shelf)
    expected: dict[str, list[torch.Tensor]] = {}
    asked: list[tuple[str, Any]] = []
    for seed, method in enumerate(METHODS):
        for task in list(tasks.values()) if seed < 2 else [list(tasks.values())[seed % len(tasks)]]:
            model = build(method, task, shared_shelf, seed=seed, backbone=backbone()).to(dtype)
            name = many.add(model, f"{seed}-{task.name}")
            expected[name] = separate(model, texts[task.name])
            asked += [(name, row) for row in texts[task.name]]
    order = list(range(len(asked)))
    random.Random(0).shuffle(order)
    found = many.logits([asked[i] for i in order], batch_size=1000)
    wanted = [logits for own in expected.values() for logits in own]
    assert len(wanted) == len(asked) > 40
    for place, logits in zip(order, found, strict=True):
        assert logits.dtype == dtype
        torch.testing.assert_close(logits, wanted[place], rtol=0, atol=tolerance)
    assert max(float(logits.abs().max()) for logits in wanted) > 0.3  # the comparison is about something
    again = many.logits([asked[i] for i in order], batch_size=7)  # other neighbours, other padding
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2 * tolerance)


def test_answers_are_those_of_predict(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf)
    for seed, task in enumerate(tasks.values()):
        model = build("scalearn" if seed % 2 else "scalearn-uniform", task, shared_shelf, seed=seed)
        many.add(model)
        answers = many.predict([(task.name, row) for row in texts[task.name]])
        for one, other in zip(answers, model.predict(texts[task.name]), strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
            assert one.label == (pytest.approx(other.label, abs=1e-6) if task.kind == "regression" else other.label)
    assert many.names == tuple(tasks)
    assert many.tasks["choice"] == tasks["choice"]


def test_targets_of_unlike_pooling_share_a_batch(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf)
    asked, expected = [], []
    for seed, pooling in enumerate(("first", "mean", "last")):
        backbone = replace(load_backbone(tiny_backbone), pooling=pooling)
        model = build("scalearn-uniform", tasks["reviews"], shared_shelf, seed=seed, backbone=backbone)
        asked += [(name, row) for name in [many.add(model, pooling)] for row in texts["reviews"]]
        expected += separate(model, texts["reviews"])
    for found, wanted in zip(many.logits(asked), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)


def test_a_target_of_fewer_sources_in_another_order(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf)
    for method in (ScaLearn(constraint="softmax"), BestSource(chosen=1), "uniform-average"):
        model = build(method, tasks["reviews"], shared_shelf.only(["rte", "cola"]), seed=5)
        many.add(model, "few", overwrite=True)
        found = many.logits([("few", row) for row in texts["reviews"]])
        for one, other in zip(found, separate(model, texts["reviews"]), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_folded_models_and_soups_bring_their_own_adapters(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts
) -> None:
    alike = shared_shelf.only(["mrpc", "rte"])  # a soup averages weights of one shape
    many = MultiTaskPredictor(tiny_backbone, sources=alike)
    models = {
        "folded": build("scalearn", tasks["pairs"], alike, seed=1).fold(),
        "soup": build(AdapterSoup(weights=(0.25, 0.75)), tasks["pairs"], alike, seed=2),
        "plain": build("scalearn", tasks["pairs"], alike, seed=3),
    }
    asked = [
        (many.add(model, name), row) if not i else (name, row)
        for name, model in models.items()
        for i, row in enumerate(texts["pairs"])
    ]
    expected = [logits for model in models.values() for logits in separate(model, texts["pairs"])]
    for found, wanted in zip(many.logits(asked), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.fixture
def lora_shelf(tiny_backbone: str) -> Shelf:
    """Two LoRA sources of unequal rank."""
    backbone = load_backbone(tiny_backbone)

    def source(name: str, rank: int) -> Source:
        from scalearn.combinable import tensors_of

        method = method_from_name("lora", rank=rank, modules=("query", "intermediate"))
        deltas = method.build(Setting(shape=Shape.of(backbone.model)))
        tensors = {key: torch.randn(value.shape) * 0.2 for key, value in tensors_of(deltas).items()}
        return Source(
            name=name,
            backbone=BackboneReference.of(backbone),
            task={"name": name},
            method="lora",
            options=method.model_dump(mode="json"),
            metrics={},
            provenance={},
            tensors=tensors,
        )

    return Shelf([source("one", 2), source("two", 3)])


def test_lora_sources(tiny_backbone: str, lora_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=lora_shelf)
    asked, expected = [], []
    for seed, method in enumerate(("scalearn", "scalearn-uniform", "scalearn++", "head", "adapter", "uniform-average")):
        model = build(method, tasks["pairs"], lora_shelf, seed=seed)
        asked += [(name, row) for name in [many.add(model, method)] for row in texts["pairs"]]
        expected += separate(model, texts["pairs"])
    for found, wanted in zip(many.logits(asked), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)


def test_no_sources_at_all(tiny_backbone: str, build: Build, tasks: Tasks, texts: Texts) -> None:
    many = MultiTaskPredictor(tiny_backbone)
    asked, expected = [], []
    for seed, method in enumerate(("head", "adapter", CompacterPlusPlus(reduction_factor=4))):
        model = build(method, tasks["scale"], seed=seed)
        asked += [(name, row) for name in [many.add(model, str(seed))] for row in texts["scale"]]
        expected += separate(model, texts["scale"])
    for found, wanted in zip(many.logits(asked), expected, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("architecture", ["gpt2", "distilbert", "gemma2"])
def test_other_architectures(
    architecture: str, backbone: Backbone, make_source: Any, build: Build, tasks: Tasks, texts: Texts
) -> None:
    torch.manual_seed(0)
    if architecture == "gpt2":
        net = GPT2Model(
            GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=48, initializer_range=0.3)
        )
    elif architecture == "gemma2":  # which has no fused attention
        net = AutoModel.from_config(AutoConfig.for_model("gemma2", vocab_size=40, **SMALL, head_dim=8))
    else:
        net = DistilBertModel(DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32))
    pooling = "first" if architecture == "distilbert" else "last"
    state = {key: value.clone() for key, value in net.state_dict().items()}

    def fresh() -> Backbone:
        other = type(net)(net.config)
        other.load_state_dict(state)
        return wrap_backbone(other, backbone.tokenizer, name=architecture, pooling=pooling)  # type: ignore[arg-type]

    shelf = Shelf([make_source(name, fresh()) for name in ("one", "two")])
    many = MultiTaskPredictor(fresh(), sources=shelf)
    asked, expected = [], []
    for seed, method in enumerate(("scalearn", "scalearn-uniform", "head")):
        model = build(method, tasks["reviews"], shelf, seed=seed, backbone=fresh())
        asked += [(name, row) for name in [many.add(model, method)] for row in texts["reviews"][:2]]
        expected += separate(model, texts["reviews"][:2])
    for found, wanted in zip(many.logits(asked), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


def test_the_last_layer_is_computed_for_the_first_token_alone(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalearn.serving import mixture

    seen: list[tuple[int, ...]] = []
    original = mixture.MixedLayer.forward
    monkeypatch.setattr(
        mixture.MixedLayer, "forward", lambda own, z: (seen.append(tuple(z.shape)), original(own, z))[1]
    )
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf)
    many.add(build("scalearn", tasks["reviews"], shared_shelf))
    seen.clear()  # of the question that each backbone is asked first
    many.predict([("reviews", row) for row in texts["reviews"]])
    assert [shape[1] for shape in seen] == [16, 1]


def test_backbones_that_mix_the_rows_of_a_batch_are_refused(backbone: Backbone, make_source: Any) -> None:
    """XLNet has (tokens, rows) inside: of eight rows of eight tokens each would get another's delta."""
    config = AutoConfig.for_model("xlnet", vocab_size=40, d_model=16, n_layer=2, n_head=2, d_inner=32)
    own = wrap_backbone(AutoModel.from_config(config), backbone.tokenizer, name="own")
    sources = [make_source("rte", own)]
    with pytest.raises(InputError, match=r"own \(xlnet\) cannot serve .* 3 rows arrive at its site 'layer'"):
        MultiTaskPredictor(own, sources=sources)
