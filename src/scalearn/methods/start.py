"""Where omega starts.

| init | omega_t at the start |
|---|---|
| paper | init_scale / T, the published choice with init_scale 2 |
| mean | 1 / T: the average of all sources |
| rank | init_scale * softmax over t of (s_t - mean s) / std s, s_t the score of source t by `scalearn.ranking` |
| best | 1 for the source of the highest s_t, 0 for the others |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Init = Literal["paper", "mean", "rank", "best"]


def by_rank(scores: Sequence[float], *, total: float) -> tuple[float, ...]:
    """More for the sources of higher scores, `total` for all."""
    values = np.asarray(scores)
    weights = np.exp((values - values.mean()) / max(float(values.std()), 1e-12))
    return tuple(round(float(weight), 6) for weight in total * weights / weights.sum())


def at_best(scores: Sequence[float]) -> tuple[float, ...]:
    """1 for the highest score, the first of equal ones, and 0 for the others."""
    best = int(np.argmax(scores))
    return tuple(float(index == best) for index in range(len(scores)))
