"""Few-shot tasks under both protocols."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from scalearn.errors import InputError
from scalearn.tasks import Task, few_shot
from scalearn.tasks.fewshot import DEV_CAP
from scalearn.tasks.splits import make_split

SHOTS = (4, 16, 32, 100)
NAMES = ("a", "b", "c")


def split(name: str, values: Sequence[int]) -> Dataset:
    """Rows that say which split they are of, and where in it."""
    return make_split([[f"{name} {i}" for i in range(len(values))]], values, labels=NAMES)


def shuffled(*counts: int) -> list[int]:
    """So many rows of each class."""
    values = [name for name, count in enumerate(counts) for _ in range(count)]
    return np.random.default_rng(0).permutation(values).tolist()


def classes(train: Sequence[int] = (500, 250, 150), dev: Sequence[int] = (50, 25, 15)) -> Task:
    return Task(
        name="classes",
        kind="classification",
        text=("t",),
        label="y",
        labels=NAMES,
        metrics=("accuracy",),
        main_metric="accuracy",
        splits={
            "train": split("train", shuffled(*train)),
            "dev": split("dev", shuffled(*dev)),
            "test": split("test", [0, 1, 2]),
        },
    )


def numbers() -> Task:
    splits = {
        name: make_split([[f"{name} {i}" for i in range(count)]], [i / 7 for i in range(count)], labels=())
        for name, count in (("train", 300), ("dev", 40), ("test", 5))
    }
    metrics = ("pearson", "spearman")
    return Task(
        name="numbers", kind="regression", text=("t",), label="y", metrics=metrics, main_metric="pearson", splits=splits
    )


def several() -> Task:
    splits = {
        name: make_split(
            [[f"{name} {i}" for i in range(count)]],
            [[i % 2, int(i % 5 == 0)] for i in range(count)],
            labels=("x", "y"),
            kind="multi-label",
        )
        for name, count in (("train", 300), ("dev", 40), ("test", 5))
    }
    return Task(
        name="several",
        kind="multi-label",
        text=("t",),
        label="y",
        labels=("x", "y"),
        metrics=("f1_macro",),
        main_metric="f1_macro",
        splits=splits,
    )


def choosing() -> Task:
    splits = {
        name: make_split(
            [[f"{name} {i}" for i in range(count)]],
            [int(i % 4 == 0) for i in range(count)],
            labels=("one", "two"),
            kind="multiple-choice",
            choices=[["first", "second"]] * count,
        )
        for name, count in (("train", 300), ("dev", 40), ("test", 5))
    }
    return Task(
        name="choosing",
        kind="multiple-choice",
        text=("t",),
        label="y",
        labels=("one", "two"),
        choices=("one", "two"),
        metrics=("accuracy",),
        main_metric="accuracy",
        splits=splits,
    )


def candidates(name: str, questions: Sequence[int]) -> Dataset:
    """Question q has q % 3 + 1 rows, the first of which is the answer."""
    rows = [(question, j) for question in questions for j in range(question % 3 + 1)]
    return make_split(
        [[f"{name} {i}" for i in range(len(rows))], [f"{question}-{j}" for question, j in rows]],
        [int(j == 0) for _, j in rows],
        labels=("False", "True"),
        questions=[question for question, _ in rows],
        worths=[[float(j == 0)] * 2 for _, j in rows],
    )


def picking(train: Sequence[int] = tuple(range(250, 0, -1)), dev: Sequence[int] = tuple(range(251, 280))) -> Task:
    return Task(
        name="picking",
        kind="classification",
        unit="pick",
        text=("t", "q"),
        label="y",
        labels=("False", "True"),
        metrics=("f1", "exact_match"),
        main_metric="f1",
        splits={
            "train": candidates("train", train),
            "dev": candidates("dev", dev),
            "test": candidates("test", [0, 1, 2]),
        },
    )


def rows(task: Task, name: str) -> list[str]:
    return list(task.splits[name]["text_a"][:])


def counts(task: Task, name: str) -> list[int]:
    """Rows of each class, the rarest first."""
    return sorted(Counter(task.splits[name]["label"][:]).values())


# ---- protocol "true"


@pytest.mark.parametrize(
    ("k", "balance"), [(4, [1, 1, 2]), (16, [5, 5, 6]), (32, [10, 11, 11]), (100, [33, 33, 34]), (3, [1, 1, 1])]
)
def test_classes_are_in_balance_on_both_sides(k: int, balance: list[int]) -> None:
    for seed in range(5):
        few = few_shot(classes(), k=k, seed=seed)
        assert counts(few, "train") == counts(few, "dev") == balance


def test_the_class_that_gets_one_more_is_not_always_the_same() -> None:
    drawn = [Counter(few_shot(classes(), k=4, seed=seed).splits["train"]["label"][:]) for seed in range(20)]
    assert {count.most_common(1)[0][0] for count in drawn} == {0, 1, 2}


def test_a_rare_class_runs_out() -> None:
    task = classes(train=(500, 250, 9), dev=(50, 25, 2))
    few = few_shot(task, k=32, seed=0)
    for name, balance in (("train", [6, 13, 13]), ("dev", [5, 13, 14])):  # its eleven rows are dealt to both sides
        assert counts(few, name) == balance
        assert Counter(few.splits[name]["label"][:])[2] == balance[0]
    assert counts(few_shot(task, k=4, seed=0), "dev") == [1, 1, 2]
    only = classes(train=(500, 250, 1), dev=(50, 25, 0))
    few = few_shot(only, k=16, seed=0)
    assert counts(few, "train") == [1, 7, 8]
    assert counts(few, "dev") == [8, 8], "a class of one row is in train"


@pytest.mark.parametrize("make", [classes, numbers, several, choosing, picking])
def test_sides_have_no_row_in_common_and_test_is_untouched(make: Any) -> None:
    task = make()
    for k in SHOTS:
        few = few_shot(task, k=k, seed=1)
        train, dev = rows(few, "train"), rows(few, "dev")
        assert len({*train, *dev}) == len(train) + len(dev)
        assert {*train, *dev} <= {*rows(task, "train"), *rows(task, "dev")}
        assert set(few.splits) == set(task.splits)
        assert few.splits["test"][:] == task.splits["test"][:]
        assert few == task
        if task.unit == "row":
            assert len(train) == len(dev) == k


@pytest.mark.parametrize("make", [classes, numbers, several, choosing, picking])
def test_draws_are_nested_on_both_sides(make: Any) -> None:
    task = make()
    for name in ("train", "dev"):
        draws = [set(rows(few_shot(task, k=k, seed=2), name)) for k in (1, 2, 3, *SHOTS)]
        assert all(small < large for small, large in pairwise(draws))


@pytest.mark.parametrize("make", [classes, numbers, several, choosing, picking])
def test_draws_depend_on_the_seed_alone(make: Any) -> None:
    task = make()
    prints = [few_shot(task, k=16, seed=seed).fingerprint() for seed in (0, 1, 2)]
    assert len(set(prints)) == 3
    assert few_shot(make(), k=16, seed=1).fingerprint() == prints[1]


def test_rows_of_both_splits_go_to_both_sides() -> None:
    task = classes(train=(60, 60, 60), dev=(60, 60, 60))
    few = few_shot(task, k=100, seed=0)
    for name in ("train", "dev"):
        assert {row.split()[0] for row in rows(few, name)} == {"train", "dev"}


def test_rows_keep_their_labels_and_order() -> None:
    task = classes()
    known: dict[str, int] = {}
    for name in ("train", "dev"):
        known |= zip(rows(task, name), task.splits[name]["label"][:], strict=True)
    few = few_shot(task, k=32, seed=3)
    order = list(known)
    for name in ("train", "dev"):
        drawn = rows(few, name)
        assert drawn == sorted(drawn, key=order.index)
        assert few.splits[name]["label"][:] == [known[row] for row in drawn]


def test_right_choices_are_in_balance() -> None:
    few = few_shot(choosing(), k=16, seed=0)
    assert counts(few, "train") == counts(few, "dev") == [8, 8]


@pytest.mark.parametrize("make", [numbers, several])
def test_numbers_and_several_labels_are_drawn_plainly(make: Any) -> None:
    task = make()
    places = [int(row.split()[1]) for seed in range(8) for row in rows(few_shot(task, k=100, seed=seed), "train")]
    mean = (300 * 149.5 + 40 * 19.5) / 340  # all rows alike, those of dev too
    assert np.mean(places) == pytest.approx(mean, rel=0.1)


def whole(task: Task, name: str) -> list[int]:
    """The questions of a split, each of which must have all its rows."""
    found = Counter(task.splits[name]["question"][:])
    assert all(count == question % 3 + 1 for question, count in found.items())
    assert sum(task.splits[name]["label"][:]) == len(found)
    return list(found)


@pytest.mark.parametrize("k", SHOTS)
def test_questions_are_drawn_whole(k: int) -> None:
    few = few_shot(picking(), k=k, seed=0)
    train, dev = whole(few, "train"), whole(few, "dev")
    assert len(train) == len(dev) == k
    assert not set(train) & set(dev)


def test_answers_of_a_question_are_rows_of_their_own() -> None:
    """Of MultiRC k counts rows, with true and false answers in balance; a paragraph is on one side only."""
    some = make_split(
        [[f"train {i // 10}" for i in range(90)], ["q"] * 90],
        [int(i % 3 == 0) for i in range(90)],
        labels=("False", "True"),
        questions=[i // 5 for i in range(90)],
    )
    other = make_split([["dev"] * 20, ["q"] * 20], [0, 1] * 10, labels=("False", "True"), questions=[99] * 20)
    task = replace(picking(), unit="question", splits={"train": some, "dev": other})
    for seed in range(5):
        few = few_shot(task, k=12, seed=seed)
        assert counts(few, "train") == counts(few, "dev") == [6, 6]
        assert not set(few.splits["train"]["text_a"]) & set(few.splits["dev"]["text_a"])
    with pytest.raises(InputError, match=r"k=55 .* need 110, .* 110 together, which are not divided as needed"):
        few_shot(task, k=55, seed=0)


# ---- protocol "paper"


@pytest.mark.parametrize("make", [classes, numbers, several, choosing])
def test_the_papers_are_the_first_rows_whatever_the_seed(make: Any) -> None:
    task = make()
    for k in SHOTS:
        few = few_shot(task, k=k, protocol="paper", seed=0)
        assert few.splits["train"][:] == task.splits["train"][:k]
        assert few.splits["dev"][:] == task.splits["dev"][:]
        assert few.splits["test"][:] == task.splits["test"][:]
        assert few_shot(task, k=k, protocol="paper", seed=1).fingerprint() == few.fingerprint()
    assert len(few_shot(task, k=300, protocol="paper", seed=0).splits["train"]) == 300


def test_the_papers_dev_is_capped() -> None:
    assert DEV_CAP == 5_000
    task = classes(dev=(3000, 1500, 501))
    few = few_shot(task, k=4, protocol="paper", seed=0)
    assert few.splits["dev"][:] == task.splits["dev"][:5000]
    assert len(few_shot(task, k=4, protocol="true", seed=0).splits["dev"]) == 4


def test_the_papers_cap_leaves_questions_whole() -> None:
    whole(few_shot(picking(dev=range(251, 3251)), k=4, protocol="paper", seed=0), "dev")


def test_the_papers_first_questions_are_whole() -> None:
    task = picking()
    for k in (1, *SHOTS):
        few = few_shot(task, k=k, protocol="paper", seed=0)
        assert whole(few, "train") == list(range(250, 250 - k, -1))
        assert few.splits["dev"][:] == task.splits["dev"][:]
    every = few_shot(task, k=250, protocol="paper", seed=0)
    assert every.splits["train"][:] == task.splits["train"][:]


# ---- refusals


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (classes(), {"k": 0}, "k=0: give at least one row"),
        (classes(), {"k": -4, "protocol": "paper"}, "k=-4: give at least one row"),
        (classes(), {"k": 4, "protocol": "real"}, "protocol 'real': valid are paper, true"),
        (classes(), {"k": 496}, "k=496 for training and as many for development need 992, but .* have 990 together"),
        (classes(), {"k": 901, "protocol": "paper"}, "k=901, but train has 900 only"),
        (picking(), {"k": 140}, "k=140 for training .* need 280, but train and dev have 279 together"),
        (picking(), {"k": 251, "protocol": "paper"}, "k=251, but train has 250 only"),
        (replace(classes(), splits={"train": split("train", [0, 1])}), {"k": 1}, "'classes' has no dev rows"),
        (replace(classes(), splits={"dev": split("dev", [0, 1])}), {"k": 1, "protocol": "paper"}, "has no train rows"),
    ],
)
def test_refusals(task: Task, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        few_shot(task, seed=0, **arguments)
    assert "\n" not in str(caught.value)


def test_as_many_as_there_are() -> None:
    few = few_shot(classes(train=(30, 20, 10), dev=(2, 2, 2)), k=33, seed=0)
    assert counts(few, "train") == counts(few, "dev") == [6, 11, 16]


def test_as_many_as_there_are_of_odd_classes() -> None:
    few = few_shot(classes(train=(3, 3, 0), dev=(0, 0, 0)), k=3, seed=0)
    assert (len(few.splits["train"]), len(few.splits["dev"])) == (3, 3)
