"""Scores of questions of several rows, worked out by hand."""

from typing import Any

import numpy as np
import pytest

from scalearn.errors import InputError
from scalearn.tasks import Task
from scalearn.tasks.questions import exact_match, numbered, picked, share_of_right_questions, token_f1
from scalearn.tasks.splits import make_split


def asking(unit: str, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "asking",
        "kind": "classification",
        "unit": unit,
        "text": ("t", "q"),
        "label": "label",
        "labels": ("False", "True"),
        "metrics": ("f1", "exact_match"),
        "main_metric": "f1" if unit == "question" else "combined_score",
    }
    return Task(**(fields | changes))


def logits(answers: list[int]) -> np.ndarray:
    """The larger of the two is that of the answer."""
    return np.array([[0.3, -0.2] if answer == 0 else [-1.0, 0.1] for answer in answers])


# ---- rows and whole questions (MultiRC)


def test_f1_of_all_answers_and_exact_match_of_questions() -> None:
    """Four questions of two, three, one and two answers, the last two rows of the first question."""
    questions = [7, 2, 2, 2, 5, 0, 0, 7]
    labels = [1, 0, 1, 0, 0, 1, 1, 0]
    given = [1, 0, 0, 0, 0, 1, 1, 0]  # of question 2, the one true answer is missed
    rows = make_split([["t"] * 8, ["q"] * 8], labels, labels=("False", "True"), questions=questions)
    scores = asking("question").judge(rows, logits(given))
    # true positives 3, false positives 0, false negatives 1; three of four questions
    assert scores == pytest.approx({"f1": 6 / 7, "exact_match": 3 / 4})
    given[4] = 1  # a false positive, and question 5 is lost
    assert asking("question").judge(rows, logits(given)) == pytest.approx({"f1": 6 / 8, "exact_match": 2 / 4})


def test_a_question_is_right_as_a_whole() -> None:
    assert share_of_right_questions([0, 0, 1, 1], [1, 0, 1, 0], [1, 0, 1, 1]) == 0.5
    assert share_of_right_questions([0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 1]) == 0.5
    assert share_of_right_questions([4, 4, 4, 9], [1, 1, 1, 1], [1, 1, 0, 1]) == 0.5
    assert share_of_right_questions([4, 4, 4, 9], [1, 1, 1, 1], [0, 0, 0, 1]) == 0.5
    assert share_of_right_questions([3, 3], [0, 1], [0, 1]) == 1.0


def test_questions_are_scored_with_their_rows_only() -> None:
    with pytest.raises(InputError, match="'asking' scores questions, not rows"):
        asking("question").score([0, 1], [0, 1])
    rows = make_split([["t"], ["q"]], [1], labels=("False", "True"), questions=[0])
    for wrong in (logits([1, 0]), np.zeros((0, 2))):
        with pytest.raises(InputError, match="cannot score predictions of shape"):
            asking("question").judge(rows, wrong)
    with pytest.raises(InputError, match="cannot score predictions of shape"):
        asking("question").judge(rows.select([]), np.zeros((0, 2)))


# ---- of each question one row (ReCoRD)


def candidates(questions: list[int], worths: list[list[float]]) -> Any:
    count = len(questions)
    labels = [int(exact == 1.0) for _, exact in worths]
    texts = [["t"] * count, ["q"] * count]
    return make_split(texts, labels, labels=("False", "True"), questions=questions, worths=worths)


def test_the_strongest_candidate_answers() -> None:
    rows = candidates(
        [0, 0, 0, 1, 1, 2],
        [[1.0, 1.0], [0.5, 0.0], [0.0, 0.0], [2 / 3, 0.0], [1.0, 1.0], [0.4, 0.0]],
    )
    # log odds 1, 0, -4; -2, -3; 0. All of question 1 are denied, and the second logit alone would pick other rows
    given = np.array([[-1.0, 0.0], [3.0, 3.0], [6.0, 2.0], [1.0, -1.0], [4.0, 1.0], [0.0, 0.0]])
    scores = asking("pick").judge(rows, given)
    assert scores == pytest.approx(
        {
            "f1": (1 + 2 / 3 + 0.4) / 3,
            "exact_match": 1 / 3,
            "combined_score": ((1 + 2 / 3 + 0.4) / 3 + 1 / 3) / 2,
        }
    )
    assert list(scores) == ["f1", "exact_match", "combined_score"]
    first = asking("pick", metrics=("exact_match",), main_metric="exact_match")
    assert first.judge(rows, given) == pytest.approx({"exact_match": 1 / 3})


def test_the_order_of_rows_does_not_matter_but_for_ties() -> None:
    questions = np.array([3, 1, 3, 1, 2, 3])
    strengths = np.array([0.5, -1.0, 2.0, -0.5, -9.0, 1.0])
    assert picked(questions, strengths).tolist() == [3, 4, 2]  # of questions 1, 2 and 3
    order = np.array([5, 2, 0, 4, 3, 1])
    assert order[picked(questions[order], strengths[order])].tolist() == [3, 4, 2]
    assert picked([0, 0, 0, 1, 1], [1.0, 2.0, 2.0, 0.0, 0.0]).tolist() == [1, 3], "the first of equals"
    assert picked([1, 0, 1, 0], [0.0] * 4).tolist() == [1, 0]


def test_picks_refuse_other_shapes() -> None:
    rows = candidates([0, 0], [[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(InputError, match="cannot score predictions of shape"):
        asking("pick").judge(rows, np.zeros((3, 2)))


@pytest.mark.parametrize("empty", [True, False])
def test_picks_refuse_nothing_and_single_numbers(empty: bool) -> None:
    rows = candidates([0, 0], [[1.0, 1.0], [0.0, 0.0]])
    rows, given = (rows.select([]), np.zeros((0, 2))) if empty else (rows, np.zeros(2))
    with pytest.raises(InputError, match="cannot score predictions of shape"):
        asking("pick").judge(rows, given)


def test_contradictions() -> None:
    for changes, message in (
        ({"unit": "pick", "metrics": ("accuracy",), "main_metric": "accuracy"}, "valid are f1, exact_match"),
        ({"unit": "row"}, "valid are accuracy, .*subset_accuracy$"),
        ({"unit": "question", "labels": ("a", "b", "c"), "metrics": ("accuracy",)}, "rows of two classes"),
        ({"unit": "pick", "kind": "regression", "labels": ()}, "rows of two classes"),
        ({"unit": "pick", "splits": {"dev": make_split([["t"], ["q"]], [0], labels=("n", "y"))}}, "not .*'worth'"),
        ({"unit": "question", "splits": {"dev": make_split([["t"], ["q"]], [0], labels=("n", "y"))}}, "'question'"),
    ):
        with pytest.raises(InputError, match=message):
            asking(**changes)


# ---- texts


@pytest.mark.parametrize(
    ("candidate", "answer", "f1", "exact"),
    [
        ("the Cat.", "cat", 1.0, 1.0),
        ("a cat", "An  CAT!", 1.0, 1.0),
        ("cat-fish", "catfish", 1.0, 1.0),
        ("black cat", "cat", 2 / 3, 0.0),
        ("cat black", "black cat", 1.0, 0.0),  # the same words, another text
        ("cat cat cat", "cat", 1 / 2, 0.0),
        ("cat cat", "cat cat dog", 4 / 5, 0.0),  # both cats are in common
        ("theory", "ory", 0.0, 0.0),
        ("dog", "cat", 0.0, 0.0),
        ("the", "a", 0.0, 1.0),  # nothing is left of either
    ],
)
def test_words_in_common(candidate: str, answer: str, f1: float, exact: float) -> None:
    assert token_f1(candidate, answer) == pytest.approx(f1)
    assert token_f1(answer, candidate) == pytest.approx(f1)
    assert exact_match(candidate, answer) == exact_match(answer, candidate) == exact


def test_numbers_follow_the_first_occurrence() -> None:
    assert numbered([(3, 1), (0, 0), (3, 1), (0, 1), (0, 0)]) == [0, 1, 0, 2, 1]
    assert numbered([]) == []
