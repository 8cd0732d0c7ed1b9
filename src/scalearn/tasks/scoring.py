"""What a model's answers to the rows of a split are worth, and how sure that is.

The standard error of a score is that of the bootstrap (Efron, 1979): the rows, or the questions where rows belong
together, are drawn anew with replacement, and the score's standard deviation over the draws is taken. It tells how much
the score depends on which test rows there are, not on the seed of a training run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalearn.tasks.metrics import COMBINED, METRICS
from scalearn.tasks.questions import WORTHS, picked, share_of_right_questions
from scalearn.tasks.resampling import Draws, ratio, scores_of_classes, scores_of_numbers

RESAMPLES = 200
"""Draws of the bootstrap: the standard error itself is then good to 5 %."""
STDERR = "_stderr"
"""What the name of a standard error ends with."""
EXACT_MATCH = "exact_match"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers to N rows of one label each, beside what is right."""

    labels: NDArray[Any]
    """(N,)."""
    given: NDArray[Any]
    """(N,) predictions."""

    @property
    def size(self) -> int:
        """How many are drawn for a resample."""
        return len(self.labels)

    def scores(self, metrics: Sequence[str]) -> dict[str, float]:
        """Metrics by name."""
        return {name: METRICS[name](self.labels, self.given) for name in metrics}

    def resampled(self, metrics: Sequence[str], draws: Draws) -> Iterator[dict[str, float]]:
        """The scores of each draw."""
        of = scores_of_numbers if {"pearson", "spearman"} & set(metrics) else scores_of_classes
        columns = of(self.labels, self.given, draws)
        return (dict(zip(metrics, row, strict=True)) for row in zip(*(columns[name] for name in metrics), strict=True))


@dataclass(frozen=True, kw_only=True)
class LabelSets(Answers):
    """The answers to N rows of any number of L labels: both fields are (N, L) of 0 and 1."""

    def resampled(self, metrics: Sequence[str], draws: Draws) -> Iterator[dict[str, float]]:
        """The scores of each draw, from counts: scikit-learn would take minutes for a large test split."""
        times = np.stack([np.bincount(rows, minlength=self.size) for rows in draws]).astype(np.float64)  # (R, N)
        gold, given = self.labels.astype(np.float64), self.given.astype(np.float64)
        hits, guesses, occurrences = times @ (gold * given), times @ given, times @ gold  # (R, L)
        right = times @ (self.labels == self.given).all(axis=1) / self.size  # (R,)
        parts = {"f1": (2 * hits, guesses + occurrences), "precision": (hits, guesses), "recall": (hits, occurrences)}
        columns = {"subset_accuracy": right, "accuracy": right}
        for name, (above, below) in parts.items():
            columns[f"{name}_macro"] = ratio(above, below).mean(axis=1)
            columns[f"{name}_micro"] = ratio(above.sum(axis=1), below.sum(axis=1))
        return (dict(zip(metrics, row, strict=True)) for row in zip(*(columns[name] for name in metrics), strict=True))


@dataclass(frozen=True, kw_only=True)
class AnswersToQuestions(Answers):
    """The answers to N rows that make up Q questions."""

    questions: NDArray[np.int64]
    """(N,) the question of each row."""

    @property
    def size(self) -> int:
        """How many are drawn for a resample."""
        return len(np.unique(self.questions))

    def scores(self, metrics: Sequence[str]) -> dict[str, float]:
        """Metrics by name."""
        return {
            name: share_of_right_questions(self.questions, self.labels, self.given)
            if name == EXACT_MATCH
            else METRICS[name](self.labels, self.given)
            for name in metrics
        }

    def resampled(self, metrics: Sequence[str], draws: Draws) -> Iterator[dict[str, float]]:
        """The scores of each draw of questions."""
        rows_of = [np.flatnonzero(self.questions == question) for question in np.unique(self.questions)]
        for drawn in draws:
            rows = np.concatenate([rows_of[question] for question in drawn])
            numbers = np.repeat(np.arange(len(drawn)), [len(rows_of[question]) for question in drawn])
            again = AnswersToQuestions(labels=self.labels[rows], given=self.given[rows], questions=numbers)
            yield again.scores(metrics)


@dataclass(frozen=True, kw_only=True)
class Picks:
    """What the rows that were picked as answers to Q questions are worth."""

    worths: NDArray[np.float64]
    """(Q, 2): F1 and exact match."""

    @classmethod
    def of(cls, *, questions: NDArray[np.int64], strengths: NDArray[Any], worths: NDArray[np.float64]) -> Picks:
        """Picks of each question the row of greatest strength.

        Args:
            questions: (N,) the question of each row.
            strengths: (N,) of each row as the answer.
            worths: (N, 2) of each row as the answer.
        """
        return cls(worths=worths[picked(questions, strengths)])

    @property
    def size(self) -> int:
        """How many are drawn for a resample."""
        return len(self.worths)

    def scores(self, metrics: Sequence[str]) -> dict[str, float]:
        """Metrics by name."""
        return {name: float(self.worths[:, WORTHS.index(name)].mean()) for name in metrics}

    def resampled(self, metrics: Sequence[str], draws: Draws) -> Iterator[dict[str, float]]:
        """The scores of each draw of questions."""
        return (Picks(worths=self.worths[drawn]).scores(metrics) for drawn in draws)


Outcome = Answers | Picks


def with_mean(scores: Mapping[str, float], main_metric: str) -> dict[str, float]:
    """The scores, and their mean as "combined_score" if that is the main metric."""
    return {**scores, **({COMBINED: sum(scores.values()) / len(scores)} if main_metric == COMBINED else {})}


def standard_errors(
    outcome: Outcome, *, metrics: Sequence[str], main_metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """The bootstrap standard error of each metric, and of their mean if that is the main one, as "NAME_stderr"."""
    drawn = drawn_scores(outcome, metrics=metrics, main_metric=main_metric, resamples=resamples, seed=seed)
    return {name + STDERR: float(np.std([scores[name] for scores in drawn], ddof=1)) for name in drawn[0]}


def drawn_scores(
    outcome: Outcome, *, metrics: Sequence[str], main_metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, float]]:
    """The metrics of each draw of the bootstrap; outcomes of one size have the same draws, so they can be paired."""
    generator = np.random.default_rng(seed)
    draws = [generator.integers(0, outcome.size, outcome.size) for _ in range(resamples)]
    return [with_mean(scores, main_metric) for scores in outcome.resampled(metrics, draws)]
