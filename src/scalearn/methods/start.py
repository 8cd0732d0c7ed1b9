"""Where omega starts.

| init | omega_t at the start |
|---|---|
| paper | init_scale / T, the published choice with init_scale 2 |
| mean | 1 / T: the average of all sources |
| rank | init_scale * softmax over t of (s_t - mean s) / std s, s_t the score of source t by `scalearn.ranking` |
| best | 1 for the source of the highest s_t, 0 for the others |
| auto | as `paper`, unless the training rows say that `mean`, `best`, or no source at all is better |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from scalearn.methods.base import Evidence

Init = Literal["paper", "mean", "rank", "best", "auto"]
FEWEST = 50
"""Training rows that can tell where to start. On the development targets 100 did, and 16 were wrong on three of
four, of one draw each. Between them nothing was measured."""


def by_rank(scores: Sequence[float], *, total: float) -> tuple[float, ...]:
    """More for the sources of higher scores, `total` for all."""
    values = np.asarray(scores)
    weights = np.exp((values - values.mean()) / max(float(values.std()), 1e-12))
    return tuple(round(float(weight), 6) for weight in total * weights / weights.sum())


def at_best(scores: Sequence[float]) -> tuple[float, ...]:
    """1 for the highest score, the first of equal ones, and 0 for the others."""
    best = int(np.argmax(scores))
    return tuple(float(index == best) for index in range(len(scores)))


def by_rows(evidence: Evidence, *, total: float) -> tuple[float, ...]:
    """What suits the training rows: `total` / T, unless another start is better by more than one standard error.

    The others are three: 1 / T, the source that ranks first, and no source. What is compared is the held-out loss of a
    linear model on the frozen features, row by row; the standard error is of the mean difference, so that few rows do
    not decide by chance (the one-standard-error rule of Breiman et al., 1984). Nor is every source asked about: of ten
    starts one is better by a standard error by chance. Some of that is left, since the same rows say which source ranks
    first. Fewer than `FEWEST` rows are not asked at all.
    """
    count = evidence.count
    usual = np.full(count, total / count)
    if evidence.train_rows < FEWEST:
        return tuple(usual.tolist())
    starts = [usual, np.full(count, 1 / count), np.zeros(count)]
    if count > 1 and evidence.tells_apart:
        starts.append(np.array(at_best(evidence.scores())))
    losses = evidence.losses(starts)
    best = int(np.argmin(losses.mean(axis=1)))
    gain = losses[0] - losses[best]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if np.isfinite(losses[0]).all() else 0.0
    return tuple((starts[best] if gain.mean() > error else usual).tolist())
