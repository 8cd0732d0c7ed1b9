"""`scalearn tasks` and `data export`, and the options that draw few rows."""

import json
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from scalearn.cli import main
from scalearn.tasks import task_names

LABELS = ["entailment", "contradiction", "neutral"]


def cb(rows: int) -> Dataset:
    """Rows of the Hub's cb."""
    features = {"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=LABELS)}
    columns = {
        "premise": [f"the film {i}" for i in range(rows)],
        "hypothesis": ["good"] * rows,
        "label": [i % 3 for i in range(rows)],
    }
    return Dataset.from_dict(columns, features=Features(features))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line; returns the exit code, and what it printed on each of the two streams."""

    def run(*words: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with some rows of cb."""
    folder = tmp_path / "data" / "super_glue" / "cb"
    folder.mkdir(parents=True)
    cb(60).to_parquet(folder / "train-00000-of-00001.parquet")
    cb(56).to_parquet(folder / "validation-00000-of-00001.parquet")
    return tmp_path / "data"


def test_every_task_has_a_line(call) -> None:
    code, out, _ = call("tasks")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(task_names()) - {"policy-claims"} <= lines.keys()
    assert lines["multirc"].split()[1:] == ["classification", "f1", "324", "27,243", "4,848"]
    assert "nyu-mll/glue" in lines["glue/:"]


def test_rows_of_a_folder_are_compared_with_those_published(call, data: Path) -> None:
    code, out, _ = call("tasks", "--data", data)
    (line,) = (line for line in out.splitlines() if line.startswith("cb "))
    assert code == 0 and line.endswith("train 60")
    (line,) = (line for line in out.splitlines() if line.startswith("copa "))
    assert line.endswith("none")
    cb(250).to_parquet(data / "super_glue" / "cb" / "train-00000-of-00001.parquet")
    assert any(
        line.startswith("cb ") and line.endswith("as published")
        for line in call("tasks", "--data", data)[1].splitlines()
    )


def test_export_writes_what_data_reads(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: DatasetDict(train=cb(250), validation=cb(56)))
    code, out, _ = call("data", "export", "super_glue/cb", "--out", tmp_path / "out")
    assert code == 0 and "1/1 super_glue/cb" in out
    assert any(line.endswith("as published") for line in call("tasks", "--data", tmp_path / "out")[1].splitlines())
    code, _, err = call("data", "export", "cb", "--out", tmp_path / "out")
    assert code == 2 and "exists" in err


def test_export_without_network_leaves_nothing(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> DatasetDict:
        raise OSError("no network")

    monkeypatch.setattr("datasets.load_dataset", offline)
    code, _, err = call("data", "export", "cb", "--out", tmp_path / "out")
    assert code == 2 and "no network" in err and not (tmp_path / "out").exists()


def test_few_shot_from_the_command_line(call, data: Path, tiny_backbone: str, tmp_path: Path) -> None:
    words = ("train", "cb", "--data", data, "--backbone", tiny_backbone, "--quiet", "--seed", 3)
    code, out, err = call(*words, "--few-shot", 6, "--steps", 4, "--evaluate-every", 2, "--out", tmp_path / "out")
    assert code == 0, err
    assert "note: cb as given is not the published data (rows: 60 of train for 250)" in err
    assert "accuracy" in out and "(se " in out and "of 4 steps" in out
    described = json.loads((tmp_path / "out" / "scalearn.json").read_text())["provenance"]
    assert described["rows"] == {"train": 6, "dev": 6, "test": 56}
    recipe = described["recipe"]
    assert (recipe["steps"], recipe["evaluate_every"], recipe["patience"]) == (4, 2, 2)  # of small data


def test_a_share_of_train(call, data: Path, tiny_backbone: str, tmp_path: Path) -> None:
    words = ("train", "cb", "--data", data, "--backbone", tiny_backbone, "--quiet", "--epochs", 1)
    code, _, err = call(*words, "--train-fraction", 0.5, "--out", tmp_path / "out")
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "scalearn.json").read_text())["provenance"]["rows"]["train"] == 27


@pytest.mark.parametrize(
    "given, message",
    [
        (("--few-shot", 4, "--train-rows", 8), "--few-shot 4 decides about train and dev rows: leave out --train-rows"),
        (("--few-shot", 40), "k=40 for training and as many for development need 80"),
        (("--few-shot", 0), "k=0"),
        (("--train-fraction", 1.5), "train_fraction=1.5"),
    ],
)
def test_draws_that_make_no_sense(call, data: Path, tmp_path: Path, given: tuple[object, ...], message: str) -> None:
    code, _, err = call("train", "cb", "--data", data, *given, "--out", tmp_path / "out")
    assert code == 2 and message in err and not (tmp_path / "out").exists()


def test_a_protocol_without_few_shot_is_refused(call, data: Path, tmp_path: Path) -> None:
    code, _, err = call("train", "cb", "--data", data, "--few-shot-protocol", "paper", "--out", tmp_path / "out")
    assert code == 2 and "--few-shot-protocol paper is of --few-shot K" in err


def test_a_folder_that_is_not_there_or_not_readable(call, data: Path, tmp_path: Path) -> None:
    code, _, err = call("tasks", "--data", tmp_path / "nowhere")
    assert code == 2 and "nowhere is no folder" in err
    (data / "super_glue" / "cb" / "validation-00000-of-00001.parquet").write_bytes(b"PAR1")
    code, out, _ = call("tasks", "--data", data)
    assert code == 0 and any(line.startswith("cb ") and "unreadable: " in line for line in out.splitlines())
