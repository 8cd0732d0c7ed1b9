"""LogME: the evidence of a linear model of frozen features, maximised over its two precisions.

    y = F w + noise,   w ~ N(0, I / alpha),   noise ~ N(0, I / beta)
    LogME = max over alpha, beta of log p(y | F) / n, the mean over the columns of y

With F = U S V' (n x d), s the squares of S, p = (U' y)^2, g = alpha / beta:

    m'm   = sum s p / (g + s)^2                       m: the mean of w given y
    |y - F m|^2 = sum (g / (g + s))^2 p + |y|^2 - sum p
    log p = n/2 log(beta / 2 pi) - beta/2 |y - F m|^2 - alpha/2 m'm - 1/2 sum log(1 + s / g)

and the fixed point is  gamma = sum s / (g + s),  alpha = gamma / m'm,  beta = (n - gamma) / |y - F m|^2.

Source: You et al., LogME (ICML 2021), section 4. As there, classes are columns of 0 and 1, one a class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = 100
_TOLERANCE = 1e-5
_MOST = 1e10
"""Largest alpha / beta, and 1 over the least, in units of the mean of s: where y is like no feature, it has no end."""


def logme(features: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """The mean log evidence of a row; higher is better. Comparable between features of the same rows only.

    Args:
        features: (n, d).
        targets: (n, k), no column of zeros.
    """
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    squares = singular**2
    return float(np.mean([_evidence(squares, (left.T @ y) ** 2, float(y @ y), len(y)) for y in targets.T]))


def _evidence(squares: NDArray[np.float64], powers: NDArray[np.float64], total: float, rows: int) -> float:
    """The maximal log evidence over n.

    Args:
        squares: of the singular values, (r,).
        powers: squares of y along the left singular vectors, (r,).
        total: the square of y.
        rows: n.
    """
    scale = max(float(squares.mean()), 1e-30)
    outside = max(total - float(powers.sum()), 0.0)  # what no weights can fit
    ratio = 1.0  # alpha / beta
    for _ in range(_STEPS):
        norm = float((squares * powers / (ratio + squares) ** 2).sum())
        error = max(float(((ratio / (ratio + squares)) ** 2 * powers).sum()) + outside, 1e-12 * total)
        gamma = float((squares / (ratio + squares)).sum())
        alpha, beta = gamma / max(norm, 1e-300), max(rows - gamma, 1e-12) / error
        before, ratio = ratio, min(max(alpha / beta, scale / _MOST), _MOST * scale)
        if abs(ratio - before) <= _TOLERANCE * before:
            break
    alpha = ratio * beta
    fitted = rows * np.log(beta / (2 * np.pi)) - beta * error - alpha * norm
    return float(fitted - np.log1p(squares / ratio).sum()) / (2 * rows)
