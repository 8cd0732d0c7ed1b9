"""`train_joint` on the tiny backbone: mixed kinds, the best step, several processes, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset
from safetensors.torch import load_file

from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe, changed
from scalearn.tasks import Task
from scalearn.tasks.splits import make_split
from scalearn.training import train_joint

RECIPE = JointRecipe(
    learning_rate=1e-2, head_learning_rate=1e-2, steps=12, evaluate_every=4, batch_size=8, warmup_fraction=0.1
)


def numbers(rows: int = 24) -> Task:
    """How many times does the text say good?"""
    texts = [" ".join(["good"] * (i % 4) + ["film"]) for i in range(rows)]
    split = make_split([texts], [float(i % 4) for i in range(rows)], labels=())
    return Task(
        name="how.good",
        kind="regression",
        text=("text",),
        label="y",
        metrics=("pearson",),
        main_metric="pearson",
        splits={"train": split, "dev": split},
    )


def choices(rows: int = 24) -> Task:
    """Which of two words is the good one?"""
    pairs = [("good", "bad") if i % 2 else ("bad", "good") for i in range(rows)]
    split = make_split(
        [["the film was"] * rows],
        [0 if i % 2 else 1 for i in range(rows)],
        labels=("a", "b"),
        kind="multiple-choice",
        choices=pairs,
    )
    return Task(
        name="which",
        kind="multiple-choice",
        text=("text",),
        label="y",
        labels=("a", "b"),
        choices=("a", "b"),
        metrics=("accuracy",),
        main_metric="accuracy",
        splits={"train": split, "dev": split},
    )


def several(rows: int = 24) -> Task:
    """Which of two words occur?"""
    texts = [" ".join(["film", *(["good"] if i % 2 else []), *(["bad"] if i % 3 else [])]) for i in range(rows)]
    values = [[int(i % 2 > 0), int(i % 3 > 0)] for i in range(rows)]
    split = make_split([texts], values, labels=("good", "bad"), kind="multi-label")
    return Task(
        name="words",
        kind="multi-label",
        text=("text",),
        label="y",
        labels=("good", "bad"),
        metrics=("f1_macro",),
        main_metric="f1_macro",
        splits={"train": split, "dev": split},
    )


@pytest.fixture
def tasks(task: Task) -> list[Task]:
    return [task, numbers(), choices(), several()]


def fresh(tiny_backbone: str, tasks: list[Task], method: str = "adapter-m") -> JointModel:
    return JointModel.from_backbone(tiny_backbone, tasks=tasks, method=method, pooling="mean")


def test_all_kinds_of_task_are_learned_together(tiny_backbone: str, tasks: list[Task], tmp_path: Path) -> None:
    model = fresh(tiny_backbone, tasks)
    recipe = changed(RECIPE, {"steps": 160, "evaluate_every": 40, "temperature": 2.0})
    result = train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
    dev = [entry for entry in result.history if "eval_loss" in entry]
    assert [entry["step"] for entry in dev] == [40, 80, 120, 160]
    for entry in dev:
        own = [entry[f"eval_{task.name}_loss"] for task in tasks]
        assert entry["eval_loss"] == pytest.approx(sum(own) / 4)
    for task in tasks:
        losses = [entry[f"eval_{task.name}_loss"] for entry in dev]
        assert losses[-1] < losses[0], task.name
    best = min(dev, key=lambda entry: entry["eval_loss"])
    assert result.best_step == best["step"]
    assert {name: scores["dev"]["loss"] for name, scores in result.metrics.items()} == pytest.approx(
        {task.name: best[f"eval_{task.name}_loss"] for task in tasks}
    )

    loaded = JointModel.from_pretrained(tmp_path / "out")
    assert loaded.tasks == {task.name: task for task in tasks}
    assert loaded.predict(["good good film"], task="how.good") == model.predict(["good good film"], task="how.good")
    (choice,) = loaded.predict([("the film was", "good", "bad")], task="which")
    assert choice.label in ("a", "b") and sum(choice.probabilities.values()) == pytest.approx(1)
    (words,) = loaded.predict(["good film"], task="words")
    assert isinstance(words.label, tuple) and set(words.probabilities) == {"good", "bad"}
    described = json.loads((tmp_path / "out" / "scalearn.json").read_text())
    assert [task["name"] for task in described["tasks"]] == [task.name for task in tasks]
    assert described["provenance"]["rows"]["which"] == {"train": 24, "dev": 24}


def test_the_worse_end_is_not_kept(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dev losses that rise after the second evaluation, its weights are kept, and patience ends the run."""
    from scalearn.training import joint

    script = iter([3.0, 1.0, 2.0, 2.0, *[9.0] * 8])
    seen: list[dict[str, torch.Tensor]] = []

    def scripted(model: JointModel, name: str, rows: object, precision: object = None) -> dict[str, float]:
        if name == tasks[0].name:
            scripted.loss = next(script)  # type: ignore[attr-defined]
            seen.append({key: value.clone() for key, value in model.trained_state().items()})
        return {"loss": scripted.loss}  # type: ignore[attr-defined]

    monkeypatch.setattr(joint, "evaluate_task", scripted)
    model = fresh(tiny_backbone, tasks)
    recipe = changed(RECIPE, {"steps": 40, "evaluate_every": 4, "patience": 2})
    result = train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
    assert (result.best_step, result.steps) == (8, 16)
    for name, value in model.trained_state().items():
        assert torch.equal(value, seen[1][name])
        assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")[name], value)


def test_only_the_active_task_changes_its_head(tiny_backbone: str, tasks: list[Task]) -> None:
    model = fresh(tiny_backbone, tasks, "adapter-m").train()
    rows = model.rows_of(tasks[1], "train")[:4]
    from scalearn.encoding import collator

    model("how.good", **collator(model.need_tokenizer())(rows)).loss.backward()
    touched = {name for name, head in model.heads_by_task().items() if head.out.weight.grad is not None}
    assert touched == {"how.good"}


# ---- several processes

DDP = """
import sys
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from accelerate import PartialState
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe
from scalearn.tasks import Task
from scalearn.training import train_joint
from scalearn.training.joint import JointTrainer

backbone, first, second, out, log = sys.argv[1:]
tasks = [Task.from_files(path, text="text", label="label") for path in (first, second)]
steps = []
original = JointTrainer.training_step

def training_step(self, model, inputs, *rest, **others):
    steps.append((inputs["task"], inputs["input_ids"].tolist()))
    return original(self, model, inputs, *rest, **others)

JointTrainer.training_step = training_step
model = JointModel.from_backbone(backbone, tasks=tasks, method="adapter-m", pooling="mean")
recipe = JointRecipe(learning_rate=1e-2, head_learning_rate=1e-2, steps=6, evaluate_every=3, batch_size=4)
train_joint(model, out, recipe=recipe, progress=False)
rank = PartialState().process_index
save_file({k: v.clone() for k, v in model.trained_state().items()}, f"{log}-{rank}.safetensors")
open(f"{log}-{rank}.json", "w").write(__import__("json").dumps(steps))
"""


def test_two_processes_share_every_batch_and_end_with_the_same_weights(tiny_backbone: str, tmp_path: Path) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(DDP)
    files = []
    for name, words in (("one", ("good", "bad")), ("two", ("long", "short"))):
        files.append(tmp_path / f"{name}.csv")
        rows = [f"the film was {words[i % 2]} {'very ' * (i % 5)},{words[i % 2]}" for i in range(40)]
        files[-1].write_text("\n".join(["text,label", *rows]) + "\n")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "ACCELERATE_USE_CPU": "true",
    }
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *map(str, (script, tiny_backbone, *files, tmp_path / "out", tmp_path / "log")),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    steps = [json.loads((tmp_path / f"log-{rank}.json").read_text()) for rank in (0, 1)]
    assert len(steps[0]) == len(steps[1]) == 6
    assert [task for task, _ in steps[0]] == [task for task, _ in steps[1]], "the ranks computed different tasks"
    assert {task for task, _ in steps[0]} == {"one", "two"}
    assert all(len(rows) == 2 for rank in steps for _, rows in rank), "a batch of four is two rows for each rank"
    assert [rows for _, rows in steps[0]] != [rows for _, rows in steps[1]], "the ranks computed the same rows"
    weights = [load_file(tmp_path / f"log-{rank}.safetensors") for rank in (0, 1)]
    saved = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in saved.items():
        assert torch.equal(value, weights[0][name]) and torch.equal(value, weights[1][name]), name
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


# ---- what is refused


def refused(tiny_backbone: str, tasks: list[Task], out: Path, match: str, **changes: object) -> None:
    with pytest.raises(InputError, match=match):
        train_joint(fresh(tiny_backbone, tasks), out, recipe=changed(RECIPE, changes), progress=False)
    assert list(out.parent.iterdir()) == []


def test_tasks_that_cannot_be_learned_together(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    backbone = load_backbone(tiny_backbone)
    for given, match in (([task], "at least two tasks"), ([task, task], "reviews, reviews: give at least two tasks")):
        with pytest.raises(InputError, match=match):
            JointModel.from_backbone(backbone, tasks=given, method="adapter-m")
    with pytest.raises(InputError, match="'adapter' learns one task"):
        JointModel.from_backbone(backbone, tasks=[task, numbers()], method="adapter")


def test_a_task_without_rows(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    refused(tiny_backbone, [task, replace(numbers(), splits={})], out / "a", "'how.good' has no train rows")
    no_dev = replace(numbers(), splits={"train": numbers().splits["train"]})
    refused(tiny_backbone, [task, no_dev], out / "a", "'how.good' has no dev rows")


def test_unequal_label_sets(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    dev = task.splits["dev"]
    swapped: Dataset = dev.cast_column("label", ClassLabel(names=["good", "bad"]))
    wrong = replace(task, name="other", splits={**task.splits, "dev": swapped})
    match = "'other': split 'dev' has the labels good, bad, not bad, good"
    refused(tiny_backbone, [task, wrong], out / "a", match)


def test_a_folder_that_exists_is_not_touched(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="exists"):
        train_joint(fresh(tiny_backbone, [task, numbers()]), tmp_path / "out", recipe=RECIPE, progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_joint_folder_is_no_transfer_model(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    from scalearn.model import TransferModel

    fresh(tiny_backbone, [task, numbers()]).save_pretrained(tmp_path / "joint")
    with pytest.raises(InputError, match=r"several tasks \(reviews, how\.good\): load it with JointModel"):
        TransferModel.from_pretrained(tmp_path / "joint")
    TransferModel.from_backbone(tiny_backbone, task=task, method="adapter").save_pretrained(tmp_path / "one")
    with pytest.raises(InputError, match=r"a model of one task \(reviews\): load it with TransferModel"):
        JointModel.from_pretrained(tmp_path / "one")
    with pytest.raises(InputError, match=r"has no task 'x'; it has reviews, how\.good"):
        JointModel.from_pretrained(tmp_path / "joint").predict(["a"], task="x")
