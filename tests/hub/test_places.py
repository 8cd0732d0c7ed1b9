"""How places on the Hub are written, told from folders, and refused."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id

from scalearn.errors import InputError
from scalearn.hub import (
    collection_slug,
    fetch,
    is_downloaded,
    is_repo_id,
    local_or_fetched,
    place_of,
    split_place,
    within,
)
from scalearn.pushing import called

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text", ["ann/reviews", "AdapterHub/roberta-base-pf-mnli", "a/b_", "a1/b.c-d", "x/" + 96 * "y"]
)
def test_ids(text: str) -> None:
    assert is_repo_id(text)
    validate_repo_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "reviews",
        "a/b/c",
        "../b",
        "a/..",
        "./b",
        "/a/b",
        "a/b/",
        "-a/b",
        "a/b.",
        "a--b/c",
        "a/b.git",
        "a/b c",
        "é/b",
        "a/b@main",
        "hub:a/b",
        "x/" + 97 * "y",
        "a/b\n",
        "C:\\a/b",
    ],
)
def test_no_ids(text: str) -> None:
    assert not is_repo_id(text)
    with pytest.raises(InputError, match="is not the id of a repository on the Hub: give owner/name"):
        fetch(text, files=["*"])


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("ann/shelf", ("ann/shelf", "", None)),
        ("ann/shelf@v1", ("ann/shelf", "", "v1")),
        ("ann/shelf@feature/new", ("ann/shelf", "", "feature/new")),
        (f"hub:ann/shelf/rte@{SHA}", ("ann/shelf", "rte", SHA)),
        ("hub:ann/shelf/sources/c++", ("ann/shelf", "sources/c++", None)),
    ],
)
def test_places(place: str, parts: tuple[str, str, str | None]) -> None:
    assert split_place(place) == parts


@pytest.mark.parametrize(
    "place",
    [
        "ann",
        "ann/shelf@",
        "hub:ann/shelf/..",
        "hub:ann/shelf/../x",
        "hub:../x",
        "hub:/etc/passwd",
        "hub:ann/shelf//x",
        "ann/shelf@../../x",
        "ann/shelf@a/../b",
        "hub:ann/shelf/.git",
        "hub:ann/shelf/a\\b",
    ],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(InputError, match="is no place on the Hub: give owner/name, or hub:"):
        split_place(place)


def test_a_folder_that_exists_is_meant_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs/rte").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert local_or_fetched("runs/rte", files=["x"]) == Path("runs/rte")


def test_a_path_that_can_be_no_id_is_left_for_the_caller_to_miss() -> None:
    assert local_or_fetched("runs/glue/rte", files=["x"]) == Path("runs/glue/rte")


def test_a_revision_in_two_places_is_refused() -> None:
    with pytest.raises(InputError, match="ann/x@v1 names a revision, and so does revision='v2'"):
        local_or_fetched("ann/x@v1", files=["x"], revision="v2")


def test_a_revision_cannot_leave_the_cache() -> None:
    with pytest.raises(InputError, match=r"'\.\./\.\./x' is no revision of ann/x"):
        fetch("ann/x", files=["x"], revision="../../x")


@pytest.mark.parametrize("revision", ["a b", "../main", "", "a\nb"])
def test_a_branch_that_can_be_none_is_refused_before_anything_is_written(revision: str) -> None:
    with pytest.raises(InputError, match="can be no branch of ann/reviews"):
        called("ann/reviews", {"revision": revision})
    assert called("ann/reviews", {"revision": "release/2.0"}) == "ann/reviews@release/2.0"


def test_places_of_cached_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--ann--my-shelf" / "snapshots" / SHA
    assert place_of(folder) == f"hub:ann/my-shelf@{SHA}"
    assert place_of(folder / "rte") == f"hub:ann/my-shelf/rte@{SHA}"
    assert split_place(f"hub:ann/my-shelf/rte@{SHA}") == ("ann/my-shelf", "rte", SHA)
    assert is_downloaded(folder) and is_downloaded(tmp_path / "models--gpt2/snapshots" / SHA)
    assert place_of(tmp_path / "other") is None and place_of(tmp_path.parent / "x") is None
    assert not is_downloaded(tmp_path.parent / "x")


def test_places_within_places() -> None:
    assert within("ann/shelf@v1", "rte") == "hub:ann/shelf/rte@v1"
    assert within("ann/shelf", "sources/rte") == "hub:ann/shelf/sources/rte"
    assert within(".", "sources/rte") == "."


@pytest.mark.parametrize(
    "text", ["{}", "collections/{}", "https://huggingface.co/collections/{}", "http://127.0.0.1:8000/collections/{}"]
)
def test_collections(text: str) -> None:
    slug = "ann/my-shelf-0123456789abcdef01234567"
    assert collection_slug(text.format(slug)) == slug


@pytest.mark.parametrize(
    "text", ["ann/my-shelf", "ann/my-shelf-0123456789abcdef0123456", "../x-0123456789abcdef01234567"]
)
def test_no_collections(text: str) -> None:
    assert collection_slug(text) is None
