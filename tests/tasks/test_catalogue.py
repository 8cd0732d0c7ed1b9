"""Tasks by name, and that every declaration is one that can be loaded."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from scalearn.errors import InputError
from scalearn.kinds import KINDS
from scalearn.tasks import SUITES, Declaration, Suite, Task, declared, load_task, task_names
from scalearn.tasks.metrics import COMBINED
from scalearn.tasks.rules import VALID_METRICS
from scalearn.tasks.suites import declared_task

ALL = [(suite, declaration) for suite in SUITES for declaration in suite.tasks]
every = pytest.mark.parametrize(("suite", "declaration"), ALL, ids=[declaration.name for _, declaration in ALL])


def test_the_tasks() -> None:
    columns = ("sectors", "pillars_1d", "subpillars_1d", "pillars_2d", "subpillars_2d")
    assert task_names() == (
        *("mnli", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte", "wnli"),
        *("boolq", "cb", "copa", "multirc", "record", "superglue-rte", "wic", "wsc"),
        *(f"humset-{column}" for column in columns),
        *(f"disaster-{column}" for column in columns),
        "policy-claims",
    )


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("super_glue/copa", "copa"),
        ("super_glue/rte", "superglue-rte"),
        ("glue/rte", "rte"),
        ("humset/sectors", "humset-sectors"),
        ("disaster_response/sectors", "disaster-sectors"),
    ],
)
def test_full_names(full: str, name: str) -> None:
    assert declared(full) is declared(name)
    assert declared(full).name == name


@every
def test_every_task_has_a_full_name(suite: Suite, declaration: Declaration) -> None:
    assert declared(suite.full_name(declaration)) is declaration is declared(declaration.name)
    assert suite.full_name(declaration).startswith(f"{suite.folder}/")


def test_a_full_name_loads_the_task(tmp_path: Path) -> None:
    for folder, names in (("glue", ("sentence1", "sentence2")), ("super_glue", ("premise", "hypothesis"))):
        texts = {column: [f"{folder} {column} {i}" for i in range(40)] for column in names}
        own = tmp_path / folder / "rte"
        own.mkdir(parents=True)
        for split in ("train", "validation"):
            rows = Dataset.from_dict({**texts, "label": [0, 1] * 20})
            rows.to_parquet(own / f"{split}-00000-of-00001.parquet")
    for full, name in (("glue/rte", "rte"), ("super_glue/rte", "superglue-rte")):
        task = load_task(full, data=tmp_path)
        assert task.name == name
        assert task.splits["test"]["text_a"][0].startswith(full.split("/")[0] + " ")
        assert task.fingerprint() == load_task(name, data=tmp_path).fingerprint()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cope", "copa"),
        ("multi-rc", "multirc"),
        ("superglue/copa", "super_glue/copa"),
        ("super_glue/multiRC", "super_glue/multirc"),
        ("humset-sector", "humset-sectors"),
        ("humset/sector", "humset/sectors"),
        ("disaster-sector", "disaster-sectors"),
        ("policy_claims", "policy-claims"),
    ],
)
def test_unknown_names_get_a_near_one(name: str, near: str) -> None:
    for find in (load_task, declared):
        with pytest.raises(InputError, match=f"there is no task '{name}'; valid are .*did you mean '{near}'"):
            find(name)


@pytest.mark.parametrize("name", ["", "translation", "/"])
def test_unknown_names_that_are_near_none(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"there is no task {name!r}; valid are ")) as caught:
        load_task(name)
    assert "did you mean" not in str(caught.value)
    assert all(known in str(caught.value) for known in task_names())


# ---- declarations


def test_names_are_unique() -> None:
    names = [declaration.name for _, declaration in ALL] + [suite.full_name(declaration) for suite, declaration in ALL]
    assert len(set(names)) == len(names)
    assert len({suite.folder for suite in SUITES}) == len(SUITES)


@every
def test_every_declaration_is_a_task(suite: Suite, declaration: Declaration) -> None:
    labels = ("some",) if declaration.kind == "multi-label" else declaration.labels
    task = declared_task(declaration, labels=labels, splits={})  # which refuses contradictions
    assert Task.from_description(task.describe()) == task
    assert task.main_metric in (*task.metrics, COMBINED)
    assert set(task.metrics) <= set(VALID_METRICS[task.unit])
    assert len(set(task.metrics)) == len(task.metrics)
    assert declaration.kind in KINDS
    assert bool(declaration.labels) == (declaration.kind in ("classification", "multiple-choice"))
    assert len(set(declaration.labels)) == len(declaration.labels)
    assert declaration.version >= 1


@every
def test_every_split_that_is_read_has_a_number_of_rows(suite: Suite, declaration: Declaration) -> None:
    assert set(declaration.rows) == set(declaration.published)
    assert len(set(declaration.published)) == len(declaration.published)
    assert all(count > 0 for count in declaration.rows.values())
    assert declaration.tests[0][0] == "test"


@every
def test_every_preparation_says_what_it_reads(suite: Suite, declaration: Declaration) -> None:
    assert (declaration.prepare is None) == (not declaration.reads)
    if declaration.prepare is None:
        assert declaration.columns == (*declaration.text, *declaration.choices, declaration.label)
    assert len(set(declaration.columns)) == len(declaration.columns)


def test_official_numbers_of_rows() -> None:
    """Training rows as in the tables of both benchmarks' papers, but for counts that were corrected since."""
    train = {declaration.name: declaration.rows["train"] for _, declaration in ALL}
    assert {name: train[name] for name in ("mnli", "qnli", "sst2", "cola", "stsb", "mrpc", "rte", "wnli")} == {
        "mnli": 392_702,
        "qnli": 104_743,
        "sst2": 67_349,
        "cola": 8_551,
        "stsb": 5_749,
        "mrpc": 3_668,
        "rte": 2_490,
        "wnli": 635,
    }
    assert {name: train[name] for name in ("boolq", "cb", "copa", "multirc", "wic", "wsc", "superglue-rte")} == {
        "boolq": 9_427,
        "cb": 250,
        "copa": 400,
        "multirc": 27_243,
        "wic": 5_428,
        "wsc": 554,
        "superglue-rte": 2_490,
    }


def test_commits_are_whole_or_none() -> None:
    for suite in SUITES:
        assert suite.revision is None or re.fullmatch("[0-9a-f]{40}", suite.revision)
        assert suite.repository is None or re.fullmatch(r"[\w-]+/[\w-]+", suite.repository)
        assert suite.revision is None or suite.repository is not None


# ---- the order of labels


@pytest.mark.parametrize(("prefix", "folder"), [("humset", "humset"), ("disaster", "disaster_response")])
def test_label_order_does_not_depend_on_the_process(tmp_path: Path, prefix: str, folder: str) -> None:
    own = tmp_path / folder
    own.mkdir()
    names = [f"{letter} {kind}" for kind in ("Water", "food", "Écoles") for letter in "dbca"]
    for shift, split in enumerate(("train", "validation", "test")):
        lists = [names[i + shift : i + shift + 3] for i in range(8)]
        rows = Dataset.from_dict({"excerpt": [f"e {i}" for i in range(8)], "pillars_1d": lists})
        rows.to_parquet(own / f"{split}-00000-of-00001.parquet")
    program = (
        "import sys; from scalearn.tasks import load_task; "
        f"task = load_task('{prefix}-pillars_1d', data=sys.argv[1]); print(*task.labels, task.fingerprint(), sep=';')"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=os.environ
            | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = load_task(f"{prefix}-pillars_1d", data=tmp_path)
    assert here.labels == tuple(sorted(names[:12]))
    assert outputs == {";".join((*here.labels, here.fingerprint())) + "\n"}
