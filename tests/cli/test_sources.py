"""`scalearn sources`, its old way of speaking, and `scalearn sources rank`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalearn.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def common(rows: Path, shelf_folder: Path, tiny_backbone: str) -> tuple[object, ...]:
    return "--train-file", rows, "--shelf", shelf_folder, "--backbone", tiny_backbone, "--quiet"


@pytest.mark.parametrize("words", [("sources",), ("sources", "list")])
def test_a_shelf_is_listed(words: tuple[str, ...], scalearn: Command, shelf_folder: Path, tiny_backbone: str) -> None:
    for order in ((shelf_folder, "--backbone", tiny_backbone), ("--backbone", tiny_backbone, shelf_folder)):
        code, out, _ = scalearn(*words, *order)
        assert code == 0 and all(name in out for name in ("cola", "mrpc", "rte")) and out.count("yes") == 3


def test_a_shelf_that_is_not_there_is_named(scalearn: Command) -> None:
    code, _, told = scalearn("sources", "nowhere/")
    assert code == 2 and "nowhere" in told


def test_a_shelf_is_ranked(scalearn: Command, common: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "ranking.csv"
    code, told, _ = scalearn("sources", "rank", *common, "--out", out)
    assert code == 0 and "best first by probe, logme, h-score (26 training rows)" in told
    assert "without similarity: sources cola, mrpc, rte have no embedding" in told
    with out.open() as file:
        ranked = list(csv.DictReader(file))
    order = [row["source"] for row in ranked]
    assert sorted(order) == ["cola", "mrpc", "rte"] and f"recommended: {', '.join(order)} (--top-sources 3)" in told
    assert [told.index(f"│ {place} │ {name}") for place, name in enumerate(order, start=1)]
    code, _, refused = scalearn("sources", "rank", *common, "--out", out)
    assert code == 2 and "ranking.csv" in refused
    code, _, _ = scalearn("sources", "rank", *common, "--out", out, "--overwrite")
    assert code == 0


def test_only_these_criteria_and_sources(scalearn: Command, common: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "ranking.json"
    code, said, _ = scalearn("sources", "rank", *common, "--by", "h-score, probe", "--exclude", "cola", "--out", out)
    told = json.loads(out.read_text())
    assert f"(--only {','.join(row['source'] for row in told['sources'])})" in said, "--top-sources goes by others"
    assert code == 0 and told["by"] == ["h-score", "probe"] and len(told["sources"]) == 2
    assert "gradient" not in told["sources"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "size"), "there is no criterion 'size'"),
        (("--by", "similarity"), "have no embedding of their texts"),
        (("--out", "ranking.txt"), "written as .csv or .json"),
    ],
)
def test_what_cannot_be_is_refused(
    words: tuple[str, ...], said: str, scalearn: Command, common: tuple[object, ...]
) -> None:
    code, _, told = scalearn("sources", "rank", *common, *words)
    assert code == 2 and said in told


def test_a_target_without_rows_is_refused(scalearn: Command, tiny_backbone: str) -> None:
    code, _, told = scalearn("sources", "rank", "--backbone", tiny_backbone)
    assert code == 2 and "give either a task" in told


def test_transfer_from_the_best_two(
    scalearn: Command, rows: Path, shelf_folder: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    words = ("--train-file", rows, "--backbone", tiny_backbone, "--quiet")
    scalearn("sources", "rank", *words, "--shelf", shelf_folder, "--out", tmp_path / "ranking.json")
    best = [row["source"] for row in json.loads((tmp_path / "ranking.json").read_text())["sources"][:2]]
    code, out, told = scalearn(
        "transfer", *words, "--sources", shelf_folder, "--top-sources", 2, "--option", "init=rank", "--epochs", 1,
        "--out", tmp_path / "model",
    )  # fmt: skip
    assert code == 0, told
    assert f"the 2 sources that suit it best: {', '.join(best)}" in out
    described = json.loads((tmp_path / "model" / "scalearn.json").read_text())
    assert [source["name"] for source in described["sources"]] == best
    options = described["method"]["options"]
    assert options["init"] == "rank" and sum(options["starts"]) == pytest.approx(2, abs=1e-4)
    code, _, told = scalearn("transfer", *words, "--sources", shelf_folder, "--top-sources", 0, "--out", tmp_path / "x")
    assert code == 2 and "top-sources" in told
