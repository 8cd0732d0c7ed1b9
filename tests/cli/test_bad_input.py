"""Whatever a user gets wrong: one line, exit code 2, nothing half-written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalearn.backbones import Backbone
from scalearn.cli import main
from scalearn.model import TransferModel
from scalearn.sources import Source
from scalearn.tasks import Task

GOOD = "text,label\n" + "\n".join(f"the film was {word},{word}" for word in ("good", "bad") * 6) + "\n"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command line that must be refused; returns the message and checks that nothing was written."""

    def run(*words: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        message = capsys.readouterr().err
        assert stop.value.code == 2
        assert message.startswith("error: ") and len(message.strip().splitlines()) == 1, message
        assert sorted(tmp_path.rglob("*")) == before
        return message

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A file that can be trained on."""
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    return path


FILES = {
    "missing column": ("rows.csv", b"txt,label\na,x\nb,y\n", "'txt'"),
    "empty file": ("rows.csv", b"", "rows.csv"),
    "header only": ("rows.csv", b"text,label\n", "rows.csv"),
    "one class": ("rows.csv", b"text,label\na,x\nb,x\n", "'x'"),
    "wrong encoding": ("rows.csv", "text,label\ncafé,x\nb,y\n".encode("latin-1"), "UTF-8"),
    "text not a string": ("rows.jsonl", b'{"text": 5, "label": "x"}\n{"text": "b", "label": "y"}\n', "int"),
    "unknown suffix": ("rows.doc", b"text,label\n", ".csv"),
    "empty text": ("rows.csv", b"text,label\n,x\nb,y\n", "empty"),
}


@pytest.mark.parametrize("case", FILES)
def test_files(refused, tmp_path: Path, tiny_backbone: str, case: str) -> None:
    name, content, expected = FILES[case]
    (tmp_path / name).write_bytes(content)
    message = refused("train", "--train-file", tmp_path / name, "--backbone", tiny_backbone, "--out", tmp_path / "out")
    assert name in message and expected in message


def test_missing_file(refused, tmp_path: Path) -> None:
    assert "nowhere.csv" in refused("train", "--train-file", tmp_path / "nowhere.csv", "--out", tmp_path / "out")


def test_label_unseen_in_training(refused, good: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text("text,label\na,good\nb,awful\n")
    message = refused("train", "--train-file", good, "--dev-file", dev, "--out", tmp_path / "out")
    assert "dev.csv" in message and "'awful'" in message and "row 2" in message


@pytest.mark.parametrize("value", ["inf", "nan", "high"])
def test_regression_label_that_is_no_finite_number(refused, tmp_path: Path, value: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"text,label\na,0.5\nb,1.5\nc,{value}\nd,2.5\n")
    message = refused("train", "--train-file", path, "--kind", "regression", "--out", tmp_path / "out")
    assert value in message and "row 3" in message


def test_zero_sources(refused, good: Path, tmp_path: Path, tiny_backbone: str) -> None:
    (tmp_path / "shelf").mkdir()
    words = ("transfer", "--train-file", good, "--backbone", tiny_backbone, "--out", tmp_path / "out")
    assert "zero sources" in refused(*words, "--sources", tmp_path / "shelf")
    assert "not a folder" in refused(*words, "--sources", tmp_path / "nowhere")


def test_all_sources_left_out(refused, good: Path, tmp_path: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    words = ("transfer", "--train-file", good, "--backbone", tiny_backbone, "--sources", shelf_folder)
    message = refused(*words, "--exclude", "rte,mrpc,cola", "--out", tmp_path / "out")
    assert "zero sources" in message
    assert "'sst2'" in refused(*words, "--exclude", "sst2", "--out", tmp_path / "out")


def test_two_sources_with_one_name(refused, good: Path, tmp_path: Path, shelf_folder: Path) -> None:
    copy = shelf_folder / "other"
    copy.mkdir()
    for name in ("source.json", "source.safetensors"):
        (copy / name).write_bytes((shelf_folder / "rte" / name).read_bytes())
    message = refused("transfer", "--train-file", good, "--sources", shelf_folder, "--out", tmp_path / "out")
    assert "'rte'" in message and "other" in message


def test_source_for_another_backbone(
    refused, good: Path, tmp_path: Path, tiny_backbone: str, backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    with_other_weights = Backbone(**{**vars(backbone), "fingerprint": "0" * 64, "name": "elsewhere"})
    make_source("mnli", with_other_weights).save(tmp_path / "shelf" / "mnli")
    message = refused(
        "transfer", "--train-file", good, "--sources", tmp_path / "shelf", "--backbone", tiny_backbone,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "'mnli'" in message and "elsewhere" in message


def test_source_of_another_width(refused, good: Path, tmp_path: Path, tiny_backbone: str) -> None:
    message = refused("transfer", "--train-file", good, "--backbone", tiny_backbone, "--out", tmp_path / "out")
    assert "'mnli'" in message and "width 384" in message and "width 16" in message


def test_truncated_safetensors(refused, good: Path, tmp_path: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    weights = shelf_folder / "mrpc" / "source.safetensors"
    weights.write_bytes(weights.read_bytes()[:-20])
    words = ("transfer", "--train-file", good, "--sources", shelf_folder, "--backbone", tiny_backbone)
    message = refused(*words, "--out", tmp_path / "out")
    assert "mrpc/source.safetensors" in message and "cut" in message
    described = json.loads((shelf_folder / "mrpc" / "source.json").read_text())
    assert described["sha256"][:12] in message


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_out_exists(refused, good: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "out").mkdir()
    assert "--overwrite" in refused(command, "--train-file", good, "--out", tmp_path / "out")


def test_task_and_files_together_or_neither(refused, good: Path, tmp_path: Path) -> None:
    assert "--train-file" in refused("train", "--out", tmp_path / "out")
    assert "not both" in refused("train", "rte", "--train-file", good, "--out", tmp_path / "out")


def test_a_name_that_cannot_name_a_source_is_refused_before_training(
    refused, tmp_path: Path, tiny_backbone: str
) -> None:
    path = tmp_path / "my claims.csv"
    path.write_text(GOOD)
    message = refused("train", "--train-file", path, "--backbone", tiny_backbone, "--out", tmp_path / "out")
    assert "'my claims'" in message and "--name" in message


def test_a_folder_of_other_things_is_not_overwritten(refused, good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    message = refused("train", "--train-file", good, "--out", tmp_path / "out", "--overwrite")
    assert "holds other things" in message


def test_options_of_own_rows_without_them(refused, tmp_path: Path, good: Path) -> None:
    message = refused("train", "policy-claims", "--dev-file", good, "--kind", "regression", "--out", tmp_path / "out")
    assert "--dev-file, --kind" in message


def test_a_missing_label_in_a_typed_file(refused, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n{"text": "c", "label": 2}\n')
    message = refused("train", "--train-file", path, "--out", tmp_path / "out")
    assert "row 2" in message and "missing" in message


@pytest.mark.parametrize("methods", ["head,nonesuch", "head,head", "probing"])
def test_compare_refuses_methods_before_training(
    refused, good: Path, tmp_path: Path, shelf_folder: Path, methods
) -> None:
    words = ("compare", "--train-file", good, "--test-file", good, "--sources", shelf_folder, "--methods", methods)
    assert methods.split(",")[-1] in refused(*words, "--out", tmp_path / "runs")


def test_evaluate_needs_rows_where_the_task_is_not_known(
    refused, tmp_path: Path, backbone: Backbone, task: Task
) -> None:
    TransferModel.from_backbone(backbone, task=task, method="head").save_pretrained(tmp_path / "model")
    assert "--file" in refused("evaluate", tmp_path / "model")


def test_unknown_task(refused, tmp_path: Path) -> None:
    assert "rte" in refused("train", "rtee", "--out", tmp_path / "out")


def test_recipe_out_of_range(refused, good: Path, tmp_path: Path, tiny_backbone: str) -> None:
    words = ("train", "--train-file", good, "--backbone", tiny_backbone, "--out", tmp_path / "out")
    message = refused(*words, "--epochs", 0, "--learning-rate", -1)
    assert "epochs" in message and "learning_rate" in message


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_a_batch_of_rows_and_of_tokens(refused, good: Path, tmp_path: Path, command: str) -> None:
    words = (command, "--train-file", good, "--out", tmp_path / "out", "--tokens-per-batch", 512)
    assert "batch_size 4 and tokens_per_batch 512 exclude one another" in refused(*words, "--batch-size", 4)


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_a_device_that_is_not_there(refused, tmp_path: Path, command: str) -> None:
    """Said before anything is loaded: there is no such file."""
    words = (command, "--train-file", tmp_path / "none.csv", "--out", tmp_path / "out")
    assert "--device gpu: give cpu" in refused(*words, "--device", "gpu")


def test_predict_without_or_with_too_many_texts(refused, tmp_path: Path) -> None:
    assert "not both" in refused("predict", tmp_path / "model")
    assert "does not exist" in refused("predict", tmp_path / "model", "a text")
