"""`scalearn grow` on the tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scalearn.cli import grow as commands
from scalearn.errors import InputError
from scalearn.experiments.growth import Grown
from scalearn.sources import Source

app = typer.Typer()
app.command()(commands.grow)


def test_a_target_of_your_own_and_again(
    rows: Path, tiny_backbone: str, shelf_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands._console, "_width", 160)
    words = [shelf_folder, "--train-file", rows, "--out", tmp_path / "runs", "--backbone", tiny_backbone]
    words += ["--epochs", 1, "--quiet", "--method", "scalearn-uniform", "--option", "keep=2"]

    def run(*more: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in (*words, *more)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    said = run()
    assert (
        "reviews: 3 sources" in said
        and "scalearn-uniform / the target's own source" in said
        and "1 own sources in" in said
    )
    assert Source.load(shelf_folder / "reviews").provenance["rows"]["train"] == 26
    assert "keep" in (tmp_path / "runs" / "reviews" / "scalearn.json").read_text()
    again = run()
    assert "reviews: 3 sources, 0 s" in again and again.splitlines()[1:] == said.splitlines()[1:]
    assert "more: 4 sources" in run("--name", "more"), "the next target has the one before"
    for more, said in (
        (["--epochs", 2], "reviews was made with epochs 1, not 2: give another folder"),
        (["--option", "keep=1"], "reviews was made with option keep 2, not 1: give another folder"),
        (["--name", "more", "--seed", 1], "more was made with seed 0, not 1"),
    ):
        with pytest.raises(InputError, match=said):
            run(*more)


@pytest.mark.parametrize("idle", [True, False])
def test_a_source_that_adds_nothing_is_told(idle: bool, capsys: pytest.CaptureFixture[str]) -> None:
    commands._tell(
        Grown(
            task="tickets", metric="accuracy", rows=16, sources=("rte",), transferred={}, own={}, idle=idle, seconds=3.0
        )
    )
    assert ("adds next to nothing" in capsys.readouterr().out) == idle


def test_neither_task_nor_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--train-file"):
        CliRunner().invoke(app, [str(tmp_path / "shelf"), "--out", str(tmp_path)], catch_exceptions=False)
