"""The model of a comparison that dev rows prefer, and its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments import Run, compare
from scalearn.experiments.best import best_of, best_place, keep
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task


@pytest.fixture
def compared(task: Task, shelf_folder: Path, tiny_backbone: str, tmp_path: Path) -> Callable[..., list[Run]]:
    """Runs of one epoch, kept in ``runs``."""

    def run(**how: Any) -> list[Run]:
        how = {"methods": ["adapter", "scalearn-uniform"], "seeds": [0], **how}
        sources, folder = Shelf(shelf_folder), tmp_path / "runs"
        return compare(
            task, **how, sources=sources, backbone=tiny_backbone, changes={"epochs": 1}, folder=folder, progress=False
        )

    return run


@pytest.mark.parametrize(
    ("devs", "expected"),
    [
        ((0.9, 0.6, 0.1, 0.8), ("scalearn-uniform", 1)),  # the highest score of all is of a method with a lower mean
        ((0.75, 0.5, 0.5, 0.75), ("adapter", 0)),  # of equal means the method named first
        ((0.5, 0.75, 0.5, 0.75), ("scalearn-uniform", 0)),  # of equal seeds the first
    ],
)
def test_dev_rows_decide(devs: tuple[float, ...], expected: tuple[str, int]) -> None:
    runs = [
        Run(
            method=("adapter", "scalearn-uniform")[index % 2],
            seed=index // 2,
            own=False,
            rows={},
            parameters={},
            metrics={"dev": {"accuracy": dev}, "test": {"accuracy": 1 - dev}},
            epochs=1,
            seconds=1,
            model=f"{index}",
            peak_memory=0,
        )
        for index, dev in enumerate(devs)
    ]
    best = best_of(runs, main_metric="accuracy")
    assert (best.method, best.seed) == expected


@pytest.mark.parametrize("how", [{}, {"own": True}, {"top_sources": 2}], ids=["shelf", "own", "top"])
def test_a_copy_finds_its_sources_and_replaces_the_one_before(
    how: dict[str, Any], compared: Callable[..., list[Run]], shelf_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    place = best_place(folder, sources=Shelf(shelf_folder), own=bool(how.get("own")))
    assert place.name == ("best-own" if how.get("own") else "best")
    for run in compared(**how):
        keep(run, folder, place)
        model = TransferModel.from_pretrained(place)
        assert model.method.name == run.method and model.facts["trained_parameters"] == run.parameters
    assert len(model.sources) == {"own": 4, "top_sources": 2}.get(next(iter(how), ""), 3)
    whole = {path.name: path.read_bytes() for path in (folder / run.model).iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == whole
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "nothing is left over"


def test_what_stands_in_its_place_is_told_before_training(shelf_folder: Path, tmp_path: Path) -> None:
    shelf = Shelf(shelf_folder)
    (tmp_path / "best").mkdir()
    best_place(tmp_path, sources=shelf)  # empty
    (tmp_path / "best" / "notes.txt").write_text("mine")
    with pytest.raises(
        InputError, match=r"best is not replaced: it holds other things .*, of the comparison \(--out\)"
    ):
        best_place(tmp_path, sources=shelf)
    (tmp_path / "best-own").write_text("mine")
    with pytest.raises(InputError, match=r"best-own is a file, .* give another folder \(--out\)"):
        best_place(tmp_path, sources=shelf, own=True)
    shutil.rmtree(tmp_path / "best")
    shutil.copytree(shelf_folder / "rte", tmp_path / "best")
    with pytest.raises(InputError, match=r"sources rte stand in .*best, which is replaced"):
        best_place(tmp_path, sources=Shelf([Source.load(tmp_path / "best")]))


def test_a_model_that_is_gone_is_named(compared: Callable[..., list[Run]], tmp_path: Path) -> None:
    (run,) = compared(methods=["head"])
    shutil.rmtree(tmp_path / "runs" / run.model)
    with pytest.raises(InputError, match=rf"the head of seed 0, is not there any more: remove .*{run.model}\.json"):
        keep(run, tmp_path / "runs", tmp_path / "runs" / "best")
    assert not (tmp_path / "runs" / "best").exists()
    (tmp_path / "runs" / f"{run.model}.json").unlink()
    (again,) = compared(methods=["head"])
    keep(again, tmp_path / "runs", tmp_path / "runs" / "best")
    assert replace(again, seconds=0, peak_memory=0) == replace(run, seconds=0, peak_memory=0)
