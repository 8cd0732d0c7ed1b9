"""Which parameters the optimizer gets at which rate, and which checkpoint a run goes on from."""

from pathlib import Path

import pytest

from scalearn.backbones import Backbone
from scalearn.methods import REGISTRY, Recipe, recipe_for
from scalearn.model import TransferModel
from scalearn.sources import Shelf
from scalearn.tasks import Task
from scalearn.training.trainer import last_whole_checkpoint, optimizer_for


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
