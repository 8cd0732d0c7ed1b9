"""What train, transfer and joint hand over to training: a recipe, and a model where and as it is to compute."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

import scalearn.experiments  # noqa: F401  # takes `train` by name, and must not take the one that stops
from scalearn import training
from scalearn.cli import main, options
from scalearn.precision import Attention, Precision
from scalearn.tasks import Task

COMMANDS = ["train", "transfer", "joint"]


@pytest.fixture
def handed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_backbone: str, shelf_folder: Path, task: Task
) -> Any:
    """Runs a command with more options up to its training; returns what training was called with."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "the film was good,good\nthe film was bad,bad\n" * 10)

    def run(command: str, *words: object) -> SimpleNamespace:
        found: dict[str, Any] = {}

        def stop(model: Any, out: Path, **how: Any) -> None:
            found.update(model=model, **how)
            raise KeyboardInterrupt

        monkeypatch.setattr(training, "train", stop)
        monkeypatch.setattr(training, "train_joint", stop)
        if command == "joint":
            monkeypatch.setattr(options, "load_target", lambda name, *_, **__: replace(task, name=name))
        target = ("one", "two") if command == "joint" else ("--train-file", rows)
        sources = ("--sources", shelf_folder) if command == "transfer" else ()
        where = ("--backbone", tiny_backbone, "--out", tmp_path / "out")
        line = (command, *target, *sources, *where, *words)
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, line)])
        with pytest.raises(SystemExit):
            main()
        assert found, "it ended before the training"
        return SimpleNamespace(**found)

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_budget_of_tokens_reaches_the_recipe(handed_over: Any, command: str) -> None:
    assert handed_over(command).recipe.tokens_per_batch is None
    assert handed_over(command, "--tokens-per-batch", 512).recipe.tokens_per_batch == 512


@pytest.mark.parametrize("command", COMMANDS)
def test_precision_and_attention(handed_over: Any, command: str) -> None:
    usual = handed_over(command)
    assert (usual.precision, usual.model.attention) == ("auto", "auto")
    chosen = handed_over(command, "--precision", "fp16", "--attention", "eager")
    assert (chosen.precision, chosen.model.attention) == ("fp16", "eager")


def test_the_options_offer_what_there_is() -> None:
    """They repeat it, because importing it would import torch, for which `--help` has no time."""
    for option, known in ((options.PrecisionName, Precision), (options.AttentionName, Attention)):
        assert get_args(get_args(option)[0]) == get_args(known)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_model_is_moved_to_the_device(handed_over: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "device_named", {"cuda": "meta", None: "cpu"}.__getitem__)
    assert handed_over(command, "--device", "cuda").model.device.type == "meta"
    assert handed_over(command).model.device.type == "cpu"
