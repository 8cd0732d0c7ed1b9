"""The metrics of many draws of rows at once, from counts: scikit-learn takes milliseconds a draw, this microseconds.

What they give is the same as `scalearn.tasks.metrics` of each draw, to rounding; the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalearn.tasks.metrics import flat

Draws = Sequence[NDArray[np.int64]]
"""Positions of rows, or of questions, drawn with replacement."""
Column = NDArray[np.float64]
"""A score of each of R draws, (R,)."""


def scores_of_classes(labels: NDArray[Any], given: NDArray[Any], draws: Draws) -> Mapping[str, Column]:
    """Accuracy, Matthews' correlation, and F1, precision and recall of class 1 or as a mean over classes, by name.

    Args:
        labels: (N,) gold classes.
        given: (N,) predicted classes.
        draws: R of them.
    """
    classes, coded = np.unique(np.concatenate([labels, given]), return_inverse=True)
    count = len(classes)
    right, predicted = coded[: len(labels)], coded[len(labels) :]

    def counted(columns: Iterable[NDArray[np.int64]]) -> NDArray[np.float64]:
        return np.stack([np.bincount(column, minlength=count) for column in columns]).astype(np.float64)

    hits = counted(right[rows][right[rows] == predicted[rows]] for rows in draws)  # (R, classes)
    gold, guesses = counted(right[rows] for rows in draws), counted(predicted[rows] for rows in draws)
    size = gold.sum(axis=1)
    occurring = np.maximum(((gold + guesses) > 0).sum(axis=1), 1)
    f1 = ratio(2 * hits, gold + guesses)
    covariance = hits.sum(axis=1) * size - (gold * guesses).sum(axis=1)
    spreads = (size**2 - (gold**2).sum(axis=1)) * (size**2 - (guesses**2).sum(axis=1))
    return {
        "accuracy": hits.sum(axis=1) / size,
        "f1": f1[:, classes == 1].sum(axis=1),
        "f1_macro": f1.sum(axis=1) / occurring,
        "precision_macro": ratio(hits, guesses).sum(axis=1) / occurring,
        "recall_macro": ratio(hits, gold).sum(axis=1) / occurring,
        "matthews": ratio(covariance, np.sqrt(spreads)),
    }


def scores_of_numbers(labels: NDArray[Any], given: NDArray[Any], draws: Draws) -> Mapping[str, Column]:
    """Pearson's and Spearman's correlation, by name; of numbers as they are in `scores_of_classes`."""
    from scipy.stats import rankdata

    gold, guesses = labels.astype(np.float64), given.astype(np.float64)
    found: dict[str, list[float]] = {"pearson": [], "spearman": []}
    for rows in draws:
        x, y = gold[rows], guesses[rows]
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            found["pearson"].append(float("nan"))
            found["spearman"].append(float("nan"))
            continue
        defined = not (flat(x) or flat(y))
        found["pearson"].append(_correlation(x, y) if defined else 0.0)
        found["spearman"].append(_correlation(rankdata(x), rankdata(y)) if defined else 0.0)
    return {name: np.array(values) for name, values in found.items()}


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where nothing is below, 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))
