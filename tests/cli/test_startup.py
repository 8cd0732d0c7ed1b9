"""What the command line loads: nothing heavy to show help, and no search for garbage while a model loads."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from scalearn.cli import app, use
from scalearn.errors import InputError
from scalearn.model import TransferModel
from scalearn.tasks import Task

HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "sklearn",
    "scipy",
    "datasets",
    "pyarrow",
    "matplotlib",
)
_HELP = f"""
import sys
from typer.testing import CliRunner
from scalearn.cli import app
for words in {{commands}}:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0 and "Usage" in result.output, result.output
print(*(name for name in {HEAVY} if name in sys.modules))
"""

_PREDICT = f"""
import sys
from scalearn.cli import main
sys.argv = ["scalearn", *{{words}}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop
print(*(name for name in {HEAVY} if name in sys.modules))
"""


def commands() -> list[list[str]]:
    """The words of every command, and of none."""
    group = typer.main.get_command(app)
    found: list[list[str]] = [[]]
    for name, command in group.commands.items():
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


def test_help_of_every_command_loads_nothing_heavy() -> None:
    words = commands()
    assert ["predict"] in words and ["data", "export"] in words
    code = _HELP.format(commands=words)
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


def test_a_model_loads_and_answers_without_what_only_training_needs(
    tiny_backbone: str, task: Task, tmp_path: Path
) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter")
    model.save_pretrained(tmp_path / "model")
    code = _PREDICT.format(words=["predict", str(tmp_path / "model"), "the good film"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["torch", "transformers", "numpy", "scipy"]  # scipy: transformers


def test_garbage_is_collected_again_after_loading_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collecting: list[bool] = []
    monkeypatch.setattr(
        "scalearn.model.TransferModel.from_pretrained",
        lambda *_, **__: collecting.append(gc.isenabled()) or (_ for _ in ()).throw(InputError("not a model")),
    )
    with pytest.raises(InputError, match="not a model"):
        use.predict(tmp_path, texts=["a text"])
    assert collecting == [False]
    assert gc.isenabled()


_WAITING = """
import os, sys
from scalearn.cli import main
sys.argv = ["scalearn", "predict", "--help"]
try:
    main()
except SystemExit:
    pass
print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "None 2000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"GOMP_SPINCOUNT": "7"}, "None 7"),
    ],
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(given: dict[str, str], expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = [sys.executable, "-c", _WAITING]
    done = subprocess.run(code, env=environment | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected
