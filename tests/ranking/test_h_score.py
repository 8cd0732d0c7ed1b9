"""The H-score: against the published formula with class means and an inverse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from scalearn.ranking.h_score import h_score

CHANCE = np.random.default_rng(2)


@pytest.mark.parametrize(("rows", "width"), [(60, 5), (30, 50)])
def test_it_is_the_published_formula(rows: int, width: int) -> None:
    labels = CHANCE.integers(0, 3, size=rows)
    features = CHANCE.normal(size=(rows, width)) + labels[:, None] * CHANCE.normal(size=width)
    shrunken = LedoitWolf().fit(features)
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])  # E[f | y] of each row
    between = np.cov(means.T, bias=True)
    expected = np.trace(np.linalg.inv(shrunken.covariance_) @ ((1 - shrunken.shrinkage_) * between))
    assert h_score(features, np.eye(3)[labels]) == pytest.approx(expected, rel=1e-8)


def test_of_a_number_it_is_the_square_of_the_correlation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.covariance.ledoit_wolf_shrinkage", lambda _: 0.0)
    x = CHANCE.normal(size=50)
    y = x + CHANCE.normal(size=50)
    assert h_score(x[:, None], y[:, None]) == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert h_score(x[:, None], x[:, None]) == pytest.approx(1)


def test_the_more_the_labels_explain_the_higher() -> None:
    labels = CHANCE.integers(0, 2, size=80)
    scores = [
        h_score(CHANCE.normal(size=(80, 8)) + strength * labels[:, None], np.eye(2)[labels]) for strength in (0, 1, 4)
    ]
    assert 0 <= scores[0] < scores[1] < scores[2] < 1


def test_features_that_are_constant_have_none() -> None:
    assert h_score(np.ones((10, 3)), np.eye(2)[[0, 1] * 5]) == 0
