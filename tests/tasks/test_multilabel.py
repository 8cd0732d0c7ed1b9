"""Tasks of several labels a row, and of choices that a row brings, from the user's own files."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalearn.errors import InputError
from scalearn.tasks import Task, read_texts
from scalearn.tasks.splits import make_split

LISTS = [["water", "food"], [], ["food"], ["health", "water"], ["health"]]
NAMES = ("food", "health", "water")
HOT = [[1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]]


def jsonl(path: Path, *labels: object, key: str = "label") -> Path:
    rows = [{"text": f"text {i}", key: cell} for i, cell in enumerate(labels)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def csv_file(path: Path, *rows: str, header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def choice_csv(path: Path, *labels: object, header: str = "question,yes,no,label") -> Path:
    return csv_file(path, *(f"q {i},first {i},second {i},{label}" for i, label in enumerate(labels)), header=header)


def several(path: Path, **arguments: Any) -> Task:
    return Task.from_files(path, text="text", label="label", **({"dev": path} | arguments))


def choosing(path: Path, **arguments: Any) -> Task:
    given = {"dev": path, "text": "question", "label": "label", "choices": ("yes", "no")} | arguments
    return Task.from_files(path, **given)


def refusal(load: Any, path: Path, *parts: str, **arguments: Any) -> None:
    """The refusal is one line that holds `parts`."""
    with pytest.raises(InputError) as caught:
        load(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# ---- several labels: reading


def test_lists_make_it_multi_label(tmp_path: Path) -> None:
    task = several(jsonl(tmp_path / "a.jsonl", *LISTS))
    assert (task.kind, task.labels, task.outputs, task.choices) == ("multi-label", NAMES, 3, ())
    assert task.metrics == ("f1_macro", "precision_macro", "recall_macro", "subset_accuracy")
    assert task.main_metric == "f1_macro"
    for split in ("train", "dev"):
        assert task.splits[split].column_names == ["text_a", "label"]
        assert task.splits[split]["label"][:] == HOT


def test_parquet_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": [f"text {i}" for i in range(5)], "label": LISTS}).to_parquet(path)
    assert several(path).splits["train"]["label"][:] == HOT


@pytest.mark.parametrize(("suffix", "comma"), [(".csv", ","), (".tsv", "\t")])
@pytest.mark.parametrize("separator", [";", "|", " / "])
def test_names_with_a_separator_between(tmp_path: Path, suffix: str, comma: str, separator: str) -> None:
    rows = [f"text {i}{comma}{separator.join(own)}" for i, own in enumerate(LISTS)]
    path = csv_file(tmp_path / f"a{suffix}", *rows, header=f"text{comma}label")
    task = several(path, kind="multi-label", separator=separator)
    assert task.labels == NAMES
    assert task.splits["train"]["label"][:] == HOT


def test_blanks_and_empty_parts_are_no_labels(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "a, food ; water ;", "b,", "c,  ", "d,;food", "e,health")
    task = several(path, kind="multi-label")
    assert task.labels == NAMES
    assert task.splits["train"]["label"][:] == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]]
    typed = several(jsonl(tmp_path / "a.jsonl", [" food", ""], None, ["health"]))
    assert (typed.labels, typed.splits["train"]["label"][:]) == (("food", "health"), [[1, 0], [0, 0], [0, 1]])


def test_one_label_alone_may_be_all_there_is(tmp_path: Path) -> None:
    task = several(jsonl(tmp_path / "a.jsonl", ["food"], [], ["food"]))
    assert (task.labels, task.outputs, task.splits["train"]["label"][:]) == (("food",), 1, [[1], [0], [1]])


def test_without_lists_a_csv_is_not_multi_label(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "a,food;water", "b,food")
    assert several(path).labels == ("food", "food;water")
    assert several(path).kind == "classification"


def test_dev_is_a_plain_part_of_train(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *(LISTS * 6))
    task = several(path, dev=None)
    train, dev = task.splits["train"], task.splits["dev"]
    assert (len(train), len(dev)) == (24, 6)
    rows = dict(zip(train["text_a"][:] + dev["text_a"][:], train["label"][:] + dev["label"][:], strict=True))
    assert rows == {f"text {i}": own for i, own in enumerate(HOT * 6)}


# ---- several labels: refusals


def test_labels_unseen_in_training_are_refused(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", *LISTS)
    other = jsonl(tmp_path / "b.jsonl", ["food"], ["food", "shelter"])
    parts = ("b.jsonl: row 2 (line 2)", "'shelter'", "known labels are 'food', 'health', 'water'")
    refusal(several, train, *parts, dev=other)
    refusal(several, train, *parts, test=other)
    with pytest.raises(InputError, match=r"row 2 \(line 2\): the label 'shelter'"):
        several(train).with_file(other)
    seen = jsonl(tmp_path / "c.jsonl", [], ["water"])
    assert several(train).with_file(seen).splits["test"]["label"][:] == [[0, 0, 0], [0, 0, 1]]


def test_duplicates_are_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ["food"], ["food", "water", " food"])
    refusal(several, path, "row 2 (line 2)", "names a label twice")
    path = csv_file(tmp_path / "a.csv", "a,food;food")
    refusal(several, path, "row 1 (line 2)", "names a label twice", kind="multi-label")


def test_cells_that_are_no_lists_of_names_are_refused(tmp_path: Path) -> None:
    for cell, found in ((3, "are of type int"), ([1, 2], "are a list with 1 in it"), (["a", None], "with None in it")):
        path = jsonl(tmp_path / "a.jsonl", ["food"], cell)
        refusal(several, path, "row 2 (line 2)", found, "a list of names")


def test_an_empty_separator_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "a,food")
    refusal(several, path, "the separator is empty", kind="multi-label", separator="")


def test_new_rows_may_have_another_separator(tmp_path: Path) -> None:
    task = several(csv_file(tmp_path / "a.csv", "a,food;water", "b,food"), kind="multi-label")
    path = csv_file(tmp_path / "b.csv", "a,food|water", "b,")
    assert task.with_file(path, separator="|").splits["test"]["label"][:] == [[1, 1], [0, 0]]
    with pytest.raises(InputError, match=r"'food\|water'"):
        task.with_file(path)


def test_one_row_has_no_dev(tmp_path: Path) -> None:
    refusal(several, jsonl(tmp_path / "a.jsonl", ["food"]), "there is one row only", dev=None)


def test_objects_are_no_lists(tmp_path: Path) -> None:
    for cell in ({}, {"a": 1}):
        path = jsonl(tmp_path / "a.jsonl", ["food"], cell)
        refusal(several, path, "row 2 (line 2)", "of type dict", "a list of names")


def test_training_without_any_label_is_refused(tmp_path: Path) -> None:
    refusal(several, jsonl(tmp_path / "a.jsonl", [], []), "a.jsonl", "no row has a label in column 'label'")


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match="multi-label needs at least one label"):
        Task(name="a", kind="multi-label", text=("t",), label="l", metrics=("f1_macro",), main_metric="f1_macro")
    with pytest.raises(InputError, match="subset_accuracy of multi-label tasks only"):
        Task(
            name="a",
            kind="classification",
            text=("t",),
            label="l",
            labels=("x", "y"),
            metrics=("subset_accuracy",),
            main_metric="subset_accuracy",
        )


# ---- choices: reading


@pytest.mark.parametrize("labels", [("yes", "no", "no"), (0, 1, 1)], ids=["names", "numbers"])
def test_the_right_choice_by_name_or_number(tmp_path: Path, labels: tuple[object, ...]) -> None:
    task = choosing(choice_csv(tmp_path / "a.csv", *labels))
    assert (task.kind, task.labels, task.choices, task.outputs) == ("multiple-choice", ("yes", "no"), ("yes", "no"), 1)
    assert (task.metrics, task.main_metric) == (("accuracy",), "accuracy")
    split = task.splits["train"]
    assert split.column_names == ["text_a", "choices", "label"]
    assert split["text_a"][:] == ["q 0", "q 1", "q 2"]
    assert split["choices"][:] == [[f"first {i}", f"second {i}"] for i in range(3)]
    assert split["label"][:] == [0, 1, 1]


def test_the_order_of_choices_is_the_one_given(tmp_path: Path) -> None:
    task = choosing(choice_csv(tmp_path / "a.csv", "yes", "no"), choices=("no", "yes"))
    assert task.labels == ("no", "yes")
    assert task.splits["train"]["choices"][0] == ["second 0", "first 0"]
    assert task.splits["train"]["label"][:] == [1, 0]


def test_choices_of_jsonl_and_new_rows(tmp_path: Path) -> None:
    rows = [{"q": f"q {i}", "a": f"a {i}", "b": f"b {i}", "c": f"c {i}", "right": i % 3} for i in range(6)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = Task.from_files(path, text="q", label="right", choices=("a", "b", "c"), dev=path)
    assert task.splits["dev"]["label"][:] == [0, 1, 2, 0, 1, 2]
    again = task.with_file(path).splits["test"]
    assert again["choices"][5] == ["a 5", "b 5", "c 5"] and again["label"][5] == 2
    assert read_texts(path, text=("q", "a", "b", "c"))[4] == ("q 4", "a 4", "b 4", "c 4")


def test_dev_of_choices_is_stratified(tmp_path: Path) -> None:
    path = choice_csv(tmp_path / "a.csv", *["yes"] * 20, *["no"] * 10)
    task = choosing(path, dev=None)
    assert Counter(task.splits["dev"]["label"][:]) == {0: 4, 1: 2}


# ---- choices: refusals


def test_choices_need_one_text(tmp_path: Path) -> None:
    path = choice_csv(tmp_path / "a.csv", "yes", "no", header="question,other,no,label")
    parts = ("one text with two choices or more", "text names 2 columns, choices 2")
    refusal(choosing, path, *parts, text=("question", "other"), choices=("no", "label2"))
    refusal(choosing, path, "text names 1 columns, choices 1", choices=("no",))


def test_choices_are_columns_of_their_own(tmp_path: Path) -> None:
    path = choice_csv(tmp_path / "a.csv", "yes", "no")
    for choices in (("yes", "question"), ("yes", "label"), ("yes", "yes")):
        refusal(choosing, path, f"choices names {', '.join(choices)}", "each once", choices=choices)
    refusal(choosing, path, "no column 'maybe'", choices=("yes", "maybe"))


def test_kind_and_choices_agree(tmp_path: Path) -> None:
    path = choice_csv(tmp_path / "a.csv", "yes", "no")
    for kind in ("classification", "regression", "multi-label"):
        refusal(choosing, path, f"kind='{kind}' does not go with choices", kind=kind)
    refusal(choosing, path, "needs the columns of the choices", "--choices", choices=(), kind="multiple-choice")
    assert choosing(path, kind="multiple-choice") == choosing(path)


@pytest.mark.parametrize("label", ["perhaps", "2", "-1", "1.5", "²", "٠"])
def test_a_label_that_is_no_choice_is_refused(tmp_path: Path, label: str) -> None:
    parts = ("row 2 (line 3)", repr(label), "is no choice", "'yes', 'no'", "its number, 0 to 1")
    refusal(choosing, choice_csv(tmp_path / "a.csv", "yes", label), *parts)


def test_a_column_called_like_a_number_is_meant_by_its_name(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "q,a,b,1", "q,a,b,2", "q,a,b,0", header="question,1,2,label")
    assert choosing(path, choices=("1", "2")).splits["train"]["label"][:] == [0, 1, 0]


def test_an_empty_choice_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "q,a,b,0", "q,a,,1", header="question,yes,no,label")
    refusal(choosing, path, "row 2 (line 3)", "'no' is empty")


def task_of(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "choose",
        "kind": "multiple-choice",
        "text": ("q",),
        "label": "right",
        "labels": ("a", "b"),
        "choices": ("a", "b"),
        "metrics": ("accuracy",),
        "main_metric": "accuracy",
    }
    return Task(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": ("q", "p")},
        {"choices": ()},
        {"choices": ("a",), "labels": ("a",)},
        {"labels": ("a", "b", "c")},
    ],
)
def test_a_contradictory_choice_task_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="multiple choice needs two choices or more, named by labels, and one text"):
        task_of(**changes)


def test_choices_are_for_multiple_choice() -> None:
    with pytest.raises(InputError, match="choices a, b are for multiple choice"):
        task_of(kind="classification")
    with pytest.raises(InputError, match=r"split 'train' has the columns \['text_a', 'label'\], not \['text_a', 'ch"):
        task_of(splits={"train": make_split([["x"]], [0], labels=("a", "b"))})


# ---- both: what a task does


@pytest.fixture(params=["multi-label", "multiple-choice"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    """Thirty rows of either kind."""
    if request.param == "multi-label":
        return several(jsonl(tmp_path / "a.jsonl", *(LISTS * 6)))
    return choosing(choice_csv(tmp_path / "a.csv", *([0] * 20 + [1] * 10)))


def test_description_round_trip(either: Task) -> None:
    described = json.loads(json.dumps(either.describe()))
    after = Task.from_description(described)
    assert after == either and hash(after) == hash(either)
    assert after.describe() == either.describe()
    assert ("choices" in described) == (either.kind == "multiple-choice")
    assert dict(after.splits) == {}


def test_descriptions_from_before_there_were_choices_still_load(pair_task: Task, tmp_path: Path) -> None:
    for task in (pair_task, several(jsonl(tmp_path / "a.jsonl", *LISTS))):
        described = task.describe()
        assert "choices" not in described
        assert Task.from_description(described) == task
        assert Task.from_description({**described, "choices": []}) == task


def test_draws_are_nested(either: Task) -> None:
    draws = [set(either.take(train_rows=n, seed=5).splits["train"]["text_a"][:]) for n in range(1, 31)]
    assert [len(draw) for draw in draws] == list(range(1, 31))
    assert all(small < large for small, large in pairwise(draws))
    assert draws[9] == set(either.take(train_rows=10, seed=5).splits["train"]["text_a"][:])
    assert draws[9] != set(either.take(train_rows=10, seed=6).splits["train"]["text_a"][:])
    whole = dict(zip(either.splits["train"]["text_a"][:], either.splits["train"]["label"][:], strict=True))
    few = either.take(train_rows=7, seed=1).splits["train"]
    assert all(whole[text] == label for text, label in zip(few["text_a"][:], few["label"][:], strict=True))


def test_draws_of_choices_are_stratified(tmp_path: Path) -> None:
    task = choosing(choice_csv(tmp_path / "a.csv", *([0] * 20 + [1] * 10)))
    for seed in range(4):
        assert Counter(task.take(train_rows=9, seed=seed).splits["train"]["label"][:]) == {0: 6, 1: 3}


def test_fingerprints_see_labels_and_choices(tmp_path: Path) -> None:
    prints = [
        several(jsonl(tmp_path / "a.jsonl", *LISTS)).fingerprint(),
        several(jsonl(tmp_path / "a.jsonl", *LISTS[:-1], ["food"])).fingerprint(),
        choosing(choice_csv(tmp_path / "a.csv", 0, 1)).fingerprint(),
        choosing(choice_csv(tmp_path / "a.csv", 0, 1), choices=("no", "yes")).fingerprint(),
        choosing(
            csv_file(tmp_path / "a.csv", "q 0,x,second 0,0", "q 1,first 1,second 1,1", header="question,yes,no,label")
        ).fingerprint(),
    ]
    assert len(set(prints)) == 5
    assert several(jsonl(tmp_path / "a.jsonl", *LISTS)).fingerprint() == prints[0]


def test_answers_and_scores_of_several_labels(tmp_path: Path) -> None:
    task = several(jsonl(tmp_path / "a.jsonl", *LISTS))
    logits = np.array([[0.1, -3.0, 2.0], [0.0, -1.0, -0.1]])
    answers = task.answers(logits)
    assert answers.tolist() == [[1, 0, 1], [0, 0, 0]], "a probability of one half is not above it"
    scores = task.score([[1, 0, 1], [0, 1, 0]], answers)
    assert scores == pytest.approx(
        {"f1_macro": 2 / 3, "precision_macro": 2 / 3, "recall_macro": 2 / 3, "subset_accuracy": 0.5}
    )
    for wrong in ([1, 0], [[1, 0], [0, 1]], np.zeros((0, 3))):
        with pytest.raises(InputError, match="cannot score predictions of shape"):
            task.score(wrong, answers)


def test_answers_and_scores_of_choices() -> None:
    task = task_of()
    answers = task.answers(np.array([[0.1, 0.3], [2.0, -1.0], [-3.0, -2.0]]))
    assert answers.tolist() == [1, 0, 1]
    assert task.score([1, 1, 1], answers) == pytest.approx({"accuracy": 2 / 3})
