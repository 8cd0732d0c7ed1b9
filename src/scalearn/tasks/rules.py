"""What the fields of a task must be to one another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from scalearn.kinds import KINDS
from scalearn.tasks.metrics import COMBINED, METRICS, MULTI_LABEL
from scalearn.tasks.questions import WORTHS
from scalearn.tasks.scoring import EXACT_MATCH
from scalearn.tasks.splits import TEXTS, Unit, column_names

if TYPE_CHECKING:
    from scalearn.tasks.task import Task

VALID_METRICS: Mapping[Unit, tuple[str, ...]] = MappingProxyType(
    {"row": tuple(METRICS), "question": (*METRICS, EXACT_MATCH), "pick": WORTHS}
)
"""What can be measured of each unit."""


def contradictions(task: Task) -> list[str]:
    """Everything that is wrong with a task's fields, for a message."""
    columns = column_names(texts=len(task.text), kind=task.kind, unit=task.unit)
    chooses = task.kind == "multiple-choice"
    checks = {
        f"kind {task.kind!r} is not one of {', '.join(KINDS)}": task.kind in KINDS,
        f"text names {len(task.text)} columns, not one or two": 1 <= len(task.text) <= len(TEXTS) or task.image,
        f"image {task.image!r} stands beside text: name one of them": not (task.image and task.text),
        "classification needs two labels or more": task.kind != "classification" or len(task.labels) > 1,
        "multi-label needs at least one label": task.kind != "multi-label" or bool(task.labels),
        "multiple choice needs two choices or more, named by labels, and one text": not chooses
        or (len(task.choices) == len(task.labels) > 1 and len(task.text) == 1),
        f"choices {', '.join(task.choices)} are for multiple choice": chooses or not task.choices,
        f"{', '.join(sorted(MULTI_LABEL & {*task.metrics}))} of multi-label tasks only": not MULTI_LABEL
        & {*task.metrics}
        or task.kind == "multi-label",
        "regression has no labels": task.kind != "regression" or not task.labels,
        "two labels share a name": len(set(task.labels)) == len(task.labels),
        f"metrics {', '.join(task.metrics) or 'none'}: valid are {', '.join(VALID_METRICS[task.unit])}": (
            bool(task.metrics) and set(task.metrics) <= set(VALID_METRICS[task.unit])
        ),
        "questions have rows of two classes": task.unit == "row"
        or (task.kind == "classification" and len(task.labels) == 2),
        f"f1 is of two classes, not of {len(task.labels)}": "f1" not in task.metrics
        or (len(task.labels) == 2 and task.kind == "classification"),
        f"main_metric {task.main_metric!r} is neither one of the metrics nor {COMBINED!r}": (
            task.main_metric in (*task.metrics, COMBINED)
        ),
        f"max_length {task.max_length} is not positive": task.max_length > 0,
    }
    wrong = [message for message, holds in checks.items() if not holds]
    return wrong + [
        f"split {name!r} has the columns {split.column_names}, not {columns}"
        for name, split in task.splits.items()
        if split.column_names != columns
    ]
