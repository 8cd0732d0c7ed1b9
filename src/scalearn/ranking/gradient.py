"""How the loss would fall if a source were let in a little more: minus its gradient in omega, before any training.

    g_t = - dL / d omega_t    at omega = start for every source, one coefficient per source for all layers

L is the loss of a linear head, fitted to the frozen features under that omega. Each row is judged by a head that was
fitted without it: a head has nothing left to learn of the rows it was fitted to. One pass forward and backward gives
the g_t of all sources. g_t > 0: a little more of source t helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalearn.errors import InputError
from scalearn.ranking.linear import Column, Linear, fit

if TYPE_CHECKING:
    from scalearn.ranking.evidence import TaskEvidence


def gradients(evidence: TaskEvidence, *, start: float | None = None) -> list[float]:
    """g_t of each of T sources: the loss (nats, or squared error over the variance) per unit of omega.

    Args:
        evidence: of the target.
        start: the omega of every source. 0 asks about the plain backbone; None is 1 / T, the average of all sources.

    Raises:
        InputError: the sources break the backbone.
    """
    start = 1 / evidence.count if start is None else start
    found = evidence.features(np.full(evidence.count, start))
    if not np.isfinite(found).all():
        raise InputError(
            f"under omega {start:g} the sources together make features that are not finite: leave some out"
        )
    held_by = np.empty(len(found), dtype=np.int64)  # the fold that each row is held out by
    heads: list[list[Linear]] = []
    for fold, (train, held) in enumerate(evidence.folds):
        held_by[held] = fold
        heads.append([fit(found[train], column[train], classes=evidence.classes) for column in evidence.columns])
    stacked = [_Heads([own[index] for own in heads], column) for index, column in enumerate(evidence.columns)]
    variances = [max(float(np.var(column.astype(float))), 1e-12) for column in evidence.columns]

    def loss(features: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The sum over rows, the mean over columns, of features (n, d) of the rows at these positions."""
        scores = [one(features, rows, held_by[rows]) for one in stacked]
        if evidence.classes is None:
            errors = [
                (score[:, 0] - one.labels[rows]).square() / variance
                for score, one, variance in zip(scores, stacked, variances, strict=True)
            ]
        else:
            errors = [_log_loss(score, one.labels[rows].long()) for score, one in zip(scores, stacked, strict=True)]
        return torch.stack([error.sum() for error in errors]).mean()

    return [-value / len(found) for value in evidence.differentiated(loss, start=start)]


class _Heads:
    """The heads of all folds for one column.

    Args:
        heads: one a fold.
        column: (n,) of labels.
    """

    def __init__(self, heads: Sequence[Linear], column: Column) -> None:
        self.weight = torch.tensor(np.stack([head.weight for head in heads]))  # (folds, k, d)
        self.bias = torch.tensor(np.stack([head.bias for head in heads]))
        self.labels = torch.tensor(column.astype(float))

    def __call__(self, features: Tensor, rows: NDArray[np.int64], folds: NDArray[np.int64]) -> Tensor:
        """Scores (n, k) of features (n, d), each by the head of its fold."""
        chosen = torch.from_numpy(folds)
        return torch.einsum("nd,nkd->nk", features, self.weight[chosen]) + self.bias[chosen]


def _log_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Of each row whose class its head knows; of others no omega would change it."""
    known = scores.gather(1, labels[:, None])[:, 0].isfinite()
    return torch.nn.functional.cross_entropy(scores[known], labels[known], reduction="none")
