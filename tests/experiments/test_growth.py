"""A shelf that grows: each target has the sources of those before it, never its own, and nothing is trained twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments import growth
from scalearn.experiments.grown import Asked
from scalearn.experiments.growth import Grown, grow
from scalearn.methods import Recipe, ScaLearn
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were trained into, as it happens."""
    original, folders = growth.train, []

    def train(model: TransferModel, folder: Path, **how: Any) -> Any:
        folders.append(f"{folder.parent.name}/{folder.name}")
        return original(model, folder, **how)

    monkeypatch.setattr(growth, "train", train)
    return folders


def run(tiny_backbone: str, shelf: Path, tasks: list[Task], **how: Any) -> list[Grown]:
    how = {"out": shelf.parent / "runs", "changes": {"epochs": 1}, **how}
    return grow(shelf, tasks, backbone=tiny_backbone, progress=False, **how)


def named(task: Task, *names: str) -> list[Task]:
    return [replace(task, name=name) for name in names]


def test_from_nothing_each_target_has_those_before_it(
    tiny_backbone: str, task: Task, tmp_path: Path, trained: list[str]
) -> None:
    shelf = tmp_path / "shelf"
    first, second, third = run(tiny_backbone, shelf, named(task, "one", "two", "three"))
    assert trained == ["shelf/one", "runs/two", "shelf/two", "runs/three", "shelf/three"]
    assert (first.sources, second.sources, third.sources) == ((), ("one",), ("one", "two"))
    assert Shelf(shelf).names == ("one", "three", "two")
    assert first.score(first.transferred, "dev") is None and 0 <= (third.score(third.transferred, "dev") or -1) <= 100
    assert third.own == Source.load(shelf / "three").metrics and third.rows == 32
    assert TransferModel.from_pretrained(tmp_path / "runs" / "three").task.name == "three"
    trained.clear()
    again = run(tiny_backbone, shelf, named(task, "one", "two", "three"))
    assert trained == [] and [one.sources for one in again] == [(), ("one",), ("one", "two")], (
        "no later target's source"
    )


def test_a_source_that_adds_nothing_is_told(tiny_backbone: str, task: Task, shelf_folder: Path) -> None:
    still = {"changes": {"steps": 1, "learning_rate": 1e-12, "head_learning_rate": 1e-12}}
    for name, how, idle in (("idle", still, True), ("moved", {"protocol": "large"}, False)):
        (grown,) = run(tiny_backbone, shelf_folder, named(task, name), **how)
        assert grown.idle == idle
        (again,) = run(tiny_backbone, shelf_folder, named(task, name), **how)
        assert again.idle == idle, "also of one that is found"


def test_what_is_there_is_not_trained_again(
    tiny_backbone: str, task: Task, shelf_folder: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tiny_backbone, shelf_folder, named(task, "one"))
    assert trained == ["runs/one", "shelf/one"]
    stops = growth.train

    def train(model: TransferModel, folder: Path, **how: Any) -> Any:
        if folder.parent.name == "shelf":
            raise KeyboardInterrupt  # between the two parts of a target
        return stops(model, folder, **how)

    monkeypatch.setattr(growth, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_backbone, shelf_folder, named(task, "one", "two"))
    monkeypatch.setattr(growth, "train", stops)
    trained.clear()
    after = run(tiny_backbone, shelf_folder, named(task, "one", "two"))
    assert trained == ["shelf/two"]
    assert replace(after[0], seconds=before[0].seconds) == before[0]
    assert after[1].sources == ("cola", "mrpc", "one", "rte")


def test_a_targets_own_data_never_enter_its_transfer(
    tiny_backbone: str, task: Task, shelf_folder: Path, trained: list[str]
) -> None:
    (mine,) = run(tiny_backbone, shelf_folder, named(task, "rte"))
    assert mine.sources == ("cola", "mrpc") and trained == ["runs/rte"], "its source was there"
    other = replace(Source.load(shelf_folder / "cola"), name="renamed", sha256="")
    other.save(shelf_folder / "renamed")
    (mine,) = run(tiny_backbone, shelf_folder, named(task, "cola"))
    assert mine.sources == ("mrpc", "rte"), "whatever its source is called"


def test_sources_beside_the_shelf_give_way_to_those_on_it(
    tiny_backbone: str, task: Task, shelf: Shelf, tmp_path: Path
) -> None:
    one, two = run(tiny_backbone, tmp_path / "own", named(task, "rte", "two"), beside=shelf)
    assert one.sources == ("cola", "mrpc") and two.sources == ("cola", "mrpc", "rte")
    combined = TransferModel.from_pretrained(tmp_path / "runs" / "two").sources[2]
    assert combined.sha256 == Source.load(tmp_path / "own" / "rte").sha256


def test_what_was_made_otherwise_is_refused(
    tiny_backbone: str, task: Task, shelf_folder: Path, trained: list[str]
) -> None:
    run(tiny_backbone, shelf_folder, named(task, "one"))
    trained.clear()
    place, fewer = shelf_folder.parent / "runs" / "one", task.take(train_rows=20, seed=0)
    refused: list[tuple[str, dict[str, Any]]] = [
        (r"method scalearn, not scalearn\+\+: give another folder", {"method": "scalearn++"}),
        ("option keep none, not 2", {"method": ScaLearn(keep=2)}),
        ("seed 0, not 1: give", {"seed": 1}),
        ("epochs 1, not 2: give", {"changes": {"epochs": 2}}),
        ("patience 2, not 3; epochs 1, not 2: give", {"changes": {"epochs": 2, "patience": 3}}),
        ("32 training rows, not 20: give", {"tasks": named(fewer, "one")}),
        (
            "other rows: give",
            {"tasks": named(replace(task, splits={**task.splits, "dev": fewer.splits["train"]}), "one")},
        ),
    ]
    for said, how in refused:
        with pytest.raises(InputError, match=f"{place} was made with .*{said}"):
            run(tiny_backbone, shelf_folder, **{"tasks": named(task, "two", "one"), **how})
    (place / "grown.json").unlink()  # as made by another command: what is known is compared
    with pytest.raises(InputError, match="epochs 1, not 2: give another folder"):
        run(tiny_backbone, shelf_folder, named(task, "one"), changes={"epochs": 2})
    run(tiny_backbone, shelf_folder, named(task, "one"))
    assert trained == [], "all are refused before anything is trained"


def test_a_source_that_was_grown_otherwise_is_refused_and_another_is_taken(
    tiny_backbone: str, task: Task, tmp_path: Path, trained: list[str]
) -> None:
    run(tiny_backbone, tmp_path / "shelf", named(task, "one"))
    for out in ("runs", "others"):
        with pytest.raises(InputError, match="shelf/one was made with epochs 1, not 2: give another shelf"):
            run(tiny_backbone, tmp_path / "shelf", named(task, "one"), changes={"epochs": 2}, out=tmp_path / out)
    (tmp_path / "shelf" / "one" / "grown.json").unlink()
    run(tiny_backbone, tmp_path / "shelf", named(task, "one"), changes={"epochs": 2})
    assert trained == ["shelf/one"]


def test_an_option_of_a_later_version_is_no_difference(tiny_backbone: str, task: Task) -> None:
    recipe = Recipe(learning_rate=1e-3, head_learning_rate=1e-3, epochs=2)
    asked = Asked.of(ScaLearn(), recipe, task, seed=0, backbone=tiny_backbone)
    kept = {"method": "scalearn", "options": {"uniform": False}, "recipe": {"epochs": 2, "gone": 1}}
    assert list(asked.differences(kept)) == []
    kept["recipe"] = {"steps": 7, "epochs": 2}
    assert list(asked.differences(kept)) == ["steps 7, not none"]


def test_bad_input_is_refused_before_anything_is_trained(
    tiny_backbone: str, task: Task, pair_task: Task, shelf_folder: Path, trained: list[str]
) -> None:
    with pytest.raises(InputError, match="targets one are named twice"):
        run(tiny_backbone, shelf_folder, named(task, "one", "one"))
    with pytest.raises(InputError, match="has no train rows"):
        run(tiny_backbone, shelf_folder, [*named(task, "one"), pair_task])
    with pytest.raises(InputError, match="is one source, not a shelf"):
        run(tiny_backbone, shelf_folder / "rte", named(task, "one"))
    with pytest.raises(InputError, match="would hold sources and transferred models"):
        run(tiny_backbone, shelf_folder.parent / "runs", named(task, "one"))
    assert trained == []
