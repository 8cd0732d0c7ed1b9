"""Sources are stored once for all models of a process, and no model can change those of another."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from scalearn.backbones import Backbone
from scalearn.deltas import Bottleneck, Omega, ScaledSources
from scalearn.methods import method_from_name
from scalearn.methods.sharing import share
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

Build = Callable[..., TransferModel]
METHODS = {
    "scalearn": {},
    "scalearn-uniform++": {},
    "adapterfusion": {},
    "probing": {"omega": (0.3, 0.5, 0.7)},
    "uniform-average": {},
    "adaptersoup": {"weights": (0.0, 0.25, 0.75)},
}


@pytest.fixture
def build(tiny_backbone: str, task: Task, shelf: Shelf) -> Build:
    def made(name: str = "scalearn", sources: Shelf = shelf, *, seed: int = 0) -> TransferModel:
        method = method_from_name(name, **METHODS[name])
        return TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=sources, seed=seed).eval()

    return made


@pytest.fixture
def lora_shelf(backbone: Backbone, task: Task) -> Shelf:
    generator = torch.Generator().manual_seed(1)
    model = TransferModel.from_backbone(backbone, task=task, method=method_from_name("lora", rank=2))
    sources = []
    for name in ("a", "b", "c"):
        with torch.no_grad():
            for parameter in (p for delta in model.deltas for p in delta.parameters()):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        sources.append(copy.deepcopy(model.to_source(name=name, metrics={}, provenance={})))
    return Shelf(sources)


def stacks(model: TransferModel) -> list[Tensor]:
    """The buffers that come from sources."""
    return [buffer for delta in model.deltas for buffer in delta.buffers(recurse=False)]


def pointers(model: TransferModel) -> list[int]:
    return [buffer.data_ptr() for buffer in stacks(model)]


def logits(model: TransferModel) -> Tensor:
    return model.logits(model.encode({"text_a": ["good film", "the bad film was long", "bad"]}), precision="fp32")


@pytest.mark.parametrize("name", METHODS)
def test_two_targets_hold_the_same_memory(build: Build, name: str) -> None:
    first = build(name)
    alone, expected = pointers(first), logits(first)
    second = build(name)
    assert pointers(second) == alone == pointers(first)
    assert len(set(alone)) == len(alone) > 0, "layers do not share"
    assert torch.equal(logits(second), expected) and torch.equal(logits(first), expected)


def test_two_targets_over_lora_sources_hold_the_same_memory(build: Build, lora_shelf: Shelf) -> None:
    first, second = (build("scalearn", lora_shelf) for _ in range(2))
    assert pointers(first) == pointers(second) and len(set(pointers(first))) == 2 * 2 * 2
    assert torch.equal(logits(first), logits(second))


def test_methods_share_too(build: Build) -> None:
    first, second = build("scalearn"), build("adapterfusion")
    assert pointers(first) == pointers(second)


def test_a_source_that_differs_in_one_number_is_not_shared(build: Build, shelf: Shelf) -> None:
    changed = dict(shelf["rte"].tensors)
    changed["layers.1.up.bias"] = changed["layers.1.up.bias"] + torch.eye(16)[3]
    other = Shelf([shelf["cola"], shelf["mrpc"], replace(shelf["rte"], tensors=changed)])  # and the hash of the old
    first, second = build(), build(sources=other)
    same, differing = zip(pointers(first), pointers(second), strict=True), stacks(second)[-1] - stacks(first)[-1]
    assert [one == two for one, two in same] == [True] * 4 + [False] * 4, "the first layer is the same"
    torch.testing.assert_close(differing[2], torch.eye(16)[3])


def test_lora_sources_of_another_alpha_are_not_shared(build: Build, lora_shelf: Shelf) -> None:
    def doubled(source: Source) -> Source:
        return replace(source, options={**source.options, "alpha": 2 * source.options["alpha"]})

    first, second = build("scalearn", lora_shelf), build("scalearn", Shelf([doubled(s) for s in lora_shelf]))
    for one, two in zip(first.deltas, second.deltas, strict=True):
        torch.testing.assert_close(two.up_weight, 2 * one.up_weight)


def test_the_order_of_sources_counts(build: Build, shelf: Shelf) -> None:
    first, second = build(), build(sources=shelf.only(["rte", "mrpc", "cola"]))
    assert not set(pointers(first)) & set(pointers(second))


# ---- what one model does leaves the others alone


def test_moving_one_model_leaves_the_other(build: Build) -> None:
    first, second = build(), build()
    before, expected = pointers(second), logits(second)
    first.double()
    assert all(buffer.dtype == torch.float64 for buffer in stacks(first))
    assert pointers(second) == before and all(buffer.dtype == torch.float32 for buffer in stacks(second))
    assert torch.equal(logits(second), expected)
    assert pointers(build()) == before, "a third finds those that stayed"


def test_a_copy_is_independent(build: Build) -> None:
    first = build()
    expected, before = logits(first), pointers(first)
    twin = copy.deepcopy(first)
    assert not set(pointers(twin)) & set(before)
    assert torch.equal(logits(twin), expected)
    for buffer in stacks(twin):
        buffer.zero_()
    assert torch.equal(logits(first), expected)


def test_nothing_writes_into_what_is_shared(
    build: Build, backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    first, second = build(), build()
    before = [(buffer, buffer.clone(), buffer._version) for buffer in stacks(first)]
    others = Shelf([make_source(name, backbone, bottleneck=4, seed=9) for name in ("a", "b", "c")])

    second.train()
    optimiser = torch.optim.AdamW(second.parameters(), lr=0.1)
    batch = {"input_ids": torch.randint(5, 17, (4, 9)), "labels": torch.tensor([0, 1, 1, 0])}
    second(**batch).loss.backward()
    optimiser.step()
    second.load_state_dict(build(sources=others).state_dict())  # of the same shapes
    second.load_trained_state(build(seed=1).trained_state())
    for delta in second.fold().deltas:
        for parameter in delta.parameters():
            nn.init.zeros_(parameter)

    for (buffer, values, version), now in zip(before, stacks(first), strict=True):
        assert now is buffer and buffer._version == version and torch.equal(buffer, values)


# ---- life time


def test_memory_is_freed_with_the_last_model(build: Build) -> None:
    first, second = build(), build()
    storages = [StorageWeakRef(buffer.untyped_storage()) for buffer in stacks(first)]
    del first
    gc.collect()
    assert not any(storage.expired() for storage in storages)
    assert torch.isfinite(logits(second)).all()
    del second
    gc.collect()
    assert all(storage.expired() for storage in storages)


def test_memory_is_freed_when_the_last_model_moves(build: Build) -> None:
    first, second = build(), build("adapterfusion")
    storages = [StorageWeakRef(buffer.untyped_storage()) for buffer in stacks(first)]
    first.double(), second.double()
    gc.collect()
    assert all(storage.expired() for storage in storages)


def test_what_inference_mode_built_is_not_trained_on(build: Build) -> None:
    """Autograd refuses to keep its tensors for the backward pass."""
    with torch.inference_mode():
        first = build()
    second = build().train()
    second(input_ids=torch.randint(5, 17, (2, 9)), labels=torch.tensor([0, 1])).loss.backward()
    assert not set(pointers(first)) & set(pointers(second))
    assert all(delta.omega.values.grad is not None for delta in second.deltas)


def test_what_has_no_numbers_is_not_shared() -> None:
    with torch.device("meta"):
        first, second = (
            share(ScaledSources([Bottleneck(width=4, bottleneck=2)], Omega(sources=1, width=4))) for _ in range(2)
        )
    assert first.down_weight is not second.down_weight
