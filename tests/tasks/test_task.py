"""The task itself: its description, scores, draws and fingerprint."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from datasets import Dataset
from numpy.typing import ArrayLike

from scalearn.errors import InputError
from scalearn.tasks import Task, load_task, task_names
from scalearn.tasks.splits import make_split

COUNTS = (60, 30, 10)


def classes(counts: tuple[int, ...] = COUNTS) -> Dataset:
    values = [name for name, count in enumerate(counts) for _ in range(count)]
    np.random.default_rng(0).shuffle(values)
    return make_split([[f"text {i}" for i in range(len(values))]], values, labels=("a", "b", "c"))


def task() -> Task:
    return Task(
        name="mine",
        kind="classification",
        text=("sentence",),
        label="y",
        labels=("a", "b", "c"),
        metrics=("accuracy", "f1_macro"),
        main_metric="accuracy",
        splits={"train": classes(), "dev": classes(), "test": classes()},
    )


def scale() -> Task:
    values = [i / 7 for i in range(50)]
    pairs = [[f"a {i}" for i in range(50)], [f"b {i}" for i in range(50)]]
    return Task(
        name="scale",
        kind="regression",
        text=("one", "two"),
        label="y",
        metrics=("pearson", "spearman"),
        main_metric="combined_score",
        splits={"train": make_split(pairs, values, labels=())},
    )


@pytest.mark.parametrize("make", [task, scale])
def test_description_round_trip(make: Callable[[], Task]) -> None:
    before = make()
    after = Task.from_description(json.loads(json.dumps(before.describe())))
    assert after == before
    assert hash(after) == hash(before)
    assert dict(after.splits) == {}
    assert after.describe() == before.describe()


def test_description_refuses_what_is_not_one() -> None:
    description = task().describe()
    del description["kind"]
    description |= {"colour": "red", "max_length": "long"}
    with pytest.raises(InputError) as caught:
        Task.from_description(description)
    for part in ("kind: Field required", "colour: Extra", "max_length"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_contradictions_together() -> None:
    with pytest.raises(InputError) as caught:
        replace(task(), labels=("a",), metrics=("bleu",), max_length=0, text=("sentence", "other"))
    for part in ("two labels or more", "bleu", "max_length 0", "main_metric 'accuracy'", "split 'dev' has the columns"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="f1 is of two classes, not of 3"):
        replace(task(), metrics=("accuracy", "f1"))
    with pytest.raises(InputError, match="regression has no labels"):
        replace(task(), kind="regression")


def test_score() -> None:
    assert task().score([0, 1, 2, 0], [0, 1, 1, 0]) == pytest.approx(
        {"accuracy": 0.75, "f1_macro": (1 + 2 / 3 + 0) / 3}
    )
    scores = scale().score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 9.0, 4.0]))
    assert list(scores) == ["pearson", "spearman", "combined_score"]
    assert scores["combined_score"] == pytest.approx((scores["pearson"] + scores["spearman"]) / 2)


@pytest.mark.parametrize(("labels", "predictions"), [([0, 1], [0]), ([], []), ([0, 1], [[0.1, 0.9], [0.3, 0.7]])])
def test_score_refuses_other_shapes(labels: list[int], predictions: ArrayLike) -> None:
    with pytest.raises(InputError, match="cannot score predictions of shape"):
        task().score(labels, predictions)


def rows(of: Task, split: str) -> list[str]:
    return list(of.splits[split]["text_a"][:])


@pytest.mark.parametrize("make", [task, scale])
def test_draws_are_nested_and_seeded(make: Callable[[], Task]) -> None:
    whole = make()
    draws = [set(rows(whole.take(train_rows=n, seed=3), "train")) for n in range(1, len(whole.splits["train"]) + 1)]
    assert [len(draw) for draw in draws] == list(range(1, len(draws) + 1))
    assert all(small < large for small, large in pairwise(draws))
    assert set(rows(whole.take(train_rows=8, seed=3), "train")) == draws[7]
    assert set(rows(whole.take(train_rows=8, seed=4), "train")) != draws[7]


def test_draws_are_stratified() -> None:
    whole = task()
    for n in range(1, 101):
        counts = Counter(whole.take(train_rows=n, seed=0).splits["train"]["label"][:])
        assert len(counts) == min(n, 3)
        for name, count in enumerate(COUNTS):
            assert abs(counts[name] - n * count / 100) < 2
    balanced = replace(whole, splits={"train": classes((20, 20, 20))}).take(train_rows=12, seed=0)
    assert Counter(balanced.splits["train"]["label"][:]) == {0: 4, 1: 4, 2: 4}


def test_draw_keeps_order_and_the_other_splits() -> None:
    whole = task()
    few = whole.take(train_rows=10, dev_rows=5, seed=0)
    order = rows(whole, "train")
    assert rows(few, "train") == sorted(rows(few, "train"), key=order.index)
    assert {name: len(split) for name, split in few.splits.items()} == {"train": 10, "dev": 5, "test": 100}
    assert not set(rows(few, "dev")) <= set(rows(few, "train"))  # the same rows here, yet another draw
    assert whole.take(train_rows=1000, seed=0).fingerprint() == whole.fingerprint()
    assert few == whole
    twice = few.take(train_rows=4, seed=9)
    assert set(rows(twice, "train")) < set(rows(few, "train"))


def test_draw_refuses() -> None:
    with pytest.raises(InputError, match="train_rows=0"):
        task().take(train_rows=0, seed=0)
    with pytest.raises(InputError, match="'scale' has no dev split"):
        scale().take(dev_rows=4, seed=0)


def test_fingerprint_tells_data_apart() -> None:
    base = task()
    assert base.fingerprint() == task().fingerprint()
    assert len(base.fingerprint()) == 64
    moved = replace(base, splits={"train": classes(), "dev": classes(), "test_mismatched": classes()})
    shuffled = replace(base, splits=dict(base.splits) | {"dev": classes().shuffle(seed=0)})
    others = [moved, shuffled, replace(base, max_length=64), replace(base, splits={}), base.take(dev_rows=99, seed=0)]
    assert len({other.fingerprint() for other in [base, *others]}) == 6


def test_unknown_name() -> None:
    assert {"rte", "mnli", "policy-claims"} <= set(task_names())
    with pytest.raises(InputError, match=r"no task 'policy-claim'; valid are .*rte.*did you mean 'policy-claims'"):
        load_task("policy-claim")
