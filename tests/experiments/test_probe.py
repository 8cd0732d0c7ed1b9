"""Probing on the tiny backbone: the grid, what is kept, and what is written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.experiments.draw import Draw
from scalearn.experiments.probe import GRID, Probe, ProbeRun, checked_grid, points_of, probe
from scalearn.experiments.probe_report import tables, write_probe
from scalearn.experiments.sealed import DamagedError
from scalearn.methods import Probing, changed, recipe_for
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import train

CHANGES = {"epochs": 1}


def run(omega: Sequence[float], seed: int, score: float, **metrics: float) -> ProbeRun:
    scores = {"accuracy": score, "loss": 1.0, **metrics}
    return ProbeRun(
        omega=tuple(omega),
        seed=seed,
        rows={"train": 1200, "dev": 50, "test": 70},
        metrics={"dev": {"accuracy": 0.1, "loss": 2.0}, "test": scores},
        epochs=3.0,
        seconds=12.34,
    )


ONE = Probe(
    task="rte",
    sources=("mnli",),
    grid=(0.0, 0.5),
    metric="accuracy",
    runs=(run([0.0], 0, 0.5), run([0.5], 0, 0.6), run([0.0], 1, 0.5), run([0.5], 1, 0.8)),
)
TWO = replace(
    ONE,
    sources=("mnli", "qqp"),
    runs=tuple(run(omega, 0, 0.1 * i) for i, omega in enumerate(points_of((0.0, 0.5), sources=2))),
)


def probed(task: Task, shelf: Shelf, backbone: str, **others: Any) -> Probe:
    given = {"seeds": [0], "grid": (0.0, 1.0), "changes": CHANGES, "progress": False}
    return probe(task, sources=shelf, backbone=backbone, **{**given, **others})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of its own, beside the shelf."""
    return tmp_path / "runs"


# ---- the grid


def test_the_published_grid() -> None:
    assert GRID == (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
    assert points_of(GRID, sources=1) == [(value,) for value in GRID]
    assert len(points_of(GRID, sources=2)) == 49
    assert points_of((0, 1), sources=2) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_grid_is_sorted_and_checked() -> None:
    assert checked_grid([1, 0, 0.5]) == (0.0, 0.5, 1.0)
    for bad in ([], [0.5, 0.5], [0.0, float("nan")], [float("inf")]):
        with pytest.raises(InputError, match="give finite numbers, each once"):
            checked_grid(bad)


@pytest.mark.parametrize("names", [[], ["cola", "mrpc", "rte"]])
def test_other_than_one_or_two_sources_are_refused(task: Task, shelf: Shelf, names: list[str]) -> None:
    with pytest.raises(InputError, match=f"one source or two, not of {len(names)} "):
        probed(task, shelf.only(names), "nowhere")  # before the backbone is loaded


# ---- runs


def test_every_point_and_seed_is_trained(task: Task, shelf: Shelf, tiny_backbone: str) -> None:
    told: list[ProbeRun] = []
    found = probed(
        task, shelf.only(["rte", "cola"]), tiny_backbone, seeds=[0, 1], draw=Draw(train=12), done=told.append
    )
    points = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    assert [(r.omega, r.seed) for r in found.runs] == [(omega, seed) for seed in (0, 1) for omega in points]
    assert told == list(found.runs)
    assert found.sources == ("rte", "cola") and found.metric == "accuracy" and found.splits == ("dev",)
    assert all(r.rows == {"train": 12, "dev": 8} for r in found.runs)
    losses = {r.metrics["dev"]["loss"] for r in found.runs}
    assert len(losses) == 8  # each point is a model of its own, and so is each seed


def test_a_point_is_the_probing_method_and_the_backbone_is_left_clean(
    task: Task, shelf: Shelf, tiny_backbone: str
) -> None:
    found = probed(task, shelf.only(["rte"]), tiny_backbone, grid=(0.0, 0.7))
    method = Probing(omega=(0.7,))
    model = TransferModel(load_backbone(tiny_backbone), task=task, method=method, sources=[shelf["rte"]], seed=0)
    alone = train(model, recipe=changed(recipe_for(method, rows=len(task.splits["train"])), CHANGES), progress=False)
    assert found.runs[1].metrics == alone.metrics  # though another point was trained on the same backbone before


def test_finished_points_are_found_again(task: Task, shelf: Shelf, tiny_backbone: str, runs: Path) -> None:
    shelf = shelf.only(["rte"])
    first = probed(task, shelf, tiny_backbone, folder=runs)
    kept = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    assert len(kept) == 2
    again = probed(task, shelf, tiny_backbone, folder=runs, grid=(1.0, 0.0))
    assert again == first
    more = probed(task, shelf, tiny_backbone, folder=runs, grid=(0.0, 0.5, 1.0))
    assert len(list(runs.iterdir())) == 3 and [more.runs[0], more.runs[2]] == list(first.runs)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_other_settings_are_other_runs(task: Task, shelf: Shelf, tiny_backbone: str, runs: Path) -> None:
    one, grid = shelf.only(["rte"]), (1.0,)
    probed(task, one, tiny_backbone, folder=runs, grid=grid)
    probed(task, one, tiny_backbone, folder=runs, grid=grid, changes={"epochs": 2})
    probed(task, one, tiny_backbone, folder=runs, grid=grid, draw=Draw(train=20))
    probed(task, one, tiny_backbone, folder=runs, grid=grid, seeds=[1])
    probed(task, shelf.only(["cola"]), tiny_backbone, folder=runs, grid=grid)
    assert len(list(runs.iterdir())) == 5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "is no whole result"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "was changed after it was written"),
    ],
)
def test_a_damaged_run_is_named(
    damage: Callable[[str], str], message: str, task: Task, shelf: Shelf, tiny_backbone: str, runs: Path
) -> None:
    first = probed(task, shelf.only(["rte"]), tiny_backbone, folder=runs, grid=(1.0,))
    (path,) = runs.iterdir()
    path.write_text(damage(path.read_text()))
    with pytest.raises(DamagedError, match=f"{path.name} {message}"):
        probed(task, shelf.only(["rte"]), tiny_backbone, folder=runs, grid=(1.0,))
    path.unlink()
    again = probed(task, shelf.only(["rte"]), tiny_backbone, folder=runs, grid=(1.0,))
    assert again.runs[0].metrics == first.runs[0].metrics


def test_sources_of_another_backbone_are_refused(task: Task, tiny_backbone: str) -> None:
    with pytest.raises(InputError, match="'mnli' has width 384"):
        probed(task, Shelf("builtin").only(["mnli"]), tiny_backbone)


# ---- results


def test_means_and_spreads() -> None:
    assert ONE.means("test") == pytest.approx([50, 70])
    assert ONE.means("dev") == pytest.approx([10, 10])
    assert ONE.spreads("test") == pytest.approx([0, 14.1421356])
    np.testing.assert_allclose(TWO.means("test"), [[0, 10], [20, 30]])
    assert not TWO.spreads("test").any()


def test_the_tables_cells() -> None:
    assert tables(ONE) == {
        "dev and test accuracy": [
            ["omega of mnli", "dev", "test"],
            ["0", "10.0 ± 0.0", "50.0 ± 0.0"],
            ["0.5", "10.0 ± 0.0", "70.0 ± 14.1"],
        ]
    }
    headings = ["omega of mnli \\ of qqp", "0", "0.5"]
    assert tables(TWO) == {
        "dev accuracy": [headings, ["0", "10.0", "10.0"], ["0.5", "10.0", "10.0"]],
        "test accuracy": [headings, ["0", "0.0", "10.0"], ["0.5", "20.0", "30.0"]],
    }


def test_a_task_without_test_rows_has_dev_scores_only(tmp_path: Path) -> None:
    untested = [
        replace(r, rows={"train": 9, "dev": 5}, metrics={"dev": {"accuracy": 0.25, "loss": 1.0}}) for r in TWO.runs
    ]
    found = replace(TWO, runs=tuple(untested))
    assert list(tables(found)) == ["dev accuracy"]
    assert found.caption() == "rte: accuracy (%), 9 train and 5 dev rows, 1 seed"
    write_probe(found, tmp_path)
    assert "dev accuracy (%)" in (tmp_path / "heatmap.svg").read_text()


def test_the_caption_says_what_was_measured() -> None:
    assert ONE.caption() == "rte: accuracy (%), 1,200 train and 50 dev rows, tested on 70, 2 seeds"
    assert TWO.caption().endswith("1 seed")


@pytest.mark.parametrize(("found", "ends"), [(ONE, ["50.0", "70.0"]), (TWO, ["30.0", "omega of qqp"])])
def test_what_is_written(found: Probe, ends: list[str], tmp_path: Path) -> None:
    write_probe(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "scores.csv", "heatmap.svg", "heatmap.png"}
    text = (tmp_path / "table.md").read_text()
    assert found.caption() in text
    for title, rows in tables(found).items():
        assert f"\n{title}:\n" in text and all(f"\n| {' | '.join(row)} |\n" in text for row in rows)
    drawing = (tmp_path / "heatmap.svg").read_text()
    assert "omega of mnli" in drawing and "test accuracy (%)" in drawing
    assert all(word in drawing for word in found.caption().split())  # in as many lines as it takes
    if found is TWO:
        assert all(end in drawing for end in ends)
    with (tmp_path / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4
    assert [line["omega of mnli"] for line in lines] == [str(r.omega[0]) for r in found.runs]
    assert float(lines[1]["test accuracy"]) == found.runs[1].metrics["test"]["accuracy"]
    assert lines[0]["dev loss"] == "2.000000" and lines[0]["seconds"] == "12.3"
