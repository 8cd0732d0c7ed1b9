"""The paper's scores, and which runs they may stand beside.

``published.csv`` has the means over seeds on the test rows, in percent, that the README of the published code of
Frohmann et al. (Findings of ACL 2024, github.com/CPJKU/ScaLearn) reports: GLUE and SuperGLUE with roberta-base, HumSet
with xlm-roberta-base, 14 methods, under the names that methods and tasks have here. `METRICS` says what they are in: of
MRPC and CB every one is a whole number of right answers over 3 or 10 seeds, hence an accuracy and no mean of two
metrics. docs/tasks.md has where the published code differs from this one; ReCoRD's checkpoint was chosen on its test
rows there.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence, Set
from functools import cache
from importlib import resources
from types import MappingProxyType

from scalearn.experiments.draw import ALL_ROWS
from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.sizes import size_of
from scalearn.methods import joint_recipe_for, recipe_for

MEAN = "mean"
"""What stands for a task where a score is the mean over a suite."""
METRICS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("mnli", "qqp", "qnli", "sst2", "mrpc", "rte"), "accuracy"),
        "stsb": "pearson",
        "cola": "matthews",
        **dict.fromkeys(("boolq", "cb", "copa", "wic", "wsc"), "accuracy"),
        **dict.fromkeys(("multirc", "record"), "f1"),
        **dict.fromkeys((f"humset-{part}" for part in ("sectors", "pillars_1d", "subpillars_1d")), "f1_macro"),
        **dict.fromkeys(("humset-pillars_2d", "humset-subpillars_2d"), "f1_macro"),
    }
)
"""What each task is reported in."""


def published_scores(
    runs: Mapping[str, Sequence[RunSpec]], outcomes: Mapping[str, Outcome], *, metrics: Mapping[str, str]
) -> Mapping[str, float]:
    """The paper's scores of one method, percent, by task, and their mean under `MEAN` where the tasks are a suite's.

    A task is left out unless all of its runs have the paper's setting: backbone, hyper-parameters, options, all rows of
    the published data, and for transfer the suite's adapters of seed 0; and are in its metric.

    Args:
        runs: task to the finished runs of one method.
        outcomes: of all finished runs, sources among them, by `RunSpec.id`.
        metrics: task to what our scores are in.
    """
    scores: dict[str, float] = {}
    for suite, tasks in _tasks().items():
        own: dict[str, float] = {}
        for task, alike in runs.items():
            if alike and metrics.get(task) == METRICS.get(task) and all(_of(run, tasks, outcomes) for run in alike):
                score = _scores().get((suite, *_row(alike[0]), task))
                own |= {} if score is None else {task: score}
        if runs.keys() == own.keys() == tasks:
            (row,) = {_row(run) for alike in runs.values() for run in alike}
            own[MEAN] = _scores()[suite, *row, MEAN]
        scores |= own
    return scores


def _row(run: RunSpec) -> tuple[str, str]:
    """Backbone and method, as the file has them."""
    return run.backbone.removeprefix("FacebookAI/"), run.method.name


def _of(run: RunSpec, suite: Set[str], outcomes: Mapping[str, Outcome]) -> bool:
    """Whether a finished run has the paper's setting on a suite of these tasks."""
    outcome = outcomes.get(run.id)
    if outcome is None or outcome.unpublished or run.options or run.draw != ALL_ROWS:
        return False
    if run.method.stage == "joint":
        return set(run.tasks) == suite and run.recipe == joint_recipe_for(run.method, "published")
    (task,) = run.tasks
    if run.recipe != recipe_for(run.method, "published", kind=size_of(task).kind, task=task):
        return False
    if run.method.stage == "single":
        return task in suite
    adapters = [source for source in run.needs if source.seed == 0 and source.method.name == "adapter"]
    if len(adapters) < len(run.sources) or set(run.source_names) != suite:
        return False
    return all(_of(source, suite, outcomes) for source in adapters)


@cache
def _scores() -> Mapping[tuple[str, str, str, str], float]:
    """Suite, backbone, method and task to score."""
    text = resources.files("scalearn.experiments").joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {(row["suite"], row["backbone"], row["method"], row["task"]): float(row["score"]) for row in rows}


@cache
def _tasks() -> Mapping[str, frozenset[str]]:
    """Suite to its tasks."""
    suites = {suite for suite, *_ in _scores()}
    return {name: frozenset(task for suite, *_, task in _scores() if suite == name) - {MEAN} for name in sorted(suites)}
