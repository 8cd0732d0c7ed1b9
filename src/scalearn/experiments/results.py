"""The folder of an experiment, and all that its finished runs say.

OUT/experiment.json     the recipe as it was run, and where the runs are kept
OUT/runs/               a folder for each run: see `scalearn.experiments.store`
OUT/report.*, *.csv     what `scalearn.experiments.report` makes of them
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scalearn.atomic import write_text
from scalearn.errors import InputError
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.recipe import Experiment
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.sealed import DamagedError
from scalearn.experiments.store import Result, places, read_failure
from scalearn.explanation import Explanation

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


def experiments_in(folder: Path) -> list[Path]:
    """The folder itself where it is an experiment's, else the experiments right below it.

    Raises:
        InputError: there are none.
    """
    if (folder / _FILE).is_file():
        return [folder]
    below = sorted(path.parent for path in folder.glob(f"*/{_FILE}"))
    if not below:
        raise InputError(f"{folder} is no experiment: give a folder that `scalearn run` wrote ({_FILE})")
    return below


@dataclass(frozen=True, kw_only=True)
class Results:
    """A plan, and what is known of its runs by now."""

    plan: Plan
    found: Mapping[str, Result]
    """Finished runs by `RunSpec.id`; the newest, where one was done again with other data or another version."""
    failures: Mapping[str, Failure]
    """Of the last call; beside a result where an earlier call gave one."""
    damaged: tuple[str, ...]
    """Runs of which a file was cut short or changed: messages. They count as not done; or, if it is the explanation, as
    not explained."""
    mixed: tuple[str, ...]
    """What makes finished runs unlike one another that ought not to: sentences."""
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    """What each source did, by `RunSpec.id`, of the finished runs of which somebody asked it."""

    @classmethod
    def read(cls, folder: Path) -> Results:
        """All finished runs of an experiment's folder.

        Raises:
            InputError: it is no such folder.
        """
        asked, runs = read_folder(folder)
        return cls.of(plan_of(asked), runs)

    @classmethod
    def of(cls, plan: Plan, runs: Path) -> Results:
        """What a folder of runs has of a plan; it may have runs of other plans too."""
        wanted = {run.id: run for run in plan.runs}
        found: dict[str, Result] = {}
        damaged = []
        for place in places(runs):
            try:
                result = place.read_whole()
            except DamagedError as error:
                damaged.append(str(error))
                continue
            if result is not None and (run_id := str(result.key.get("id"))) in wanted:
                other = found.get(run_id)
                if other is None or other.outcome.finished < result.outcome.finished:
                    found[run_id] = result
        explanations: dict[str, Explanation] = {}
        for run_id, result in found.items():
            try:
                if (told := result.place.read_explanation()) is not None:
                    explanations[run_id] = told
            except DamagedError as error:
                damaged.append(str(error))
        failures = {run.id: failure for run in plan.runs if (failure := read_failure(runs, run)) is not None}
        keys = {run: found[run.id].key for run in plan.runs if run.id in found}
        return cls(
            plan=plan,
            found=found,
            failures=failures,
            damaged=tuple(damaged),
            mixed=tuple(_mixed(keys)),
            explanations=explanations,
        )

    @cached_property
    def outcomes(self) -> Mapping[str, Outcome]:
        """By `RunSpec.id`."""
        return {run_id: result.outcome for run_id, result in self.found.items()}

    @property
    def open(self) -> tuple[RunSpec, ...]:
        """The runs that were not tried yet."""
        return tuple(run for run in self.plan.runs if run.id not in self.found and run.id not in self.failures)


def _mixed(keys: Mapping[RunSpec, Mapping[str, Any]]) -> Iterator[str]:
    for name in ("version", "device", "precision"):
        found = sorted({str(key.get(name)) for key in keys.values()})
        if len(found) > 1:
            yield f"finished runs are of more than one {name} ({', '.join(found)})"
    seen: dict[tuple[Any, ...], set[str]] = {}
    for run, key in keys.items():
        rows = run.tasks, run.draw, run.seed if run.draw.by_seed else 0
        seen.setdefault(rows, set()).add(str(key.get("task")))
    tasks = sorted({task for (tasks, *_), prints in seen.items() if len(prints) > 1 for task in tasks})
    if tasks:
        yield f"finished runs on {', '.join(tasks)} saw different data"
