"""Every command once, on the tiny backbone: train, transfer, evaluate, predict, fold, sources, compare."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalearn.cli import main


@pytest.fixture
def rows(rows_of: Callable[..., Path]) -> Path:
    """Rows enough to set some aside as dev rows."""
    return rows_of("train", "dev")


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line that must succeed; returns what it printed."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert stop.value.code == 0, captured.err
        return captured.out

    return run


def test_from_rows_to_answers(scalearn, rows: Path, tiny_backbone: str, tmp_path: Path) -> None:
    common = ("--backbone", tiny_backbone, "--quiet", "--epochs", 3)
    out = scalearn("train", "--train-file", rows, "--out", tmp_path / "shelf/reviews", *common)
    assert "(a source)" in out and "dev: accuracy" in out

    model = tmp_path / "model"
    out = scalearn(
        "transfer", "--train-file", rows, "--name", "again", "--sources", tmp_path / "shelf", "--out", model, *common
    )
    assert "scalearn on again" in out
    described = json.loads((model / "scalearn.json").read_text())
    assert described["provenance"]["command"].startswith("scalearn transfer --train-file")
    assert described["sources"][0]["name"] == "reviews"

    out = scalearn("predict", model, "the good film")
    header, answer = csv.reader(out.splitlines())
    assert header == ["label", "bad", "good"] and answer[0] in ("bad", "good")
    assert float(answer[1]) + float(answer[2]) == pytest.approx(1, abs=1e-3)

    answers = tmp_path / "answers.csv"
    scalearn("predict", model, "--file", rows, "--out", answers)
    assert len(answers.read_text().splitlines()) == 41

    assert "on test (40 rows): accuracy" in scalearn("evaluate", model, "--file", rows)

    scalearn("fold", model, "--out", tmp_path / "folded")
    folded = scalearn("predict", tmp_path / "folded", "the good film")
    assert [float(x) for x in folded.splitlines()[1].split(",")[1:]] == pytest.approx(
        [float(x) for x in answer[1:]], abs=2e-4
    )


def test_options_reach_the_method_and_the_recipe(scalearn, rows: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    model = shelf_folder.parent / "model"
    scalearn(
        "transfer", "--train-file", rows, "--sources", shelf_folder, "--out", model, "--backbone", tiny_backbone,
        "--method", "scalearn-uniform++", "--only", "rte,cola", "--option", "dropout=0.1",
        "--option", "constraint=softmax", "--option", "regularisation=0.5", "--option", "init_scale=1",
        "--learning-rate", 0.01, "--head-learning-rate", 0.02,
        "--epochs", 1, "--batch-size", 4, "--seed", 5, "--pooling", "mean", "--quiet", "--include-sources",
    )  # fmt: skip
    described = json.loads((model / "scalearn.json").read_text())
    assert described["method"]["name"] == "scalearn-uniform++"
    options = described["method"]["options"]
    assert (options["dropout"], options["constraint"], options["regularisation"]) == (0.1, "softmax", 0.5)
    assert [source["name"] for source in described["sources"]] == ["rte", "cola"]
    recipe = described["provenance"]["recipe"]
    assert (recipe["learning_rate"], recipe["head_learning_rate"], recipe["batch_size"]) == (0.01, 0.02, 4)
    assert (described["provenance"]["seed"], described["pooling"]) == (5, "mean")
    assert (model / "sources" / "rte" / "source.safetensors").is_file()


def test_who_keeps_the_start_is_told(scalearn, rows: Path, tiny_backbone: str, tmp_path: Path) -> None:
    common = ("train", "--train-file", rows, "--backbone", tiny_backbone, "--quiet", "--steps", 1)
    out = scalearn(*common, "--learning-rate", 1e-12, "--head-learning-rate", 1e-12, "--out", tmp_path / "same")
    assert "best of 1 steps: 0" in out and "as a source it adds next to nothing" in out
    out = scalearn(*common, "--protocol", "large", "--out", tmp_path / "moved")
    assert "than the start" not in out


def test_sources_says_what_fits(scalearn, shelf_folder: Path, tiny_backbone: str) -> None:
    out = scalearn("sources", shelf_folder, "--backbone", tiny_backbone)
    assert all(name in out for name in ("cola", "mrpc", "rte")) and "yes" in out


@pytest.mark.slow
def test_compare_goes_on_where_it_stopped(scalearn, rows: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    out = shelf_folder.parent / "runs"
    words = (
        "compare", "--train-file", rows, "--test-file", rows, "--sources", shelf_folder, "--backbone", tiny_backbone,
        "--methods", "head,adapter,scalearn", "--seeds", 2, "--epochs", 1, "--quiet", "--out", out, "--own",
    )  # fmt: skip
    told = scalearn(*words)
    assert f": {out / 'best-own'}" in told and (out / "best-own" / "scalearn.json").is_file()
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")}
    table = (out / "table-own.md").read_text()
    assert len(first) == 8 and "| scalearn | shelf + own | 128 |" in table
    scalearn(*words)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.json")} == first
    assert (out / "table-own.md").read_text() == table


def test_compare_needs_no_test_rows(scalearn, rows: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    out = shelf_folder.parent / "runs"
    words = ("compare", "--train-file", rows, "--sources", shelf_folder, "--backbone", tiny_backbone, "--epochs", 1)
    told = scalearn(*words, "--methods", "head,scalearn", "--seeds", 1, "--quiet", "--out", out)
    assert "seed 0  dev accuracy" in told and "test" not in told.split("the table")[0]
    assert f", too high, for it was chosen by these rows): {out / 'best'}" in told
    assert "| method | sources | trained | with head | dev accuracy | seconds a run |" in (out / "table.md").read_text()
    assert scalearn("predict", out / "best", "a good film")
    before = sorted(out.iterdir())
    (out / "best" / "scalearn.json").rename(out / "best" / "mine.json")
    with pytest.raises(AssertionError, match="best is not replaced"):
        scalearn(*words, "--methods", "adapter", "--out", out)
    assert sorted(out.iterdir()) == before, "told before anything is trained"


@pytest.mark.parametrize("command", ["demo", "train", "transfer", "evaluate", "predict", "fold", "sources", "compare"])
def test_help_is_a_page_with_an_example(scalearn, command: str) -> None:
    out = scalearn(command, "--help")
    assert command == "demo" or "Example" in out
