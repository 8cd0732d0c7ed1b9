"""What trackers are given: names that tell runs apart, and a local trackio that needs no network."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from scalearn.backbones import Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import Recipe
from scalearn.model import TransferModel
from scalearn.tasks import Task
from scalearn.training import checks
from scalearn.training.trainer import arguments_for, run_name
from scalearn.training.work import working_folder

RECIPE = Recipe(learning_rate=1e-2, head_learning_rate=1e-2)
TRAIN = """
import socket, sys
from pathlib import Path

def refuse(self, address):
    with open(sys.argv[3] + "-connected", "a") as file:
        print(address, file=file)
    raise OSError(f"no network: {address}")

socket.socket.connect = socket.socket.connect_ex = refuse
import torch
torch.set_num_threads(1)
from scalearn.joint import JointModel
from scalearn.methods import Recipe, changed, joint_recipe_for
from scalearn.model import TransferModel
from scalearn.tasks import Task
from scalearn.training import train, train_joint
from dataclasses import replace

backbone, rows, out = sys.argv[1:]
task = Task.from_files(rows, text="text", label="label")
recipe = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=2, batch_size=8)
for seed in (0, 1):
    model = TransferModel.from_backbone(backbone, task=task, method="adapter", seed=seed)
    train(model, Path(out) / f"run-{seed}", recipe=recipe, seed=seed, progress=False, report_to="trackio")
several = JointModel.from_backbone(backbone, tasks=[task, replace(task, name="other")], method="adapter-m")
recipe = changed(joint_recipe_for(several.method), {"steps": 4, "evaluate_every": 2, "batch_size": 8})
train_joint(several, Path(out) / "several", recipe=recipe, progress=False, report_to="trackio")
"""


def test_a_run_has_a_name_of_its_own_that_survives_an_interruption(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    model = TransferModel.from_backbone(backbone, task=task, method="head")
    names = []

    def name_in(restart: bool) -> None:
        with working_folder(tmp_path / "out", {"a": 1}, restart=restart) as work:
            names.append(run_name(model, work / "checkpoints", seed=7))
            raise KeyboardInterrupt

    for restart in (False, False, True):
        if restart:  # the name has seconds
            os.utime(tmp_path / ".out.partial" / "run.json", (0, 0))
            with pytest.raises(KeyboardInterrupt):
                name_in(restart=False)
        with pytest.raises(KeyboardInterrupt):
            name_in(restart)
    first, again, aged, anew = names
    assert first == again
    assert re.fullmatch(r"out: head on reviews, seed 7, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first)
    assert aged != first and anew != aged


def test_a_run_that_is_not_kept_has_a_name_too(backbone: Backbone, task: Task) -> None:
    model = TransferModel.from_backbone(backbone, task=task, method="head")
    with working_folder(None, {}, restart=False) as one, working_folder(None, {}, restart=False) as other:
        names = {run_name(model, work / "checkpoints", seed=0) for work in (one, other)}
    assert len(names) == 2 and all(name.startswith("scalearn-") for name in names)


def test_trainer_is_told(tiny_backbone: str, pair_task: Task, scale_task: Task, tmp_path: Path) -> None:
    model = JointModel.from_backbone(load_backbone(tiny_backbone), tasks=[pair_task, scale_task], method="adapter-m")
    checkpoints = tmp_path / ".x.partial/checkpoints"
    every = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    arguments = arguments_for(model, RECIPE, checkpoints, seed=1, precision="fp32", **every)
    assert arguments.project == "scalearn"
    assert arguments.run_name.startswith("x: adapter-m on 2 tasks, seed 1, ")
    assert arguments.trackio_space_id is None


def test_an_unknown_tracker_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "get_available_reporting_integrations", lambda: ["wandb"])
    for known in ("none", "all", "wandb"):
        checks.check_tracker(known)
    with pytest.raises(InputError, match=r"'trackio' .* give none, all, wandb, or install one \(trackio: pip install"):
        checks.check_tracker("trackio")


def test_trackio_keeps_runs_here_without_network(tiny_backbone: str, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    checks.check_tracker("trackio")
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"the {word} film,{word}\n" for word in ("good", "bad") * 20))
    settings = {key: value for key, value in os.environ.items() if not key.startswith("TRACKIO_")}
    settings |= {"TRACKIO_DIR": str(tmp_path / "tracked"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRAIN, tiny_backbone, str(rows), str(tmp_path / "runs")]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "runs-connected").exists()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["run-0", "run-1", "several"]

    with sqlite3.connect(tmp_path / "tracked" / "scalearn.db") as kept:
        logged = kept.execute("SELECT run_name, metrics FROM metrics ORDER BY id").fetchall()
    seen: dict[str, set[str]] = {}
    for name, metrics in logged:
        seen.setdefault(name.partition(", 2")[0], set()).update(json.loads(metrics))
    assert list(seen) == [
        "run-0: adapter on rows, seed 0",
        "run-1: adapter on rows, seed 1",
        "several: adapter-m on 2 tasks, seed 0",
    ]
    assert {"train/loss", "eval/loss", "eval/accuracy", "train/learning_rate"} <= seen["run-0: adapter on rows, seed 0"]
    assert {"eval/rows_accuracy", "eval/other_accuracy"} <= seen["several: adapter-m on 2 tasks, seed 0"]
