"""A split of a task: a `datasets.Dataset` of texts, or images, and labels.

Columns: ``text_a``, ``text_b`` (pairs only), ``choices`` (multiple choice only: C texts a row), or ``image`` in their
place (a path, or the bytes of a file), and ``label`` (a class index, a float, the index of the right choice, or for
multi-label a list of 0 and 1 in the order of the labels). Where several rows are one question, also ``question`` (its
number), and where one of them is picked as its answer, ``worth`` (F1 and exact match of this row as the answer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from scalearn.images import IMAGE
from scalearn.kinds import Kind

if TYPE_CHECKING:
    from datasets import Dataset

Unit = Literal["row", "question", "pick"]
"""What is scored: rows; rows and whole questions of several (MultiRC); or of each question the row picked (ReCoRD)."""

TEXTS = ("text_a", "text_b")
"""Names of the text columns; a task of single texts has the first only."""
CHOICES = "choices"
LABEL = "label"
QUESTION = "question"
WORTH = "worth"


def column_names(*, texts: int, kind: Kind, unit: Unit = "row") -> list[str]:
    """The columns of a split with so many texts; without any, of images."""
    grouped = {"row": [], "question": [QUESTION], "pick": [QUESTION, WORTH]}[unit]
    inputs = TEXTS[:texts] if texts else (IMAGE,)
    return [*inputs, *([CHOICES] if kind == "multiple-choice" else []), *grouped, LABEL]


def make_split(
    texts: Sequence[Sequence[str]],
    values: Sequence[Any],
    *,
    labels: Sequence[str],
    kind: Kind | None = None,
    choices: Sequence[Sequence[str]] | None = None,
    questions: Sequence[int] | None = None,
    worths: Sequence[Sequence[float]] | None = None,
    images: Sequence[Mapping[str, Any]] | None = None,
) -> Dataset:
    """Puts columns together, in memory.

    Args:
        texts: one or two columns of N texts; none beside images.
        values: N class indices or indices of the right choice; N floats; or N lists of 0 and 1.
        labels: the class names, or names of the choices; none for regression.
        kind: of the task; by default classification where there are labels, else regression.
        choices: N lists of C texts, for multiple choice.
        questions: N numbers, where several rows are one question.
        worths: N pairs, where one row of a question is picked as its answer.
        images: N of ``{"path": ..., "bytes": ...}``, one of which is None.
    """
    from datasets import ClassLabel, Dataset, Features, Image, List, Value

    columns: dict[str, Any] = dict(zip(TEXTS, texts, strict=False))
    features: dict[str, Any] = {name: Value("string") for name in columns}
    if images is not None:
        columns[IMAGE], features[IMAGE] = list(images), Image(decode=False)
    if choices is not None:
        columns[CHOICES], features[CHOICES] = [list(row) for row in choices], List(Value("string"))
    if questions is not None:
        columns[QUESTION], features[QUESTION] = list(questions), Value("int64")
    if worths is not None:
        columns[WORTH], features[WORTH] = [list(row) for row in worths], List(Value("float64"))
    columns[LABEL] = values
    if kind == "multi-label":
        features[LABEL] = List(Value("int8"))
    else:
        features[LABEL] = ClassLabel(names=list(labels)) if labels else Value("float64")
    return Dataset.from_dict(columns, features=Features(features))
