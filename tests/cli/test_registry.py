"""`scalearn methods` and `scalearn params`."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scalearn.cli import registry
from scalearn.errors import InputError
from scalearn.methods import REGISTRY, Adapter, Recipe, ScaLearn

app = typer.Typer()
for command in (registry.methods, registry.params):
    app.command()(command)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def row(out: str, name: str) -> str:
    (found,) = [line for line in out.splitlines() if line.strip("│| ").startswith(f"{name} ")]
    return found


def test_methods_says_what_each_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._console, "width", 200)
    out = run("methods", "--backbone", "roberta-base")
    assert row(out, "scalearn").split() == ["scalearn", "73,728", "6e-3", "1e-2,", "head", "3e-4"]
    assert row(out, "full").split()[1:] == ["124,055,040", "2e-5", "1e-4,", "head", "3e-4"]
    assert "74,544 + 884,736" in row(out, "propetl") and "masks 5e-3" in row(out, "propetl")
    assert "masks" not in row(out, "adapter-m")
    for entry in REGISTRY.values():
        assert registry.described(entry.method) in out and entry.method.reference in out


def test_methods_of_one_stage() -> None:
    out = run("methods", "--stage", "joint", "--sources-count", 3)
    assert "adapter-m" in out and "T = 3" in out and "scalearn-uniform" not in out and "ia3" not in out


def test_a_description_is_a_line_with_the_flags_that_are_set() -> None:
    assert registry.described(Adapter()) == "A Pfeiffer bottleneck in every layer"
    assert (
        registry.described(ScaLearn(uniform=True, shared=True)) == "Learned scaling of frozen sources; uniform, shared"
    )


@pytest.mark.parametrize(
    ("deltas", "head", "said"), [(6e-3, 6e-3, "6e-3"), (2.5e-5, 1e-3, "2.5e-5, head 1e-3"), (1.0, 1.0, "1e0")]
)
def test_rates(deltas: float, head: float, said: str) -> None:
    assert registry.rates(Recipe(learning_rate=deltas, head_learning_rate=head)) == said


def test_params_is_a_table_and_a_file(tmp_path: Path) -> None:
    words = ("params", "--backbone", "roberta-base", "--tasks", 8, "--out", tmp_path / "new" / "params.md")
    out = run(*words)
    assert [cell.strip() for cell in row(out, "propetl-m").strip("│").split("│")] == [
        "propetl-m", "74,544", "1,474,560", "4,737,040", "6,286,144",
    ]  # fmt: skip
    written = (tmp_path / "new" / "params.md").read_text()
    assert "roberta-base, T = 8" in written
    assert "| transfer | scalearn-uniform++ | 8 |  | 592,130 | 592,138 |" in written
    assert len([line for line in written.splitlines() if line.startswith("|")]) == 2 + len(REGISTRY)
    with pytest.raises(InputError, match="exists already"):
        run(*words)
    run(*words, "--overwrite", "--backbone", "minilm")
    assert "minilm, T = 8" in (tmp_path / "new" / "params.md").read_text()


def test_params_fits_a_terminal_of_eighty_columns() -> None:
    lines = run("params", "--backbone", "roberta-base").splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)


def test_params_of_a_backbone_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone 'nowhere/else' cannot be counted"):
        run("params", "--backbone", "nowhere/else", "--out", tmp_path / "params.md")
    assert not list(tmp_path.iterdir())


def test_params_into_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder: give the name of a Markdown file"):
        run("params", "--out", tmp_path, "--overwrite")


@pytest.mark.parametrize("command", ["methods", "params"])
def test_help_has_an_example(command: str) -> None:
    assert "Example" in run(command, "--help")
