"""The criteria that sources are ranked by, and what they say together. Of each, higher is better.

| criterion | what it measures | unit |
|---|---|---|
| similarity | how alike the texts are (`scalearn.similarity`); labels do not count | mean cosine |
| probe | what a linear model of the source's frozen features explains of rows held out (`linear`) | share, 1 is all |
| logme | the evidence of such a model, in closed form (`logme`) | nats a row |
| h-score | what the labels explain of the features (`h_score`) | 0 to classes - 1 |
| gradient | how the held-out loss falls as more of the source is let in (`gradient`) | loss per unit of omega |

Together: minus the mean of the ranks, so that no unit counts more than another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from scalearn.errors import InputError
from scalearn.ranking.gradient import gradients
from scalearn.ranking.h_score import h_score
from scalearn.ranking.linear import Array, guessing_loss, held_out_loss
from scalearn.ranking.logme import logme

if TYPE_CHECKING:
    from scalearn.ranking.evidence import TaskEvidence

Criterion = Literal["similarity", "probe", "logme", "h-score", "gradient"]
DECIDING: tuple[Criterion, ...] = ("probe", "logme", "h-score")
"""Those that decide together unless others are asked for: see docs/small-data.md for what was measured."""
Scores = Mapping[Criterion, Sequence[float]]
"""By criterion, a number for each of T sources."""


def _similarity(evidence: TaskEvidence) -> list[float]:
    return evidence.similarities(rows=evidence.rows)


def _probe(evidence: TaskEvidence) -> list[float]:
    columns, classes = evidence.columns, evidence.classes
    guessed = guessing_loss(columns, classes=classes)

    def explained(features: Array) -> float:
        return 1 - held_out_loss(features, columns, classes=classes, folds=evidence.folds) / guessed

    return _of_features(evidence, explained)


def _logme(evidence: TaskEvidence) -> list[float]:
    return _in_closed_form(evidence, logme)


def _h_score(evidence: TaskEvidence) -> list[float]:
    return _in_closed_form(evidence, h_score)


def _in_closed_form(evidence: TaskEvidence, score: Callable[[Array, Array], float]) -> list[float]:
    targets = evidence.contrasted(evidence.targets)
    return _of_features(evidence, lambda features: score(evidence.contrasted(features), targets))


def _of_features(evidence: TaskEvidence, score: Callable[[Array], float]) -> list[float]:
    """The score of each source's own features; minus infinity where the source breaks the backbone."""
    from threadpoolctl import threadpool_limits

    own = [evidence.alone(source) for source in evidence.sources]
    with threadpool_limits(1, user_api="blas"):  # matrices this small lose by more threads, and much on shared cores
        return [score(features) if np.isfinite(features).all() else -np.inf for features in own]


CRITERIA: Mapping[Criterion, Callable[[TaskEvidence], list[float]]] = {
    "similarity": _similarity,
    "probe": _probe,
    "logme": _logme,
    "h-score": _h_score,
    "gradient": gradients,
}


def judged(evidence: TaskEvidence, by: Sequence[Criterion] = ()) -> tuple[Scores, Mapping[Criterion, str]]:
    """What each criterion says of each source.

    Args:
        evidence: of the target.
        by: those asked for, all of which must be possible; empty is all that are, `DECIDING` among them.

    Returns:
        The scores, and why a criterion has none.

    Raises:
        InputError: a criterion is not known or, where it was asked for, not possible.
    """
    if unknown := [name for name in by if name not in CRITERIA]:
        raise InputError(f"there is no criterion {', '.join(map(repr, unknown))}; there are {', '.join(CRITERIA)}")
    _ = evidence.targets  # rows that do not differ say nothing, whatever the criterion
    scores: dict[Criterion, Sequence[float]] = {}
    skipped: dict[Criterion, str] = {}
    for name in by or CRITERIA:
        try:
            scores[name] = CRITERIA[name](evidence)
        except InputError as error:
            if by or name in DECIDING:
                raise
            skipped[name] = str(error)
    return scores, skipped


def ranks(scores: Sequence[float]) -> list[float]:
    """1 for the highest; those that are equal share the mean of their places."""
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata([-score for score in scores])]


def together(scores: Scores) -> list[float]:
    """Minus the mean rank of each source over the criteria."""
    return [-float(np.mean(own)) for own in zip(*map(ranks, scores.values()), strict=True)]
