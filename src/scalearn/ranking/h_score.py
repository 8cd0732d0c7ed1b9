"""The H-score: how much of the features' variance the labels explain, each direction measured in its own variance.

    H = tr(C_a^-1 (1 - a) C_z),   C_a = (1 - a) C + a tr(C)/d I,   C the features' covariance
    C_z = C_fy C_yy^+ C_yf        the covariance of the best linear estimate of the features from the targets

For classes, as columns of 0 and 1, that estimate is the mean of each class: the published score. For one number H is
the shrunken square of the multiple correlation. a is Ledoit and Wolf's: with fewer rows than dimensions C has no
inverse, and without shrinkage (a = 0) H says nothing.

Sources: Bao et al. (ICIP 2019); shrinkage: Ibrahim, Ponomareva and Mazumder, Newer is not always better (2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def h_score(features: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """At least 0 and below the rank of the targets; higher is better.

    Args:
        features: (n, d).
        targets: (n, k).
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    shrinkage = float(ledoit_wolf_shrinkage(features))
    centred, labels = features - features.mean(axis=0), targets - targets.mean(axis=0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)  # C = V diag(variances) V'
    variances = singular**2 / len(features)
    mean = variances.sum() / features.shape[1]
    shrunken = (1 - shrinkage) * variances + shrinkage * mean
    across = right @ (centred.T @ labels) / len(labels)  # C_fy in the basis V: (r, k)
    explained = ((across @ np.linalg.pinv(labels.T @ labels / len(labels))) * across).sum(axis=1)
    nonzero = shrunken > 1e-12 * max(float(variances.max()), 1e-300)
    return float((1 - shrinkage) * (explained[nonzero] / shrunken[nonzero]).sum())
