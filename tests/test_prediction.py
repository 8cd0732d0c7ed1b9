"""Answers from logits, for every kind of task, and columns from rows of texts."""

from typing import Any

import pytest
import torch

from scalearn.errors import InputError
from scalearn.prediction import predictions, text_columns
from scalearn.tasks import Task


def task_of(kind: str, **changes: Any) -> Task:
    fields: dict[str, dict[str, Any]] = {
        "classification": {"labels": ("no", "perhaps", "yes"), "metrics": ("accuracy",)},
        "regression": {"metrics": ("pearson",)},
        "multi-label": {"labels": ("food", "health", "water"), "metrics": ("f1_macro",)},
        "multiple-choice": {"labels": ("first", "second"), "choices": ("first", "second"), "metrics": ("accuracy",)},
    }
    own = {"name": "ours", "text": ("text",), "label": "label", **fields[kind], **changes}
    return Task(kind=kind, main_metric=own["metrics"][0], **own)


LOGITS = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -4.0]])


# ---- answers


def test_a_class() -> None:
    first, second = predictions(LOGITS, task_of("classification"))
    assert (first.label, second.label) == ("yes", "no")
    for answer, row in zip((first, second), LOGITS, strict=True):
        expected = (row.exp() / row.exp().sum()).tolist()
        assert list(answer.probabilities) == ["no", "perhaps", "yes"]
        assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-6)
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_a_choice() -> None:
    first, second = predictions(torch.tensor([[0.2, 0.1], [-3.0, -2.0]]), task_of("multiple-choice"))
    assert (first.label, second.label) == ("first", "second")
    assert second.probabilities == pytest.approx({"first": 0.26894, "second": 0.73106}, abs=1e-4)


def test_a_number() -> None:
    answers = predictions(torch.tensor([[0.5], [-2.0]]), task_of("regression"))
    assert [answer.label for answer in answers] == [0.5, -2.0]
    assert all(dict(answer.probabilities) == {} for answer in answers)
    (alone,) = predictions(torch.tensor([[0.25]]), task_of("regression"))
    assert alone.label == 0.25


def test_several_labels() -> None:
    first, second = predictions(LOGITS, task_of("multi-label"))
    assert (first.label, second.label) == (("food", "water"), ("food",)), "a probability of one half is not above it"
    for answer, row in zip((first, second), LOGITS, strict=True):
        assert list(answer.probabilities.values()) == pytest.approx((1 / (1 + (-row).exp())).tolist(), abs=1e-6)
    (none,) = predictions(-torch.ones(1, 3), task_of("multi-label"))
    assert none.label == ()


@pytest.mark.parametrize("kind", ["classification", "regression", "multi-label", "multiple-choice"])
def test_answers_agree_with_what_is_scored(kind: str) -> None:
    task = task_of(kind)
    logits = torch.randn(50, len(task.labels) or 1)
    scored = task.answers(logits.numpy()).tolist()
    expected: list[Any] = {
        "classification": lambda: [task.labels[i] for i in scored],
        "multiple-choice": lambda: [task.labels[i] for i in scored],
        "regression": lambda: scored,
        "multi-label": lambda: [tuple(n for n, on in zip(task.labels, row, strict=True) if on) for row in scored],
    }[kind]()
    assert [answer.label for answer in predictions(logits, task)] == expected


@pytest.mark.parametrize("kind", ["classification", "regression", "multi-label", "multiple-choice"])
def test_no_rows(kind: str) -> None:
    task = task_of(kind)
    assert predictions(torch.empty(0, len(task.labels) or 1), task) == []


# ---- columns


def test_single_texts() -> None:
    task = task_of("classification")
    assert text_columns(["a", ("b",)], task) == {"text_a": ["a", "b"]}
    assert text_columns([], task) == {"text_a": []}


def test_pairs(pair_task: Task) -> None:
    assert text_columns([("a", "b"), ("c", "d")], pair_task) == {"text_a": ["a", "c"], "text_b": ["b", "d"]}


def test_a_text_and_its_choices() -> None:
    rows = [("q 0", "a 0", "b 0"), ("q 1", "a 1", "b 1")]
    found = text_columns(rows, task_of("multiple-choice"))
    assert found == {"text_a": ["q 0", "q 1"], "choices": [["a 0", "b 0"], ["a 1", "b 1"]]}


@pytest.mark.parametrize("row", ["a", ("a", "b"), ("a", "b", "c", "d"), ("a", "b", 3), ("a", ["b", "c"])])
def test_rows_of_another_form_are_refused_where_there_are_choices(row: Any) -> None:
    with pytest.raises(InputError, match=r"row 2 is .*: give 3 text\(s\) per row \(text, first, second\)"):
        text_columns([("a", "b", "c"), row], task_of("multiple-choice"))


@pytest.mark.parametrize("row", ["a", ("a",), ("a", "b", "c"), ("a", None)])
def test_rows_of_another_form_are_refused_where_there_are_pairs(row: Any, pair_task: Task) -> None:
    with pytest.raises(InputError, match=r"row 1 is .*: give 2 text\(s\) per row \(premise, claim\)"):
        text_columns([row], pair_task)


def test_one_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"give \[text\], not text"):
        text_columns("a text", task_of("classification"))
