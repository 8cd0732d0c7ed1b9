"""What is pruned is gone from memory, disk and computation, and nothing else of the answers changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scalearn import MultiTaskPredictor, sites
from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.methods import LoRA, LoraHub, Method, Probing, ScaLearn
from scalearn.model import TransferModel
from scalearn.pruning import Strength, staying
from scalearn.shelf import Shelf
from scalearn.tasks import Task

TEXTS = ["good film", "the bad film was long", "bad"]
VARIANTS = [ScaLearn(uniform=uniform, shared=shared) for uniform in (False, True) for shared in (False, True)]
CONSTRAINED = [ScaLearn(constraint="softmax"), ScaLearn(constraint="mean", uniform=True)]

Build = Callable[..., TransferModel]


@pytest.fixture
def build(tiny_backbone: str, task: Task, shelf: Shelf) -> Build:
    """A model whose sources act with 0.5, 0.02 and 1 or thereabouts."""

    def made(method: Method | str = "scalearn", sources: Shelf = shelf) -> TransferModel:
        model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=sources).eval()
        for name, tensor in model.trained_state().items():
            if "omega" in name:
                with torch.no_grad():
                    tensor.copy_(torch.tensor([[0.5], [0.02], [1.0]]) * torch.empty_like(tensor).uniform_(0.9, 1.1))
        return model

    return made


def logits(model: TransferModel) -> Tensor:
    return model.logits(model.encode({"text_a": TEXTS}), precision="fp32")


def buffers(model: TransferModel) -> int:
    """Numbers that the sources take up."""
    return sum(buffer.numel() for delta in model.deltas for buffer in delta.buffers(recurse=False))


@pytest.mark.parametrize("method", [*VARIANTS, *CONSTRAINED, Probing(omega=(0.5, 0.02, 1)), LoraHub(omega=(1, 0, -3))])
def test_only_the_dropped_terms_are_missing(build: Build, method: Method, tmp_path: Path) -> None:
    model, twin = build(method), build(method)
    twin.load_trained_state(model.trained_state())
    before, whole = model.omega(), buffers(model)
    assert model.prune(keep=2) is model
    assert [source.name for source in model.sources] == ["cola", "rte"]
    torch.testing.assert_close(model.omega(), before[:, [0, 2]])
    assert buffers(model) < whole

    with torch.no_grad():  # the same by hand: the coefficients of the second source are 0
        for delta, values in zip(twin.deltas, before, strict=True):
            values[1] = 0
            delta.omega = torch.nn.Identity()
            delta.omega.forward = lambda values=values: values
    expected = logits(twin)
    torch.testing.assert_close(logits(model), expected)

    model.save_pretrained(tmp_path / "pruned")
    loaded = TransferModel.from_pretrained(tmp_path / "pruned")
    assert torch.equal(logits(loaded), logits(model)) and buffers(loaded) == buffers(model)
    assert [source["name"] for source in loaded.facts["pruned_from"]["sources"]] == ["cola", "mrpc", "rte"]
    torch.testing.assert_close(logits(loaded.fold()), expected)


def test_a_pruned_model_is_served_beside_whole_ones(
    build: Build, shelf: Shelf, tmp_path: Path, backbone: Backbone
) -> None:
    pruned = build().prune(keep=1)
    pruned.save_pretrained(tmp_path / "pruned")
    many = MultiTaskPredictor(backbone, sources=shelf)
    many.add(tmp_path / "pruned", "pruned")
    many.add(build("scalearn-uniform"), "whole")
    served = [answer.probabilities["good"] for answer in many.predict([("pruned", text) for text in TEXTS])]
    alone = [answer.probabilities["good"] for answer in pruned.predict(TEXTS)]
    assert served == pytest.approx(alone, abs=1e-6)


def test_what_acts_with_zero_is_dropped_and_changes_nothing(build: Build) -> None:
    model = build(ScaLearn(keep=2))
    model.facts = {"metrics": {"dev": {"accuracy": 0.9}}}
    expected = logits(model)
    model.prune()
    assert [source.name for source in model.sources] == ["cola", "rte"] and model.method.keep is None
    torch.testing.assert_close(logits(model), expected)
    assert model.facts["metrics"] == {"dev": {"accuracy": 0.9}}, "they are still its own"


def test_scores_that_are_no_longer_its_own_are_put_aside(build: Build) -> None:
    model = build()
    model.facts = {"metrics": {"dev": {"accuracy": 0.9}}, "other": 1}
    model.prune(threshold=0.1)
    assert "metrics" not in model.facts and model.facts["other"] == 1
    assert model.facts["pruned_from"]["metrics"] == {"dev": {"accuracy": 0.9}}


def test_a_model_pruned_twice_remembers_what_it_was_first(build: Build) -> None:
    model = build()
    model.facts = {"metrics": {"dev": {"accuracy": 0.9}}}
    model.prune(keep=2).prune(keep=1)
    last = model.facts["pruned_from"]
    assert len(last["sources"]) == 2 and last["metrics"] == {}
    assert len(last["pruned_from"]["sources"]) == 3
    assert last["pruned_from"]["metrics"] == {"dev": {"accuracy": 0.9}}


def test_nothing_to_drop_leaves_the_model_as_it_was(build: Build) -> None:
    model = build()
    deltas = model.deltas
    model.prune(threshold=0.01)
    assert all(new is old for new, old in zip(model.deltas, deltas, strict=True)) and len(model.sources) == 3
    assert "pruned_from" not in model.facts


def test_a_pruned_model_can_be_trained_on(build: Build) -> None:
    model = build().prune(keep=2).train()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(model.trained_state())
    model(input_ids=torch.randint(5, 17, (2, 9)), labels=torch.tensor([0, 1])).loss.backward()
    assert all(delta.omega.values.grad is not None and delta.omega.dropout == 0.3 for delta in model.deltas)


def test_number_format_stays(build: Build) -> None:
    model = build().double()
    model.prune(keep=1)
    assert all(tensor.dtype == torch.float64 for delta in model.deltas for tensor in (*delta.buffers(), delta.omega()))


def test_lora_sources_at_a_place_of_a_dropped_one_alone(build: Build, backbone: Backbone, task: Task) -> None:
    sources = []
    for name, modules in (("a", ("query",)), ("b", ("intermediate",)), ("c", ("query", "value"))):
        model = TransferModel.from_backbone(backbone, task=task, method=LoRA(rank=2, modules=modules))
        for delta in model.deltas:
            torch.nn.init.normal_(delta.up.weight, std=0.3)
        sources.append(model.to_source(name=name, metrics={}, provenance={}))
        sites.detach(backbone.model)
    model = build("scalearn", Shelf(sources))
    assert set(model.placement) == {"query", "value", "intermediate"}
    model.prune(keep=2)
    assert set(model.placement) == {"query", "value"} and len(model.sources) == 2
    assert torch.isfinite(logits(model)).all()


# ---- which stay


def of(*pairs: tuple[float, float]) -> list[Strength]:
    return [Strength(source=str(t), mean=mean, largest=most) for t, (mean, most) in enumerate(pairs)]


def test_the_threshold_is_of_the_largest_anywhere() -> None:
    found = of((0.1, 0.5), (0.04, 0.2), (0.01, 0.02), (0.0, 0.0))
    assert staying(found) == [0, 1, 2]
    assert staying(found, threshold=0.04) == [0, 1], "at most the share goes"
    assert staying(found, threshold=0.03) == [0, 1, 2]
    assert staying(found, threshold=0.5) == [0]


def test_keeping_goes_by_the_mean_and_the_order_stays() -> None:
    assert staying(of((0.1, 0.9), (0.3, 0.4), (0.2, 0.5)), keep=2) == [1, 2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"threshold": 0.1, "keep": 1}, "give either"),
        ({"threshold": 1.0}, "from 0 to below 1"),
        ({"threshold": -0.1}, "from 0 to below 1"),
        ({"keep": 0}, "from 1 to 2"),
        ({"keep": 3}, "keep 3 of 2 sources"),
    ],
)
def test_what_is_out_of_range_is_refused(asked: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        staying(of((0.1, 0.1), (0.2, 0.2)), **asked)


def test_nothing_would_be_left() -> None:
    with pytest.raises(InputError, match="all coefficients are 0"):
        staying(of((0, 0), (0, 0)))


@pytest.mark.parametrize("method", ["adapterfusion", "uniform-average"])
def test_other_methods_are_refused(build: Build, method: str) -> None:
    with pytest.raises(InputError, match=f"method '{method}' has n"):
        build(method).prune(keep=1)


def test_a_folded_model_is_refused(build: Build) -> None:
    with pytest.raises(InputError, match="not folded"):
        build().fold().prune(keep=1)
