"""Linear models of features: against scikit-learn's own predictions, and by hand where those end."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scalearn.ranking.linear import FLOOR, fit, guessing_loss, held_out_loss

CHANCE = np.random.default_rng(0)
FEATURES = CHANCE.normal(2, 3, size=(30, 6))
FOLDS = [(np.arange(10, 30), np.arange(10)), (np.arange(20), np.arange(20, 30))]


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_those_of_logistic_regression(classes: int) -> None:
    labels = CHANCE.integers(0, classes, size=30)
    scores = fit(FEATURES, labels, classes=classes)(FEATURES)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200)).fit(FEATURES, labels)
    ours = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, theirs.predict_proba(FEATURES), atol=1e-9)


def test_numbers_are_those_of_ridge_regression() -> None:
    numbers = CHANCE.normal(size=30)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=6.0)).fit(FEATURES, numbers)
    scores = fit(FEATURES, numbers, classes=None)(FEATURES)
    np.testing.assert_allclose(scores[:, 0], theirs.predict(FEATURES), atol=1e-9)


def test_a_class_without_rows_has_no_chance() -> None:
    labels = np.array([0, 2] * 15)
    scores = fit(FEATURES, labels, classes=4)(FEATURES)
    assert np.isneginf(scores[:, [1, 3]]).all() and np.isfinite(scores[:, [0, 2]]).all()
    alone = fit(FEATURES, np.full(30, 2), classes=3)(FEATURES)
    assert np.isneginf(alone[:, [0, 1]]).all() and (alone[:, 2] == 0).all()


def test_the_loss_is_of_rows_held_out() -> None:
    labels = CHANCE.integers(0, 2, size=30)
    losses = []
    for train, held in FOLDS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(FEATURES[train], labels[train])
        losses += [-np.log(p[y]) for p, y in zip(model.predict_proba(FEATURES[held]), labels[held], strict=True)]
    found = held_out_loss(FEATURES, [labels], classes=2, folds=FOLDS)
    assert found == pytest.approx(np.mean(losses), abs=1e-6)
    other = CHANCE.integers(0, 2, size=30)
    assert held_out_loss(FEATURES, [labels, other], classes=2, folds=FOLDS) == pytest.approx(
        (found + held_out_loss(FEATURES, [other], classes=2, folds=FOLDS)) / 2
    )


def test_squares_are_measured_by_the_variance() -> None:
    numbers = CHANCE.normal(size=30)
    found = held_out_loss(FEATURES, [numbers], classes=None, folds=FOLDS)
    assert held_out_loss(FEATURES, [100 * numbers], classes=None, folds=FOLDS) == pytest.approx(found)


def test_an_unknown_class_costs_no_more_than_the_floor() -> None:
    labels = np.array([2] * 10 + [0, 1] * 10)  # the first fold never sees class 2
    found = held_out_loss(FEATURES, [labels], classes=3, folds=FOLDS[:1])
    assert found == pytest.approx(-np.log(FLOOR))


def test_guessing_costs_the_entropy() -> None:
    columns = [np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1])]
    quarter = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert guessing_loss(columns, classes=2) == pytest.approx((quarter + np.log(2)) / 2)
    assert guessing_loss([np.array([0.5, 7.0])], classes=None) == 1
