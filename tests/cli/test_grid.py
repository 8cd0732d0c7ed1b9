"""`scalearn plan`, `run`, `report` and `runs` on the tiny backbone and the built-in task."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from scalearn.cli.grid import report, run
from scalearn.cli.plan import plan
from scalearn.cli.runs import runs
from scalearn.errors import InputError
from scalearn.experiments import runner

app = typer.Typer()
for command in (plan, run, report, runs):
    app.command()(command)


def call(*words: object, code: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False, input=answer)
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


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which no cell of a table is cut."""
    for module in ("plan", "runs"):
        monkeypatch.setattr(f"scalearn.cli.{module}._console.width", 300)


def results(out: Path) -> dict[str, dict[str, Any]]:
    """Result by method."""
    told = [json.loads(path.read_text()) for path in (out / "runs").glob("*/result.json")]
    return {result["key"]["method"][0]: result for result in told}


def test_plan(recipe: Path) -> None:
    output = call("plan", recipe).stdout
    assert "small: 1 target x 2 methods x 1 seed" in output
    assert "assumed" in output and "60 TFLOP/s" in output
    assert "│ head    │ ○" in output and "●" not in output.replace("● done", "")
    assert not recipe.read_text().startswith("#")
    call("plan", recipe, "--update")
    assert recipe.read_text().startswith("# scalearn run ")


def test_plan_says_what_is_done_and_how_long_the_rest_takes(recipe: Path, tmp_path: Path, wide: None) -> None:
    out = tmp_path / "out"
    call("run", recipe, "--out", out, "--quiet")
    recipe.write_text(recipe.read_text() + "seeds: 2\n")
    output = call("plan", recipe, "--out", out).stdout
    assert "│ head    │ ●○ " in output and "│ adapter │ ●○ " in output
    assert "Left: 2 runs, about" in output and "by what the 2 finished ones took" in output
    call("run", recipe, "--out", out, "--quiet")
    assert "All runs are done" in call("plan", recipe, "--out", out).stdout


def test_the_graph_shows_sources_and_who_needs_them(tmp_path: Path, wide: None) -> None:
    path = tmp_path / "transfer.yaml"
    path.write_text(
        "name: t\nbackbones: minilm\ntasks: [rte, cb]\nmethods: [scalearn, adapter]\nsources: {tasks: [rte, cb]}\n"
        "seeds: 2\n"
    )
    output = call("plan", path, "--out", tmp_path / "out").stdout
    assert "adapter on rte (minilm) │ ○○    │    4 runs" in output
    assert "│ scalearn │ ○○  │ ○○ │" in output


def test_run_again_and_report(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    first = call("run", recipe, "--out", out, "--quiet").stdout
    assert "1/2  head on policy-claims" in first and "2/2  adapter on policy-claims" in first
    assert "about" in first.splitlines()[0]
    again = call("run", recipe, "--out", out, "--quiet").stdout
    assert again.count("done before") == 2
    (out / "report.md").unlink()
    assert "| adapter |" in call("report", out).stdout
    for name in ("report.md", "report.tex", "report.html", "runs.csv", "scores.csv"):
        assert (out / name).is_file()
    monkeypatch.chdir(tmp_path)
    assert call("run", recipe, "--keep", out / "runs", "--quiet").stdout.count("done before") == 2
    assert (tmp_path / "runs/small/report.md").is_file()
    (tmp_path / "runs/small/report.html").unlink()
    assert "2 of 2 runs" in call("report", tmp_path / "runs").stdout  # every experiment below
    assert (tmp_path / "runs/small/report.html").is_file()


def test_explained_when_that_is_asked_for_later(tmp_path: Path, tiny_backbone: str, shelf_folder: Path) -> None:
    path, out = tmp_path / "small.yaml", tmp_path / "out"
    told = (
        f"name: small\nbackbones: {tiny_backbone}\ntasks: [policy-claims]\nmethods: [scalearn-uniform, head]\n"
        f"sources: {{shelf: {shelf_folder}, own: false}}\nchanges: {{epochs: 1}}\n"
        "rows: {train: 12, dev: 9, test: 9}\n"
    )
    path.write_text(told)
    call("run", path, "--out", out, "--quiet")
    assert not (out / "sources.csv").exists()
    path.write_text(f"{told}explain: true\n")
    assert "Explained (explain: true): 0 of 1 runs." in call("plan", path, "--out", out).stdout
    call("run", path, "--out", out, "--quiet")
    assert len(list((out / "runs").glob("*/result.json"))) == 2, "the runs of before"
    assert "Explained (explain: true): 1 of 1 runs." in call("plan", path, "--out", out).stdout
    assert (out / "sources.csv").read_text().count("scalearn-uniform,policy-claims,0,dev,9") == 3
    assert "what each source did" in call("report", out).stdout


def test_what_a_result_carries(recipe: Path, tmp_path: Path) -> None:
    call("run", recipe, "--out", tmp_path / "out", "--quiet")
    for method, result in results(tmp_path / "out").items():
        outcome = result["outcome"]
        assert outcome["versions"]["torch"] and outcome["machine"]["cores"] and outcome["finished"]
        assert outcome["seconds"] > 0 and outcome["peak_memory"] > 0.05 and outcome["bytes"] > 1000
        assert (outcome["tokens_per_second"] is None) == (method == "head")
        assert set(result["files"]) >= {"history.json", "predictions.parquet", "model.safetensors"}
        assert "README.md" not in result["files"]  # people may write into it
        assert result["key"]["seed"] == 0 and len(result["key"]["backbone"][1]) == 64


def test_in_two_processes(recipe: Path, tmp_path: Path) -> None:
    call("run", recipe, "--out", tmp_path / "one", "--quiet")
    call("run", recipe, "--out", tmp_path / "two", "--workers", 2, "--quiet")
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert {name: own["outcome"]["metrics"] for name, own in one.items()} == {
        name: own["outcome"]["metrics"] for name, own in two.items()
    }
    with pytest.raises(InputError, match="--workers and --ray exclude one another"):
        call("run", recipe, "--workers", 2, "--ray", "auto")


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
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: None
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise InputError("no rows [here]")

    monkeypatch.setattr(runner, "train", fails)
    out = tmp_path / "out"
    output = call("run", recipe, "--out", out, "--quiet", code=1).stdout
    assert output.count("FAILED: no rows [here]") == 2
    assert "2 of 2 runs failed" in output
    assert "head on policy-claims" in (out / "report.md").read_text().split("## Failed runs")[1]
    assert "✗" in call("plan", recipe, "--out", out).stdout.split("Each mark")[0]
    listed = call("runs", out, "--state", "failed").stdout
    assert "2 runs" in listed and listed.count(": no rows [here]") == 2
    monkeypatch.undo()
    call("run", recipe, "--out", out, "--quiet")
    assert "0 runs" in call("runs", out, "--state", "failed").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_says_how_to_go_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    recipe.write_text(recipe.read_text().replace("epochs: 1", "epochs: 3"))
    original = runner.train

    def signalled(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    before = signal.getsignal(number)
    monkeypatch.setattr(runner, "train", signalled)
    output = call("run", recipe, "--out", tmp_path / "out", "--quiet", code=130).stdout
    assert "stopping at the next checkpoint" in output
    assert "stopped with 0 of 2 runs: the same command goes on" in output
    assert list((tmp_path / "out/runs").glob(".*.partial/checkpoints/checkpoint-1"))
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    assert "2/2" in call("run", recipe, "--out", tmp_path / "out", "--quiet").stdout
    assert results(tmp_path / "out")["head"]["outcome"]["attempts"] == 2


def test_stopping_twice_ends_at_once(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(runner, "train", twice)
    output = call("run", recipe, "--out", tmp_path / "out", "--quiet", code=130).stdout
    assert "stopped at once" in output


def test_runs_are_listed_filtered_checked_and_removed(recipe: Path, tmp_path: Path, wide: None) -> None:
    out = tmp_path / "out"
    call("run", recipe, "--out", out, "--quiet")
    assert "2 runs" in call("runs", out).stdout and "2 runs" in call("runs", out / "runs").stdout
    listed = call("runs", out, "--method", "adapter", "--task", "policy-claims", "--seed", 0).stdout
    assert "1 run" in listed and "adapter on policy-claims" in listed and "head on" not in listed
    for words in (("--method", "full"), ("--task", "rte"), ("--seed", 1), ("--state", "failed"), ("--backbone", "b")):
        assert "0 runs" in call("runs", out, *words).stdout
    (adapter,) = (p.parent for p in (out / "runs").glob("*/source.json"))
    weights = adapter / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert "2 runs" in call("runs", out, "--state", "done").stdout  # what stands in results was not touched
    assert f"{weights} was changed" in call("runs", out, "--check", code=1).stdout
    with pytest.raises(InputError, match="--remove nope: no run here is called so"):
        call("runs", out, "--remove", "nope")
    call("runs", out, "--remove", adapter.name, answer="n\n", code=1)
    assert adapter.is_dir()
    assert "removed 1" in call("runs", out, "--remove", adapter.name[:6], "--yes").stdout
    assert not adapter.exists() and len(list((out / "runs").iterdir())) == 1
    call("run", recipe, "--out", out, "--quiet")
    assert "removed 2" in call("runs", out, "--remove", "all", answer="y\n").stdout
    assert not list((out / "runs").iterdir())
    assert "nothing to remove" in call("runs", out, "--remove", "all").stdout


def test_a_stopped_run_is_listed_with_its_step(recipe: Path, tmp_path: Path, wide: None) -> None:
    partial = tmp_path / "runs/.0123456789abcdef.partial"
    partial.mkdir(parents=True)
    assert "stopped │ just begun" in call("runs", tmp_path / "runs").stdout
    described = {"method": ["scalearn", {}], "tasks": ["rte"], "backbone": "minilm", "seed": 3}
    told = {"id": "1", "run": described, "step": 3, "steps": 1200, "seconds": 4.0, "attempts": 1}
    (partial / "progress.json").write_text(json.dumps(told))
    assert "scalearn on rte (minilm) seed 3: step 3 of 1,200" in call("runs", tmp_path / "runs", "--seed", 3).stdout
    call("runs", tmp_path / "runs", "--remove", "all", "--yes")
    assert not list((tmp_path / "runs").iterdir())


def test_a_damaged_result_is_named(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("run", recipe, "--out", out, "--quiet")
    path = next((out / "runs").glob("*/result.json"))
    path.write_text(path.read_text()[:200])
    assert f"damaged: {path} is no whole result" in call("report", out).stdout
    assert f"FAILED: {path} is no whole result" in call("run", recipe, "--out", out, "--quiet", code=1).stdout
    call("runs", out, "--remove", path.parent.name, "--yes")
    call("run", recipe, "--out", out, "--quiet")


def test_bad_input(tmp_path: Path) -> None:
    for command in ("plan", "run"):
        with pytest.raises(InputError, match="cannot be read"):
            call(command, tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is no experiment"):
        call("report", tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        call("runs", tmp_path / "none")
