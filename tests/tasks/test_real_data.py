"""The suites as published, from the folder that the environment variable SCALEARN_DATA names; skipped without it.

SCALEARN_DATA=data pytest tests/tasks/test_real_data.py
"""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from scalearn.tasks import SUITES, Task, declared, load_task

DATA = Path(os.environ.get("SCALEARN_DATA", ""))
pytestmark = pytest.mark.skipif("SCALEARN_DATA" not in os.environ, reason="SCALEARN_DATA names no folder")

HERE = {"glue", "super_glue", "disaster_response"}
NAMES = [
    declaration.name
    for suite in SUITES
    if suite.folder in HERE
    for declaration in suite.tasks
    if declaration.name != "wnli"
]
OFFICIAL = [
    *("rte", "mrpc", "cola", "stsb", "sst2"),
    *("cb", "copa", "wsc", "wic", "multirc", "superglue-rte"),
    *(name for name in NAMES if name.startswith("disaster-")),
]
"""Tasks of which a folder is expected to hold every row."""


def folder(name: str) -> Path:
    """Where the rows of a task are."""
    suite = next(suite for suite in SUITES if declared(name) in suite.tasks)
    return DATA / suite.folder / ("" if suite.one_table else declared(name).config or name)


def published(name: str, split: str) -> Dataset:
    return Dataset(pq.ParquetFile(folder(name) / f"{split}-00000-of-00001.parquet").read())


@pytest.fixture(scope="module", params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param, data=DATA)


def test_every_task_loads(task: Task) -> None:
    declaration = declared(task.name)
    assert set(task.splits) == {"train", "dev", *(ours for ours, _ in declaration.tests)}
    for rows in task.splits.values():
        assert len(rows) > 0
        assert all(text.strip() for text in rows["text_a"][:])
    read = sum(len(published(task.name, split)) for split in declaration.published)
    kept = sum(map(len, task.splits.values()))
    assert kept > read if task.unit == "pick" else kept == read


def test_queries_are_whole_and_have_a_right_answer() -> None:
    task = load_task("record", data=DATA)
    assert not set(task.splits["train"]["question"][:]) & set(task.splits["dev"]["question"][:])
    for rows in task.splits.values():
        answered = {question for question, label in zip(rows["question"][:], rows["label"][:], strict=True) if label}
        assert answered == set(rows["question"][:])


@pytest.mark.parametrize("name", OFFICIAL)
def test_rows_are_as_many_as_were_published(name: str) -> None:
    rows = {split: len(published(name, split)) for split in declared(name).published}
    assert rows == declared(name).rows


@pytest.mark.parametrize("name", ["rte", "mrpc", "cola"])
def test_dev_is_the_stratified_tenth_of_datasets(name: str) -> None:
    parts = published(name, "train").train_test_split(test_size=0.1, seed=42, stratify_by_column="label")
    task = load_task(name, data=DATA)
    for ours, theirs in (("train", parts["train"]), ("dev", parts["test"])):
        for text, column in zip(("text_a", "text_b"), task.text, strict=False):
            assert task.splits[ours][text][:] == theirs[column][:]
        assert task.splits[ours]["label"][:] == theirs["label"][:]


def test_one_pronoun_a_row_is_starred() -> None:
    for rows in load_task("wsc", data=DATA).splits.values():
        assert all(text.count(" *") + text.startswith("*") == 1 for text in rows["text_a"][:])
