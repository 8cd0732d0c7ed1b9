"""A few rows of a test split with the model's answers: right ones, and the mistakes it was surest of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scalearn.experiments.report_page.rounding import rounded
from scalearn.experiments.sizes import size_of
from scalearn.kinds import Kind

_EACH = 3
_Row = tuple[int, str, str, float | None]
"""Number, label, answer, and the answer's probability where classes or choices exclude one another."""


def examples(predictions: pd.DataFrame) -> dict[str, Any]:
    """By task, of its test split.

    Args:
        predictions: see `scalearn.experiments.store`.
    """
    tested = predictions[predictions["split"] == "test"]
    return {str(task): _of_task(rows, size_of(str(task)).kind) for task, rows in tested.groupby("task", sort=False)}


def _of_task(rows: pd.DataFrame, kind: Kind) -> dict[str, Any]:
    """Right and wrong rows; of a regression, the nearest and the farthest."""
    exclusive = kind in ("classification", "multiple-choice")
    probabilities = [_probability(np.asarray(value, dtype=float)) if exclusive else None for value in rows["logits"]]
    told: list[_Row] = list(
        zip(map(int, rows["row"]), map(str, rows["label"]), map(str, rows["prediction"]), probabilities, strict=True)
    )
    if kind == "regression":
        ordered = sorted(told, key=lambda row: abs(float(row[1]) - float(row[2])))
        chosen = ordered[:_EACH] + ordered[_EACH:][-_EACH:]
        return {"count": len(told), "right": None, "rows": [_line(row, None) for row in chosen]}
    right = [row for row in told if row[1] == row[2]]
    wrong = sorted((row for row in told if row[1] != row[2]), key=lambda row: -(row[3] or 0.0))
    lines = [_line(row, True) for row in right[:_EACH]] + [_line(row, False) for row in wrong[:_EACH]]
    return {"count": len(told), "right": len(right), "rows": lines}


def _line(row: _Row, right: bool | None) -> list[Any]:
    number, label, answer, probability = row
    return [number, label, answer, rounded(probability, 3), right]


def _probability(logits: np.ndarray) -> float:
    """Of the most probable class or choice; choices that a row does not have are -inf."""
    return float(1 / np.exp(logits - logits.max()).sum())
