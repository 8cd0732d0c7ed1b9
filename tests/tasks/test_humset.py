"""HumSet and the crisis messages: five multi-label tasks over one small table, which the tests write."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from huggingface_hub.utils import httpx

from scalearn.errors import InputError
from scalearn.tasks import load_task, task_names

COLUMNS = ("sectors", "pillars_1d", "subpillars_1d", "pillars_2d", "subpillars_2d")
FOLDERS = {"humset": "humset", "disaster": "disaster_response"}
ROWS: dict[str, list[list[str]]] = {
    "train": [["WASH", "Health"], [], ["Health"], ["Shelter"]],
    "validation": [["Agriculture"], ["WASH"]],  # a label that occurs nowhere else
    "test": [["health", "Shelter"], [], ["WASH"]],  # and another
}
LABELS = ("Agriculture", "Health", "Shelter", "WASH", "health")


def table(split: str, **changes: Any) -> Dataset:
    """One split; each column has labels of its own, marked with its name but for sectors."""
    rows = ROWS[split]
    columns: dict[str, Any] = {"lang": ["en"] * len(rows), "excerpt": [f"{split} {i}" for i in range(len(rows))]}
    for column in COLUMNS:
        columns[column] = rows if column == "sectors" else [[f"{column} {name}" for name in row] for row in rows]
    features = {name: List(Value("string")) if name in COLUMNS else Value("string") for name in columns}
    if changes:
        return Dataset.from_dict({**columns, **changes})
    return Dataset.from_dict(columns, features=Features(features))


def write(folder: Path, prefix: str, **changes: Dataset) -> None:
    own = folder / FOLDERS[prefix]
    own.mkdir(parents=True, exist_ok=True)
    for split in ROWS:
        changes.get(split, table(split)).to_parquet(own / f"{split}-00000-of-00001.parquet")


def test_ten_names() -> None:
    assert {f"{prefix}-{column}" for prefix in FOLDERS for column in COLUMNS} <= set(task_names())


@pytest.mark.parametrize("prefix", FOLDERS)
@pytest.mark.parametrize("column", COLUMNS)
def test_splits_are_the_suites_own(tmp_path: Path, prefix: str, column: str) -> None:
    write(tmp_path, prefix)
    task = load_task(f"{prefix}-{column}", data=tmp_path)
    marked = LABELS if column == "sectors" else tuple(f"{column} {name}" for name in LABELS)
    assert (task.kind, task.labels, task.outputs) == ("multi-label", marked, 5)
    assert (task.text, task.label, task.choices) == (("excerpt",), column, ())
    assert set(task.splits) == {"train", "dev", "test"}
    for ours, theirs in (("train", "train"), ("dev", "validation"), ("test", "test")):
        split = task.splits[ours]
        assert split.column_names == ["text_a", "label"]
        assert split["text_a"][:] == table(theirs)["excerpt"][:]
        assert split["label"][:] == [[int(name in row) for name in LABELS] for row in ROWS[theirs]]


def test_metrics(tmp_path: Path) -> None:
    write(tmp_path, "humset")
    task = load_task("humset-sectors", data=tmp_path)
    assert task.metrics == (
        *("f1_macro", "precision_macro", "recall_macro"),
        *("f1_micro", "precision_micro", "recall_micro"),
        "subset_accuracy",
    )
    assert task.main_metric == "f1_macro"


def test_the_two_suites_do_not_read_each_other(tmp_path: Path) -> None:
    write(tmp_path, "disaster")
    load_task("disaster-sectors", data=tmp_path)
    with pytest.raises(InputError, match=r"no data of humset-sectors.*DIR/humset/ with train-00000-of-00001.parquet"):
        load_task("humset-sectors", data=tmp_path)


def test_label_order_does_not_depend_on_the_process(tmp_path: Path) -> None:
    write(tmp_path, "humset")
    program = (
        "import sys; from scalearn.tasks import load_task; "
        "task = load_task('humset-sectors', data=sys.argv[1]); print(task.labels, task.fingerprint())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = load_task("humset-sectors", data=tmp_path)
    assert outputs == {f"{here.labels} {here.fingerprint()}\n"}


def test_disaster_is_not_on_the_hub() -> None:
    with pytest.raises(InputError) as caught:
        load_task("disaster-pillars_1d")
    message = str(caught.value)
    for part in (
        "disaster-pillars_1d is not on the Hub",
        "--data DIR",
        "DIR/disaster_response/ with train-0",
        "test-0",
    ):
        assert part in message
    assert "\n" not in message


def test_humset_is_read_from_the_hub_as_one_table(tmp_path: Path, fake_hub: Callable[..., Any]) -> None:
    write(tmp_path, "humset")
    asked = fake_hub("humset-pillars_2d", {split: table(split) for split in ROWS})
    ours = load_task("humset-pillars_2d")
    assert ours.fingerprint() == load_task("humset-pillars_2d", data=tmp_path).fingerprint()
    where = "hf://datasets/nlp-thedeep/humset/data"
    files = {split: f"{where}/{split}.jsonl" for split in ("train", "validation", "test")}
    assert asked == [(("json",), {"data_files": files})]


def test_a_hub_that_cannot_be_reached_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def hub(*_: object, **__: object) -> DatasetDict:
        raise httpx.ConnectError("refused")  # no OSError, unlike what an offline hub raises

    monkeypatch.setattr("datasets.load_dataset", hub)
    with pytest.raises(
        InputError, match=r"humset-sectors: cannot read nlp-thedeep/humset from the Hub: refused;.*--data"
    ):
        load_task("humset-sectors")


def test_lists_as_text_and_positions_of_classes_are_names_too(tmp_path: Path) -> None:
    """As a CSV export and as the Hub's own conversion to Parquet write them."""
    write(tmp_path, "humset")
    lists = load_task("humset-sectors", data=tmp_path)
    written = {split: table(split, sectors=[str(row) for row in ROWS[split]]) for split in ROWS}
    write(tmp_path, "humset", **written)
    assert load_task("humset-sectors", data=tmp_path).fingerprint() == lists.fingerprint()
    names = ["unused", *reversed(LABELS)]
    for split in ROWS:
        positions = table(split, sectors=[[names.index(name) for name in row] for row in ROWS[split]])
        written[split] = positions.cast_column("sectors", List(ClassLabel(names=names)))
    write(tmp_path, "humset", **written)
    assert load_task("humset-sectors", data=tmp_path).fingerprint() == lists.fingerprint()


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "humset")
    (tmp_path / "humset" / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"holds no validation-00000-of-00001\.parquet"):
        load_task("humset-sectors", data=tmp_path)


def test_cells_that_are_no_lists_of_names_are_refused(tmp_path: Path) -> None:
    for cells in (["WASH", "Health"], [["WASH"], None], [[1], [2]], ["['WASH']", "__import__('os')"], ["[", "{}"]):
        write(tmp_path, "humset", validation=table("validation", sectors=cells))
        with pytest.raises(
            InputError, match=r"humset, split validation: row [12] has .* for sectors, not a list of names"
        ):
            load_task("humset-sectors", data=tmp_path)
    assert load_task("humset-pillars_1d", data=tmp_path).splits["dev"].num_rows == 2, "the other columns are whole"


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "humset", test=table("test").rename_column("sectors", "sector"))
    with pytest.raises(InputError, match=r"humset, split test: there is no column 'sectors'.*did you mean 'sector'"):
        load_task("humset-sectors", data=tmp_path)


def test_excerpts_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "humset", test=table("test", excerpt=["a", None, "b"]))
    with pytest.raises(InputError, match="humset, split test: column 'excerpt' holds cells that are not text"):
        load_task("humset-sectors", data=tmp_path)
