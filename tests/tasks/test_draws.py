"""Which rows are drawn: whole questions, shares of train, halves, and dev of a file."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from scalearn.errors import InputError
from scalearn.tasks import Task
from scalearn.tasks.draws import draw_halves, draw_questions, draw_rows, split_rows
from scalearn.tasks.splits import make_split

SIZES = (3, 1, 4, 1, 5, 2, 6, 2, 3, 5)
"""Rows of each question."""
SHARES = [round(0.05 * i, 2) for i in range(1, 21)]


def asking(unit: str) -> Task:
    """Thirty-two rows of ten questions."""
    questions = [question for question, size in enumerate(SIZES) for _ in range(size)]
    count = len(questions)
    worths = [[0.0, 0.0]] * count if unit == "pick" else None
    rows = make_split(
        [[f"row {i}" for i in range(count)], ["q"] * count],
        [i % 2 for i in range(count)],
        labels=("False", "True"),
        questions=questions,
        worths=worths,
    )
    return Task(
        name="asking",
        kind="classification",
        unit="pick" if worths else "question",
        text=("t", "q"),
        label="y",
        labels=("False", "True"),
        metrics=("f1", "exact_match"),
        main_metric="f1",
        splits={"train": rows, "dev": rows, "test": rows},
    )


def plain(count: int = 90) -> Task:
    """Two classes, one twice as common."""
    values = [int(i % 3 > 0) for i in range(count)]
    rows = make_split([[f"row {i}" for i in range(count)]], values, labels=("a", "b"))
    return Task(
        name="plain",
        kind="classification",
        text=("t",),
        label="y",
        labels=("a", "b"),
        metrics=("accuracy",),
        main_metric="accuracy",
        splits={"train": rows, "dev": rows, "test": rows},
    )


def rows(task: Task, split: str = "train") -> list[str]:
    return list(task.splits[split]["text_a"][:])


# ---- whole questions


def check_whole(task: Task, split: str) -> list[int]:
    """The questions of a split, in its order; none may lack a row."""
    found = Counter(task.splits[split]["question"][:])
    assert all(count == SIZES[question] for question, count in found.items())
    return list(found)


@pytest.mark.parametrize("unit", ["question", "pick"])
def test_rows_of_a_question_stay_together(unit: str) -> None:
    task = asking(unit)
    for seed in range(4):
        before: set[int] = set()
        for n in range(1, 34):
            few = task.take(train_rows=n, dev_rows=n, seed=seed)
            questions = check_whole(few, "train")
            check_whole(few, "dev")
            assert questions == sorted(questions), "the order of the data"
            assert before <= set(questions)
            before = set(questions)
            assert len(few.splits["train"]) <= n or len(questions) == 1
            assert few.splits["test"][:] == task.splits["test"][:]
        assert len(before) == 10


@pytest.mark.parametrize("unit", ["question", "pick"])
def test_draws_of_questions_differ_by_seed_and_split(unit: str) -> None:
    task = asking(unit)
    few = task.take(train_rows=12, dev_rows=12, seed=0)
    assert rows(few, "train") != rows(few, "dev")
    assert rows(task.take(train_rows=12, seed=1)) != rows(few)
    assert rows(task.take(train_rows=12, seed=0)) == rows(few)
    assert task.take(train_rows=1000, seed=0).fingerprint() == task.fingerprint()


def test_as_many_questions_as_fit() -> None:
    """The next question of the order would be too many rows; with equal sizes that is the whole part."""
    for wanted, questions in ((1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (8, 2), (9, 3), (30, 10), (31, 10)):
        assert len(draw_questions(np.repeat(np.arange(10), 3), rows=wanted, seed=(0,))) == 3 * questions


def test_questions_may_be_numbered_anyhow_and_stand_apart() -> None:
    questions = [70, 3, 70, 500, 3, 3, 500, 70]
    drawn = draw_questions(questions, rows=5, seed=(1,))
    assert drawn.tolist() == sorted(drawn.tolist())
    chosen = {questions[row] for row in drawn}
    assert drawn.tolist() == [row for row, question in enumerate(questions) if question in chosen]


# ---- shares of train


def test_shares_are_nested() -> None:
    for task in (plain(), asking("question"), asking("pick")):
        draws = [set(rows(task.take(train_fraction=share, seed=2))) for share in SHARES]
        assert all(small <= large for small, large in pairwise(draws))
        assert draws[-1] == set(rows(task))
        assert len(draws[0]) < len(draws[9]) < len(draws[-1])


def test_a_share_is_rounded_to_rows() -> None:
    task = plain(90)
    sizes = {share: len(task.take(train_fraction=share, seed=0).splits["train"]) for share in SHARES}
    assert (sizes[0.1], sizes[0.3], sizes[0.5], sizes[0.95], sizes[1.0]) == (9, 27, 45, 86, 90)  # 85.5 rounds to even
    assert len(task.take(train_fraction=0.012, seed=0).splits["train"]) == 1  # of 1.08
    assert len(task.take(train_fraction=0.018, seed=0).splits["train"]) == 2  # of 1.62
    assert len(task.take(train_fraction=1e-9, seed=0).splits["train"]) == 1, "at least one"


def test_a_share_is_the_same_draw_as_its_number_of_rows() -> None:
    task = plain()
    few = task.take(train_fraction=0.2, seed=5)
    assert few.fingerprint() == task.take(train_rows=18, seed=5).fingerprint()
    assert Counter(few.splits["train"]["label"][:]) == {0: 6, 1: 12}, "each class keeps its share"
    assert (rows(few, "dev"), rows(few, "test")) == (rows(task, "dev"), rows(task, "test"))
    assert task.take(train_fraction=1, seed=5).fingerprint() == task.fingerprint()
    assert rows(task.take(train_fraction=0.2, seed=6)) != rows(few)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_fraction": 0}, "train_fraction=0: give a share up to 1"),
        ({"train_fraction": -0.5}, "train_fraction=-0.5: give a share"),
        ({"train_fraction": 1.5}, "train_fraction=1.5: give a share"),
        ({"train_fraction": float("nan")}, "train_fraction=nan: give a share"),
        ({"train_fraction": 0.5, "train_rows": 4}, "train_fraction=0.5 beside train_rows: give a share.*or a number"),
        ({"dev_rows": 0}, "dev_rows=0: draw at least one row"),
    ],
)
def test_shares_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain().take(seed=0, **arguments)


def test_a_share_of_nothing_is_refused() -> None:
    task = Task.from_description(plain().describe())
    with pytest.raises(InputError, match="'plain' has no train split"):
        task.take(train_fraction=0.5, seed=0)


# ---- rows as such


def test_halves_of_three_classes() -> None:
    values = [0] * 7 + [1] * 4 + [2] * 1
    train, dev = draw_halves(values, 12, rows=12, seed=(0,))
    assert Counter(values[row] for row in train) == {0: 4, 1: 2, 2: 1}, "of an odd class, train has the one more"
    assert Counter(values[row] for row in dev) == {0: 3, 1: 2}
    assert sorted([*train, *dev]) == list(range(12))
    for n in range(1, 6):
        smaller = draw_halves(values, 12, rows=n, seed=(0,))
        assert [len(side) for side in smaller] == [n, n]
        assert set(smaller[0]) <= set(train) and set(smaller[1]) <= set(dev)
        assert len({values[row] for row in smaller[0]}) == min(n, 3)
    six = draw_halves(values, 12, rows=6, seed=(0,))  # dev goes on with what train would take last
    assert sorted([*six[0], *six[1]]) == list(range(12)) and len(six[0]) == 6
    assert set(dev) < set(six[1])
    assert [len(side) for side in draw_halves(values, 12, rows=7, seed=(0,))] == [7, 5]


def test_halves_of_groups() -> None:
    groups = [row // 4 for row in range(40)]
    classes = [row % 4 == 0 for row in range(40)]
    for seed in range(5):
        train, dev = draw_halves(classes, 40, rows=8, seed=(seed,), groups=groups)
        assert [len(train), len(dev)] == [8, 8]
        assert not {groups[row] for row in train} & {groups[row] for row in dev}
        assert [sum(classes[row] for row in side) for side in (train, dev)] == [4, 4]
        fewer = draw_halves(classes, 40, rows=3, seed=(seed,), groups=groups)
        assert set(fewer[0]) < set(train) and set(fewer[1]) < set(dev)


def test_halves_without_classes() -> None:
    train, dev = draw_halves(None, 9, rows=3, seed=(4,))
    assert len(train) == len(dev) == 3
    assert not set(train) & set(dev)
    assert [len(side) for side in draw_halves(None, 9, rows=99, seed=(4,))] == [5, 4]
    assert all((side == np.sort(side)).all() for side in draw_halves(None, 9, rows=99, seed=(4,)))


def test_draws_are_ascending_and_without_repetition() -> None:
    for values in (None, [i % 3 for i in range(40)]):
        for n in (1, 2, 17, 40, 60):
            drawn = draw_rows(values, 40, rows=n, seed=(0, 0)).tolist()
            assert drawn == sorted(set(drawn))
            assert len(drawn) == min(n, 40)
        train, dev = split_rows(values, 40, fraction=0.2, seed=0)
        assert sorted([*train, *dev]) == list(range(40))
