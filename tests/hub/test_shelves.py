"""Sources and shelves to the Hub and back: alone, in one repository, in a collection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, constants

from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN, Source

Make = Callable[..., Source]


def same(one: Source, other: Source) -> None:
    """Tensors and description agree."""
    assert one.tensors.keys() == other.tensors.keys()
    for key, value in one.tensors.items():
        torch.testing.assert_close(other.tensors[key], value, rtol=0, atol=0)
    for field in ("name", "task", "method", "options", "metrics", "embedding"):
        assert getattr(one, field) == getattr(other, field), field
    assert one.backbone.fingerprint == other.backbone.fingerprint


def test_a_source_comes_back(hub: Any, backbone: Backbone, make_source: Make) -> None:
    made = replace(make_source("rte", backbone), provenance={"command": "scalearn train rte --data /home/ann/glue"})
    pushed = made.push_to_hub("ann/rte")
    assert hub.repositories["ann/rte"].messages[-1] == "Source rte"
    for loaded in (Source.load("ann/rte"), *Shelf("ann/rte"), *Shelf.from_hub("ann/rte")):
        same(made, loaded)
        assert loaded.location == pushed.place
        assert loaded.provenance == {"command": "scalearn train rte --data glue"}
    assert hub.fetched() == {"source.json"}  # safetensors come from LFS
    assert 'sl.Shelf("ann/rte")' in hub.repositories["ann/rte"].files()["README.md"].decode()
    with pytest.raises(InputError, match="ann/rte has no revision 'old'"):
        Source.load("ann/rte", revision="old")


def test_sources_are_pinned_to_their_commit(hub: Any, backbone: Backbone, make_source: Make) -> None:
    old, new = make_source("rte", backbone, seed=1), make_source("rte", backbone, seed=2)
    first, second = old.push_to_hub("ann/rte"), new.push_to_hub("ann/rte")
    assert first.commit != second.commit
    same(old, Source.load(first.place))
    same(new, Source.load("ann/rte"))
    same(old, Source.load("ann/rte", revision=first.commit))


def test_a_shelf_in_one_repository(hub: Any, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = shelf.push_to_hub("ann/shelf")
    loaded = Shelf("ann/shelf")
    assert loaded.names == ("cola", "mrpc", "rte")
    for ours, theirs in zip(shelf, loaded, strict=True):
        same(ours, theirs)
        assert theirs.location == f"hub:ann/shelf/{ours.name}@{pushed.commit}"
        same(ours, Source.load(theirs.location))
    card = ModelCard(hub.repositories["ann/shelf"].files()["README.md"].decode())
    assert card.data.library_name == "scalearn" and "source" in card.data.tags
    assert "A shelf of 3 sources" in card.text and 'sl.Shelf("ann/shelf")' in card.text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Shelf("ann/shelf").names == Shelf(pushed.place).names == loaded.names


def test_a_smaller_shelf_replaces_a_larger_one(hub: Any, shelf: Shelf) -> None:
    shelf.push_to_hub("ann/shelf")
    shelf.only(["rte"]).push_to_hub("ann/shelf")
    assert Shelf("ann/shelf").names == ("rte",)
    assert not any(path.startswith("cola/") for path in hub.repositories["ann/shelf"].files())


def test_a_shelf_as_a_collection(hub: Any, shelf: Shelf) -> None:
    pushed = shelf.push_to_hub("ann/glue", collection="Sources for GLUE", private=True)
    assert set(hub.repositories) == {"ann/glue-cola", "ann/glue-mrpc", "ann/glue-rte"}
    assert all(repository.private for repository in hub.repositories.values())
    assert re.fullmatch(r"ann/sources-for-glue-[0-9a-f]{24}", pushed.place) and not pushed.commit
    assert pushed.url == f"{hub.url}/collections/{pushed.place}" and hub.collections[pushed.place]["private"]
    for place in (pushed.place, pushed.url, f"collections/{pushed.place}"):
        loaded = Shelf(place)
        assert loaded.names == shelf.names
    head = hub.repositories["ann/glue-rte"].branches["main"]
    assert loaded["rte"].location == f"hub:ann/glue-rte@{head}"
    assert shelf.push_to_hub("ann/glue", collection="Sources for GLUE", private=True).place == pushed.place
    assert len(hub.collections[pushed.place]["items"]) == 3


def test_other_things_in_a_collection(hub: Any, shelf: Shelf) -> None:
    pushed = shelf.push_to_hub("ann/glue", collection="Mixed")
    items = hub.collections[pushed.place]["items"]
    items.insert(0, {"_id": "9", "id": "nyu-mll/glue", "type": "dataset", "position": 9})
    assert Shelf(pushed.place).names == shelf.names
    hub.collections[pushed.place]["items"] = items[:1]
    with pytest.raises(InputError, match=f"the collection {pushed.place} holds zero models"):
        Shelf(pushed.place)


def test_a_collection_that_is_not_there(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slug = "ann/none-0123456789abcdef01234567"
    with pytest.raises(InputError, match=rf"the Hub refuses collections/{slug} \(404: .*\): check the name"):
        Shelf(slug)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=f"the Hub is not asked for collections/{slug}, for HF_HUB_OFFLINE is set"):
        Shelf(slug)


def test_several_places_make_a_shelf(hub: Any, shelf: Shelf, backbone: Backbone, make_source: Make) -> None:
    shelf.only(["rte", "cola"]).push_to_hub("ann/two")
    make_source("qqp", backbone).push_to_hub("ann/qqp")
    assert Shelf.from_hub("ann/qqp", "ann/two").names == ("qqp", "cola", "rte")
    with pytest.raises(InputError, match=r"two sources are named 'cola': hub:ann/two/cola@\w+ and hub:ann/two/cola@"):
        Shelf.from_hub("ann/two", "ann/two@main")


def test_from_hub_means_the_hub_even_where_a_folder_has_the_name(
    hub: Any, shelf: Shelf, backbone: Backbone, make_source: Make
) -> None:
    shelf.push_to_hub("ann/shelf")
    make_source("own", backbone).save(Path("ann/shelf/own"))
    assert Shelf("ann/shelf").names == ("own",)
    assert Shelf.from_hub("ann/shelf").names == Shelf("hub:ann/shelf").names == shelf.names


def test_a_name_that_no_repository_can_have(hub: Any, backbone: Backbone, make_source: Make) -> None:
    shelf = Shelf([make_source("rte", backbone), make_source("c++", backbone)])
    with pytest.raises(InputError, match=r"'ann/x-c\+\+' is not the id of a repository"):
        shelf.push_to_hub("ann/x", collection="X")
    assert not hub.repositories
    shelf.push_to_hub("ann/x")
    assert set(Shelf("ann/x").names) == {"rte", "c++"}


def test_an_altered_source_is_refused(hub: Any, shelf: Shelf) -> None:
    shelf.push_to_hub("ann/shelf")
    files = hub.repositories["ann/shelf"].files()
    files["mrpc/source.safetensors"] = files["rte/source.safetensors"]
    with pytest.raises(InputError, match=r"mrpc/source\.safetensors \(\d+ bytes\) has SHA-256"):
        Shelf("ann/shelf")


def test_nothing_is_stored_in_a_source_on_the_hub(hub: Any, backbone: Backbone, make_source: Make) -> None:
    make_source("rte", backbone).push_to_hub("ann/rte")
    with pytest.raises(InputError, match=r"source 'rte' lies on the Hub .*where nothing is stored: download it"):
        Source.load("ann/rte").store_embedding([1.0])


def test_the_shelf_that_ships_says_nothing_of_a_machine(hub: Any) -> None:
    Shelf(BUILTIN).push_to_hub("ann/minilm")
    for path, content in hub.repositories["ann/minilm"].files().items():
        assert not re.search(rb'["\'\s=](/|~/)\w', content) or path.endswith(".safetensors"), path
    described = json.loads(hub.repositories["ann/minilm"].files()["rte/source.json"])
    assert described["backbone"]["name"] == "minilm"
