"""Boards of made-up runs: which numbers stand where, and what a number must be to be called the best."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalearn.experiments.plan import RunSpec
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board, boards

Make = Callable[..., tuple[Board, ...]]
EIGHT = ["mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"]


@pytest.fixture
def make(made_up: Any, tmp_path: Path) -> Make:
    """The boards of an experiment with these runs."""

    def make(fields: dict[str, Any], give: Callable[[RunSpec], Any], **metrics: Any) -> tuple[Board, ...]:
        plan = made_up.plan(**fields)
        return boards(Results.of(plan, made_up.write(tmp_path, plan, give)), **metrics)

    return make


def test_a_board_for_each_backbone_and_point(make: Make) -> None:
    fields = {"backbones": ["minilm", "roberta-base"], "few_shot": {"k": [4, 16]}}
    found = make(fields, lambda run: (run.draw.k or 0) / 100 + 0.5 * (run.backbone == "minilm"))
    assert [(board.backbone, board.point and board.point.value) for board in found] == [
        *(("minilm", 4), ("minilm", 16), ("roberta-base", 4), ("roberta-base", 16))
    ]
    assert [board.lines[0].mean.mean for board in found] == pytest.approx([54, 66, 4, 16])


def test_lines_are_in_the_recipes_order_joint_methods_too(make: Make) -> None:
    (board,) = make({"methods": ["head", "full-m", "adapter"]}, lambda run: 0.5)
    assert [line.label for line in board.lines] == ["head", "full-m", "adapter"]


def test_probing_is_in_no_board(make: Make) -> None:
    fields = {"methods": [], "tasks": ["rte"], "sources": {"tasks": ["mnli"]}, "probe": {"grid": [0, 1]}}
    assert make(fields, lambda run: 0.5) == ()


def test_means_are_over_tasks_of_means_over_seeds(make: Make) -> None:
    score = {("rte", 0): 0.5, ("rte", 1): 0.6, ("rte", 2): 0.9, ("cola", 0): 0.2, ("cola", 1): 0.3}
    fields = {"seeds": {"default": 3, "cola": 2}, "methods": ["head"]}
    (board,) = make(fields, lambda run: score[run.tasks[0], run.seed])
    (line,) = board.lines
    rte = line.cells["rte", "test"]
    assert (rte.mean, rte.deviation) == pytest.approx((66.667, 20.817), abs=1e-3)
    assert dict(rte.by_seed) == pytest.approx({0: 50, 1: 60, 2: 90})
    assert line.mean.mean == pytest.approx((200 / 3 + 25) / 2)
    assert dict(line.mean.by_seed) == pytest.approx({0: 35, 1: 45})  # the seeds that both tasks have
    low, high = line.mean.interval or (0, 0)
    assert (low + high) / 2 == pytest.approx(line.mean.mean)
    assert high - low == pytest.approx(2 * 12.706 * 5, abs=1e-2)  # t of one degree, deviation 7.07 over sqrt(2)


def test_what_is_not_done_has_no_score(make: Make) -> None:
    (board,) = make({"seeds": 2}, lambda run: 0.5 if run.method.name == "head" and run.tasks == ("rte",) else None)
    head, adapter = board.lines
    assert (head.cells["rte", "test"].mean, head.cells["cola", "test"].mean, head.mean.mean) == (50.0, None, None)
    assert (adapter.trained, adapter.mean.mean, adapter.mean.interval) == (None, None, None)
    assert (board.columns[0].metric, board.columns[1].metric, board.comparison) == ("m", "", None)


def test_one_seed_has_the_standard_error_of_its_rows(make: Make) -> None:
    (board,) = make({"methods": ["head"]}, lambda run: 0.5)
    cell = board.lines[0].cells["rte", "test"]
    assert (cell.standard_error, cell.deviation, cell.interval) == (1.0, None, None)


def test_another_metric_can_be_asked_for(make: Make, made_up: Any) -> None:
    metrics = {"rte": {"test": {"m": 0.5, "accuracy": 0.7, "accuracy_stderr": 0.02}}}
    fields = {"methods": ["head"], "tasks": ["rte"]}
    (board,) = make(fields, lambda run: made_up.outcome(run, 0.5, metrics=metrics), metrics={"rte": "accuracy"})
    cell = board.lines[0].cells["rte", "test"]
    assert (board.columns[0].metric, cell.mean, cell.standard_error) == ("accuracy", 70.0, 2.0)


def test_trained_is_the_most_over_tasks(make: Make, made_up: Any) -> None:
    sizes = {"rte": 10, "cola": 30}
    give = lambda run: made_up.outcome(run, 0.5, parameters={"method": sizes[run.tasks[0]], "head": 1})  # noqa: E731
    (board,) = make({"methods": ["head"]}, give)
    assert board.lines[0].trained == 30


def test_the_best_of_a_column_is_significantly_so(make: Make) -> None:
    def score(run: RunSpec) -> float:
        above = {"rte": 0.2, "cola": 0.001}[run.tasks[0]]
        return 0.5 + above * (run.method.name == "adapter") + 0.01 * run.seed * (1 + (run.method.name == "head"))

    (board,) = make({"seeds": 3}, score)
    best = {(line.label, where): cell.best for line in board.lines for where, cell in line.cells.items()}
    assert [key for key, value in best.items() if value] == [("adapter", ("rte", "test"))]
    assert not any(line.mean.best for line in board.lines)


def above(run: RunSpec) -> float:
    task = EIGHT.index(run.tasks[0])
    return 0.5 + 0.01 * task + (0.1 + 0.003 * task) * (run.method.name == "adapter") + 0.001 * run.seed


def test_the_best_mean_needs_many_tasks(make: Make) -> None:
    (board,) = make({"tasks": EIGHT, "seeds": 2}, above)
    assert [line.mean.best for line in board.lines] == [False, True]
    (board,) = make({"tasks": EIGHT[:5], "seeds": 2, "name": "made-up"}, above)
    assert [line.mean.best for line in board.lines] == [False, False]


def test_no_mean_is_best_while_one_is_missing(make: Make) -> None:
    def score(run: RunSpec) -> float | None:
        return None if run.method.name == "ia3" and run.tasks == ("rte",) else above(run)

    (board,) = make({"tasks": EIGHT, "seeds": 2, "methods": ["head", "adapter", "ia3"]}, score)
    assert board.comparison is not None
    assert board.comparison.tasks == tuple(task for task in EIGHT if task != "rte")
    assert not any(line.mean.best for line in board.lines)
