"""Sources on disk, every way a file can be wrong, and the shelf."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn.backbones import Backbone, BackboneReference
from scalearn.errors import InputError
from scalearn.shelf import Shelf
from scalearn.sources import Source

Make = Callable[..., Source]


@pytest.fixture
def folder(shelf_folder: Path) -> Path:
    """One saved source."""
    return shelf_folder / "mrpc"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits a JSON file by hand."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# ---- one source


def test_round_trip(folder: Path, backbone: Backbone, make_source: Make) -> None:
    before, after = make_source("mrpc", backbone), Source.load(folder)
    assert after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(value, before.tensors[key]) for key, value in after.tensors.items())
    assert replace(after, tensors={}, sha256="", location="") == replace(before, tensors={})
    assert after.location == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "source.json", "source.safetensors"]


def test_bottlenecks_hold_the_tensors(folder: Path) -> None:
    source = Source.load(folder)
    layers = source.deltas()["layer"]
    assert len(layers) == 2
    for index, layer in enumerate(layers):
        for key, value in layer.state_dict().items():
            assert torch.equal(value, source.tensors[f"layers.{index}.{key}"])


def test_half_precision_storage(tmp_path: Path, backbone: Backbone, make_source: Make) -> None:
    source = make_source("mrpc", backbone)
    source.save(tmp_path / "half", dtype=torch.float16)
    source.save(tmp_path / "full")
    loaded = Source.load(tmp_path / "half")
    assert {value.dtype for value in loaded.tensors.values()} == {torch.float16}
    for index, layer in enumerate(loaded.deltas()["layer"]):
        assert layer.up.weight.dtype == torch.float32
        torch.testing.assert_close(layer.up.weight, source.tensors[f"layers.{index}.up.weight"], rtol=1e-3, atol=1e-4)
    sizes = [(tmp_path / name / "source.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.75 * sizes[1]


def test_double_precision_stays(backbone: Backbone, make_source: Make) -> None:
    source = make_source("mrpc", backbone)
    double = replace(source, tensors={key: value.double() for key, value in source.tensors.items()})
    assert double.deltas()["layer"][0].down.weight.dtype == torch.float64


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", "", ".", "..", ".hidden", "a b", "-x", "a\n", "ä"])
def test_a_name_that_is_no_plain_folder_name_is_refused(name: str, backbone: Backbone, make_source: Make) -> None:
    with pytest.raises(InputError, match=re.escape(f"source name {name!r}")):
        make_source(name, backbone)


@pytest.mark.parametrize("name", ["mrpc", "sst2.v2", "A_b-c+d", "0"])
def test_a_plain_name_is_taken(name: str, backbone: Backbone, make_source: Make) -> None:
    assert make_source(name, backbone).name == name


def test_saving_over_a_source_is_refused(folder: Path, backbone: Backbone, make_source: Make) -> None:
    other = make_source("mrpc", backbone, seed=99)
    with pytest.raises(InputError, match="exists already"):
        other.save(folder)
    assert not torch.equal(Source.load(folder).tensors["layers.0.up.bias"], other.tensors["layers.0.up.bias"])
    other.save(folder, overwrite=True)
    assert torch.equal(Source.load(folder).tensors["layers.0.up.bias"], other.tensors["layers.0.up.bias"])


# ---- damaged files


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip_last_byte])
def test_altered_weights_are_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    path = folder / "source.safetensors"
    damage(path)
    with pytest.raises(InputError, match=rf"{path} \(\d+ bytes\) has SHA-256 .* as recorded: it was cut short or"):
        Source.load(folder)


@pytest.mark.parametrize("name", ["source.json", "source.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{folder / name} does not exist"):
        Source.load(folder)


def test_weights_that_are_not_safetensors_are_refused(folder: Path) -> None:
    import hashlib

    path = folder / "source.safetensors"
    path.write_bytes(b"not tensors")
    edit(folder / "source.json", lambda it: it.update(sha256=hashlib.sha256(b"not tensors").hexdigest()))
    with pytest.raises(InputError, match=f"{path} is not a whole safetensors file"):
        Source.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\xff"])
def test_a_description_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "source.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=str(folder / "source.json")):
        Source.load(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(folder: Path, version: object) -> None:
    edit(folder / "source.json", lambda it: it.update(format_version=version))
    with pytest.raises(InputError, match=rf"source\.json has format_version {version!r}, this scalearn reads 1"):
        Source.load(folder)


@pytest.mark.parametrize(
    "field", ["name", "backbone", "task", "method", "options", "metrics", "provenance", "sha256", "format_version"]
)
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    edit(folder / "source.json", lambda it: it.pop(field))
    with pytest.raises(InputError, match=rf"source\.json .*{field}"):
        Source.load(folder)


@pytest.mark.parametrize("value", [5, None, ["mrpc"], {}])
@pytest.mark.parametrize("field", ["name", "sha256", "backbone"])
def test_a_field_of_another_type_is_refused(folder: Path, field: str, value: object) -> None:
    edit(folder / "source.json", lambda it: it.update({field: value}))
    with pytest.raises(InputError, match=str(folder)):
        Source.load(folder)


@pytest.mark.parametrize(
    ("field", "value"), [("width", 17), ("width", "16"), ("layers", 3), ("layers", 1), ("layers", "2"), ("depth", 2)]
)
def test_a_backbone_that_contradicts_the_tensors_is_refused(folder: Path, field: str, value: object) -> None:
    edit(folder / "source.json", lambda it: it["backbone"].update({field: value}))
    with pytest.raises(InputError, match=str(folder)):
        Source.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("layers.1.up.bias"),
        lambda tensors: tensors.pop("layers.0.down.weight"),
        lambda tensors: tensors.update({"layers.1.up.gate": torch.zeros(2)}),
        lambda tensors: tensors.update({"layers.0.up.weight": torch.zeros(4, 16)}),
        lambda tensors: tensors.update({"layers.0.down.weight": torch.zeros(16)}),
    ],
    ids=["no bias", "no weight", "a stranger", "transposed", "flat"],
)
def test_tensors_of_another_shape_are_refused(
    tmp_path: Path, backbone: Backbone, make_source: Make, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    source = make_source("mrpc", backbone)
    tensors = dict(source.tensors)
    change(tensors)
    odd = replace(source, tensors=tensors)
    with pytest.raises(InputError, match="source 'mrpc'"):
        odd.save(tmp_path / "never")
    assert not (tmp_path / "never").exists()
    (tmp_path / "odd").mkdir()
    odd.write_into(tmp_path / "odd")
    with pytest.raises(InputError, match=r"source 'mrpc' \(.*odd\)"):
        Source.load(tmp_path / "odd")


# ---- shelves


def test_a_folder_is_a_shelf_in_order_of_names(shelf_folder: Path) -> None:
    shelf = Shelf(shelf_folder)
    assert shelf.names == ("cola", "mrpc", "rte")
    assert [source.name for source in shelf] == ["cola", "mrpc", "rte"]
    assert len(shelf) == 3
    assert shelf["mrpc"].location == str(shelf_folder / "mrpc")


def test_one_source_is_a_shelf(folder: Path) -> None:
    assert Shelf(folder).names == ("mrpc",)


def test_unfinished_and_other_folders_are_passed_over(shelf_folder: Path) -> None:
    shutil.copytree(shelf_folder / "mrpc", shelf_folder / ".mrpc.x1y2")
    (shelf_folder / "notes").mkdir()
    assert Shelf(str(shelf_folder)).names == ("cola", "mrpc", "rte")


@pytest.mark.parametrize("place", ["empty", "missing"])
def test_a_shelf_without_sources_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=str(tmp_path / place)):
        Shelf(tmp_path / place)


def test_two_sources_of_one_name_are_refused(shelf_folder: Path) -> None:
    shutil.copytree(shelf_folder / "mrpc", shelf_folder / "again")
    with pytest.raises(InputError, match=r"two sources are named 'mrpc': .*again and .*mrpc; rename one"):
        Shelf(shelf_folder)


def test_only_keeps_the_order_given(shelf: Shelf) -> None:
    assert shelf.only(["rte", "cola"]).names == ("rte", "cola")


def test_without(shelf: Shelf) -> None:
    assert shelf.without(["mrpc"]).names == ("cola", "rte")
    assert shelf.names == ("cola", "mrpc", "rte")


@pytest.mark.parametrize(
    "choose",
    [
        lambda shelf: shelf.only(["mrpc", "sst2", "qqp"]),
        lambda shelf: shelf.without(["sst2", "qqp"]),
        lambda shelf: (shelf["sst2"], shelf["qqp"]),
    ],
    ids=["only", "without", "[]"],
)
def test_an_unknown_name_is_refused_with_those_there_are(shelf: Shelf, choose: Callable[[Shelf], object]) -> None:
    with pytest.raises(InputError, match=r"no source named .*'sst2'.*; there are cola, mrpc, rte"):
        choose(shelf)


# ---- does it fit?


def test_sources_fit_their_backbone(shelf: Shelf, backbone: Backbone) -> None:
    shelf.check_fits(backbone)


def test_zero_sources_do_not_fit(shelf: Shelf, backbone: Backbone) -> None:
    with pytest.raises(InputError, match="zero sources"):
        shelf.without(shelf.names).check_fits(backbone)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("fingerprint", "f" * 64, r"was trained on .* \(ffffffff\), not on"),
        ("width", 17, r"has width 17 and 2 layers .* has width 16 and 2 layers"),
        ("layers", 3, r"has width 16 and 3 layers .* has width 16 and 2 layers"),
    ],
)
def test_every_source_of_another_backbone_is_named(
    shelf: Shelf, backbone: Backbone, field: str, value: object, reason: str
) -> None:
    other = BackboneReference.of(backbone).model_copy(update={field: value})
    mixed = Shelf([shelf["cola"], *(replace(shelf[name], backbone=other) for name in ("mrpc", "rte"))])
    with pytest.raises(InputError, match=rf"^source 'mrpc' {reason}.*; source 'rte' {reason}") as error:
        mixed.check_fits(backbone)
    assert "cola" not in str(error.value)
