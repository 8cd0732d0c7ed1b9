"""The folder of an experiment, and all that its finished runs say.

OUT/experiment.json     the recipe as it was run, and where the runs are kept
OUT/runs/               a JSON file for each run, and the models
OUT/report.md, *.csv    what `scalearn.experiments.report` makes of them
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scalearn.atomic import write_text
from scalearn.errors import InputError
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.outcome import Failure, Outcome, read_failure, read_outcome
from scalearn.experiments.plan import Cell, Plan, RunSpec
from scalearn.experiments.recipe import Experiment
from scalearn.experiments.recipe_file import experiment_from

_FILE = "experiment.json"


def open_folder(folder: Path, asked: Experiment, *, kept: Path | None = None) -> Path:
    """Makes the folder of an experiment, or finds it.

    Args:
        folder: of the experiment.
        asked: its recipe; may have changed since.
        kept: where runs are kept; experiments that share it share their runs. None is a folder of its own.

    Returns:
        Where runs are kept.

    Raises:
        InputError: the folder is another experiment's, or cannot be made.
    """
    if (folder / _FILE).exists() and (other := read_folder(folder)[0].name) != asked.name:
        raise InputError(f"{folder} holds the experiment {other!r}, not {asked.name!r}: choose another with --out")
    runs = kept or folder / "runs"
    described = {"recipe": asked.model_dump(mode="json"), "runs": os.path.relpath(runs, folder)}
    write_text(folder / _FILE, json.dumps(described, indent=2) + "\n")
    return runs


def read_folder(folder: Path) -> tuple[Experiment, Path]:
    """The recipe of an experiment's folder, and where its runs are kept.

    Raises:
        InputError: it is no such folder.
    """
    try:
        described = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        recipe, runs = described["recipe"], described["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is no experiment: give a folder that `scalearn run` wrote ({_FILE})") from error
    return experiment_from(recipe, where=str(folder / _FILE)), folder / runs


@dataclass(frozen=True, kw_only=True)
class Results:
    """A plan, and what is known of its runs by now."""

    plan: Plan
    outcomes: Mapping[str, Outcome]
    """By `RunSpec.id`."""
    failures: Mapping[str, Failure]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """All finished runs of an experiment's folder.

        Raises:
            InputError: it is no such folder.
        """
        asked, runs = read_folder(folder)
        plan = plan_of(asked)
        outcomes = {run.id: outcome for run in plan.runs if (outcome := read_outcome(runs, run)) is not None}
        failures = {
            run.id: failure
            for run in plan.runs
            if run.id not in outcomes and (failure := read_failure(runs, run)) is not None
        }
        return cls(plan=plan, outcomes=outcomes, failures=failures)

    @property
    def open(self) -> tuple[RunSpec, ...]:
        """The runs that were not tried yet."""
        return tuple(run for run in self.plan.runs if run.id not in self.outcomes and run.id not in self.failures)

    def of(self, cells: list[Cell], task: str) -> list[Outcome]:
        """The outcomes on a task, one for each seed."""
        found = (self.outcomes.get(cell.run.id) for cell in cells if task in cell.run.tasks)
        return [outcome for outcome in found if outcome is not None]
