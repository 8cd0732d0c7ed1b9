"""`scalearn joint`, and using what it wrote; `--method` and `--option` of every command."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.cli import main

Run = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """GLUE's rte and stsb, a few rows of each, laid out like the Hub's."""
    labels = ClassLabel(names=["entailment", "not_entailment"])
    for name, label in (("rte", labels), ("stsb", Value("float32"))):
        folder = tmp_path / "data" / "glue" / name
        folder.mkdir(parents=True)
        features = Features({"sentence1": Value("string"), "sentence2": Value("string"), "label": label})
        for split in ("train", "validation"):
            values = [i % 2 if name == "rte" else float(i % 5) for i in range(40)]
            columns = {
                "sentence1": ["the film was good"] * 40,
                "sentence2": [f"{'good ' * (i % 4)}film" for i in range(40)],
            }
            rows = Dataset.from_dict({**columns, "label": values}, features=features)
            rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return tmp_path / "data"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns what it printed, or its error when `fails`."""

    def made(*words: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert stop.value.code == (2 if fails else 0), captured.err
        return captured.err if fails else captured.out

    return made


def test_learn_evaluate_predict(run: Run, data: Path, tiny_backbone: str, tmp_path: Path) -> None:
    model = tmp_path / "joint"
    out = run(
        *("joint", "rte", "stsb", "--data", data, "--method", "propetl-m", "--option", "keep=0.4", "--out", model),
        *("--backbone", tiny_backbone, "--steps", 4, "--evaluate-every", 2, "--batch-size", 4, "--quiet"),
        *("--temperature", 2, "--cap", 30, "--train-rows", 20, "--seed", 3, "--learning-rate", 0.01),
    )
    assert "propetl-m: " in out and "combined_score" in out and f"saved in {model}" in out
    described = json.loads((model / "scalearn.json").read_text())
    assert described["method"] == {
        "name": "propetl-m",
        "options": {"reduction_factor": 16, "keep": 0.4, "tie_first_layer": False},
    }
    recipe = described["provenance"]["recipe"]
    assert {key: recipe[key] for key in ("steps", "temperature", "cap", "learning_rate", "batch_size")} == {
        "steps": 4,
        "temperature": 2.0,
        "cap": 30,
        "learning_rate": 0.01,
        "batch_size": 4,
    }
    assert described["provenance"]["rows"]["rte"]["train"] == 20
    scores = described["metrics"]["rte"]["test"]
    assert f"accuracy {100 * scores['accuracy']:.1f}" in run("evaluate", model, "--task", "rte", "--data", data)
    answer = list(csv.DictReader(io.StringIO(run("predict", model, "--task", "rte", "good film", "good"))))
    assert answer[0]["label"] in ("entailment", "not_entailment")
    assert "load it with JointModel, or give --task" in run("predict", model, "good film", "good", fails=True)
    assert "has no task 'cola'; it has rte, stsb" in run("evaluate", model, "--task", "cola", fails=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rte",), "tasks rte: give at least two, each once"),
        (("rte", "rte"), "tasks rte, rte: give at least two, each once"),
        (("rte", "rtee"), "there is no task 'rtee'"),
        (("rte", "stsb", "--method", "adapter"), "no method 'adapter' of stage 'joint'"),
        (("rte", "stsb", "--option", "colour=red"), "colour"),
        (("rte", "stsb", "--option", "shared"), "write it as NAME=VALUE"),
        (("rte", "stsb", "--steps", 0), "steps"),
        (("rte", "stsb", "--tokens-per-batch", 7), "tokens_per_batch: Input should be greater than or equal to 8"),
        (("rte", "stsb", "--tokens-per-batch", 64, "--batch-size", 4), "exclude one another: give either"),
        (("rte", "stsb", "--device", "tpu"), "--device tpu: give cpu"),
        (("rte", "stsb", "--backbone", "no/such"), "backbone 'no/such' cannot be loaded"),
    ],
)
def test_bad_input_writes_nothing(
    run: Run, data: Path, tiny_backbone: str, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    where = () if "--backbone" in words else ("--backbone", tiny_backbone)
    error = run("joint", *words, "--data", data, "--out", tmp_path / "runs" / "x", "--quiet", *where, fails=True)
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_a_method_of_another_stage_names_those_of_its_own(run: Run, tmp_path: Path) -> None:
    error = run("train", "rte", "--method", "scalearn", "--out", tmp_path / "x", fails=True)
    assert "no method 'scalearn' of stage 'single'" in error and "propetl" in error and "hyperformer" not in error
    error = run("transfer", "rte", "--method", "ia3", "--out", tmp_path / "x", fails=True)
    assert "no method 'ia3' of stage 'transfer'" in error and "adapterfusion" in error
