"""docs/adding-a-method.md, run as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from scalearn import methods
from scalearn.backbones import load_backbone
from scalearn.experiments.counting import count
from scalearn.methods import REGISTRY, Entry, changed, method_from_name, recipe_for, single
from scalearn.model import TransferModel
from scalearn.tasks import Task
from scalearn.training import train

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"
BLOCKS = {
    block.splitlines()[0].removeprefix("# "): block
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
}
DELTA, CLASS, ROW, TEST = BLOCKS
"""Each block says in its first line where it goes."""


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The page's method, put where the page says."""
    module = ModuleType("scalearn.deltas.ssf")
    exec(compile(BLOCKS[DELTA], DELTA, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    room = dict(vars(single))
    exec(compile(BLOCKS[CLASS], CLASS, "exec"), room)
    (entry,) = eval(compile("\n".join(BLOCKS[ROW].splitlines()[1:]), ROW, "eval"), room)
    monkeypatch.setitem(REGISTRY, entry.method.name, entry)
    return entry


def test_the_page_names_files_of_this_house() -> None:
    root = PAGE.parents[1]
    assert [path.partition(":")[0] for path in BLOCKS] == [
        "src/scalearn/deltas/ssf.py",
        "src/scalearn/methods/single.py",
        "src/scalearn/methods/single.py",
        "tests/deltas/test_ssf.py",
    ]
    assert (root / "src/scalearn/methods/single.py").is_file() and (root / "tests/deltas").is_dir()
    assert {"single", "transfer", "joint"} <= set(vars(methods))


def test_the_example_is_short() -> None:
    assert sum(len(block.splitlines()) for block in BLOCKS.values()) < 60


def test_it_is_not_in_the_registry_yet() -> None:
    assert "ssf" not in REGISTRY


def test_the_pages_own_test_passes(entry: Entry) -> None:
    found: dict[str, object] = {}
    exec(compile(BLOCKS[TEST], TEST, "exec"), found)
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_it_trains_two_steps_and_comes_back(entry: Entry, task: Task, tiny_backbone: str, tmp_path: Path) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=entry.method.name)
    plain = TransferModel.from_backbone(tiny_backbone, task=task, method="head")
    texts = ["the good film", "a bad film"]
    rows = model.encode({"text_a": texts})
    torch.testing.assert_close(model.logits(rows), plain.logits(rows))  # as the page says, training starts from there

    recipe = changed(recipe_for(entry.method), {"epochs": 1, "batch_size": 16})
    assert len(task.splits["train"]) == 32
    train(model, tmp_path / "ssf", recipe=recipe, progress=False)
    for delta in model.deltas:
        assert delta.scale.abs().min() > 0 and delta.shift.abs().min() > 0

    loaded = TransferModel.from_pretrained(tmp_path / "ssf")
    assert loaded.method == entry.method == method_from_name("ssf")
    torch.testing.assert_close(loaded.logits(rows), model.logits(rows), rtol=0, atol=0)
    assert loaded.predict(texts) == model.predict(texts)
    backbone = load_backbone(tiny_backbone)
    assert not any("delta" in name for name, _ in backbone.model.named_parameters())


def test_its_count_is_the_one_on_the_page(entry: Entry) -> None:
    (said,) = re.findall(r"ssf: ([\d,]+) parameters on minilm", PAGE.read_text(encoding="utf-8"))
    assert count(entry.method)["method"] == int(said.replace(",", ""))
