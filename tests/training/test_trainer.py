"""Rates, number format and attention of a run, and which checkpoint it goes on from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel

from scalearn.adapted import AdaptedModel
from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, JointRecipe, Recipe, recipe_for
from scalearn.model import TransferModel
from scalearn.precision import Attention, Precision
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import train, train_joint
from scalearn.training.checks import check_attention
from scalearn.training.trainer import TransferTrainer, arguments_for, last_whole_checkpoint, optimizer_for


def model_of(name: str, backbone: Backbone, task: Task, shelf: Shelf) -> TransferModel:
    transfer = REGISTRY[name].method.stage == "transfer"
    return TransferModel.from_backbone(backbone, task=task, method=name, sources=shelf if transfer else None)


@pytest.mark.parametrize("name", ["adapter", "full", "scalearn", "scalearn++"])
def test_the_head_has_its_own_rate(name: str, backbone: Backbone, task: Task, shelf: Shelf) -> None:
    model = model_of(name, backbone, task, shelf)
    optimizer = optimizer_for(model, Recipe(learning_rate=0.5, head_learning_rate=0.25, weight_decay=0.1))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(trained)
    assert {key: rates[id(p)] for key, p in trained.items()} == {
        key: 0.25 if key.startswith("head.") else 0.5 for key in trained
    }
    for group in optimizer.param_groups:
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.1)


def test_a_head_alone_is_one_group(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    optimizer = optimizer_for(
        model_of("head", backbone, task, shelf), Recipe(learning_rate=0.5, head_learning_rate=0.25)
    )
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


@pytest.mark.parametrize("name", ["adapter", "full", "scalearn"])
def test_the_published_protocol_has_one_rate(name: str, backbone: Backbone, task: Task, shelf: Shelf) -> None:
    model = model_of(name, backbone, task, shelf)
    optimizer = optimizer_for(model, recipe_for(model.method, "published"))
    assert len({group["lr"] for group in optimizer.param_groups}) == 1


def checkpoint(folder: Path, step: int, *, whole: bool) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_bytes(b"")
    if whole:
        (made / "trainer_state.json").write_text("{}")
    return made


def test_the_last_whole_checkpoint(tmp_path: Path) -> None:
    for step, whole in ((4, True), (8, True), (12, False), (100, False)):
        checkpoint(tmp_path, step, whole=whole)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")


@pytest.mark.parametrize("there", [False, True])
def test_no_checkpoint(tmp_path: Path, there: bool) -> None:
    if there:
        checkpoint(tmp_path / "run", 4, whole=False)
    assert last_whole_checkpoint(tmp_path / "run") is None


def test_a_checkpoint_may_break_twice_at_the_same_step(tmp_path: Path) -> None:
    good = checkpoint(tmp_path, 4, whole=True)
    for _ in range(2):
        checkpoint(tmp_path, 8, whole=False)
        assert last_whole_checkpoint(tmp_path) == str(good)


# ---- number format and attention


@pytest.mark.parametrize(
    ("precision", "formats"), [("fp32", (False, False)), ("bf16", (True, False)), ("fp16", (False, True))]
)
def test_trainer_computes_in_the_format_that_was_chosen(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, formats: Any
) -> None:
    """On a GPU, which this need not be: Trainer is only asked for it."""
    monkeypatch.setattr(AdaptedModel, "device", torch.device("cuda"))
    monkeypatch.setattr("scalearn.training.trainer.TrainingArguments", dict)
    model = TransferModel.from_backbone(backbone, task=task, method="adapter")
    recipe = Recipe(learning_rate=0.5, head_learning_rate=0.25)
    given: Any = arguments_for(model, recipe, tmp_path / "checkpoints", seed=0, precision=precision)
    assert (given["bf16"], given["fp16"]) == formats


class Watch:
    """What attention each training step and each forward pass in evaluation computes with."""

    def __init__(self, model: AdaptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        original = TransferTrainer.training_step

        def training_step(trainer: TransferTrainer, *args: Any, **others: Any) -> torch.Tensor:
            self.seen.append(("training", model.backbone.config._attn_implementation))
            return original(trainer, *args, **others)

        def over(own: AdaptedModel, *args: Any, **others: Any) -> torch.Tensor:
            states = evaluated(own, *args, **others)
            self.seen.append(("evaluation", model.backbone.config._attn_implementation))
            return states

        evaluated = AdaptedModel._over
        monkeypatch.setattr(TransferTrainer, "training_step", training_step)
        monkeypatch.setattr(AdaptedModel, "_over", over)


@pytest.mark.parametrize(("chosen", "training", "evaluation"), [("auto", "lean", "sdpa"), ("eager", "eager", "eager")])
@pytest.mark.parametrize("joint", [False, True])
def test_attention_in_training_and_evaluation(
    tiny_backbone: str,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    joint: bool,
    chosen: Attention,
    training: str,
    evaluation: str,
) -> None:
    """A joint run evaluates in between, and goes back to the attention that it trains with."""
    monkeypatch.setattr("scalearn.adapted.attention_for", lambda *, training, **_: "lean" if training else "sdpa")
    rates = {"learning_rate": 1e-2, "head_learning_rate": 1e-2}
    if joint:
        tasks = [task, replace(task, name="again")]
        model: Any = JointModel.from_backbone(tiny_backbone, tasks=tasks, method="adapter-m")
        model.attention, watch = chosen, Watch(model, monkeypatch)
        train_joint(model, recipe=JointRecipe(steps=4, evaluate_every=2, **rates), precision="fp32", progress=False)
    else:
        model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter")
        model.attention, watch = chosen, Watch(model, monkeypatch)
        train(model, recipe=Recipe(epochs=2, **rates), precision="fp32", progress=False)
    assert {name for which, name in watch.seen if which == "training"} == {training}
    assert {name for which, name in watch.seen if which == "evaluation"} == {evaluation}


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (
            "flash_attention_2",
            r"flash_attention_2 does not work for bert here \(.* is not installed\): install .* give auto, eager",
        ),
        ("lean", "lean does not compute what that of bert does: give auto"),
    ],
)
@pytest.mark.parametrize("joint", [False, True])
def test_attention_that_cannot_be_had(
    tiny_backbone: str,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    joint: bool,
    attention: Attention,
    message: str,
) -> None:
    monkeypatch.setattr("scalearn.training.checks.supports_lean", lambda backbone: False)
    if attention == "flash_attention_2":  # on this machine too, whatever it has

        def refuse(backbone: Any, implementation: str) -> None:
            raise ImportError(f"{implementation} is not installed")

        monkeypatch.setattr(BertModel, "set_attn_implementation", refuse)
    if joint:
        tasks = [task, replace(task, name="again")]
        model: Any = JointModel.from_backbone(tiny_backbone, tasks=tasks, method="adapter-m")
    else:
        model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter")
    model.attention = attention
    with pytest.raises(InputError, match=message):
        (train_joint if joint else train)(model, tmp_path / "out", precision="fp32", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_lean_attention_is_refused_off_the_cpu(fresh_on_meta: AdaptedModel) -> None:
    with pytest.raises(InputError, match="attention lean is for CPUs, not for meta: give auto, eager or sdpa"):
        check_attention(fresh_on_meta)


@pytest.fixture
def fresh_on_meta(tiny_backbone: str, task: Task) -> AdaptedModel:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter").to("meta")
    model.attention = "lean"
    return model
