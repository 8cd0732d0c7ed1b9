"""The examples run, learn, and leave models that load; their checkpoints hold what was trained.

The commands are those of docs/your-own-loop.md.
"""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file
from transformers import Trainer

import scalearn
from scalearn.methods import Recipe
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task

EXAMPLES = Path(__file__).parents[1] / "examples"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ROWS = ["the good film", "the bad film", "very long and good"]


@pytest.fixture(autouse=True)
def _own_accelerate() -> Iterator[None]:
    """accelerate keeps its state for a whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def given(tiny_backbone: str, shelf_folder: Path, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an example on the tiny backbone and forty rows; returns its variables."""

    def run(name: str, *words: object) -> dict[str, Any]:
        arguments = ["--backbone", tiny_backbone, "--sources", shelf_folder, "--out", tmp_path / "runs" / "model"]
        monkeypatch.setattr(sys, "argv", [name, *map(str, (*arguments, *words))])
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    monkeypatch.setattr(scalearn, "load_task", lambda name: task, raising=False)
    rates = Recipe(learning_rate=3e-2, head_learning_rate=3e-2)
    monkeypatch.setattr("scalearn.methods.recipe_for", lambda method: rates)
    # Forty rows teach a random backbone little through dropout.
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *_, **__: x)
    monkeypatch.chdir(tmp_path)
    return run


def assert_loads(left: dict[str, Any], folder: Path) -> None:
    """The saved model answers as the one in memory, from what was trained alone."""
    again = TransferModel.from_pretrained(folder)
    assert again.predict(ROWS) == left["model"].predict(ROWS)
    assert load_file(folder / "model.safetensors").keys() == left["model"].trained_state().keys()


def test_in_trainer(given: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = given("with_trainer.py", "--steps", 80)
    trainer = left["trainer"]
    assert type(trainer) is Trainer
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 4 and losses[-1] < 0.9 * losses[0]
    assert_loads(left, tmp_path / "runs" / "model")
    accuracy = float(re.search(r"dev accuracy ([\d.]+), saved in", capsys.readouterr().out)[1])
    assert accuracy > 0.6

    checkpoints = sorted((tmp_path / "runs" / "model-checkpoints").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-40", "checkpoint-80"]
    for checkpoint in checkpoints:
        assert load_file(checkpoint / "model.safetensors").keys() == left["model"].trained_state().keys()


def test_trainer_goes_on_from_its_checkpoint(given: Any, tmp_path: Path) -> None:
    """With the weights that a run without interruption has."""
    whole = given("with_trainer.py", "--steps", 20)
    trainer, model = whole["trainer"], whole["model"]
    trainer._load_from_checkpoint(str(tmp_path / "runs" / "model-checkpoints" / "checkpoint-20"))
    expected = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    with torch.no_grad():
        for tensor in model.trained_state().values():
            tensor.zero_()
    trainer.args.load_best_model_at_end = False
    trainer.train(resume_from_checkpoint=str(tmp_path / "runs" / "model-checkpoints" / "checkpoint-10"))
    assert trainer.state.global_step == 20
    torch.testing.assert_close(dict(model.trained_state()), expected)


def test_in_accelerate(given: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = given("with_accelerate.py", "--epochs", 40)
    assert len(left["losses"]) == 40 and left["losses"][-1] < 0.8 * left["losses"][0]
    assert_loads(left, tmp_path / "runs" / "model")
    assert "saved in" in capsys.readouterr().out

    state = tmp_path / "runs" / "model-state"
    assert load_file(state / "model.safetensors").keys() == left["model"].trained_state().keys()
    expected = left["model"].predict(ROWS)
    with torch.no_grad():
        for tensor in left["model"].trained_state().values():
            tensor.zero_()
    left["accelerator"].load_state(state)
    assert left["model"].predict(ROWS) == expected


def test_in_a_bare_loop(given: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = given("bare_loop.py", "--epochs", 40, "--omega-rate", 3e-2, "--head-rate", 3e-2)
    assert len(left["losses"]) == 40 and left["losses"][-1] < 0.8 * left["losses"][0]
    assert "saved in" in capsys.readouterr().out
    assert_loads(left, tmp_path / "runs" / "model")
    fresh = TransferModel.from_backbone(
        left["given"].backbone, task=left["task"], method="scalearn", sources=Shelf(left["given"].sources), seed=5
    )
    assert fresh.predict(ROWS) != left["model"].predict(ROWS)
    fresh.load_state_dict(load_file(tmp_path / "runs" / "model" / "state.safetensors"))
    assert fresh.predict(ROWS) == left["model"].predict(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [sys.executable, "with_trainer.py", "--steps", "4"],
        [*TORCHRUN, "with_trainer.py", "--steps", "4"],
        [sys.executable, "with_accelerate.py", "--epochs", "1"],
        [*LAUNCH, "with_accelerate.py", "--epochs", "1"],
        [sys.executable, "bare_loop.py", "--epochs", "1"],
    ],
    ids=["trainer", "torchrun", "accelerate", "launch", "bare"],
)
def test_as_their_first_lines_say(words: list[str], tmp_path: Path) -> None:
    """On MiniLM, the shelf and the target that ship."""
    words = [str(EXAMPLES / word) if word.endswith(".py") else word for word in words]
    done = subprocess.run(
        [*words, "--out", str(tmp_path / "out")],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TransferModel.from_pretrained(tmp_path / "out").predict([("a", "b")])
