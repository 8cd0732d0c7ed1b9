"""The paper's scores: what the file holds, and that they stand only beside runs of the same setting."""

import csv
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.published import MEAN, METRICS, published_scores
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Line, boards
from scalearn.methods import REGISTRY
from scalearn.tasks import declared

GLUE = ["mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"]
PAPER: dict[str, Any] = {
    "backbones": "roberta-base",
    "tasks": GLUE,
    "methods": ["scalearn"],
    "sources": {"tasks": GLUE, "seed": 0},
    "protocol": "published",
    "seeds": 2,
}


def rows() -> list[dict[str, str]]:
    text = resources.files("scalearn.experiments").joinpath("published.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def test_the_file_is_whole() -> None:
    found = rows()
    assert len(found) == 336 == len({tuple(row.values())[:4] for row in found})
    assert {row["method"] for row in found} <= REGISTRY.keys()
    assert {declared(row["task"]).name for row in found if row["task"] != MEAN} == METRICS.keys()
    spot = {tuple(row.values())[:4]: row["score"] for row in found}
    assert spot["glue", "roberta-base", "scalearn", "rte"] == "82.06"
    assert spot["superglue", "roberta-base", "scalearn++", MEAN] == "75.74"


def test_means_are_those_of_their_tasks() -> None:
    found = rows()
    for row in (row for row in found if row["task"] == MEAN):
        alike = [
            float(r["score"]) for r in found if list(r.values())[:3] == list(row.values())[:3] and r["task"] != MEAN
        ]
        assert float(row["score"]) == pytest.approx(fmean(alike), abs=0.035), row  # one is off by so much there


def test_mrpc_and_cb_are_accuracies() -> None:
    """Over N rows and n seeds an accuracy is a whole number of N n; two of three values would not be, by chance."""
    for task, count in (("mrpc", 408), ("cb", 56)):
        for row in (row for row in rows() if row["task"] == task):
            seeds = 3 if REGISTRY[row["method"]].method.stage == "joint" else 10
            right = float(row["score"]) / 100 * count * seeds
            assert abs(right - round(right)) <= 0.0051 / 100 * count * seeds, row


def scores(made_up: Any, plan: Plan, **fields: Any) -> dict[str, float]:
    """What may stand beside runs that are all done."""
    outcomes = {run.id: made_up.outcome(run, 0.8, **fields) for run in plan.runs}
    runs: dict[str, list[RunSpec]] = {task: [] for task in plan.asked.tasks}
    for cell in plan.cells:
        for task in cell.run.tasks:
            runs[task].append(cell.run)
    return dict(published_scores(runs, outcomes, metrics=METRICS))


def test_the_papers_setting(made_up: Any) -> None:
    found = scores(made_up, made_up.plan(**PAPER))
    assert found.keys() == {*GLUE, MEAN}
    assert (found["rte"], found[MEAN]) == (82.06, 85.36)
    assert found == scores(made_up, made_up.plan(**{**PAPER, "backbones": "FacebookAI/roberta-base"}))


def test_the_suite_of_the_sources_decides(made_up: Any) -> None:
    superglue = ["boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"]
    fields = {**PAPER, "sources": {"tasks": superglue, "seed": 0}}
    assert scores(made_up, made_up.plan(**{**fields, "tasks": superglue}))["rte"] == 78.88
    assert scores(made_up, made_up.plan(**{**fields, "tasks": ["rte"]})) == {"rte": 78.88}
    both = [*GLUE, *(task for task in superglue if task != "rte")]
    assert scores(made_up, made_up.plan(**{**PAPER, "tasks": both, "sources": {"tasks": both, "seed": 0}})) == {}


def test_a_single_task_method_needs_no_suite(made_up: Any) -> None:
    fields = {**PAPER, "methods": ["adapter"], "sources": None}
    assert scores(made_up, made_up.plan(**{**fields, "tasks": ["rte", "mrpc"]})) == {"rte": 72.89, "mrpc": 86.64}


def test_a_joint_method_learns_the_suite(made_up: Any) -> None:
    fields = {**PAPER, "methods": ["hyperformer++"], "sources": None}
    assert scores(made_up, made_up.plan(**fields))["rte"] == 83.75
    assert scores(made_up, made_up.plan(**{**fields, "tasks": GLUE[1:]})) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"backbones": "minilm"},
        {"backbones": "roberta-large"},
        {"protocol": "default"},
        {"changes": {"epochs": 3}},
        {"rows": {"train": 100}},
        {"rows": {"test": 100}},
        {"rows": {"train_fraction": 0.5}},
        {"few_shot": {"k": [4]}},
        {"methods": [{"name": "scalearn", "options": {"dropout": 0.1}}]},
        {"methods": ["adaptersoup"]},
        {"sources": {"tasks": GLUE, "seed": 0, "counts": [3]}},
        {"sources": {"tasks": GLUE[1:], "seed": 0}, "tasks": ["rte"]},
        {"sources": {"tasks": GLUE, "seed": 0, "own": False}},
        {"sources": {"tasks": GLUE, "seed": 0, "changes": {"epochs": 3}}},
        {"sources": {"tasks": GLUE, "seed": 0, "method": "lora"}},
        {"sources": {"tasks": GLUE, "seed": "same"}},
        {"sources": {"shelf": "builtin"}, "tasks": ["rte"]},
    ],
    ids=str,
)
def test_any_other_setting_has_none(made_up: Any, other: dict[str, Any]) -> None:
    assert scores(made_up, made_up.plan(**{**PAPER, **other})) == {}


def test_other_data_has_none(made_up: Any) -> None:
    assert scores(made_up, made_up.plan(**PAPER), unpublished={"rte": {"train": [12, 2490]}}) == {}


def board_line(made_up: Any, folder: Path, plan: Plan, give: Any, **metrics: Any) -> Line:
    (board,) = boards(Results.of(plan, made_up.write(folder, plan, give)), **metrics)
    (line,) = board.lines
    return line


def test_on_a_board_the_metric_is_the_papers_or_there_is_none(made_up: Any, tmp_path: Path) -> None:
    plan = made_up.plan(**{**PAPER, "methods": ["adapter"], "sources": None, "tasks": ["rte", "mrpc"]})
    main = {"rte": "accuracy", "mrpc": "m"}
    give = lambda run: made_up.outcome(run, 0.8, main={task: main[task] for task in run.tasks})  # noqa: E731
    line = board_line(made_up, tmp_path / "main", plan, give)
    assert [score.published for score in line.cells.values()] == [72.89, None]
    line = board_line(made_up, tmp_path / "paper", plan, give, metrics=METRICS)
    assert [score.published for score in line.cells.values()] == [72.89, 86.64]
    assert line.mean.published is None  # two tasks are no suite
