"""What a task is measured by: scikit-learn's and scipy's functions under the names the field uses.

Each metric takes N gold labels and N predictions (class indices, or floats for the two correlations; of a multi-label
task N rows of 0 and 1) and returns one number. Two conventions: a correlation (matthews, pearson, spearman) with a side
that is constant is undefined and counts as 0.0, what chance would give; so does an F1 without any positive.
Both libraries take long to load, and who predicts needs neither: they are imported where they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalearn.kinds import Kind

Values = NDArray[Any]
COMBINED = "combined_score"
"""The name of the mean of a task's metrics."""


def accuracy(labels: Values, predictions: Values) -> float:
    """The share of rows predicted right."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def f1(labels: Values, predictions: Values) -> float:
    """F1 of class 1 of a two-class task."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0.0))


def f1_macro(labels: Values, predictions: Values) -> float:
    """The plain mean of each class's F1, over the classes that occur in the labels or the predictions."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average=_each(labels), zero_division=0.0))


def precision_macro(labels: Values, predictions: Values) -> float:
    """The plain mean of each class's precision; a class that is never predicted counts as 0."""
    from sklearn.metrics import precision_score

    return float(precision_score(labels, predictions, average=_each(labels), zero_division=0.0))


def recall_macro(labels: Values, predictions: Values) -> float:
    """The plain mean of each class's recall; a class that never occurs counts as 0."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, predictions, average=_each(labels), zero_division=0.0))


def f1_micro(labels: Values, predictions: Values) -> float:
    """F1 over all cells of a multi-label task at once."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average=_pooled(labels), zero_division=0.0))


def precision_micro(labels: Values, predictions: Values) -> float:
    """Precision over all cells of a multi-label task at once; 0 if no label is predicted."""
    from sklearn.metrics import precision_score

    return float(precision_score(labels, predictions, average=_pooled(labels), zero_division=0.0))


def recall_micro(labels: Values, predictions: Values) -> float:
    """Recall over all cells of a multi-label task at once; 0 if no label occurs."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, predictions, average=_pooled(labels), zero_division=0.0))


def subset_accuracy(labels: Values, predictions: Values) -> float:
    """The share of rows of a multi-label task whose labels are all predicted right."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def matthews(labels: Values, predictions: Values) -> float:
    """Matthews' correlation coefficient; 0.0 if a side is constant."""
    from sklearn.metrics import matthews_corrcoef

    return 0.0 if _constant(labels) or _constant(predictions) else float(matthews_corrcoef(labels, predictions))


def pearson(labels: Values, predictions: Values) -> float:
    """Pearson's correlation; 0.0 if a side is constant, NaN if a prediction is not finite (training diverged)."""
    from scipy.stats import pearsonr

    return _correlation(lambda x, y: float(pearsonr(x, y).statistic), labels, predictions)


def spearman(labels: Values, predictions: Values) -> float:
    """Spearman's rank correlation, ties by mean rank; 0.0 if a side is constant, NaN if a prediction is not finite."""
    from scipy.stats import spearmanr

    return _correlation(lambda x, y: float(spearmanr(x, y).statistic), labels, predictions)


METRICS: Mapping[str, Callable[[Values, Values], float]] = MappingProxyType(
    {
        "accuracy": accuracy,
        "f1": f1,
        "f1_macro": f1_macro,
        "matthews": matthews,
        "pearson": pearson,
        "spearman": spearman,
        "precision_macro": precision_macro,
        "recall_macro": recall_macro,
        "f1_micro": f1_micro,
        "precision_micro": precision_micro,
        "recall_micro": recall_micro,
        "subset_accuracy": subset_accuracy,
    }
)
"""All metrics of single rows by name; those of questions are in `scalearn.tasks.questions`."""

MULTI_LABEL = frozenset(("f1_micro", "precision_micro", "recall_micro", "subset_accuracy"))
"""Metrics of multi-label tasks alone: of single labels all of them are the accuracy."""

USER_METRICS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "classification": ("accuracy", "f1_macro"),
        "regression": ("pearson", "spearman"),
        "multi-label": ("f1_macro", "precision_macro", "recall_macro", "subset_accuracy"),
        "multiple-choice": ("accuracy",),
    }
)
"""What tasks from the user's own files are measured by."""
USER_MAIN: Mapping[Kind, str] = MappingProxyType(
    {
        "classification": "accuracy",
        "regression": COMBINED,
        "multi-label": "f1_macro",
        "multiple-choice": "accuracy",
    }
)
"""The one of them that counts."""


def _each(labels: Values) -> str:
    """Scikit-learn's word for the mean over classes; a single label of a multi-label task is the only one there is."""
    return "binary" if labels.ndim == 2 and labels.shape[1] == 1 else "macro"


def _pooled(labels: Values) -> str:
    """Scikit-learn's word for all cells at once; see `_each`."""
    return "binary" if labels.shape[1] == 1 else "micro"


def _constant(values: Values) -> bool:
    return bool((values == values[0]).all())


def _correlation(compute: Callable[[Values, Values], float], labels: Values, predictions: Values) -> float:
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    # a side that varies by rounding only would correlate with noise (and scipy would warn)
    if flat(x) or flat(y):
        return 0.0
    return compute(x, y)


def flat(values: Values) -> bool:
    """Whether numbers differ by rounding only, if at all."""
    spread = np.linalg.norm(values - values.mean())
    return bool(spread <= 1e-13 * abs(values.mean()) or _constant(values))
