"""LogME: against the evidence written out with whole matrices, maximised by a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from scalearn.ranking.logme import logme

CHANCE = np.random.default_rng(1)


def literal(features: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """max log N(y; 0, I / beta + F F' / alpha) / n."""
    n = len(y)

    def loss(logs: NDArray[np.float64]) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(n) / beta + features @ features.T / alpha
        _, determinant = np.linalg.slogdet(covariance)
        return float(n * np.log(2 * np.pi) + determinant + y @ np.linalg.solve(covariance, y)) / (2 * n)

    starts = [(0.0, 0.0), (3.0, 1.0), (-2.0, 2.0)]
    found = [minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}) for start in starts]
    return -float(min(one.fun for one in found))


@pytest.mark.parametrize(("rows", "width"), [(40, 5), (20, 60), (30, 30)])
def test_it_is_the_maximal_evidence(rows: int, width: int) -> None:
    features = CHANCE.normal(size=(rows, width)) * CHANCE.uniform(0.1, 3, size=width)
    y = features @ CHANCE.normal(size=width) / np.sqrt(width) + 0.5 * CHANCE.normal(size=rows)
    assert logme(features, y[:, None]) == pytest.approx(literal(features, y), abs=2e-4)


def test_columns_are_averaged() -> None:
    features = CHANCE.normal(size=(40, 6))
    classes = np.eye(3)[CHANCE.integers(0, 3, size=40)]
    whole = logme(features, classes)
    assert whole == pytest.approx(np.mean([logme(features, column[:, None]) for column in classes.T]), abs=1e-12)
    assert whole == pytest.approx(np.mean([literal(features, column) for column in classes.T]), abs=2e-3)


def test_features_that_tell_the_labels_have_more() -> None:
    y = np.array([0.0, 1.0] * 20)
    telling = np.stack([y, 1 - y], axis=1) + 0.3 * CHANCE.normal(size=(40, 2))
    assert logme(telling, y[:, None]) > logme(CHANCE.normal(size=(40, 2)), y[:, None]) + 0.2


def test_it_ends_where_nothing_can_be_told() -> None:
    """alpha grows without end where no feature is like y."""
    features = np.eye(10)[:, :3]
    y = np.zeros(10)
    y[9] = 1.0
    unfitted = 0.5 * np.log(10 / (2 * np.pi)) - 0.5
    assert logme(features, y[:, None]) == pytest.approx(unfitted, abs=1e-3)
    assert np.isfinite(logme(np.zeros((10, 3)), y[:, None]))
    assert np.isfinite(logme(np.eye(10), y[:, None]))  # every row fitted exactly
