"""docs/hub.md, run against the stand-in: every command and snippet, in order."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scalearn.cli import app
from scalearn.errors import InputError
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN
from scalearn.tasks import Task

PAGE = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
ROWS = "text,label\n" + "".join(f"a {word} film,{word}\nthe {word} one,{word}\n" for word in 3 * ["good", "bad"])


@pytest.fixture
def things(hub: Any, tmp_path: Path) -> None:
    """What the page has at hand: a shelf, a model over it, and rows."""
    for source in Shelf(BUILTIN).only(["cola", "rte"]):
        source.save(tmp_path / "shelf" / source.name)
    (tmp_path / "reviews.csv").write_text(ROWS)
    task = Task.from_files(tmp_path / "reviews.csv", text="text", label="label")
    model = TransferModel.from_backbone("minilm", task=task, sources=Shelf(tmp_path / "shelf"))
    model.save_pretrained(tmp_path / "runs/reviews")


def run(*words: str) -> str:
    """What a command prints, on both streams."""
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_page(hub: Any, things: None, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    said = []
    for language, body in BLOCKS:
        if language == "python":
            exec(body, names)
            said.append(capsys.readouterr().out)
            continue
        for line in body.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "scalearn"
            said.append(run(*words))
            if "--dry-run" in words:
                assert not hub.repositories
                assert "ann/reviews/sources/rte/source.safetensors" in said[-1] and "nothing was uploaded" in said[-1]
    assert f"runs/reviews is on {hub.url}/ann/reviews" in said[1]
    assert hub.repositories["ann/reviews"].private and set(hub.repositories["ann/reviews"].branches) == {
        "main",
        "first",
    }
    assert {"ann/shelf", "ann/glue-cola", "ann/glue-rte", "ann/rte-source"} <= set(hub.repositories)
    (collection,) = hub.collections
    assert re.fullmatch(r"ann/our-glue-sources-[0-9a-f]{24}", collection) and collection in said[3]
    first, second = said[5:7]
    assert first == second and first.startswith("label,bad,good\n")
    assert names["shelf"].names == ("cola", "rte") and names["several"].names == ("rte", "cola")
    assert Path("runs/mine/scalearn.json").is_file()
    where = [source.location for source in TransferModel.from_pretrained("runs/mine").sources]
    assert where == [
        f"hub:ann/shelf/{name}@{hub.repositories['ann/shelf'].branches['main']}" for name in ("cola", "rte")
    ]


def test_blocks_are_found() -> None:
    assert [language for language, _ in BLOCKS] == ["sh", "python", "sh", "python"]
    assert PAGE.count("tested in: tests/hub/test_page.py") == len(BLOCKS)


def test_what_train_wrote_is_a_model_and_a_source(
    hub: Any, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("scalearn.training.train")  # which a function of the same name hides
    monkeypatch.setattr(module, "can_embed", lambda: False)  # seconds, for nothing here
    Path("reviews.csv").write_text(ROWS)
    run(
        "train", "--train-file", "reviews.csv", "--backbone", tiny_backbone, "--out", "shelf/reviews", "--epochs", "1",
        "--quiet",
    )  # fmt: skip
    said = run("push", "shelf/reviews", "ann/both", "--backbone", "ann/tiny")
    assert "note:" not in said
    assert TransferModel.from_pretrained("ann/both", backbone=tiny_backbone).method.name == "adapter"
    (source,) = Shelf("ann/both")
    assert source.name == "reviews" and source.backbone.name == "ann/tiny"
    assert source.provenance["command"] is not None and tiny_backbone not in str(source.provenance)
    assert "As a source" in hub.repositories["ann/both"].files()["README.md"].decode()
    said = run("push", "shelf/reviews", "ann/both")
    assert f"note: the backbone was a folder ({tiny_backbone}), which is not uploaded" in said
    said = run("push", "shelf", "ann/glue", "--collection", "X", "--dry-run")
    assert "ann/glue-reviews/source.json" in said and "ann/glue/" not in said and "README.md" in said


NOT_PUSHED = {
    ("nowhere", "ann/x"): "nowhere is no folder of this machine with a model",
    ("ann/y", "ann/x"): "ann/y is no folder of this machine",
    (
        "runs",
        "ann/x",
    ): "runs is no folder of this machine with a model (scalearn.json), a source (source.json) or a shelf",
    ("builtin", "x"): "'x' is not the id of a repository on the Hub: give owner/name",
    ("builtin", "ann/x", "--include-sources"): "builtin is no model: leave out --sources and --include-sources",
    ("shelf/rte", "ann/x", "--collection", "X"): "shelf/rte is one model or source: a collection is for a shelf",
    ("runs/reviews", "ann/x", "--collection", "X"): "runs/reviews is one model or source",
}


def test_what_cannot_be_pushed(hub: Any, things: None) -> None:
    for words, reason in NOT_PUSHED.items():
        for dry in ((), ("--dry-run",)):
            with pytest.raises(InputError, match=re.escape(reason)):
                CliRunner().invoke(app, ["push", *words, *dry], catch_exceptions=False)
    assert not hub.repositories
