"""A split of a task: a `datasets.Dataset` with the columns ``text_a``, ``text_b`` (pairs only) and ``label``."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import ClassLabel, Dataset, Features, Value

TEXTS = ("text_a", "text_b")
"""Names of the text columns; a task of single texts has the first only."""


def split_features(*, texts: int, labels: Sequence[str]) -> Features:
    """The columns of a split with so many texts; without class names, labels are floats."""
    columns = {name: Value("string") for name in TEXTS[:texts]}
    return Features(columns | {"label": ClassLabel(names=list(labels)) if labels else Value("float64")})


def make_split(
    texts: Sequence[Sequence[str]], values: Sequence[int] | Sequence[float], *, labels: Sequence[str]
) -> Dataset:
    """Puts columns together, in memory.

    Args:
        texts: one or two columns of N texts.
        values: N class indices, or N floats if there are no class names.
        labels: the class names.
    """
    columns = dict(zip(TEXTS, texts, strict=False)) | {"label": values}
    return Dataset.from_dict(columns, features=split_features(texts=len(texts), labels=labels))
