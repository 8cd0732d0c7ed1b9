"""Models to the Hub and back: the same answers, all that others need, nothing of this machine."""

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

from scalearn.backbones import Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import Adapter
from scalearn.model import TransferModel
from scalearn.saved import SavedModel
from scalearn.serving import MultiTaskPredictor
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN, Source
from scalearn.tasks import Task

FACTS: dict[str, Any] = {
    "metrics": {"dev": {"accuracy": 0.75}},
    "provenance": {
        "command": "scalearn transfer --train-file /home/ann/secret.csv --sources ../../ours/shelf --out runs/x",
        "rows": {"train": 40},
        "note": ["kept in /srv/private", "and nowhere else"],
    },
}


@pytest.fixture
def model(tiny_backbone: str, task: Task, shelf: Shelf) -> TransferModel:
    """ScaLearn over sources that lie on this machine, with coefficients of its own."""
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="scalearn", sources=shelf)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    return model.eval()


def answers(model: TransferModel | JointModel, **task: str) -> torch.Tensor:
    columns = {"text_a": ["a good film", "bad and long", "the b c"]}
    return model.logits(model.encode(columns, **task), **task)  # type: ignore[arg-type]


def test_a_model_comes_back_with_all_it_needs(
    hub: Any, model: TransferModel, tiny_backbone: str, shelf_folder: Path
) -> None:
    pushed = model.push_to_hub("ann/reviews", extra=FACTS)
    repository = hub.repositories["ann/reviews"]
    assert not repository.private and repository.messages[-1] == "scalearn on reviews"
    assert pushed.url == f"{hub.url}/ann/reviews" and pushed.place == f"hub:ann/reviews@{pushed.commit}"
    assert repository.branches["main"] == pushed.commit
    shelf_folder.rename(shelf_folder.with_name("gone"))
    for place in ("ann/reviews", pushed.place, f"ann/reviews@{pushed.commit}"):
        loaded = TransferModel.from_pretrained(place, backbone=tiny_backbone)
        torch.testing.assert_close(answers(loaded), answers(model), rtol=0, atol=0)
    assert loaded.facts["metrics"] == FACTS["metrics"]
    assert [source.location for source in loaded.sources] == [
        f"hub:ann/reviews/sources/{name}@{pushed.commit}" for name in ("cola", "mrpc", "rte")
    ]


def test_nothing_of_this_machine_is_uploaded(hub: Any, model: TransferModel, tmp_path: Path) -> None:
    model.push_to_hub("ann/reviews", extra=FACTS)
    files = hub.repositories["ann/reviews"].files()
    for name, content in files.items():
        for place in (str(tmp_path.parent), "/home", "/srv", "../", "/tmp", "ours/"):
            assert place.encode() not in content, (name, place)
    described = json.loads(files["scalearn.json"])
    assert described["backbone"]["name"] == "./tiny"
    assert described["provenance"] == {
        "command": "scalearn transfer --train-file secret.csv --sources shelf --out runs/x",
        "rows": {"train": 40},
        "note": ["kept in private", "and nowhere else"],
    }


def test_the_card_is_the_hubs(hub: Any, model: TransferModel) -> None:
    model.push_to_hub("ann/reviews", extra=FACTS, revision="v1", backbone="google-bert/bert-base-uncased")
    files = hub.repositories["ann/reviews"].files("v1")
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "scalearn" and {"adapter", "scalearn"} <= set(card.data.tags)
    assert card.data.base_model == "google-bert/bert-base-uncased"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.75, "dev")
    assert 'sl.TransferModel.from_pretrained("ann/reviews@v1")' in card.text
    assert "scalearn predict ann/reviews@v1 '<text>'" in card.text
    source = ModelCard(files["sources/rte/README.md"].decode())
    assert source.data.base_model == card.data.base_model
    assert "--sources hub:ann/reviews/sources/rte@v1" in source.text


def test_only_what_is_needed_is_fetched(hub: Any, model: TransferModel, tiny_backbone: str) -> None:
    model.push_to_hub("ann/reviews")
    files = hub.repositories["ann/reviews"].files()
    files |= {"pytorch_model.bin": b"\x80", "sources/rte/adapter.bin": b"\x80", "x.py": b"raise SystemExit"}
    TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)
    sources = {f"sources/{name}/source.json" for name in ("cola", "mrpc", "rte")}
    assert hub.fetched() == {"scalearn.json"} | sources  # safetensors come from LFS
    assert not any(request.endswith((".bin", ".py", ".md")) for request in hub.requests)


def test_sources_that_others_can_find_stay_where_they_are(
    hub: Any, backbone: Backbone, tiny_backbone: str, task: Task, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    make_source("cola", backbone).push_to_hub("ann/cola")
    theirs = Source.load("ann/cola")
    own = make_source("mrpc", backbone).save(tmp_path / "mrpc")
    model = TransferModel.from_backbone(tiny_backbone, task=task, sources=Shelf([theirs, own]))
    model.push_to_hub("ann/reviews")
    described = json.loads(hub.repositories["ann/reviews"].files()["scalearn.json"])
    assert [source["location"] for source in described["sources"]] == [theirs.location, "sources/mrpc"]
    hub.repositories["ann/cola"].commit({}, message="all gone from main")
    loaded = TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)
    torch.testing.assert_close(answers(loaded), answers(model))
    model.save_pretrained(tmp_path / "out")
    locations = [source.location for source in SavedModel.read(tmp_path / "out").sources]
    assert locations == [theirs.location, "../mrpc"]
    torch.testing.assert_close(
        answers(TransferModel.from_pretrained(tmp_path / "out", backbone=tiny_backbone)), answers(model)
    )
    model.push_to_hub("ann/whole", include_sources=True)
    assert "sources/cola/source.safetensors" in hub.repositories["ann/whole"].files()


def test_sources_that_ship_are_not_uploaded(hub: Any, task: Task) -> None:
    model = TransferModel.from_backbone("minilm", task=task, sources=Shelf(BUILTIN).only(["rte", "cola"]))
    model.push_to_hub("ann/small")
    files = hub.repositories["ann/small"].files()
    assert set(files) == {".gitattributes", "README.md", "model.safetensors", "scalearn.json"}
    loaded = TransferModel.from_pretrained("ann/small")
    assert [source.location for source in loaded.sources] == [BUILTIN, BUILTIN]


def test_what_a_later_model_lacks_goes_away_and_other_files_stay(
    hub: Any, model: TransferModel, tiny_backbone: str, task: Task
) -> None:
    model.push_to_hub("ann/reviews")
    hub.repositories["ann/reviews"].files()["LICENSE"] = b"mine"
    TransferModel.from_backbone(tiny_backbone, task=task, method="head").push_to_hub("ann/reviews")
    files = hub.repositories["ann/reviews"].files()
    assert set(files) == {".gitattributes", "LICENSE", "README.md", "model.safetensors", "scalearn.json"}


def test_joint_models(hub: Any, tiny_backbone: str, task: Task) -> None:
    model = JointModel.from_backbone(tiny_backbone, tasks=[task, replace(task, name="other")], method="hyperformer++")
    pushed = model.eval().push_to_hub("ann/both", private=True, commit_message="Both")
    assert hub.repositories["ann/both"].private and hub.repositories["ann/both"].messages[-1] == "Both"
    loaded = JointModel.from_pretrained("ann/both", backbone=tiny_backbone, revision=pushed.commit)
    assert loaded.tasks.keys() == {"reviews", "other"}
    torch.testing.assert_close(answers(loaded, task="other"), answers(model, task="other"))
    with pytest.raises(InputError, match=r"is a model of several tasks \(reviews, other\)"):
        TransferModel.from_pretrained("ann/both", backbone=tiny_backbone)


def test_branches(hub: Any, model: TransferModel, tiny_backbone: str, task: Task) -> None:
    model.push_to_hub("ann/reviews")
    other = TransferModel.from_backbone(tiny_backbone, task=task, method=Adapter(bottleneck=2))
    other.push_to_hub("ann/reviews", revision="small")
    for revision, method in ((None, "scalearn"), ("small", "adapter"), ("main", "scalearn")):
        loaded = TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone, revision=revision)
        assert loaded.method.name == method
    assert TransferModel.from_pretrained("ann/reviews@small", backbone=tiny_backbone).method.name == "adapter"
    with pytest.raises(InputError, match="ann/reviews has no revision 'v9': give a branch, a tag or a commit"):
        TransferModel.from_pretrained("ann/reviews@v9", backbone=tiny_backbone)


def test_what_was_fetched_is_found_offline(
    hub: Any, model: TransferModel, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.push_to_hub("ann/reviews")
    TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    loaded = TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)
    torch.testing.assert_close(answers(loaded), answers(model))
    assert len(hub.requests) == asked
    with pytest.raises(InputError, match=r"ann/other is not in the Hub's cache .* HF_HUB_OFFLINE is set: unset it"):
        TransferModel.from_pretrained("ann/other")
    with pytest.raises(InputError, match="the Hub is not asked for ann/reviews, for HF_HUB_OFFLINE is set"):
        model.push_to_hub("ann/reviews")


def test_no_network(hub: Any, model: TransferModel, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    with pytest.raises(InputError, match=rf"ann/reviews is no folder here; .*{closed} cannot be reached"):
        TransferModel.from_pretrained("ann/reviews")
    with pytest.raises(InputError, match=rf"{closed}/ann/reviews cannot be reached \(.*refused.*\): try again"):
        model.push_to_hub("ann/reviews")


def test_strangers_see_no_private_model(
    hub: Any, model: TransferModel, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.push_to_hub("ann/secret", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        InputError, match=r"there is no ann/secret on the Hub that you may read: .*if it is private, log"
    ):
        TransferModel.from_pretrained("ann/secret", backbone=tiny_backbone)
    TransferModel.from_pretrained("ann/secret", backbone=tiny_backbone, token="hf_ann")


def test_gated_models_are_said_to_be(
    hub: Any, model: TransferModel, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.push_to_hub("ann/reviews")
    hub.repositories["ann/reviews"].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(InputError, match=rf"ann/reviews is gated: ask for access on {hub.url}/ann/reviews"):
        TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)


def test_who_may_not_write_is_told(hub: Any, model: TransferModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"the Hub refuses bob/reviews \(403: .*\): log in with `hf auth login`"):
        model.push_to_hub("bob/reviews")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match=r"the Hub refuses ann/reviews \(401: .*\): log in"):
        model.push_to_hub("ann/reviews")
    assert not hub.repositories


def test_a_private_model_is_not_put_where_all_can_see_it(hub: Any, model: TransferModel) -> None:
    model.push_to_hub("ann/reviews")
    before = hub.repositories["ann/reviews"].branches["main"]
    with pytest.raises(InputError, match="ann/reviews exists and is public: make it private on its page"):
        model.push_to_hub("ann/reviews", private=True)
    assert hub.repositories["ann/reviews"].branches["main"] == before


def test_a_repository_of_something_else_is_said_to_be(hub: Any, stand_in: Any) -> None:
    hub.repositories["ann/bert"] = stand_in.Repository()
    hub.repositories["ann/bert"].commit({"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(InputError, match=r"ann/bert on the Hub has no scalearn\.json or model\.safetensors"):
        TransferModel.from_pretrained("ann/bert")
    assert not hub.fetched()


# ---- what others wrote is not trusted


def alter(hub: Any, path: str, change: Callable[[bytes], bytes]) -> None:
    """Alters a file on the server, as a new commit."""
    repository = hub.repositories["ann/reviews"]
    files = dict(repository.files())
    files[path] = change(files[path])
    repository.commit(files, message="altered")


@pytest.mark.parametrize("path", ["model.safetensors", "sources/mrpc/source.safetensors"])
def test_altered_tensors_are_refused(hub: Any, model: TransferModel, tiny_backbone: str, path: str) -> None:
    model.push_to_hub("ann/reviews")
    alter(hub, path, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=rf"{re.escape(path)} \(\d+ bytes\) has SHA-256 .* as recorded"):
        TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)


def test_a_source_of_another_hash_is_refused(hub: Any, model: TransferModel, tiny_backbone: str) -> None:
    """Its own description agrees with it, the model's does not."""
    model.push_to_hub("ann/reviews")
    files = hub.repositories["ann/reviews"].files()
    alter(hub, "sources/mrpc/source.safetensors", lambda _: files["sources/rte/source.safetensors"])
    sha256 = json.loads(files["sources/rte/source.json"])["sha256"]
    alter(hub, "sources/mrpc/source.json", lambda old: json.dumps(json.loads(old) | {"sha256": sha256}).encode())
    with pytest.raises(InputError, match=r"source 'mrpc' .* but .* was trained with"):
        TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)


def point(hub: Any, section: str, change: Callable[[Any], object]) -> None:
    """Alters a part of the uploaded scalearn.json."""

    def changed(old: bytes) -> bytes:
        described = json.loads(old)
        change(described[section])
        return json.dumps(described).encode()

    alter(hub, "scalearn.json", changed)


def test_a_downloaded_model_cannot_name_folders_of_this_machine(
    hub: Any, model: TransferModel, tiny_backbone: str, shelf_folder: Path
) -> None:
    """Not even one that holds the very source."""
    model.push_to_hub("ann/reviews")
    for location in (
        "../../../../../shelf/cola", "..", "sources/../../x", f"{shelf_folder}/cola", "C:/shelf/cola",
        "..\\shelf\\cola", "~/../x",
    ):  # fmt: skip
        point(hub, "sources", lambda sources, location=location: sources[0].update(location=location))
        with pytest.raises(InputError, match=r"was downloaded and says that its source 'cola' .*which is not read"):
            TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)
    loaded = TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone, sources=Shelf(shelf_folder))
    torch.testing.assert_close(answers(loaded), answers(model))


def test_a_downloaded_model_cannot_climb_by_the_hub_either(hub: Any, model: TransferModel, tiny_backbone: str) -> None:
    model.push_to_hub("ann/reviews")
    for location in ("hub:../x", "hub:ann/x/../../y", "hub:ann/x@../../y"):
        point(hub, "sources", lambda sources, location=location: sources[0].update(location=location))
        with pytest.raises(InputError, match=f"{re.escape(repr(location))} is no place on the Hub"):
            TransferModel.from_pretrained("ann/reviews", backbone=tiny_backbone)


def test_a_downloaded_model_cannot_name_a_backbone_of_this_machine(
    hub: Any, model: TransferModel, tiny_backbone: str
) -> None:
    model.push_to_hub("ann/reviews")
    for name in (tiny_backbone, "./tiny", "../x", "a/b/c", "..", "C:\\x"):
        point(hub, "backbone", lambda backbone, name=name: backbone.update(name=name))
        with pytest.raises(InputError, match=r"a backbone that is not on the Hub .*bert of width 16.*: give it with"):
            TransferModel.from_pretrained("ann/reviews")
    assert TransferModel.from_pretrained("ann/reviews", backbone=load_backbone(tiny_backbone)).task.name == "reviews"


def test_models_of_the_hub_are_served(hub: Any, model: TransferModel, tiny_backbone: str) -> None:
    first = model.push_to_hub("ann/reviews")
    model.push_to_hub("ann/others")
    served = MultiTaskPredictor.from_folders([f"ann/reviews@{first.commit}", "ann/others"], backbone=tiny_backbone)
    (expected,) = model.predict(["a good film"])
    for name in ("reviews", "others"):
        (found,) = served.predict([(name, "a good film")])
        assert found.label == expected.label
