"""The built-in task is what it says: balanced, without leaks, and out of reach without the premise."""

from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from scalearn.tasks import Task, load_task

Rows = list[tuple[str, str, int]]


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("policy-claims")


def rows(task: Task, *splits: str) -> Rows:
    return [(row["text_a"], row["text_b"], row["label"]) for name in splits for row in task.splits[name]]


def test_description(task: Task) -> None:
    assert task.labels == ("supported", "contradicted", "not stated")
    assert (task.kind, task.text, task.label) == ("classification", ("premise", "claim"), "label")
    assert (task.metrics, task.main_metric) == (("accuracy", "f1_macro"), "accuracy")


@pytest.mark.parametrize(("split", "least"), [("train", 120), ("dev", 60), ("test", 180)])
def test_size_and_balance(task: Task, split: str, least: int) -> None:
    counts = Counter(label for *_, label in rows(task, split))
    assert sum(counts.values()) >= least
    assert set(counts) == {0, 1, 2}
    assert max(counts.values()) - min(counts.values()) <= 0.1 * sum(counts.values())


def test_no_premise_is_in_two_splits(task: Task) -> None:
    premises = [{premise for premise, *_ in rows(task, split)} for split in ("train", "dev", "test")]
    assert sum(map(len, premises)) == len(set.union(*premises))


def test_no_row_is_twice(task: Task) -> None:
    pairs = Counter((premise, claim) for premise, claim, _ in rows(task, "train", "dev", "test"))
    assert [pair for pair, count in pairs.items() if count > 1] == []


@pytest.mark.parametrize(
    ("seen", "unseen"), [(("train",), ("dev", "test")), (("train", "dev"), ("test",))], ids=["train", "train and dev"]
)
def test_claims_alone_tell_nothing(task: Task, seen: tuple[str, ...], unseen: tuple[str, ...]) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    _, claims, labels = zip(*rows(task, *seen), strict=True)
    model.fit(claims, labels)
    _, claims, labels = zip(*rows(task, *unseen), strict=True)
    assert model.score(claims, labels) == pytest.approx(1 / 3, abs=0.08)
