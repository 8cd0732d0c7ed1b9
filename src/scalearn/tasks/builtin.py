"""The task that comes with the package: does a claim about a policy follow from the policy's text?

Small enough for a laptop and in need of both texts: the claims alone say nothing about the label, as a test checks.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from scalearn.tasks.inputs import check_texts
from scalearn.tasks.labels import class_indices, read_labels
from scalearn.tasks.splits import make_split
from scalearn.tasks.tables import read_table
from scalearn.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

POLICY_CLAIMS = "policy-claims"
_TEXT = ("premise", "claim")
_LABEL = "label"
_LABELS = ("supported", "contradicted", "not stated")
_FOLDER = "policy_claims"


def load_policy_claims() -> Task:
    """Pairs of a policy and a claim, with the splits "train", "dev" and "test" as shipped."""
    return Task(
        name=POLICY_CLAIMS,
        kind="classification",
        text=_TEXT,
        label=_LABEL,
        labels=_LABELS,
        metrics=("accuracy", "f1_macro"),
        main_metric="accuracy",
        splits={name: _read(name) for name in ("train", "dev", "test")},
    )


def _read(name: str) -> Dataset:
    with as_file(files("scalearn.tasks").joinpath(_FOLDER, f"{name}.csv")) as path:
        table = read_table(path, (*_TEXT, _LABEL))
    texts = [check_texts(table, column) for column in _TEXT]
    values = class_indices(read_labels(table, _LABEL), _LABELS, table=table, column=_LABEL)
    return make_split(texts, values, labels=_LABELS)
