"""Which rows: the development split of a file, nested draws, and draws of as many rows of every class.

They depend on the labels, the questions and the seed only.
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


def draw_questions(questions: Sequence[int], *, rows: int, seed: Sequence[int]) -> Rows:
    """Draws whole questions, as many as have at most `rows` rows, but at least one; draws are nested.

    Args:
        questions: the question of each row.
        rows: how many are wanted.
        seed: of the draw.
    """
    asked, number, sizes = np.unique(np.asarray(questions), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(asked))
    count = max(1, int(np.searchsorted(np.cumsum(sizes[order]), rows, side="right")))
    return np.flatnonzero(np.isin(number, order[:count]))


def draw_halves(
    classes: Sequence[int] | None, count: int, *, rows: int, seed: Sequence[int], groups: Sequence[int] | None = None
) -> tuple[Rows, Rows]:
    """Draws `rows` of `count` rows for training and other `rows` for development, each with the classes in balance.

    Each class is dealt to the two sides in turn, so neither takes the rows that the other would need; then the classes
    take turns on each side, in an order drawn anew for every turn, until one after the other is used up. Where the
    classes' odd rows leave development short, it goes on with what training would take last. With the same seed,
    smaller draws are subsets of larger ones on both sides.

    Args:
        classes: a class index for each row; None for plain draws.
        count: rows in all.
        rows: how many are wanted on each side.
        seed: of the draw.
        groups: the group of each row, where rows that belong together must not be on both sides: then whole groups are
            dealt, and development is not filled up.

    Returns:
        Rows of training and of development; fewer than `rows` where there are not twice as many, or groups lie so.
    """
    generator = np.random.default_rng(seed)
    of_class = [np.arange(count)] if classes is None else _by_class(np.asarray(classes))
    dealt = [generator.permutation(own) for own in of_class]
    on_side = None if groups is None else _dealt(np.asarray(groups), generator)
    sides = []
    for side in (0, 1):
        own = [drawn[side::2] if on_side is None else drawn[on_side[drawn] == side] for drawn in dealt]
        turns = range(max(map(len, own)))
        sides.append([own[i][turn] for turn in turns for i in generator.permutation(len(own)) if turn < len(own[i])])
    train, dev = sides
    if groups is None and 2 * rows <= count:
        dev = [*dev, *reversed(train)]
    return np.sort(np.asarray(train[:rows], dtype=np.int64)), np.sort(np.asarray(dev[:rows], dtype=np.int64))


def _dealt(groups: Rows, generator: np.random.Generator) -> Rows:
    """The side, 0 or 1, that the group of each row is dealt to."""
    names, number = np.unique(groups, return_inverse=True)
    return generator.permutation(np.arange(len(names)) % 2)[number]


def _by_class(classes: Rows) -> list[Rows]:
    return [np.flatnonzero(classes == name) for name in np.unique(classes)]
