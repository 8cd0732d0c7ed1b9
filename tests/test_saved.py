"""A saved model's folder: what is in it, and every way it can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn.errors import InputError
from scalearn.methods import ScaLearn
from scalearn.model import TransferModel
from scalearn.saved import SavedModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task


@pytest.fixture
def folder(tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path) -> Path:
    """A saved ScaLearn model."""
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=ScaLearn(dropout=0.1), sources=shelf)
    model.save_pretrained(tmp_path / "out")
    return tmp_path / "out"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits scalearn.json by hand."""
    path = folder / "scalearn.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_read(folder: Path, task: Task) -> None:
    saved = SavedModel.read(folder)
    assert (saved.method, saved.task, saved.pooling) == (ScaLearn(dropout=0.1), task, "first")
    assert [source.name for source in saved.sources] == ["cola", "mrpc", "rte"]
    assert [source.location for source in saved.sources] == ["../shelf/cola", "../shelf/mrpc", "../shelf/rte"]
    assert saved.facts["trained_parameters"]["method"] == 2 * 3 * 16


def test_reading_and_writing_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    SavedModel.read(folder).write(tmp_path / "again")
    for name in ("scalearn.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_sources_are_found_where_they_were(folder: Path, shelf: Shelf) -> None:
    found = SavedModel.read(folder).find_sources(folder)
    assert found is not None and found.names == shelf.names
    for ours, theirs in zip(found, shelf, strict=True):
        assert all(torch.equal(value, theirs.tensors[key]) for key, value in ours.tensors.items())


def test_a_shelf_that_moved_is_asked_for(folder: Path) -> None:
    (folder.parent / "shelf").rename(folder.parent / "moved")
    fault = rf"source 'cola' of {folder} is not in {folder.parent}/shelf/cola any more: give its shelf .*--sources"
    with pytest.raises(InputError, match=fault):
        SavedModel.read(folder).find_sources(folder)
    assert SavedModel.read(folder).find_sources(folder, Shelf(folder.parent / "moved")) is not None


def test_a_model_without_sources_has_none_to_find(tiny_backbone: str, task: Task, shelf: Shelf, tmp_path: Path) -> None:
    TransferModel.from_backbone(tiny_backbone, task=task, method="head").save_pretrained(tmp_path / "head")
    assert SavedModel.read(tmp_path / "head").find_sources(tmp_path / "head", shelf) is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip_last_byte])
def test_altered_weights_are_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder / "model.safetensors")
    with pytest.raises(InputError, match=r"out/model\.safetensors \(\d+ bytes\) has SHA-256 .* as recorded"):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize("damage", [truncate, flip_last_byte])
def test_an_altered_source_is_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder.parent / "shelf" / "mrpc" / "source.safetensors")
    with pytest.raises(InputError, match=r"mrpc/source\.safetensors \(\d+ bytes\) has SHA-256"):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["scalearn.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{folder / name} does not exist"):
        TransferModel.from_pretrained(folder)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/scalearn\.json does not exist"):
        TransferModel.from_pretrained(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(folder: Path, version: object) -> None:
    edit(folder, lambda it: it.update(format_version=version))
    with pytest.raises(InputError, match=rf"scalearn\.json has format_version {version!r}, this scalearn reads 1"):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize("field", ["backbone", "pooling", "task", "method", "sources", "sha256", "format_version"])
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    edit(folder, lambda it: it.pop(field))
    with pytest.raises(InputError, match=rf"scalearn\.json .*{field}"):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize("value", [5, None, ["x"], {}, "x"])
@pytest.mark.parametrize("field", ["backbone", "pooling", "task", "method", "sources", "sha256"])
def test_a_field_of_another_type_is_refused(folder: Path, field: str, value: object) -> None:
    edit(folder, lambda it: it.update({field: value}))
    with pytest.raises(InputError):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it["method"].update(name="scalern"), "did you mean 'scalearn'"),
        (lambda it: it["method"]["options"].update(dropout=2), "method 'scalearn': dropout"),
        (lambda it: it["method"].pop("options"), "options"),
        (lambda it: it["task"].update(kind="poetry"), "kind"),
        (lambda it: it["task"].pop("labels"), "labels"),
        (lambda it: it.update(tasks=[it["task"]]), r"names 2 tasks .* does not go with method 'scalearn'"),
        (lambda it: it.update(tasks=[it.pop("task")]), r"names 1 tasks .* does not go with method 'scalearn'"),
        (
            lambda it: it["task"]["labels"].append("neutral"),
            r"head\.out\.weight has shape \(2, 16\), expected \(3, 16\)",
        ),
        (lambda it: it.update(pooling="max"), "pooling: .*'first', 'mean' or 'last', given 'max'"),
        (lambda it: it["backbone"].update(fingerprint="f" * 64), "ffffffff"),
        (lambda it: it["backbone"].update(layers=3), "3 layers"),
        (lambda it: it["backbone"].pop("width"), "width"),
        (lambda it: it["backbone"].update(name=5), "5"),
        (lambda it: it["sources"].pop(), r"omega\.values has shape \(3, 16\), expected \(2, 16\)"),
        (lambda it: it["sources"][0].update(sha256="0" * 64), "source 'cola' .* was trained with 000000000000"),
        (lambda it: it["sources"][0].update(sha256=0), r"sources\.0\.sha256.*given 0"),
        (lambda it: it["sources"][0].update(location=5), "location|cola"),
        (lambda it: it["sources"][0].update(location="../nowhere"), r"nowhere any more: give its shelf"),
        (lambda it: it["sources"][0].update(name="sst2"), "no source named 'sst2'"),
        (lambda it: it["sources"][0].pop("sha256"), "sha256"),
        (lambda it: it["sources"].append(it["sources"][0]), "two sources are named 'cola'"),
    ],
)
def test_a_hand_edited_description_is_refused_with_the_reason(
    folder: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit(folder, change)
    with pytest.raises(InputError, match=reason):
        TransferModel.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_description_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "scalearn.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=str(folder / "scalearn.json")):
        TransferModel.from_pretrained(folder)


def test_nothing_is_pickled(folder: Path) -> None:
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".md", ".safetensors"}
