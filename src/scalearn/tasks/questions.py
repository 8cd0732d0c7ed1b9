"""Scores of tasks whose rows belong together: several rows are one question.

MultiRC (Khashabi et al., NAACL 2018): a row is one answer to a question, true or not; a question counts as right if
all of its rows are. ReCoRD (Zhang et al., 2018): a row is one candidate; the candidate of highest probability answers
the query, and is worth the best F1 and exact match over the query's answers, texts normalised as for SQuAD (Rajpurkar
et al., EMNLP 2016).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

WORTHS = ("f1", "exact_match")
"""What a candidate's worth consists of, in this order."""


def share_of_right_questions(questions: ArrayLike, labels: ArrayLike, predictions: ArrayLike) -> float:
    """The share of questions all of whose rows are predicted right (SuperGLUE's exact match of MultiRC).

    Args:
        questions: (N,) the question of each row.
        labels: (N,).
        predictions: (N,).
    """
    right = np.asarray(labels) == np.asarray(predictions)
    _, number = np.unique(np.asarray(questions), return_inverse=True)
    return float(np.mean(np.bincount(number, weights=~right) == 0))


def picked(questions: ArrayLike, strengths: ArrayLike) -> NDArray[np.int64]:
    """Of each question the row of greatest strength, the first of equals; questions in ascending order.

    Args:
        questions: (N,) the question of each row.
        strengths: (N,) for instance log odds that the row is the answer.
    """
    asked, strong = np.asarray(questions), np.asarray(strengths)
    order = np.lexsort((np.arange(len(asked)), -strong, asked))
    first = np.r_[True, asked[order][1:] != asked[order][:-1]]
    return order[first]


def exact_match(candidate: str, answer: str) -> float:
    """1 if the two normalised texts are the same, else 0."""
    return float(_normalised(candidate) == _normalised(answer))


def token_f1(candidate: str, answer: str) -> float:
    """F1 of the candidate's words against the answer's, counted with repetition, normalised."""
    given, wanted = _normalised(candidate).split(), _normalised(answer).split()
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def numbered(names: Sequence[object]) -> list[int]:
    """Numbers from 0 for names, in the order in which they first occur."""
    known: dict[object, int] = {}
    return [known.setdefault(name, len(known)) for name in names]


def _normalised(text: str) -> str:
    """Lower case, without punctuation, articles and surplus blanks."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())
