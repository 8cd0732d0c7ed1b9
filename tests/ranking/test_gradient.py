"""The gradient in omega: against differences of the loss, with the heads of each fold held fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scalearn.backbones import Backbone
from scalearn.ranking import TaskEvidence
from scalearn.ranking.gradient import gradients
from scalearn.ranking.linear import fit
from scalearn.sources import Source
from scalearn.tasks import Task

KINDS = ("classification", "regression", "multi-label", "multiple-choice")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_it_is_what_differences_say(
    kind: str,
    start: float,
    backbone: Backbone,
    make_source: Callable[..., Source],
    task_of: Callable[[str], Task],
) -> None:
    backbone.model.double()
    sources = [make_source(name, backbone) for name in ("one", "two", "three")]
    evidence = TaskEvidence(backbone, task=task_of(kind), sources=sources, seed=0)
    for layers in evidence._fused.values():
        for delta in layers:
            delta.double()
    still = evidence.features(np.full(3, start))
    heads = [
        [fit(still[train], column[train], classes=evidence.classes) for column in evidence.columns]
        for train, _ in evidence.folds
    ]

    def loss(omega: np.ndarray) -> float:
        features = evidence.features(omega)
        losses = []
        for (_, held), own in zip(evidence.folds, heads, strict=True):
            for head, column in zip(own, evidence.columns, strict=True):
                scores, given = head(features[held]), column[held]
                if evidence.classes is None:
                    losses.extend((scores[:, 0] - given) ** 2 / np.var(column))
                else:
                    totals = np.log(np.exp(scores).sum(axis=1))
                    losses.extend(totals - scores[np.arange(len(held)), given.astype(int)])
        return float(np.mean(losses))

    step = 1e-4
    differences = [
        (loss(np.full(3, start) - step * one) - loss(np.full(3, start) + step * one)) / (2 * step) for one in np.eye(3)
    ]
    assert gradients(evidence, start=start) == pytest.approx(differences, rel=2e-2, abs=1e-5)
    assert np.ptp(differences) > 1e-4


def test_a_class_that_a_fold_does_not_know_is_left_out(evidence: TaskEvidence) -> None:
    evidence.columns[0][:] = 0
    evidence.columns[0][0] = 1  # one row: when it is held out, nothing is known of its class
    assert np.isfinite(gradients(evidence)).all()


def test_the_average_of_all_is_where_it_starts(evidence: TaskEvidence) -> None:
    assert gradients(evidence) == gradients(evidence, start=0.5) != gradients(evidence, start=0.0)
