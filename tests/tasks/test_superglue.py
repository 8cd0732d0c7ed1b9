"""SuperGLUE's cb and copa from a small folder laid out like the Hub's, which the tests write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.errors import InputError
from scalearn.tasks import load_task, task_names
from scalearn.tasks.superglue import SUPERGLUE

CB_LABELS = ["entailment", "contradiction", "neutral"]
COPA_LABELS = ["choice1", "choice2"]
ASKED = ["cause", "effect", "effect"]
"""Repeated over the rows of copa, of another period than the labels."""


def cb(rows: int, *, seed: int = 0) -> Dataset:
    texts = {column: [f"{column} {i} of {seed}" for i in range(rows)] for column in ("premise", "hypothesis")}
    values = np.random.default_rng(seed).integers(0, 3, rows).tolist()
    features = {column: Value("string") for column in texts} | {
        "idx": Value("int32"),
        "label": ClassLabel(names=CB_LABELS),
    }
    return Dataset.from_dict({**texts, "idx": list(range(rows)), "label": values}, features=Features(features))


def copa(rows: int, *, seed: int = 0) -> Dataset:
    columns: dict[str, list[Any]] = {
        **{column: [f"{column} {i} of {seed}." for i in range(rows)] for column in ("premise", "choice1", "choice2")},
        "question": [ASKED[i % 3] for i in range(rows)],
        "idx": list(range(rows)),
        "label": np.random.default_rng(seed).integers(0, 2, rows).tolist(),
    }
    features = {column: Value("string") for column in ("premise", "choice1", "choice2", "question")} | {
        "idx": Value("int32"),
        "label": ClassLabel(names=COPA_LABELS),
    }
    return Dataset.from_dict(columns, features=Features(features))


MAKE = {"cb": cb, "copa": copa}


def write(folder: Path, name: str, split: str, rows: Dataset) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / name / f"{split}-00000-of-00001.parquet")


def write_task(folder: Path, name: str, rows: int = 60) -> None:
    write(folder, name, "train", MAKE[name](rows))
    write(folder, name, "validation", MAKE[name](20, seed=1))


def test_they_are_known() -> None:
    assert {"cb", "copa"} <= set(task_names())


def test_cb(tmp_path: Path) -> None:
    write_task(tmp_path / "super_glue", "cb")
    task = load_task("cb", data=tmp_path)
    assert (task.name, task.kind, task.labels) == ("cb", "classification", tuple(CB_LABELS))
    assert (task.metrics, task.main_metric) == (("accuracy", "f1_macro"), "combined_score")
    parts = cb(60).train_test_split(test_size=0.1, seed=42)  # not stratified, as published
    for ours, theirs in (("train", parts["train"]), ("dev", parts["test"]), ("test", cb(20, seed=1))):
        split = task.splits[ours]
        assert split.column_names == ["text_a", "text_b", "label"]
        assert split["text_a"][:] == theirs["premise"][:]
        assert split["text_b"][:] == theirs["hypothesis"][:]
        assert split["label"][:] == theirs["label"][:]
    stratified = cb(60).train_test_split(test_size=0.1, seed=42, stratify_by_column="label")
    assert stratified["test"]["idx"][:] != parts["test"]["idx"][:], "else this test could not tell"


def test_cb_takes_few_rows(tmp_path: Path) -> None:
    """What a stratified tenth would refuse: there are fewer rows in dev than classes."""
    write_task(tmp_path, "cb", rows=12)
    task = load_task("cb", data=tmp_path)
    assert (len(task.splits["train"]), len(task.splits["dev"])) == (10, 2)


def test_copa(tmp_path: Path) -> None:
    write_task(tmp_path / "super_glue", "copa")
    task = load_task("copa", data=tmp_path)
    assert (task.name, task.kind, task.outputs) == ("copa", "multiple-choice", 1)
    assert task.text == ("premise",)
    assert task.choices == task.labels == ("choice1", "choice2")
    assert (task.metrics, task.main_metric) == (("accuracy",), "accuracy")
    parts = copa(60).train_test_split(test_size=0.1, seed=42, stratify_by_column="label")
    for ours, theirs in (("train", parts["train"]), ("dev", parts["test"]), ("test", copa(20, seed=1))):
        split = task.splits[ours]
        assert split.column_names == ["text_a", "choices", "label"]
        words = {"cause": " because", "effect": " so"}
        assert split["text_a"][:] == [row["premise"] + words[row["question"]] for row in theirs]
        assert split["choices"][:] == [[row["choice1"], row["choice2"]] for row in theirs]
        assert split["label"][:] == theirs["label"][:]
    assert {text.rsplit(" ", 1)[1] for text in task.splits["test"]["text_a"][:]} == {"because", "so"}


@pytest.mark.parametrize("name", ["cb", "copa"])
def test_reads_the_hub(tmp_path: Path, fake_hub: Callable[..., Any], name: str) -> None:
    write_task(tmp_path, name)
    make = MAKE[name]
    asked = fake_hub(name, {"train": make(60), "validation": make(20, seed=1), "test": make(4)})
    assert load_task(name).fingerprint() == load_task(name, data=tmp_path).fingerprint()
    assert asked == [(("aps/super_glue", name), {"revision": SUPERGLUE.revision})]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data of copa.*DIR/super_glue/copa/.*train-0.*validation-0"):
        load_task("copa", data=tmp_path)


def test_data_that_is_not_copa_is_refused(tmp_path: Path) -> None:
    write_task(tmp_path, "copa")
    good = copa(20)
    for bad, message in (
        (good.remove_columns("question"), "no column 'question'"),
        (good.remove_columns("choice2"), "no column 'choice2'.*did you mean 'choice1'"),
        (good.cast_column("label", ClassLabel(names=["no", "yes"])), "the classes are no, yes, not choice1, choice2"),
        (Dataset.from_dict({**good[:], "label": [0, -1] * 10}), r"row 2 has the label -1 \(withheld\)"),
        (Dataset.from_dict({**good[:], "label": [0, 2] * 10}), "row 2 has the label 2;"),
        (Dataset.from_dict({**good[:], "choice2": [None, *good["choice2"][1:]]}), "'choice2' holds cells"),
    ):
        write(tmp_path, "copa", "validation", bad)
        with pytest.raises(InputError, match=f"copa, split validation: .*{message}"):
            load_task("copa", data=tmp_path)


@pytest.mark.parametrize("column", ["question", "premise"])
def test_a_question_or_premise_of_another_kind_is_refused(tmp_path: Path, column: str) -> None:
    write_task(tmp_path, "copa")
    good = copa(20)
    cell = "why" if column == "question" else None
    write(tmp_path, "copa", "validation", Dataset.from_dict({**good[:], column: [cell, *good[column][1:]]}))
    with pytest.raises(InputError, match=f"copa.*{column}"):
        load_task("copa", data=tmp_path)
