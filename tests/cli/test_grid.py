"""`scalearn plan`, `run` and `report` on the tiny backbone and the built-in task."""

from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from scalearn.cli.grid import plan, report, run
from scalearn.errors import InputError
from scalearn.experiments import grid

app = typer.Typer()
for command in (plan, run, report):
    app.command()(command)


def call(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def recipe(tmp_path: Path, tiny_backbone: str) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nbackbones: {tiny_backbone}\ntasks: [policy-claims]\nmethods: [head, adapter]\n"
        "changes: {epochs: 1}\nrows: {train: 12, dev: 9, test: 9}\n"
    )
    return path


def test_plan(recipe: Path) -> None:
    output = call("plan", recipe).stdout
    assert "small: 1 target x 2 methods x 1 seed" in output
    assert "assumed" in output and "60 TFLOP/s" in output
    assert not recipe.read_text().startswith("#")
    call("plan", recipe, "--update")
    assert recipe.read_text().startswith("# scalearn run ")


def test_run_again_and_report(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    first = call("run", recipe, "--out", out, "--quiet").stdout
    assert "1/2  head on policy-claims" in first and "2/2  adapter on policy-claims" in first
    assert "about" in first.splitlines()[0]
    again = call("run", recipe, "--out", out, "--quiet").stdout
    assert again.count("done before") == 2
    (out / "report.md").unlink()
    assert "| adapter |" in call("report", out).stdout
    assert (out / "report.md").is_file() and (out / "runs.csv").is_file()
    monkeypatch.chdir(tmp_path)
    call("run", recipe, "--keep", out / "runs", "--quiet")
    assert (tmp_path / "runs/small/report.md").is_file()


def test_what_cannot_run_is_refused_before_anything_is_made(recipe: Path, tmp_path: Path) -> None:
    for words, message in (
        ((recipe, "--device", "gpu"), "--device gpu: give cpu"),
        (
            (Path("recipes/humset-single-mini.yaml"),),
            "disaster-pillars_1d, .*: not on the Hub, give a folder with --data",
        ),
    ):
        with pytest.raises(InputError, match=message):
            call("run", *words, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_failures_are_in_the_exit_code_and_the_report(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise InputError("no rows [here]")

    monkeypatch.setattr(grid, "train", fails)
    output = call("run", recipe, "--out", tmp_path / "out", "--quiet", code=1).stdout
    assert output.count("FAILED: no rows [here]") == 2
    assert "2 of 2 runs failed" in output
    assert "head on policy-claims" in (tmp_path / "out/report.md").read_text().split("## Failed runs")[1]


def test_stopping_says_how_to_go_on(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "train", stops)
    output = call("run", recipe, "--out", tmp_path / "out", "--quiet", code=130).stdout
    assert "the same command goes on" in output


def test_bad_input(tmp_path: Path) -> None:
    for command in ("plan", "run"):
        with pytest.raises(InputError, match="cannot be read"):
            call(command, tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is no experiment"):
        call("report", tmp_path)
