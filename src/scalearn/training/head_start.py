"""Where a head starts: at a linear model of what it reads, fitted to the training rows before the first step.

A few hundred rows give a few dozen steps, too few for a head to learn from nothing at a rate that spares what it reads.
So its best start is known first, in closed form or by a convex fit, and training goes on from there (Kumar et al., ICLR
2022, "Fine-tuning can distort pretrained features", fit a linear head first for the same reason).

The head is W2 tanh(W1 h + b1) + b2. With m the mean of h over rows, s its standard deviation, one for all dimensions:

    W1 = I / (2 s),  b1 = -m / (2 s)        so that tanh is close to linear, and cuts outliers
    W2, b2                                  logistic or ridge regression on tanh(W1 h + b1), penalised by |W2|^2 / 2C

Where a row has several labels, rows with a label weigh as much together as those without: a rare label would not be
given to any row else. Of classes that no row has, and labels that all rows have or none has, the score is a constant:
log odds of half a row.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from scalearn.heads import Head

PENALTY = 100.0
"""1 / C. A hundred times that of scikit-learn: a few hundred rows do not tell 384 dimensions apart."""

Labels = NDArray[np.generic]
Array = NDArray[np.float64]


@torch.no_grad()
def start_linear(head: Head, read: Array, labels: Labels) -> None:
    """Sets a head to the linear model of these rows, in place.

    Args:
        head: of width d.
        read: what it reads of N rows, (N, d); of choices (N, C, d).
        labels: (N,) class indices, numbers or right choices; (N, labels) of 0 and 1 for multi-label.
    """
    flat = read.reshape(-1, read.shape[-1])
    mean = flat.mean(axis=0)
    scale = 0.5 / max(float((flat - mean).std()), 1e-6)
    seen = np.tanh(scale * (read - mean))
    weight, bias = _FITS[head.kind](seen, labels, head.out.out_features)
    for linear, values, constants in (
        (head.dense, scale * np.eye(len(mean)), -scale * mean),
        (head.out, weight, bias),
    ):
        linear.weight.copy_(torch.from_numpy(values))
        linear.bias.copy_(torch.from_numpy(constants))


def _classes(seen: Array, labels: Labels, outputs: int) -> tuple[Array, Array]:
    weight, bias = np.zeros((outputs, seen.shape[1])), np.full(outputs, -math.log(2 * len(seen)))
    present = np.unique(labels).astype(int)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    found, constants = _logistic(seen, labels)
    if len(present) == 2:  # scikit-learn has the second's score, and 0 for the first
        found, constants = np.concatenate([-found, found]) / 2, np.concatenate([-constants, constants]) / 2
    weight[present], bias[present] = found, constants
    return weight, bias


def _labels(seen: Array, labels: Labels, outputs: int) -> tuple[Array, Array]:
    weight, bias = np.zeros((outputs, seen.shape[1])), np.zeros(outputs)
    for index, column in enumerate(labels.T):
        if np.ptp(column.astype(int)):
            found, constant = _logistic(seen, column, balanced=True)
            weight[index], bias[index] = found[0], constant[0]
        else:
            bias[index] = math.log(2 * len(seen)) * (1 if column[0] else -1)
    return weight, bias


def _choices(seen: Array, labels: Labels, outputs: int) -> tuple[Array, Array]:
    """What tells the right choice from each wrong one: as much as the wrong from the right, the other way round."""
    rows = np.arange(len(seen))
    differences = seen[rows, labels.astype(int)][:, None] - seen  # (N, C, d), of the right choice with itself 0
    wrong = np.ones(seen.shape[:2], dtype=bool)
    wrong[rows, labels.astype(int)] = False
    pairs = differences[wrong]
    found, _ = _logistic(np.concatenate([pairs, -pairs]), np.repeat([1, 0], len(pairs)), intercept=False)
    return found, np.zeros(outputs)


def _numbers(seen: Array, labels: Labels, outputs: int) -> tuple[Array, Array]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=PENALTY).fit(seen, labels.astype(np.float64))
    return model.coef_[None], np.array([model.intercept_])


def _logistic(seen: Array, labels: Labels, *, intercept: bool = True, balanced: bool = False) -> tuple[Array, Array]:
    from sklearn.linear_model import LogisticRegression

    weights = "balanced" if balanced else None
    model = LogisticRegression(C=1 / PENALTY, max_iter=1_000, fit_intercept=intercept, class_weight=weights)
    model.fit(seen, labels)
    return model.coef_, model.intercept_


_FITS = {
    "classification": _classes,
    "multi-label": _labels,
    "multiple-choice": _choices,
    "regression": _numbers,
}
