"""Every method: two steps of training, saved, loaded in a new process, gives the same outputs bit for bit.

And every method: interrupted within an epoch and started again, it ends with the weights of an unbroken run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scalearn.adapted import AdaptedModel
from scalearn.backbones import Backbone, load_backbone
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, LoRA, Recipe, changed, joint_recipe_for, method_from_name
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.similarity import mean_embedding
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train, train_joint
from scalearn.training.trainer import TransferTrainer

# the tiny backbone is too narrow for the sizes that were published
OPTIONS: dict[str, dict[str, Any]] = {
    "compacter++": {"reduction_factor": 4},
    "hyperformer": {"embedding": 6, "hidden": 5, "projected": 4},
    "hyperformer++": {"embedding": 6, "hidden": 5, "projected": 4},
    "probing": {"omega": (0.3, 0.5, 0.7)},
    "lorahub": {"evaluations": 6},
}
VARIANTS = {
    **{name: (name, OPTIONS.get(name, {})) for name in REGISTRY},
    "propetl, masks frozen": ("propetl", {"train_masks": False}),
    "adapter-m, one per task": ("adapter-m", {"per_task": True}),
    "adapterfusion, static": ("adapterfusion", {"value": False}),
    "scalearn over compacter++": ("scalearn", {"over": "compacter++"}),
    "scalearn over lora": ("scalearn", {"over": "lora"}),
    "scalearn++ over lora": ("scalearn++", {"over": "lora"}),
    "adaptersoup over lora": ("adaptersoup", {"over": "lora"}),
    "uniform-average over compacter++": ("uniform-average", {"over": "compacter++"}),
}
EACH_KIND = [
    *["adapter", "compacter++", "propetl", "ia3", "lora", "full", "adapter-m, one per task", "propetl-m"],
    *["hyperformer++", "scalearn", "scalearn++", "scalearn over lora", "adapterfusion", "adaptersoup", "lorahub"],
]
"""One of each way to keep what is trained; the others differ in options only, and take minutes together."""
STOPPED = ["adapter", "hyperformer++", "scalearn", "scalearn++", "adapterfusion"]
"""Those that are stopped in the quick tests, too."""
TWO_STEPS = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=1, patience=1, batch_size=16)

LOAD = """
import sys, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
from scalearn.joint import JointModel
from scalearn.model import TransferModel
torch.set_num_threads(1)
root, tasks = Path(sys.argv[1]), sys.argv[2:]
batch = load_file(root / "inputs.safetensors")
for folder in sorted(root.glob("*/out")):
    with torch.no_grad():
        if '"tasks"' in (folder / "scalearn.json").read_text():
            model = JointModel.from_pretrained(folder)
            logits = {task: model(task, **batch).logits for task in tasks}
        else:
            logits = {"logits": TransferModel.from_pretrained(folder)(**batch).logits}
    save_file({name: value.contiguous() for name, value in logits.items()}, folder.with_name("logits.safetensors"))
"""


@pytest.fixture
def joint_tasks(task: Task) -> list[Task]:
    return [task, replace(task, name="second.task")]


@pytest.fixture
def shelves(shelf: Shelf, tiny_backbone: str, task: Task, tmp_path: Path) -> Callable[[str], Shelf]:
    """Saved sources of a method."""

    def made(method: str) -> Shelf:
        if method == "adapter":  # the soup averages weights of one shape
            return shelf
        return Shelf(source_of(method, seed, tiny_backbone, task, tmp_path) for seed in (1, 2, 3))

    return made


def source_of(method: str, seed: int, tiny_backbone: str, task: Task, folder: Path) -> Source:
    chosen = LoRA(rank=2) if method == "lora" else method_from_name(method, **OPTIONS.get(method, {}))
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=chosen, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (p for delta in model.deltas for p in delta.parameters()):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    embedding = mean_embedding([f"text number {seed}", "the film was good"])
    source = model.to_source(name=f"{method}-{seed}", metrics={}, provenance={}, embedding=tuple(embedding.tolist()))
    return source.save(folder / "made" / source.name)


def model_of(variant: str, backbone: Backbone, tasks: list[Task], shelves: Callable[[str], Shelf]) -> AdaptedModel:
    name, options = VARIANTS[variant]
    over = options.get("over", "adapter")
    method = method_from_name(name, **{key: value for key, value in options.items() if key != "over"})
    if method.stage == "joint":
        return JointModel.from_backbone(backbone, tasks=tasks, method=method)
    shelf = None
    if method.stage == "transfer":
        shelf = shelves(over)
        if name == "adaptersoup" and over == "adapter":
            shelf = shelf.only(["mrpc", "rte"])  # the two of one shape
            method = method.model_copy(update={"weights": (0.25, 0.75)})
    return TransferModel.from_backbone(backbone, task=tasks[0], method=method, sources=shelf)


def fit(model: AdaptedModel, out: Path, *, steps: int = 2, every: int = 1) -> None:
    if isinstance(model, JointModel):
        changes = {"steps": steps, "evaluate_every": every, "batch_size": 8}
        train_joint(model, out, recipe=changed(joint_recipe_for(model.method), changes), progress=False)
    else:
        assert isinstance(model, TransferModel)
        train(model, out, recipe=TWO_STEPS.model_copy(update={"epochs": max(1, steps // 2)}), progress=False)


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param(EACH_KIND, id="each kind"),
        pytest.param([one for one in VARIANTS if one not in EACH_KIND], id="the others", marks=pytest.mark.slow),
    ],
)
def test_round_trip_in_a_new_process(
    variants: list[str], tiny_backbone: str, joint_tasks: list[Task], shelves: Callable[[str], Shelf], tmp_path: Path
) -> None:
    """One process loads what this one saved of all of them, so that torch is imported once."""
    generator = torch.Generator().manual_seed(0)
    batch = {"input_ids": torch.randint(5, 17, (3, 9), generator=generator), "attention_mask": torch.ones(3, 9).long()}
    save_file(batch, tmp_path / "inputs.safetensors")
    names = [task.name for task in joint_tasks]
    kept = {over: shelves(over) for over in ("adapter", "compacter++", "lora")}
    expected = {}
    for variant in variants:
        model = model_of(variant, load_backbone(tiny_backbone), joint_tasks, kept.__getitem__)
        before = {name: tensor.clone() for name, tensor in model.trained_state().items()}
        fit(model, tmp_path / variant / "out")
        moved = [name for name, tensor in model.trained_state().items() if not torch.equal(tensor, before[name])]
        assert any("delta" in name for name in moved) == (VARIANTS[variant][0] not in HEAD_ONLY), variant
        model.eval()
        with torch.no_grad():
            if isinstance(model, JointModel):
                expected[variant] = {name: model(name, **batch).logits for name in names}
            else:
                expected[variant] = {"logits": model(**batch).logits}
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), *names],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for variant, logits in expected.items():
        found = load_file(tmp_path / variant / "logits.safetensors")
        assert found.keys() == logits.keys()
        assert all(torch.equal(found[name], value) for name, value in logits.items()), variant


HEAD_ONLY = ("full", "full-m", "head", "probing", "adaptersoup", "lorahub", "best-source", "uniform-average")
"""Methods none of whose deltas' own parameters are trained."""


@pytest.mark.parametrize(
    "variant", [one if one in STOPPED else pytest.param(one, marks=pytest.mark.slow) for one in VARIANTS]
)
def test_stopped_within_an_epoch_and_started_again(
    variant: str,
    tiny_backbone: str,
    joint_tasks: list[Task],
    shelves: Callable[[str], Shelf],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = shelves(VARIANTS[variant][1].get("over", "adapter"))

    def fresh() -> AdaptedModel:
        return model_of(variant, load_backbone(tiny_backbone), joint_tasks, lambda _: kept)

    unbroken = fresh()
    fit(unbroken, tmp_path / "unbroken", steps=6, every=2)

    original, taken = TransferTrainer.training_step, Counter[str]()

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Tensor:
        taken["steps"] += 1
        if taken["steps"] == 4:  # the second of the second epoch; joint runs have kept the second step
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TransferTrainer, "training_step", training_step)
        fit(fresh(), tmp_path / "out", steps=6, every=2)
    assert not (tmp_path / "out").exists()
    again = fresh()
    fit(again, tmp_path / "out", steps=6, every=2)
    for name, tensor in unbroken.trained_state().items():
        assert torch.equal(again.trained_state()[name], tensor), name


def test_every_method_is_here() -> None:
    assert set(REGISTRY) <= {name for name, _ in VARIANTS.values()}
