"""GLUE from a small folder laid out like the Hub's, which the tests write."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.errors import InputError
from scalearn.tasks import load_task, suites
from scalearn.tasks.declarations import Declaration
from scalearn.tasks.glue import GLUE

DECLARED = {declaration.name: declaration for declaration in GLUE.tasks}


def published(declaration: Declaration, rows: int, *, seed: int = 0) -> Dataset:
    """Rows with the Hub's columns and features."""
    generator = np.random.default_rng(seed)
    names = list(declaration.labels)
    texts = {column: [f"{column} {i}" for i in range(rows)] for column in declaration.text}
    values = generator.integers(0, len(names), rows) if names else generator.uniform(0, 5, rows)
    features = {column: Value("string") for column in texts} | {
        "label": ClassLabel(names=names) if names else Value("float32"),
        "idx": Value("int32"),
    }
    columns = {**texts, "label": values.tolist(), "idx": list(range(rows))}
    return Dataset.from_dict(columns, features=Features(features))


def write(folder: Path, declaration: Declaration, split: str, rows: Dataset) -> None:
    (folder / declaration.name).mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / declaration.name / f"{split}-00000-of-00001.parquet")


def write_task(folder: Path, name: str, rows: int = 60) -> Declaration:
    declaration = DECLARED[name]
    write(folder, declaration, "train", published(declaration, rows))
    for seed, (_, split) in enumerate(declaration.tests, start=1):
        write(folder, declaration, split, published(declaration, 20, seed=seed))
    return declaration


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_every_task_as_published(tmp_path: Path, name: str) -> None:
    declaration = write_task(tmp_path / "glue", name)
    task = load_task(name, data=tmp_path)
    raw = published(declaration, 60)
    parts = raw.train_test_split(test_size=0.1, seed=42, stratify_by_column="label" if declaration.labels else None)
    for ours, theirs in {
        "train": parts["train"],
        "dev": parts["test"],
        **{ours: published(declaration, 20, seed=seed) for seed, (ours, _) in enumerate(declaration.tests, start=1)},
    }.items():
        split = task.splits[ours]
        assert split.column_names == [*("text_a", "text_b")[: len(declaration.text)], "label"]
        for text, column in zip(("text_a", "text_b"), declaration.text, strict=False):
            assert split[text][:] == theirs[column][:]
        assert split["label"][:] == theirs["label"][:]
    assert task.text == declaration.text
    assert task.labels == declaration.labels
    assert task.kind == ("classification" if declaration.labels else "regression")


def test_metrics_are_the_benchmarks() -> None:
    metrics = {name: declaration.metrics for name, declaration in DECLARED.items()}
    assert metrics == {
        **dict.fromkeys(("rte", "sst2", "qnli", "mnli", "wnli"), ("accuracy",)),
        **dict.fromkeys(("mrpc", "qqp"), ("accuracy", "f1")),
        "cola": ("matthews",),
        "stsb": ("pearson", "spearman"),
    }


def test_main_metric(tmp_path: Path) -> None:
    for name, main in (
        ("rte", "accuracy"),
        ("cola", "matthews"),
        ("mrpc", "combined_score"),
        ("stsb", "combined_score"),
    ):
        write_task(tmp_path, name)  # without the suite's folder, which is fine as well
        assert load_task(name, data=tmp_path).main_metric == main


def test_both_validation_sets_of_mnli(tmp_path: Path) -> None:
    write_task(tmp_path, "mnli")
    task = load_task("mnli", data=tmp_path)
    assert set(task.splits) == {"train", "dev", "test", "test_mismatched"}
    assert task.splits["test"]["label"][:] != task.splits["test_mismatched"]["label"][:]


def test_larger_split_is_datasets_own() -> None:
    rows = published(DECLARED["mnli"], 1237)
    parts = rows.train_test_split(test_size=0.1, seed=42, stratify_by_column="label")
    train, dev = suites.split_train(rows, stratified=True)
    assert (train["idx"][:], dev["idx"][:]) == (parts["train"]["idx"][:], parts["test"]["idx"][:])


def test_plain_integer_labels_and_shards(tmp_path: Path) -> None:
    declaration = write_task(tmp_path, "rte")
    whole = load_task("rte", data=tmp_path)
    plain = published(declaration, 60).cast_column("label", Value("int64"))
    folder = tmp_path / "rte"
    (folder / "train-00000-of-00001.parquet").unlink()
    plain.select(range(25)).to_parquet(folder / "train-00000-of-00002.parquet")
    with pytest.raises(InputError, match="copy all"):
        load_task("rte", data=tmp_path)
    plain.select(range(25, 60)).to_parquet(folder / "train-00001-of-00002.parquet")
    assert load_task("rte", data=tmp_path).fingerprint() == whole.fingerprint()


def test_folder_of_the_suite_comes_first(tmp_path: Path) -> None:
    write_task(tmp_path / "glue", "rte", rows=40)
    write_task(tmp_path, "rte", rows=80)
    assert len(load_task("rte", data=tmp_path).splits["train"]) == 36


def test_refuses_a_folder_without_the_task(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data of rte.*DIR/glue/rte/.*train-00000-of-00001.parquet.*validation"):
        load_task("rte", data=tmp_path)
    write_task(tmp_path, "rte")
    (tmp_path / "rte" / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"holds no validation-00000-of-00001\.parquet"):
        load_task("rte", data=tmp_path)


def test_refuses_data_that_is_not_the_tasks(tmp_path: Path) -> None:
    declaration = write_task(tmp_path, "rte")
    good = published(declaration, 20)
    names = ClassLabel(names=["not_entailment", "entailment"])
    for bad, message in (
        (good.rename_column("sentence2", "sentence_2"), "no column 'sentence2'.*did you mean 'sentence_2'"),
        (good.cast_column("label", names), "the classes are not_entailment, entailment, not entailment, not_ent"),
        (Dataset.from_dict({**good[:], "label": [0, -1] * 10}), r"row 2 has the label -1 \(withheld\)"),
        (Dataset.from_dict({**good[:], "label": [0, 2] * 10}), "row 2 has the label 2;"),
        (Dataset.from_dict({**good[:], "sentence1": [None, *good["sentence1"][1:]]}), "'sentence1' holds cells"),
    ):
        write(tmp_path, declaration, "validation", bad)
        with pytest.raises(InputError, match=f"rte, split validation: .*{message}"):
            load_task("rte", data=tmp_path)
    (tmp_path / "rte" / "validation-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"validation-00000-of-00001\.parquet: not a readable Parquet file"):
        load_task("rte", data=tmp_path)


def test_refuses_withheld_scores_and_too_few_rows(tmp_path: Path) -> None:
    declaration = write_task(tmp_path, "stsb")
    features = published(declaration, 2).features
    withheld = {**published(declaration, 2)[:], "label": [1.0, -1.0]}
    write(tmp_path, declaration, "validation", Dataset.from_dict(withheld, features=features))
    with pytest.raises(InputError, match=r"row 2 has the label -1.0 \(withheld\)"):
        load_task("stsb", data=tmp_path)
    write_task(tmp_path, "mnli", rows=12)
    with pytest.raises(InputError, match="no tenth of its 12 rows"):
        load_task("mnli", data=tmp_path)


def test_reads_the_hub(tmp_path: Path, fake_hub: Callable[..., Any]) -> None:
    declaration = write_task(tmp_path, "cola")
    validation = published(declaration, 20, seed=1)
    unlabelled = Dataset.from_dict({**validation[:], "label": [-1] * 20}, features=validation.features)
    asked = fake_hub("cola", {"train": published(declaration, 60), "validation": validation, "test": unlabelled})
    assert load_task("cola").fingerprint() == load_task("cola", data=tmp_path).fingerprint()
    assert asked == [(("nyu-mll/glue", "cola"), {"revision": GLUE.revision})]


def test_without_network_names_the_way_out(tmp_path: Path) -> None:
    program = "from scalearn.tasks import load_task; load_task('mnli')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        | dict.fromkeys(("HF_DATASETS_CACHE", "HF_HUB_CACHE"), str(tmp_path / "cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    for part in (
        "InputError: mnli: cannot read nyu-mll/glue",
        "--data DIR",
        "DIR/glue/mnli/",
        "validation_mismatched-0",
    ):
        assert part in last
