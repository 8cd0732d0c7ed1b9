"""`scalearn explain` and `scalearn prune` on the tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from scalearn.cli import explain as commands
from scalearn.errors import InputError
from scalearn.methods import Probing
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task

app = typer.Typer()
app.command()(commands.explain)
app.command()(commands.prune)


def run(*words: object) -> str:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def saved(tiny_backbone: str, task: Task, shelf: Shelf, tmp_path: Path) -> Path:
    """A model of three sources, one of which acts with 0.01."""
    method = Probing(omega=(0.5, 0.01, 1.0))
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=shelf)
    torch.nn.init.normal_(model.head.out.weight)
    model.save_pretrained(tmp_path / "model", extra={"metrics": {"dev": {"accuracy": 0.9}}})
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not cut."""
    monkeypatch.setattr(commands._console, "_width", 160)


def test_explaining_prints_and_writes_the_same(saved: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "explained"
    said = run("explain", saved, "--file", rows, "--out", out)
    found = json.loads((out / "explanation.json").read_text())
    assert found["split"] == "reviews.csv" and found["rows"] == 32
    page = (out / "explanation.md").read_text()
    for effect in found["effects"]:
        for text in (effect["source"], f"{100 * effect['without']:.1f}", effect["verdict"]):
            assert text in said and text in page
    assert {path.name for path in out.iterdir()} == {"explanation.json", "explanation.md", "omega.png", "omega.svg"}
    assert (out / "omega.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="exists already"):
        run("explain", saved, "--file", rows, "--out", out)
    run("explain", saved, "--file", rows, "--out", out, "--overwrite")


def test_what_hurts_is_warned_of(saved: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalearn.explanation._verdict", lambda difference, stderr: "hurts")
    said = run("explain", saved, "--file", rows)
    assert said.count("warning:") == 3 and "--exclude cola" in said


def test_rows_of_your_own_are_asked_for(saved: Path, rows: Path) -> None:
    with pytest.raises(InputError, match="give labelled rows with --file"):
        run("explain", saved)
    with pytest.raises(InputError, match="leave out --split and --data"):
        run("prune", saved, "--file", rows, "--split", "dev", "--out", saved.parent / "pruned")


def test_pruning_says_what_went_and_what_it_cost(saved: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "pruned"
    said = run("prune", saved, "--threshold", "0.05", "--out", out, "--file", rows)
    (line,) = (line for line in said.splitlines() if "mrpc" in line)
    assert "0.0100" in line and "dropped" in line
    assert "2 of 3 sources kept" in said and "reviews.csv (32 rows): accuracy" in said and "now" in said
    described = json.loads((out / "scalearn.json").read_text())
    assert [source["name"] for source in described["sources"]] == ["cola", "rte"]
    assert "metrics" not in described and described["pruned_from"]["metrics"] == {"dev": {"accuracy": 0.9}}
    loaded = TransferModel.from_pretrained(out)
    assert loaded.method == Probing(omega=(0.5, 1.0))


def test_keeping_so_many_with_the_sources_copied_in(saved: Path, tmp_path: Path) -> None:
    assert "1 of 3 sources kept" in run("prune", saved, "--keep", 1, "--out", tmp_path / "one", "--include-sources")
    assert [path.name for path in (tmp_path / "one" / "sources").iterdir()] == ["rte"]


def test_in_its_own_place_a_model_keeps_the_sources_that_stand_in_it(saved: Path, tmp_path: Path) -> None:
    run("prune", saved, "--keep", 2, "--out", tmp_path / "two", "--include-sources")
    run("prune", tmp_path / "two", "--keep", 1, "--out", tmp_path / "two", "--overwrite")
    assert [source.name for source in TransferModel.from_pretrained(tmp_path / "two").sources] == ["rte"]


def test_what_cannot_be_pruned_leaves_no_folder(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep 4 of 3 sources"):
        run("prune", saved, "--keep", 4, "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()
