"""`train_joint` under several processes: they share every batch, and end with the weights of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe, changed
from scalearn.tasks import Task
from scalearn.training import train_joint
from scalearn.training.joint import JointTrainer

RECIPE = JointRecipe(learning_rate=1e-2, head_learning_rate=1e-2, steps=12, evaluate_every=4, batch_size=8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two tasks: which of two words does the text hold?"""
    made = []
    for name, words in (("one", ("good", "bad")), ("two", ("long", "short"))):
        made.append(tmp_path / f"{name}.csv")
        rows = [f"the film was {words[i % 2]} {'very ' * (i % 5)},{words[i % 2]}" for i in range(40)]
        made[-1].write_text("\n".join(["text,label", *rows]) + "\n")
    return made


def fresh(tiny_backbone: str, files: list[Path]) -> JointModel:
    tasks = [Task.from_files(path, text="text", label="label") for path in files]
    return JointModel.from_backbone(tiny_backbone, tasks=tasks, method="adapter-m", pooling="mean")


DDP = """
import json
import sys
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from accelerate import PartialState
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe
from scalearn.tasks import Task
from scalearn.training import joint, train_joint
from scalearn.training.joint import JointTrainer

backbone, first, second, out, log = sys.argv[1:]
torch.nn.functional.dropout = lambda x, *rest, **others: x
tasks = [Task.from_files(path, text="text", label="label") for path in (first, second)]
steps = []
original = JointTrainer.training_step

def training_step(self, model, inputs, *rest, **others):
    steps.append((inputs["task"], inputs["input_ids"].tolist()))
    return original(self, model, inputs, *rest, **others)

JointTrainer.training_step = training_step
opened, working_folder = [], joint.working_folder

def open_folder(folder, run, **others):
    opened.append(run["processes"])
    return working_folder(folder, run, **others)

joint.working_folder = open_folder
model = JointModel.from_backbone(backbone, tasks=tasks, method="adapter-m", pooling="mean").double()
recipe = JointRecipe(
    learning_rate=1e-2, head_learning_rate=1e-2, steps=6, evaluate_every=3, batch_size=4, backbone_dropout=False
)
train_joint(model, out, recipe=recipe, precision="fp32", progress=False)
rank = PartialState().process_index
save_file({k: v.clone() for k, v in model.trained_state().items()}, f"{log}-{rank}.safetensors")
open(f"{log}-{rank}.json", "w").write(json.dumps({"opened": opened, "steps": steps}))
"""


def test_two_processes_share_every_batch_and_end_with_the_weights_of_one(
    tiny_backbone: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(DDP)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
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
    assert launched.returncode == 0, launched.stderr
    logs = [json.loads((tmp_path / f"log-{rank}.json").read_text()) for rank in (0, 1)]
    assert [log["opened"] for log in logs] == [[2], [2]], "each took itself for the only process"
    steps = [log["steps"] for log in logs]
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

    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *rest, **others: x)
    alone = fresh(tiny_backbone, files).double()
    batches: list[Any] = []
    original = JointTrainer.training_step

    def training_step(self: JointTrainer, model: Any, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        batches.append((inputs["task"], real_rows(inputs["input_ids"].tolist())))
        return original(self, model, inputs, *rest)

    monkeypatch.setattr(JointTrainer, "training_step", training_step)
    recipe = JointRecipe(
        learning_rate=1e-2,
        head_learning_rate=1e-2,
        steps=6,
        evaluate_every=3,
        batch_size=4,
        backbone_dropout=False,
    )
    train_joint(alone, recipe=recipe, precision="fp32", progress=False)
    together = [(task, real_rows(one + other)) for (task, one), (_, other) in zip(*steps, strict=True)]
    assert together == batches, "the two halves are not the batch of one process"
    torch.testing.assert_close(saved, dict(alone.trained_state()), rtol=1e-9, atol=1e-12)


def real_rows(rows: list[list[int]]) -> list[list[int]]:
    """Without padding, of which each process has its own."""
    return [[token for token in row if token] for row in rows]


def refused(model: JointModel, out: Path, match: str, *, recipe: JointRecipe = RECIPE) -> None:
    with pytest.raises(InputError, match=match):
        train_joint(model, out, recipe=recipe, progress=False)
    assert list(out.parent.iterdir()) == []


def pretend(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    state = SimpleNamespace(num_processes=processes, is_main_process=True)
    monkeypatch.setattr("scalearn.training.joint.PartialState", lambda **_: state)
    monkeypatch.setenv("WORLD_SIZE", str(processes))


def test_a_batch_that_cannot_be_shared(
    tiny_backbone: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 3)
    (tmp_path / "runs").mkdir()
    refused(fresh(tiny_backbone, files), tmp_path / "runs" / "a", "8 rows cannot be shared by 3 processes")


def test_a_budget_of_tokens_is_for_one_process(
    tiny_backbone: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 2)
    (tmp_path / "runs").mkdir()
    match = r"batches of 64 tokens cannot be shared by 2 processes: give rows .*--batch-size"
    recipe = changed(RECIPE, {"tokens_per_batch": 64})
    refused(fresh(tiny_backbone, files), tmp_path / "runs" / "a", match, recipe=recipe)


def test_processes_that_do_not_know_of_each_other(
    tiny_backbone: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them would write into one folder, each as if it were alone."""
    (tmp_path / "runs").mkdir()
    pretend(monkeypatch, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    match = "2 processes were started, but accelerate's state was made for 1 before"
    refused(fresh(tiny_backbone, files), tmp_path / "runs" / "a", match)


def test_several_processes_need_a_folder(
    tiny_backbone: str, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 2)
    with pytest.raises(InputError, match=r"several processes .*give a folder .*--out"):
        train_joint(fresh(tiny_backbone, files), recipe=RECIPE, progress=False)
