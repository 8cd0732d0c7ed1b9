"""Scores against the libraries that define them, what a majority answer gets, and the bootstrap."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn

from scalearn.tasks import SUITES, Declaration, Task, declared
from scalearn.tasks.metrics import METRICS
from scalearn.tasks.scoring import Answers, AnswersToQuestions, LabelSets, Picks, standard_errors, with_mean
from scalearn.tasks.splits import make_split
from scalearn.tasks.suites import declared_task

Values = NDArray[Any]

CLASSES: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": sklearn.accuracy_score,
    "f1_macro": lambda y, p: sklearn.f1_score(y, p, average="macro", zero_division=0),
    "matthews": sklearn.matthews_corrcoef,
    "precision_macro": lambda y, p: sklearn.precision_score(y, p, average="macro", zero_division=0),
    "recall_macro": lambda y, p: sklearn.recall_score(y, p, average="macro", zero_division=0),
}
NUMBERS: dict[str, Callable[[Values, Values], float]] = {
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
}
SEVERAL: dict[str, Callable[[Values, Values], float]] = {
    f"{name}_{average}": lambda y, p, of=of, average=average: of(y, p, average=average, zero_division=0)
    for name, of in (("f1", sklearn.f1_score), ("precision", sklearn.precision_score), ("recall", sklearn.recall_score))
    for average in ("macro", "micro")
} | {"subset_accuracy": sklearn.accuracy_score}


def test_every_metric_is_compared() -> None:
    assert {"f1", *CLASSES, *NUMBERS, *SEVERAL} == set(METRICS)


@pytest.mark.parametrize("seed", range(3))
def test_classes_against_the_library(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels, given = (generator.choice(3, 150, p=[0.2, 0.3, 0.5]) for _ in range(2))
    scores = Answers(labels=labels, given=given).scores(tuple(CLASSES))
    assert scores == pytest.approx({name: of(labels, given) for name, of in CLASSES.items()})
    labels, given = labels > 1, given > 0
    assert METRICS["f1"](labels, given) == pytest.approx(sklearn.f1_score(labels, given))
    assert METRICS["matthews"](labels, given) == pytest.approx(sklearn.matthews_corrcoef(labels, given))


@pytest.mark.parametrize("seed", range(3))
def test_numbers_against_the_library(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, 150).astype(float)
    given = labels + generator.normal(size=150).round(1)
    scores = Answers(labels=labels, given=given).scores(tuple(NUMBERS))
    assert scores == pytest.approx({name: of(labels, given) for name, of in NUMBERS.items()})


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_against_the_library(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels, given = (generator.random((80, 6)) < [0.05, 0.1, 0.2, 0.4, 0.6, 0.9] for _ in range(2))
    scores = Answers(labels=labels.astype(int), given=given.astype(int)).scores(tuple(SEVERAL))
    assert scores == pytest.approx({name: of(labels, given) for name, of in SEVERAL.items()})


def test_micro_averages_by_hand() -> None:
    labels = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
    given = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    # over all twelve cells: true positives 3, false positives 1, false negatives 2
    for name, score in (("precision_micro", 3 / 4), ("recall_micro", 3 / 5), ("f1_micro", 6 / 9)):
        assert METRICS[name](labels, given) == pytest.approx(score)
        assert METRICS[name](np.zeros_like(labels), given) == 0.0
        assert METRICS[name](labels, np.zeros_like(given)) == 0.0
        assert METRICS[name](labels[:, :1], given[:, :1]) == pytest.approx(
            {"precision_micro": 2 / 3, "recall_micro": 1, "f1_micro": 4 / 5}[name]
        ), "a label alone, whose absence is no class of its own"


def test_combined_score_is_the_mean() -> None:
    assert with_mean({"accuracy": 0.5, "f1": 0.75}, "combined_score") == {
        "accuracy": 0.5,
        "f1": 0.75,
        "combined_score": 0.625,
    }
    assert with_mean({"accuracy": 0.5, "f1": 0.75}, "f1") == {"accuracy": 0.5, "f1": 0.75}
    assert with_mean({"f1": 0.1, "exact_match": 0.3, "accuracy": 0.8}, "combined_score")["combined_score"] == (
        pytest.approx(0.4)
    )


# ---- what one answer to everything gets


def as_declared(name: str, labels: list[int], **columns: Any) -> Task:
    """A task of a suite with rows of its own for test."""
    declaration = declared(name)
    texts = [["t"] * len(labels) for _ in declaration.text]
    choices = [declaration.choices] * len(labels) if declaration.choices else None
    names, kind = declaration.labels, declaration.kind
    rows = make_split(texts, labels, labels=names, kind=kind, choices=choices, **columns)
    return declared_task(declaration, labels=names, splits={"test": rows})


def always(task: Task, answer: int) -> dict[str, float]:
    """The scores of one answer to every row."""
    rows = task.splits["test"]
    outputs = len(task.labels)
    logits = np.zeros((len(rows), outputs))
    logits[:, answer] = 2.0
    return task.judge(rows, logits)


SINGLE = [
    declaration.name
    for suite in SUITES
    for declaration in suite.tasks
    if declaration.metrics == ("accuracy",) and declaration.unit == "row"
]


def test_most_tasks_are_scored_by_accuracy() -> None:
    assert set(SINGLE) == {"mnli", "qnli", "sst2", "rte", "wnli", "boolq", "copa", "superglue-rte", "wic", "wsc"}


@pytest.mark.parametrize("name", SINGLE)
def test_accuracy_of_a_majority_is_its_share(name: str) -> None:
    task = as_declared(name, [1] * 13 + [0] * 7)
    assert always(task, 1) == {"accuracy": 13 / 20}
    assert always(task, 0) == {"accuracy": 7 / 20}


def test_matthews_of_a_majority_is_nothing() -> None:
    assert always(as_declared("cola", [1] * 13 + [0] * 7), 1) == {"matthews": 0.0}


@pytest.mark.parametrize("name", ["mrpc", "qqp"])
def test_accuracy_and_f1_of_a_majority(name: str) -> None:
    task = as_declared(name, [1] * 13 + [0] * 7)
    f1 = 2 * 13 / (13 + 20)  # 2p / (1 + p)
    assert always(task, 1) == pytest.approx({"accuracy": 0.65, "f1": f1, "combined_score": (0.65 + f1) / 2})
    assert always(task, 0) == pytest.approx({"accuracy": 0.35, "f1": 0.0, "combined_score": 0.35 / 2})


def test_a_majority_of_cb() -> None:
    task = as_declared("cb", [0] * 23 + [1] * 28 + [2] * 5)  # as in its validation split
    f1 = 2 * 28 / (28 + 56) / 3  # of one class of three
    assert always(task, 1) == pytest.approx({"accuracy": 1 / 2, "f1_macro": f1, "combined_score": (1 / 2 + f1) / 2})


def test_all_and_nothing_of_multirc() -> None:
    labels, questions = [1, 0, 0, 1, 1, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    task = as_declared("multirc", labels, questions=questions)
    assert always(task, 0) == {"f1": 0.0, "exact_match": 1 / 4}, "question 2 has no true answer"
    assert always(task, 1) == pytest.approx({"f1": 2 * 0.4 / 1.4, "exact_match": 1 / 4}), "question 1 has no false one"


def test_the_first_candidate_of_record() -> None:
    worths = [[1.0, 1.0], [0.0, 0.0], [0.5, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    task = as_declared("record", [1, 0, 0, 1, 0, 1], questions=[0, 0, 1, 1, 2, 2], worths=worths)
    for answer in (0, 1):
        assert always(task, answer) == pytest.approx({"f1": 0.5, "exact_match": 1 / 3, "combined_score": 5 / 12})


def test_one_number_for_all_of_stsb() -> None:
    task = as_declared("stsb", [])
    rows = make_split([["t"] * 4, ["u"] * 4], [0.0, 1.5, 4.0, 5.0], labels=())
    assert task.judge(rows, np.full((4, 1), 2.6)) == {"pearson": 0.0, "spearman": 0.0, "combined_score": 0.0}


def test_every_label_and_none_of_humset() -> None:
    declaration: Declaration = declared("humset-sectors")
    task = Task(
        name="humset-sectors",
        kind="multi-label",
        text=declaration.text,
        label="sectors",
        labels=("a", "b"),
        metrics=declaration.metrics,
        main_metric=declaration.main_metric,
    )
    hot = [[1, 0], [1, 0], [1, 1], [0, 0]]
    rows = make_split([["t"] * 4], hot, labels=("a", "b"), kind="multi-label")
    nothing = task.judge(rows, np.full((4, 2), -1.0))
    assert nothing == {**dict.fromkeys(declaration.metrics, 0.0), "subset_accuracy": 1 / 4}
    assert task.judge(rows, np.full((4, 2), 1.0)) == pytest.approx(
        {
            "f1_macro": (6 / 7 + 2 / 5) / 2,
            "precision_macro": (3 / 4 + 1 / 4) / 2,
            "recall_macro": 1.0,
            "f1_micro": 8 / 12,
            "precision_micro": 4 / 8,
            "recall_micro": 1.0,
            "subset_accuracy": 1 / 4,
        }
    )


# ---- how sure a score is


@pytest.mark.parametrize(("count", "share"), [(277, 0.7), (1000, 0.5), (104, 0.9)])
def test_standard_error_of_a_share(count: int, share: float) -> None:
    right = np.arange(count) < round(share * count)
    outcome = Answers(labels=np.ones(count, dtype=int), given=right.astype(int))
    error = standard_errors(outcome, metrics=("accuracy",), main_metric="accuracy")
    assert list(error) == ["accuracy_stderr"]
    assert error["accuracy_stderr"] == pytest.approx(math.sqrt(share * (1 - share) / count), rel=0.2)


def random_answers(count: int = 300) -> tuple[Values, Values]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, count)
    return labels, np.where(generator.random(count) < 0.8, labels, 1 - labels)


def test_standard_errors_are_the_same_every_time() -> None:
    labels, given = random_answers()
    outcome = Answers(labels=labels, given=given)
    names: dict[str, Any] = {"metrics": ("accuracy", "f1"), "main_metric": "combined_score"}
    first = standard_errors(outcome, **names)
    assert list(first) == ["accuracy_stderr", "f1_stderr", "combined_score_stderr"]
    assert standard_errors(outcome, **names) == first
    assert standard_errors(outcome, **names, seed=1) != first
    assert standard_errors(outcome, **names, seed=1) == pytest.approx(first, rel=0.3)


def test_standard_error_of_a_mean_is_of_the_mean() -> None:
    """Not the mean of standard errors: of two scores of which one falls as the other rises, it is nothing."""
    worths = np.array([[1.0, 0.0], [0.0, 1.0]] * 50)
    errors = standard_errors(Picks(worths=worths), metrics=("f1", "exact_match"), main_metric="combined_score")
    assert errors["f1_stderr"] == pytest.approx(0.05, rel=0.2)
    assert errors["exact_match_stderr"] == pytest.approx(0.05, rel=0.2)
    assert errors["combined_score_stderr"] == pytest.approx(0.0, abs=1e-12)


def test_standard_error_is_that_of_its_formula() -> None:
    """Of Pearson's r of two normal variables: (1 - r^2) / sqrt(n)."""
    generator = np.random.default_rng(3)
    labels = generator.normal(size=400)
    given = labels + generator.normal(size=400)
    r = METRICS["pearson"](labels, given)
    error = standard_errors(Answers(labels=labels, given=given), metrics=("pearson",), main_metric="pearson")
    assert error["pearson_stderr"] == pytest.approx((1 - r**2) / 20, rel=0.25)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_each_draw_is_scored_as_its_rows_are(classes: int) -> None:
    """Small draws, so that some lack a class, or have but one."""
    generator = np.random.default_rng(classes)
    labels, given = generator.integers(0, classes, 40), generator.integers(0, classes, 40)
    metrics = ("accuracy", "f1_macro", "precision_macro", "recall_macro", "matthews", *(("f1",) if classes < 3 else ()))
    draws = [generator.integers(0, 40, size) for size in (1, 2, 3, 5, 40) for _ in range(8)]
    for rows, scores in zip(draws, Answers(labels=labels, given=given).resampled(metrics, draws), strict=True):
        assert scores == pytest.approx({name: METRICS[name](labels[rows], given[rows]) for name in metrics}), rows


def test_each_draw_is_correlated_as_its_rows_are() -> None:
    """Whole numbers, which tie; one draw is constant, another all but for rounding."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 40).astype(float)
    given = labels + generator.normal(size=40)
    given[:3] = [0.1 + 0.2, 0.3, 0.1 + 0.2]
    draws = [generator.integers(0, 40, size) for size in (3, 5, 40) for _ in range(8)] + [
        np.arange(3),
        np.array([5, 5]),
    ]
    metrics = ("pearson", "spearman")
    for rows, scores in zip(draws, Answers(labels=labels, given=given).resampled(metrics, draws), strict=True):
        assert scores == pytest.approx({name: METRICS[name](labels[rows], given[rows]) for name in metrics}), rows
    given[7] = np.nan
    scores = next(iter(Answers(labels=labels, given=given).resampled(metrics, [np.arange(40)])))
    assert all(math.isnan(value) for value in scores.values())


def test_rows_of_a_question_are_drawn_together() -> None:
    """Ten rows a question, all right or all wrong: fifty facts, not five hundred."""
    right = np.repeat(np.arange(50) < 35, 10).astype(int)
    labels, questions = np.ones(500, dtype=int), np.repeat(np.arange(50), 10)
    names: dict[str, Any] = {"metrics": ("accuracy",), "main_metric": "accuracy"}
    whole = AnswersToQuestions(labels=labels, given=right, questions=questions)
    together = standard_errors(whole, **names)["accuracy_stderr"]
    apart = standard_errors(Answers(labels=labels, given=right), **names)["accuracy_stderr"]
    assert together == pytest.approx(math.sqrt(0.7 * 0.3 / 50), rel=0.2)
    assert apart == pytest.approx(math.sqrt(0.7 * 0.3 / 500), rel=0.2)
    # whatever the order of the rows
    order = np.random.default_rng(0).permutation(500)
    mixed = AnswersToQuestions(labels=labels[order], given=right[order], questions=questions[order])
    assert standard_errors(mixed, **names)["accuracy_stderr"] == pytest.approx(together)


def test_a_question_drawn_twice_is_two_questions() -> None:
    """Of exact match too the error is that of a share; merging equal questions would change every draw's number."""
    right = np.repeat(np.arange(100) < 60, 3).astype(int)
    outcome = AnswersToQuestions(labels=np.ones(300, dtype=int), given=right, questions=np.repeat(np.arange(100), 3))
    wrong, good = (np.full(100, question) for question in (99, 0))
    drawn = list(outcome.resampled(("exact_match",), [wrong, good, np.arange(100), np.r_[good[:25], wrong[:75]]]))
    assert [scores["exact_match"] for scores in drawn] == [0.0, 1.0, 0.6, 0.25]
    errors = standard_errors(outcome, metrics=("f1", "exact_match"), main_metric="f1")
    assert list(errors) == ["f1_stderr", "exact_match_stderr"]
    assert errors["exact_match_stderr"] == pytest.approx(math.sqrt(0.6 * 0.4 / 100), rel=0.2)


def test_standard_error_of_picks() -> None:
    worths = np.stack([np.where(np.arange(400) < 300, 1.0, 0.5), np.arange(400) < 100], axis=1).astype(float)
    errors = standard_errors(Picks(worths=worths), metrics=("f1", "exact_match"), main_metric="combined_score")
    assert list(errors) == ["f1_stderr", "exact_match_stderr", "combined_score_stderr"]
    assert errors["f1_stderr"] == pytest.approx(worths[:, 0].std() / 20, rel=0.2)
    assert errors["exact_match_stderr"] == pytest.approx(math.sqrt(0.25 * 0.75 / 400), rel=0.2)
    assert errors["combined_score_stderr"] == pytest.approx(worths.mean(1).std() / 20, rel=0.2)


def test_a_task_gives_the_errors_of_its_scores() -> None:
    labels, given = random_answers()
    task = as_declared("mrpc", labels.tolist())
    logits = np.stack([1.0 - given, given], axis=1)
    errors = task.standard_errors(task.splits["test"], logits)
    outcome = Answers(labels=labels, given=given)
    assert errors == standard_errors(outcome, metrics=("accuracy", "f1"), main_metric="combined_score")
    assert [name.removesuffix("_stderr") for name in errors] == list(task.judge(task.splits["test"], logits))


def test_errors_of_several_labels_and_of_a_constant_answer() -> None:
    generator = np.random.default_rng(0)
    labels, given = (generator.integers(0, 2, (60, 3)) for _ in range(2))
    names = ("f1_macro", "f1_micro", "subset_accuracy")
    errors = standard_errors(LabelSets(labels=labels, given=given), metrics=names, main_metric="f1_macro")
    assert list(errors) == [f"{name}_stderr" for name in names]
    assert all(0 < error < 0.1 for error in errors.values())
    constant = Answers(labels=np.array([0.0, 1.0, 2.0]), given=np.ones(3))
    assert standard_errors(constant, metrics=("pearson",), main_metric="pearson") == {"pearson_stderr": 0.0}


def test_standard_errors_of_label_sets_are_those_of_scikit_learn() -> None:
    """The counts give what scikit-learn gives on the very rows that were drawn."""
    generator = np.random.default_rng(5)
    labels = (generator.random((80, 6)) < [0.5, 0.3, 0.1, 0.02, 0.0, 0.2]).astype(int)
    given = np.where(generator.random((80, 6)) < 0.3, 1 - labels, labels)
    given[:, 5] = 0  # never predicted
    metrics = [f"{score}_{average}" for score in ("f1", "precision", "recall") for average in ("macro", "micro")]
    metrics.append("subset_accuracy")
    draws = [generator.integers(0, 80, 80) for _ in range(20)]
    outcome = LabelSets(labels=labels, given=given)
    for rows, scores in zip(draws, outcome.resampled(metrics, draws), strict=True):
        assert scores == pytest.approx(LabelSets(labels=labels[rows], given=given[rows]).scores(metrics), abs=1e-12)
    one = LabelSets(labels=labels[:, :1], given=given[:, :1])
    for rows, scores in zip(draws, one.resampled(metrics, draws), strict=True):
        assert scores == pytest.approx(LabelSets(labels=labels[rows, :1], given=given[rows, :1]).scores(metrics))


def test_draws_are_the_same_for_all_logits_of_the_rows() -> None:
    labels, given = random_answers()
    task = as_declared("mrpc", labels.tolist())
    rows = task.splits["test"]
    right, wrong, ours = (np.stack([1.0 - own, own], axis=1) for own in (labels, 1 - labels, given))
    assert np.array_equal(task.drawn(rows, ours), task.drawn(rows, ours))
    assert task.drawn(rows, right).tolist() == [1.0] * 200 and task.drawn(rows, wrong).tolist() == [0.0] * 200
    assert np.std(task.drawn(rows, ours), ddof=1) == task.standard_errors(rows, ours)["combined_score_stderr"]
