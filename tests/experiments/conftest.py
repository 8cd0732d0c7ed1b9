"""Runs that nobody trained, on disk: for tests of what is made of results."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from scalearn.experiments.expansion import plan_of
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.results import open_folder
from scalearn.experiments.store import HISTORY, Place, keep_failure

BASE: Mapping[str, Any] = {
    "name": "made-up",
    "backbones": "minilm",
    "tasks": ["rte", "cola"],
    "methods": ["head", "adapter"],
}
Given = float | str | Outcome | None
"""A score on the test rows, what failed, an outcome, or nothing yet."""


class MadeUp:
    """Experiments and results by hand."""

    def plan(self, **fields: Any) -> Plan:
        return plan_of(experiment_from({**BASE, **fields}, where="test"))

    def outcome(self, run: RunSpec, score: float, **fields: Any) -> Outcome:
        """With the score, and its standard error 0.01, under each metric; `fields` replace others."""
        metrics = {f"{name}{end}" for name in ("m", "accuracy") for end in ("", "_stderr")}
        splits = {"dev": 0.5, "test": score}
        usual: dict[str, Any] = {
            "rows": {task: {"train": 12, "dev": 3, "test": 7} for task in run.tasks},
            "metrics": {
                task: {
                    split: {name: 0.01 if name.endswith("_stderr") else value for name in sorted(metrics)}
                    for split, value in splits.items()
                }
                for task in run.tasks
            },
            "main": dict.fromkeys(run.tasks, "m"),
            "parameters": {"method": 1000 if run.sources else 24, "head": 3, "total": 27},
            "best_step": 6,
            "steps": 9,
            "seconds": 1.5,
            "tokens_per_second": 2_000.0,
            "peak_memory": 0.75,
            "bytes": 3_500,
            "commit": "abc1234",
            "finished": "2026-01-02T03:04:05+00:00",
            "model": "",
        }
        return Outcome(**{**usual, **fields})

    def write_run(self, runs: Path, run: RunSpec, found: Outcome) -> Path:
        """The folder of a finished run."""
        key = {"id": run.id, "run": run.describe()}
        place = Place.of(runs, key)
        place.folder.mkdir(parents=True, exist_ok=True)
        (place.folder / HISTORY).write_text(json.dumps([{"step": 3, "eval_loss": 0.7}]))
        place.write_result(place.folder, found, key=key)
        return place.folder

    def write(self, folder: Path, plan: Plan, give: Callable[[RunSpec], Given]) -> Path:
        """The folder of an experiment with what is given for each run, and in it the folder of its runs."""
        runs = open_folder(folder, plan.asked)
        for run in plan.runs:
            given = give(run)
            if isinstance(given, str):
                keep_failure(runs, run, Failure(error=given, traceback=""))
            elif isinstance(given, Outcome):
                self.write_run(runs, run, given)
            elif given is not None:
                self.write_run(runs, run, self.outcome(run, given))
        return runs


@pytest.fixture
def made_up() -> MadeUp:
    return MadeUp()
