"""What a run of a grid gave, as it is kept on disk: a result, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scalearn.atomic import write_text
from scalearn.experiments.kept import keep_run, read_kept, read_run
from scalearn.experiments.plan import RunSpec


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished run."""

    rows: Mapping[str, Mapping[str, int]]
    """Task to split to number of rows."""
    unpublished: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    """Task to published split to its number of rows, here and as published, where they differ."""
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Task to split to scores of the best checkpoint, each metric with its bootstrap standard error."""
    main: Mapping[str, str]
    """Task to the metric to compare by."""
    parameters: Mapping[str, int]
    """`AdaptedModel.parameter_counts`."""
    steps: int
    """Of training, before the end or the early stop."""
    seconds: float
    """Choosing among sources, training and evaluation, with whatever else the machine was doing."""
    model: str
    """Its folder, beside the result; empty where only the scores are kept."""

    def score(self, task: str, split: str = "test") -> float:
        """The main metric, in percent."""
        return 100 * self.metrics[task][split][self.main[task]]

    def standard_error(self, task: str, split: str = "test") -> float | None:
        """Of `score` by bootstrap, in percent; None if it was not computed."""
        error = self.metrics[task][split].get(f"{self.main[task]}_stderr")
        return None if error is None else 100 * error


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that ended in an error."""

    error: str
    """In one line."""
    traceback: str


def result_path(folder: Path, run: RunSpec) -> Path:
    """Where the result of a run stands."""
    return folder / f"{run.id}.json"


def read_outcome(folder: Path, run: RunSpec, *, key: Mapping[str, Any] | None = None) -> Outcome | None:
    """The result of a run; None if there is none of this version, or with another key than the one given."""
    kept = read_run(result_path(folder, run), key=key)
    try:
        return None if kept is None else Outcome(**kept)
    except TypeError:
        return None


def read_key(folder: Path, run: RunSpec) -> Mapping[str, Any]:
    """What made the kept result of a run this result; empty if there is none."""
    return read_kept(result_path(folder, run))[0]


def keep_outcome(folder: Path, run: RunSpec, outcome: Outcome, *, key: Mapping[str, Any]) -> None:
    """Writes a result; a failure of the run before is forgotten."""
    keep_run(result_path(folder, run), key, asdict(outcome))
    _failed(folder, run).unlink(missing_ok=True)


def read_failure(folder: Path, run: RunSpec) -> Failure | None:
    """Why a run has no result; None if it has not failed."""
    try:
        return Failure(**json.loads(_failed(folder, run).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep_failure(folder: Path, run: RunSpec, failure: Failure) -> None:
    """Writes why a run has no result."""
    write_text(_failed(folder, run), json.dumps(asdict(failure), indent=2) + "\n")


def _failed(folder: Path, run: RunSpec) -> Path:
    return folder / f"{run.id}.failed.json"
