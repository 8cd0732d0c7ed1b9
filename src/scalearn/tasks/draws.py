"""Which rows: the development split of a file, and nested few-shot draws.

Both are stratified where there are classes, and depend on the labels and the seed only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Positions of rows, ascending."""


def split_rows(classes: Sequence[int] | None, count: int, *, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Splits `count` rows in two, train and dev.

    Args:
        classes: a class index for each row; None for a plain split.
        count: rows in all.
        fraction: the share of dev. In each class it is rounded to whole rows, but train keeps a row of every class and
            dev gets one of every class that has two.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    groups = [np.arange(count)] if classes is None else _by_class(np.asarray(classes))
    dev = []
    for group in groups:
        size = min(max(round(len(group) * fraction), 1), len(group) - 1)
        dev.append(generator.permutation(group)[:size])
    chosen = np.zeros(count, dtype=bool)
    chosen[np.concatenate(dev)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def draw_rows(classes: Sequence[int] | None, count: int, *, rows: int, seed: Sequence[int]) -> Rows:
    """Draws at most `rows` of `count` rows; with the same seed, a smaller draw is a subset of a larger one.

    All rows are put in one shuffled order whose every beginning is stratified, and the beginning is taken: of a class
    of n, the j-th shuffled row (from 0) comes at j/n, ties at random. So the first rows drawn are one of every class,
    and from there on each class keeps its share to within a row.

    Args:
        classes: a class index for each row; None for a plain draw.
        count: rows in all.
        rows: how many are wanted.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    tie = generator.permutation(count)
    if classes is None:
        order = tie
    else:
        turn = np.empty(count)
        for group in _by_class(np.asarray(classes)):
            turn[generator.permutation(group)] = np.arange(len(group)) / len(group)
        order = np.lexsort((tie, turn))
    return np.sort(order[:rows])


def _by_class(classes: Rows) -> list[Rows]:
    return [np.flatnonzero(classes == name) for name in np.unique(classes)]
