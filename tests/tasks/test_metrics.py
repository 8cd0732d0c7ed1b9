"""Metrics against values worked out by hand and against their formulas written out in numpy."""

import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from scalearn.tasks.metrics import (
    METRICS,
    accuracy,
    f1,
    f1_macro,
    matthews,
    pearson,
    precision_macro,
    recall_macro,
    spearman,
    subset_accuracy,
)

GOLD = np.array([1, 1, 1, 0, 0, 1])
GUESS = np.array([1, 0, 1, 0, 1, 1])  # true positives 3, false positives 1, false negatives 1, true negatives 1


@pytest.fixture(autouse=True)
def no_warning_leaks() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_by_hand() -> None:
    assert accuracy(GOLD, GUESS) == pytest.approx(4 / 6)
    assert f1(GOLD, GUESS) == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert f1_macro(GOLD, GUESS) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert matthews(GOLD, GUESS) == pytest.approx((3 * 1 - 1 * 1) / math.sqrt(4 * 4 * 2 * 2))
    # deviations (-1, 0, 1) and (-4, -1, 5) / 3: 3 / sqrt(2 * 42 / 9)
    assert pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])) == pytest.approx(3 / math.sqrt(2 * 42 / 9))
    # ranks (1, 2, 3) and (1, 3, 2): 1 - 6 * 2 / (3 * 8)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 9.0, 4.0])) == pytest.approx(0.5)


def test_three_classes_by_formula() -> None:
    generator = np.random.default_rng(0)
    gold, guess = generator.integers(0, 3, 200), generator.integers(0, 3, 200)
    table = np.zeros((3, 3))
    np.add.at(table, (gold, guess), 1)
    rows, columns, right = table.sum(1), table.sum(0), np.diag(table)
    assert accuracy(gold, guess) == pytest.approx(right.sum() / 200)
    assert f1_macro(gold, guess) == pytest.approx(np.mean(2 * right / (rows + columns)))
    # Gorodkin (2004), the correlation of K classes
    above = right.sum() * 200 - rows @ columns
    below = math.sqrt(200**2 - columns @ columns) * math.sqrt(200**2 - rows @ rows)
    assert matthews(gold, guess) == pytest.approx(above / below)


def test_correlations_by_formula() -> None:
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 6, 100).astype(float)  # with ties
    guess = gold + generator.normal(size=100)

    def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        below = (values[:, None] > values).sum(1)
        return np.asarray(below + ((values[:, None] == values).sum(1) + 1) / 2)

    assert pearson(gold, guess) == pytest.approx(np.corrcoef(gold, guess)[0, 1])
    assert spearman(gold, guess) == pytest.approx(np.corrcoef(ranks(gold), ranks(guess))[0, 1])


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
def test_constant_sides_correlate_with_nothing(name: str) -> None:
    varied, constant = np.array([0, 1, 1, 0]), np.array([1, 1, 1, 1])
    assert METRICS[name](varied, constant) == 0.0
    assert METRICS[name](constant, varied) == 0.0
    assert METRICS[name](constant, constant) == 0.0
    assert METRICS[name](varied[:1], varied[:1]) == 0.0


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_rounding_noise_is_constant(metric: Callable[..., float]) -> None:
    noise = np.array([0.1 + 0.2, 0.3, 0.3, 0.3])
    assert metric(np.array([1.0, 2.0, 3.0, 5.0]), noise) == 0.0
    assert metric(np.array([1.0, 2.0, 3.0, 5.0]), np.full(4, 0.1, dtype=np.float32)) == 0.0


def test_diverged_predictions_score_nan() -> None:
    assert math.isnan(pearson(np.array([1.0, 2.0]), np.array([1.0, np.nan])))
    assert math.isnan(spearman(np.array([1.0, 2.0]), np.array([np.inf, 1.0])))


def test_f1_without_positives_is_zero() -> None:
    zeros = np.zeros(3, dtype=int)
    assert f1(zeros, zeros) == 0.0
    assert f1_macro(zeros, zeros) == 1.0  # class 0 is all there is, and all of it is right


# ---- several labels a row

HOT_GOLD = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
HOT_GUESS = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
# label by label: (tp 2, fp 1, fn 0), (tp 1, fp 0, fn 1), (tp 0, fp 0, fn 1)


def test_several_labels_by_hand() -> None:
    assert precision_macro(HOT_GOLD, HOT_GUESS) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert recall_macro(HOT_GOLD, HOT_GUESS) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert f1_macro(HOT_GOLD, HOT_GUESS) == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    assert subset_accuracy(HOT_GOLD, HOT_GUESS) == pytest.approx(1 / 4)


def test_several_labels_by_formula() -> None:
    generator = np.random.default_rng(2)
    gold, guess = (generator.integers(0, 2, (100, 5)) for _ in range(2))
    both, golds, guesses = (gold & guess).sum(0), gold.sum(0), guess.sum(0)
    assert precision_macro(gold, guess) == pytest.approx(np.mean(both / guesses))
    assert recall_macro(gold, guess) == pytest.approx(np.mean(both / golds))
    assert f1_macro(gold, guess) == pytest.approx(np.mean(2 * both / (golds + guesses)))
    assert subset_accuracy(gold, guess) == pytest.approx(
        np.mean([list(a) == list(b) for a, b in zip(gold, guess, strict=True)])
    )


def test_labels_that_never_occur_count_as_zero() -> None:
    zeros, some = np.zeros((2, 2), dtype=int), np.array([[1, 0], [1, 0]])
    for name in ("f1_macro", "precision_macro", "recall_macro"):
        assert METRICS[name](zeros, zeros) == 0.0
        assert METRICS[name](some, some) == 0.5, "the second label has no row"
    assert subset_accuracy(zeros, zeros) == 1.0


def test_one_label_alone() -> None:
    """One column is one label: its absence is no class of its own."""
    gold, guess = np.array([[1], [0], [1], [1]]), np.array([[1], [1], [0], [1]])
    assert precision_macro(gold, guess) == pytest.approx(2 / 3)
    assert recall_macro(gold, guess) == pytest.approx(2 / 3)
    assert f1_macro(gold, guess) == pytest.approx(2 / 3)
    assert subset_accuracy(gold, guess) == pytest.approx(0.5)


def test_precision_and_recall_of_classes() -> None:
    assert precision_macro(GOLD, GUESS) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert recall_macro(GOLD, GUESS) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert precision_macro(np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx((2 / 3 + 0) / 2)
    assert recall_macro(np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx((1 + 0) / 2)
