"""What each source did, against the same by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.explanation import explain
from scalearn.methods import LoRA, LoraHub, Method, Probing, Recipe, ScaLearn
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import evaluate, train

Build = Callable[..., TransferModel]
VARIANTS = [ScaLearn(uniform=uniform, shared=shared) for uniform in (False, True) for shared in (False, True)]


@pytest.fixture
def build(tiny_backbone: str, task: Task, shelf: Shelf) -> Build:
    def made(method: Method | str, sources: Shelf = shelf) -> TransferModel:
        model = TransferModel.from_backbone(
            tiny_backbone, task=task, method=method, sources=sources, pooling="mean"
        ).eval()
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():  # logits that differ from row to row
            model.head.out.weight.normal_(generator=generator)
            for name, tensor in model.trained_state().items():
                if "omega" in name:
                    tensor.normal_(generator=generator)
        return model

    return made


@pytest.mark.parametrize("method", [*VARIANTS, ScaLearn(keep=2), Probing(omega=(0.5, -0.2, 1)), "uniform-average"])
def test_scores_are_those_with_coefficients_at_zero(build: Build, task: Task, method: Method | str) -> None:
    model = build(method)
    before = model.omega()
    found = explain(model, "train")
    assert found.rows == 32
    assert [effect.source for effect in found.effects] == ["cola", "mrpc", "rte"]
    assert torch.equal(model.omega(), before), "it is left as it was"
    twin = build(Probing(omega=(0, 0, 0)))
    twin.head.load_state_dict(model.head.state_dict())
    rows = twin.rows_of(task, "train")
    for t, effect in enumerate(found.effects):
        for score, row in ((effect.without, 1 - np.eye(3)[t]), (effect.alone, np.eye(3)[t]), (found.bare, np.zeros(3))):
            for delta, values in zip(twin.deltas, before, strict=True):
                delta.omega.values = values * torch.tensor(row, dtype=torch.float32)[:, None]
            assert score == task.judge(task.splits["train"], twin.logits(rows))["accuracy"]
        assert effect.difference == effect.without - found.score
        assert effect.mean_omega == pytest.approx(float(before[:, t].abs().mean()))
    assert np.allclose(found.omega, before.mean(dim=2)) and found.layers == ("1", "2")


def test_shares_are_of_the_norms_of_real_tokens(build: Build, task: Task) -> None:
    model = build("scalearn")
    expected = torch.zeros(2, 3)
    states: list[torch.Tensor] = []
    hooks = [delta.register_forward_hook(lambda _, inputs, output: states.append(inputs[0])) for delta in model.deltas]
    with torch.no_grad():
        for row in model.rows_of(task, "train"):  # one by one: there is no padding
            states.clear()
            model(input_ids=torch.tensor([row["input_ids"]]))
            for layer, (delta, z) in enumerate(zip(model.deltas, states, strict=True)):
                for t, source in enumerate(model.sources):
                    adapter = source.deltas()["layer"][layer]
                    expected[layer, t] += (delta.omega.values[t] * adapter(z)).norm(dim=-1).sum()
    for hook in hooks:
        hook.remove()
    expected = (expected / expected.sum(dim=1, keepdim=True)).mean(dim=0)
    found = explain(model, "train", batch_size=7)
    assert [effect.share for effect in found.effects] == pytest.approx(expected.tolist(), rel=1e-4)
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)


def test_a_source_that_hurts_is_found(build: Build, task: Task) -> None:
    """A head that was trained with the first source alone, and then the third one shouts."""
    recipe = Recipe(learning_rate=1e-3, head_learning_rate=2e-2, epochs=15, patience=15, batch_size=8, select="metric")
    quiet = build(Probing(omega=(1, 0, 0)))
    train(quiet, recipe=recipe, progress=False)
    loud = build(Probing(omega=(1, 0, 30)))
    loud.head.load_state_dict(quiet.head.state_dict())
    found = explain(loud, "train")
    first, second, third = found.effects
    assert third.verdict == "hurts" and found.hurting == (third,)
    assert third.without == evaluate(quiet, "train")["accuracy"] > found.score + third.stderr
    assert second.verdict == "unused" and second.difference == second.stderr == second.share == 0
    assert third.share > 0.5 > first.share > 0


def test_a_source_that_helps_is_found(build: Build) -> None:
    recipe = Recipe(learning_rate=1e-3, head_learning_rate=2e-2, epochs=15, patience=15, batch_size=8, select="metric")
    model = build(Probing(omega=(0, 0, 3)))
    train(model, recipe=recipe, progress=False)
    third = explain(model, "train").effects[2]
    assert third.verdict == "helps" and third.difference < -third.stderr < 0
    assert third.alone == evaluate(model, "train")["accuracy"]


def test_the_standard_error_is_of_paired_draws(build: Build, task: Task) -> None:
    """Without a source that changes no answer the difference has no error, though each score has one."""
    found = explain(build(Probing(omega=(1, 1e-6, 1))), "train")
    effect = found.effects[1]
    assert effect.difference == effect.stderr == 0 < found.stderr
    assert effect.verdict == "unclear"


def test_lora_sources_have_a_row_for_each_map(build: Build, backbone: Backbone, task: Task) -> None:
    model = TransferModel.from_backbone(backbone, task=task, method=LoRA(rank=2, modules=("query", "intermediate")))
    for delta in model.deltas:
        torch.nn.init.normal_(delta.up.weight, std=0.3)
    source = model.to_source(name="a", metrics={}, provenance={})
    found = explain(build("scalearn", Shelf([source, replace(source, name="b")])), "train")
    assert found.layers == ("query 1", "query 2", "intermediate 1", "intermediate 2")
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)


def test_it_is_plain_json(build: Build) -> None:
    found = explain(build(LoraHub(omega=(1, 0, -0.5))), "dev")
    assert json.loads(json.dumps(found.as_dict()))["effects"][1]["verdict"] == "unused"


@pytest.mark.parametrize("method", ["adapterfusion", "head", "adapter"])
def test_other_methods_are_refused(tiny_backbone: str, task: Task, shelf: Shelf, method: str) -> None:
    sources = shelf if method == "adapterfusion" else None
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=sources)
    with pytest.raises(InputError, match=f"method '{method}' has no coefficient for each source: scalearn"):
        explain(model)


def test_rows_of_another_task_are_refused(build: Build, pair_task: Task) -> None:
    with pytest.raises(InputError, match="has no split 'test'"):
        explain(build("scalearn"), "test")
    with pytest.raises(InputError, match="has no split"):
        explain(build("scalearn"), task=pair_task)
