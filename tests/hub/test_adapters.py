"""Adapters of the adapters library on the Hub, imported; the stand-in serves no backbones, so that one is local."""

import sys
from pathlib import Path
from typing import Any

import pytest

from scalearn.cli import main
from scalearn.shelf import Shelf

BERT = Path(__file__).parents[1] / "fixtures" / "adapterhub" / "bert"


def files_of(folder: Path, *, below: str = "") -> dict[str, bytes]:
    """The files of a folder, as they are called in a repository."""
    return {below + path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def repositories(hub: Any, stand_in: Any) -> Any:
    """A repository with one adapter, and one with two."""
    for name, files in {
        "AdapterHub/bert-pf-nli": files_of(BERT / "flex") | {"README.md": b"of old"},
        "ann/several": files_of(BERT / "s0", below="s0/") | files_of(BERT / "s1", below="s1/"),
    }.items():
        hub.repositories[name] = stand_in.Repository()
        hub.repositories[name].commit(files)
    return hub


def scalearn(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["scalearn", *words, "--backbone", str(BERT / "base")])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_an_adapter_is_fetched_without_what_is_not_read(
    repositories: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert scalearn(monkeypatch, "import", "AdapterHub/bert-pf-nli", "--out", "shelf") == 0
    (source,) = Shelf(tmp_path / "shelf")
    assert source.name == "flex"
    commit = repositories.repositories["AdapterHub/bert-pf-nli"].commit_of("main")
    assert source.provenance["imported_from"] == f"hub:AdapterHub/bert-pf-nli@{commit}"
    (snapshot,) = (tmp_path / "cache").glob("*/snapshots/*")
    assert {path.name for path in snapshot.iterdir()} == {
        "adapter_config.json",
        "head_config.json",
        "pytorch_adapter.bin",
    }


def test_adapters_in_subfolders(
    repositories: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert scalearn(monkeypatch, "import", "hub:ann/several/s0", "hub:ann/several/s1@main", "--out", "shelf") == 0
    assert Shelf(tmp_path / "shelf").names == ("s0", "s1")
    assert scalearn(monkeypatch, "import", "ann/several", "--out", "other") == 2
    assert "ann/several on the Hub has no adapter_config.json" in " ".join(capsys.readouterr().err.split())
