"""Linear models of frozen features, fitted to all rows but those of a fold and asked about those.

Classes: logistic regression with an L2 penalty. Numbers: ridge regression. Features are standardised by the rows that a
model is fitted to; a class that these lack has the score -inf.

What is learned of a row are *columns* of labels: one of classes or of numbers, or of several labels one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Column = NDArray[Any]
"""(n,) class indices, or numbers."""
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the rows to fit to, and of those held out."""

FLOOR = 1e-3
"""No class is taken to be less probable."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Scores k = features @ weight.T + bias: of classes before softmax, or the one number."""

    weight: Array  # (k, d)
    bias: Array  # (k,)

    def __call__(self, features: Array) -> Array:
        """Maps (n, d) to (n, k)."""
        return features @ self.weight.T + self.bias


def fit(features: Array, column: Column, *, classes: int | None) -> Linear:
    """The model of one column of labels.

    Args:
        features: (n, d).
        column: (n,) class indices, or numbers.
        classes: how many there are; None for numbers.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    if classes is None:
        ridge = Ridge(alpha=float(features.shape[1])).fit(scaled, column)
        weight, bias = np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    else:
        weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        present = np.unique(column).astype(int)
        bias[present] = 0.0
        if len(present) > 1:
            model = LogisticRegression(C=0.01, max_iter=200).fit(scaled, column)
            chosen = present[1:] if len(present) == 2 else present  # of two classes only the second has a score
            weight[chosen], bias[chosen] = model.coef_, model.intercept_
    weight = weight / scaler.scale_
    return Linear(weight=weight, bias=bias - weight @ scaler.mean_)


def held_out_loss(features: Array, columns: Sequence[Column], *, classes: int | None, folds: Sequence[Fold]) -> float:
    """The mean of `held_out_losses`."""
    return float(np.mean(held_out_losses(features, columns, classes=classes, folds=folds)))


def held_out_losses(features: Array, columns: Sequence[Column], *, classes: int | None, folds: Sequence[Fold]) -> Array:
    """Log loss of each row while it is held out, or squared error over the variance; the mean over columns, (n,).

    Args:
        features: (n, d).
        columns: each (n,), of class indices or of numbers.
        classes: of each column; None for numbers.
        folds: which rows are held out in turn, every row equally often.
    """
    each = [_column_losses(features, column, classes=classes, folds=folds) for column in columns]
    return np.asarray(np.mean(each, axis=0))


def _column_losses(features: Array, column: Column, *, classes: int | None, folds: Sequence[Fold]) -> Array:
    losses = np.zeros(len(column))
    for train, held in folds:
        scores = fit(features[train], column[train], classes=classes)(features[held])
        if classes is None:
            losses[held] += (scores[:, 0] - column[held]) ** 2
        else:
            right = _probabilities(scores)[np.arange(len(held)), column[held].astype(int)]
            losses[held] -= np.log(np.maximum(right, FLOOR))
    losses *= len(column) / sum(len(held) for _, held in folds)  # the mean over the times that it was held out
    return losses if classes is not None else losses / max(float(np.var(column.astype(float))), 1e-12)


def _probabilities(scores: Array) -> Array:
    """The softmax of each row."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def guessing_loss(columns: Sequence[Column], *, classes: int | None) -> float:
    """What `held_out_loss` would be of whoever knows how frequent classes are, or the mean, and nothing of a row."""
    if classes is None:
        return 1.0
    shares = [np.unique(column, return_counts=True)[1] / len(column) for column in columns]
    return float(np.mean([-(share * np.log(share)).sum() for share in shares]))
