"""`scalearn probe` on the tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scalearn.cli.probe import probe
from scalearn.errors import InputError

app = typer.Typer()
app.command()(probe)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def words(rows: Path, tiny_backbone: str, shelf_folder: Path) -> tuple[object, ...]:
    """The options of a small probe on the conftest task's rows."""
    return ("--train-file", rows, "--shelf", shelf_folder, "--backbone", tiny_backbone, "--epochs", 1, "--quiet")


def test_one_source_and_again(words: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "probe"
    words = (*words, "--sources", "rte", "--grid", "1,0", "--seeds", 2, "--out", out, "--dev-rows", 5)
    said = run(*words)
    assert "4/4  omega 1" in said and "omega of rte" in said and "2 seeds" in said and "5 dev" in said
    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    assert len(kept) == 4
    written = {name: (out / name).read_bytes() for name in ("table.md", "scores.csv", "heatmap.svg", "heatmap.png")}
    assert run(*words) == said
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == kept
    assert {name: (out / name).read_bytes() for name in written} == written


def test_two_sources_in_the_order_given(words: tuple[object, ...], tmp_path: Path) -> None:
    said = run(*words, "--sources", "rte, cola", "--grid", "0.5", "--seeds", 1, "--out", tmp_path / "probe")
    assert "omega of rte \\ of cola" in said and "1/1  omega 0.5, 0.5" in said


@pytest.mark.parametrize("sources", ["rte,cola,mrpc", ","])
def test_other_than_one_or_two_sources_are_refused(words: tuple[object, ...], tmp_path: Path, sources: str) -> None:
    with pytest.raises(InputError, match="name one source, or two with a comma between"):
        run(*words, "--sources", sources, "--out", tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_an_unknown_source_is_refused(words: tuple[object, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source named 'sst2'; there are cola, mrpc, rte"):
        run(*words, "--sources", "sst2", "--out", tmp_path / "probe")


@pytest.mark.parametrize(("grid", "said"), [("0,high", "--grid '0,high'"), ("0,0", "each once"), ("", "--grid ''")])
def test_a_grid_that_is_none_is_refused(words: tuple[object, ...], tmp_path: Path, grid: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(*words, "--sources", "rte", "--grid", grid, "--out", tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_the_default_grid_is_the_published_one() -> None:
    from scalearn.cli.probe import _numbers
    from scalearn.experiments.probe import GRID

    (option,) = [p.default for p in typer.main.get_command(app).params if p.name == "grid"]
    assert tuple(_numbers(option)) == GRID


def test_help_has_an_example() -> None:
    assert "Example" in run("--help")
