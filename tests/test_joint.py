"""`JointModel`: which head and deltas compute, what is refused, and what its folder holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scalearn.backbones import load_backbone
from scalearn.encoding import collator
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, AdapterJoint
from scalearn.model import TransferModel
from scalearn.tasks import Task

JOINT = [name for name, entry in REGISTRY.items() if entry.method.stage == "joint"]
TEXTS = ["the film was good", "bad and very long"]


@pytest.fixture
def several(task: Task, pair_task: Task, scale_task: Task) -> list[Task]:
    """Three tasks of two kinds and of 2, 3 and 1 outputs; only the first has rows."""
    return [task, pair_task, scale_task]


@pytest.fixture
def build(tiny_backbone: str, several: list[Task]) -> Callable[..., JointModel]:
    """Makes a joint model."""

    def made(method: Any = "adapter-m", tasks: Sequence[Task] = several, **other: Any) -> JointModel:
        return JointModel.from_backbone(tiny_backbone, tasks=tasks, method=method, **other)

    return made


def scores(model: JointModel, task: str) -> torch.Tensor:
    """Logits of a few texts, whatever the task takes."""
    texts = {"text_a": TEXTS} | ({"text_b": TEXTS[::-1]} if len(model.task(task).text) > 1 else {})
    return model.logits(model.encode(texts, task=task), task=task, precision="fp32")


# ---- computation


def test_each_task_has_its_own_outputs(build: Callable[..., JointModel]) -> None:
    model = build()
    assert [tuple(scores(model, name).shape) for name in model.tasks] == [(2, 2), (2, 3), (2, 1)]
    assert [head.kind for head in model.heads_by_task().values()] == ["classification", "classification", "regression"]


@pytest.mark.parametrize("method", JOINT)
def test_no_task_leaks_into_the_next(build: Callable[..., JointModel], method: str) -> None:
    model = build(method)
    first = {name: scores(model, name) for name in model.tasks}
    for name in reversed(model.tasks):
        assert torch.equal(scores(model, name), first[name])


def test_a_task_computes_with_its_own_adapter(build: Callable[..., JointModel]) -> None:
    """Silencing one task's adapters changes that task and no other."""
    model = build(AdapterJoint(per_task=True))
    for delta in model.deltas:
        nn.init.normal_(delta.deltas["task scale"].up.weight)
    before = {name: scores(model, name) for name in model.tasks}
    for delta in model.deltas:
        nn.init.zeros_(delta.deltas["task scale"].up.weight)
    changed = [name for name in model.tasks if not torch.equal(scores(model, name), before[name])]
    assert changed == ["scale"]


def test_only_the_active_task_changes_its_head(build: Callable[..., JointModel], task: Task) -> None:
    model = build().train()
    rows = model.rows_of(task, "train")[:4]
    model("reviews", **collator(model.need_tokenizer())(rows)).loss.backward()
    touched = {name for name, head in model.heads_by_task().items() if head.out.weight.grad is not None}
    assert touched == {"reviews"}


def test_the_penalty_is_part_of_the_training_loss_alone(build: Callable[..., JointModel], task: Task) -> None:
    class Penalised(AdapterJoint):
        def penalty(self, deltas: Sequence[nn.Module]) -> float:
            return 0.25 * len(deltas)

    model = build(Penalised())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    batch = collator(model.need_tokenizer())(model.rows_of(task, "train")[:4])
    plain = model.eval()("reviews", **batch).loss
    assert model.train()("reviews", **batch).loss.item() == pytest.approx(plain.item() + 0.5)


def test_the_seed_decides_deltas_and_heads_and_nothing_else(build: Callable[..., JointModel]) -> None:
    state = torch.get_rng_state()
    one, again, other = (build("hyperformer++", seed=seed).trained_state() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


def test_every_head_counts(build: Callable[..., JointModel]) -> None:
    heads = 3 * (16 * 16 + 16) + (2 + 3 + 1) * (16 + 1)
    adapters = 2 * (16 + 1 + 16 + 16)  # a bottleneck of 1 in two layers
    assert build().parameter_counts() == {"method": adapters, "head": heads, "total": adapters + heads}


# ---- what is refused


def test_tasks_that_cannot_be_learned_together(build: Callable[..., JointModel], several: list[Task]) -> None:
    for tasks, match in (
        ([], "joint training of no tasks: give at least two"),
        (several[:1], "reviews: give at least two tasks"),
        ([several[0], several[1], several[0]], "reviews, pairs, reviews: give at least two tasks, each with a name"),
    ):
        with pytest.raises(InputError, match=match):
            build(tasks=tasks)


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in JOINT])
def test_a_method_of_another_stage(build: Callable[..., JointModel], name: str) -> None:
    with pytest.raises(InputError, match=r"learns one task: use TransferModel"):
        build(REGISTRY[name].method)


def test_a_joint_method_for_one_task_says_what_to_use(tiny_backbone: str, task: Task) -> None:
    with pytest.raises(InputError, match=r"'adapter-m' learns several tasks at once: use JointModel"):
        TransferModel.from_backbone(tiny_backbone, task=task, method="adapter-m")


def test_a_refusal_leaves_the_backbone_usable(tiny_backbone: str, several: list[Task]) -> None:
    backbone = load_backbone(tiny_backbone)
    with pytest.raises(InputError):
        JointModel.from_backbone(backbone, tasks=several[:1], method="adapter-m")
    JointModel.from_backbone(backbone, tasks=several, method="adapter-m")
    with pytest.raises(InputError, match="carries deltas already"):
        JointModel.from_backbone(backbone, tasks=several, method="adapter-m")


@pytest.mark.parametrize("use", ["head", "task", "encode", "logits", "predict", "forward"])
def test_an_unknown_task_is_refused_and_changes_nothing(build: Callable[..., JointModel], use: str) -> None:
    model = build("hyperformer++")
    model.switch.select("pairs")
    calls: dict[str, Callable[[], Any]] = {
        "head": lambda: model.head("rte"),
        "task": lambda: model.task("rte"),
        "encode": lambda: model.encode({"text_a": TEXTS}, task="rte"),
        "logits": lambda: model.logits([], task="rte"),
        "predict": lambda: model.predict(TEXTS, task="rte"),
        "forward": lambda: model("rte", torch.ones(1, 3).long()),
    }
    with pytest.raises(InputError, match=r"has no task 'rte'; it has reviews, pairs, scale"):
        calls[use]()
    assert model.switch.active == "pairs"


# ---- disk


@pytest.mark.parametrize("method", JOINT)
def test_what_is_saved_is_loaded(build: Callable[..., JointModel], method: str, tmp_path: Path) -> None:
    model = build(method, pooling="last", seed=3)
    model.save_pretrained(tmp_path / "out", extra={"note": "mine"})
    loaded = JointModel.from_pretrained(tmp_path / "out")
    assert (loaded.tasks, loaded.method, loaded.pooling) == (model.tasks, model.method, "last")
    for name in model.tasks:
        assert torch.equal(scores(loaded, name), scores(model, name))
    described = json.loads((tmp_path / "out" / "scalearn.json").read_text())
    assert "task" not in described and described["note"] == "mine"


def test_any_name_of_a_task_will_do(build: Callable[..., JointModel], task: Task, tmp_path: Path) -> None:
    names = ["a.b", "a%2Eb", "a%252Eb", "keys", "training", "task a.b", "größe/zwei", " "]
    model = build(AdapterJoint(per_task=True), tasks=[replace(task, name=name) for name in names])
    model.save_pretrained(tmp_path / "out")
    loaded = JointModel.from_pretrained(tmp_path / "out")
    assert list(loaded.tasks) == names
    first = {name: scores(model, name) for name in names}
    assert len({tuple(value.flatten().tolist()) for value in first.values()}) == len(names), "two tasks share a head"
    assert all(torch.equal(scores(loaded, name), value) for name, value in first.items())


def test_the_backbone_may_have_moved(
    build: Callable[..., JointModel], tiny_backbone: str, several: list[Task], tmp_path: Path
) -> None:
    shutil.copytree(tiny_backbone, tmp_path / "was")
    model = JointModel.from_backbone(str(tmp_path / "was"), tasks=several, method="adapter-m")
    model.save_pretrained(tmp_path / "out")
    (tmp_path / "was").rename(tmp_path / "now")
    with pytest.raises(InputError, match="was"):
        JointModel.from_pretrained(tmp_path / "out")
    loaded = JointModel.from_pretrained(tmp_path / "out", backbone=str(tmp_path / "now"))
    assert torch.equal(scores(loaded, "scale"), scores(model, "scale"))


def test_a_folder_of_the_other_kind_says_what_to_use(
    build: Callable[..., JointModel], tiny_backbone: str, task: Task, tmp_path: Path
) -> None:
    build().save_pretrained(tmp_path / "joint")
    with pytest.raises(
        InputError, match=r"several tasks \(reviews, pairs, scale\): load it with JointModel, or .*--task"
    ):
        TransferModel.from_pretrained(tmp_path / "joint")
    TransferModel.from_backbone(tiny_backbone, task=task, method="adapter").save_pretrained(tmp_path / "one")
    with pytest.raises(InputError, match=r"a model of one task \(reviews\): load it with TransferModel"):
        JointModel.from_pretrained(tmp_path / "one")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it.pop("tasks"), r"names 0 tasks .* does not go with method 'adapter-m'"),
        (lambda it: it.update(tasks=it["tasks"][:1]), r"names 1 tasks .* does not go with method 'adapter-m'"),
        (lambda it: it.update(task=it["tasks"][0]), r"names 4 tasks .* does not go with method 'adapter-m'"),
        (lambda it: it.update(tasks=it["tasks"][:2]), r"heads\.task scale\.out\.weight is unknown"),
        (lambda it: it["tasks"][1].update(name="reviews"), "reviews, reviews, scale: give at least two tasks"),
        (lambda it: it["tasks"][0]["labels"].append("so so"), r"has shape \(2, 16\), expected \(3, 16\)"),
        (lambda it: it["tasks"][2].update(kind="poetry"), "kind"),
        (lambda it: it.update(tasks={}), "tasks"),
        (lambda it: it["method"].update(name="full-m", options={}), "full-m"),
        (lambda it: it["method"].update(name="adapter", options={}), r"does not go with method 'adapter'"),
    ],
)
def test_a_hand_edited_description_is_refused_with_the_reason(
    build: Callable[..., JointModel], tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    build().save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "scalearn.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    with pytest.raises(InputError, match=reason):
        JointModel.from_pretrained(tmp_path / "out")
