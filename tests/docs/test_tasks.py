"""docs/tasks.md: its example of a new task works as it stands, and what it says of the tasks is so."""

import re
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.tasks import SUITES, catalogue, declared, load_task
from scalearn.tasks.declarations import Suite

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The page's suite, put where the page says."""
    room: dict[str, object] = {"__name__": "scalearn.tasks.paws"}
    exec(compile(BLOCK, "docs/tasks.md", "exec"), room)
    suite = room["PAWS"]
    assert isinstance(suite, Suite)
    monkeypatch.setattr(catalogue, "SUITES", (*SUITES, suite))
    monkeypatch.setitem(catalogue._DECLARED, suite.tasks[0].name, (suite, suite.tasks[0]))
    return suite


def test_the_examples_task_loads(suite: Suite, tmp_path: Path) -> None:
    features = Features(
        {"sentence1": Value("string"), "sentence2": Value("string"), "label": ClassLabel(names=["0", "1"])}
    )
    folder = tmp_path / "paws" / "labeled_final"
    folder.mkdir(parents=True)
    for split, count in (("train", 6), ("validation", 4), ("test", 2)):
        rows = {
            "sentence1": [f"{split} {i}" for i in range(count)],
            "sentence2": ["again"] * count,
            "label": [i % 2 for i in range(count)],
        }
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    task = load_task("paws", data=tmp_path)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 6, "dev": 4, "test": 2}
    assert task.splits["dev"]["text_a"][:] == [f"validation {i}" for i in range(4)]
    assert task.main_metric == "accuracy" and task.score([0, 1], [0, 0])["f1"] == 0.0
    assert catalogue.unpublished_rows(task) == {"train": (6, 49_401), "validation": (4, 8_000), "test": (2, 8_000)}


def test_the_example_is_not_in_the_catalogue_yet() -> None:
    assert all(suite.folder != "paws" for suite in SUITES)


@pytest.mark.parametrize("name", ["multirc", "record"])
def test_the_lengths_on_the_page(name: str) -> None:
    (line,) = re.findall(rf"^\| {name} \|.*$", PAGE, flags=re.MULTILINE)
    assert f"{declared(name).max_length} tokens" in line


def test_every_task_is_in_the_table() -> None:
    named = set(re.findall(r"[a-z0-9]+", " ".join(re.findall(r"^\| ([a-z0-9, ]+) \|", PAGE, flags=re.MULTILINE))))
    declared_names = {task.name for suite in SUITES[:2] for task in suite.tasks} - {"superglue-rte"}
    assert declared_names <= named
