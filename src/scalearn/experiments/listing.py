"""All that a folder of runs holds, whatever recipe asked for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scalearn.experiments.outcome import Outcome
from scalearn.experiments.runner import PROGRESS
from scalearn.experiments.sealed import DamagedError
from scalearn.experiments.store import Place, failures, places, under_way

State = Literal["done", "running", "stopped", "failed", "damaged"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run, for a list."""

    name: str
    """Of its folder; of a failure without one, of its file."""
    state: State
    """``stopped``: begun, not done, and nobody is at it."""
    method: str = ""
    tasks: tuple[str, ...] = ()
    backbone: str = ""
    seed: int | None = None
    title: str = ""
    """What it is, for people."""
    score: str = ""
    """The main metric, by task where there are several."""
    seconds: float | None = None
    finished: str = ""
    """When."""
    problem: str = ""
    """Why it is failed or damaged."""
    paths: tuple[Path, ...] = ()
    """What to remove to be rid of it."""


def entries(runs: Path, *, check: bool = False) -> Iterator[Entry]:
    """The finished and damaged runs, those under way or stopped, and the failures.

    Args:
        runs: a folder of runs.
        check: compare every file with its hash, not only the results.
    """
    for place in places(runs):
        yield _finished(place, check=check)
    for place in under_way(runs):
        if not place.folder.is_dir():
            yield _begun(place)
    for path, told in failures(runs):
        described = told.get("run", {})
        yield Entry(
            name=path.stem,
            state="failed",
            title=told.get("title", ""),
            problem=told["error"],
            paths=(path,),
            **_described(described),
        )


def _finished(place: Place, *, check: bool) -> Entry:
    try:
        result = place.read_whole() if check else place.read()
        if result is None:
            raise DamagedError(f"{place.folder} is gone")
    except DamagedError as error:
        return Entry(name=place.name, state="damaged", problem=str(error), paths=(place.folder,))
    outcome, described = result.outcome, result.key["run"]
    return Entry(
        name=place.name,
        state="done",
        title=_title(described),
        score=_score(outcome),
        seconds=outcome.seconds,
        finished=outcome.finished,
        paths=(place.folder,),
        **_described(described),
    )


def _begun(place: Place) -> Entry:
    try:
        told = json.loads((place.partial / PROGRESS).read_text(encoding="utf-8"))
        at = f"step {told['step']:,} of {told['steps']:,}"
        described, seconds = told.get("run", {}), told["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        at, described, seconds = "just begun", {}, None
    return Entry(
        name=place.name,
        state="running" if place.busy() else "stopped",
        title=f"{_title(described)}: {at}" if described else at,
        seconds=seconds,
        paths=(place.partial,),
        **_described(described),
    )


def _described(described: Mapping[str, Any]) -> dict[str, Any]:
    """The fields to filter by, of `RunSpec.describe`."""
    if not described:
        return {}
    return {
        "method": described["method"][0],
        "tasks": tuple(described["tasks"]),
        "backbone": described["backbone"],
        "seed": described["seed"],
    }


def _title(described: Mapping[str, Any]) -> str:
    tasks = ", ".join(described["tasks"])
    return f"{described['method'][0]} on {tasks} ({described['backbone']}) seed {described['seed']}"


def _score(outcome: Outcome) -> str:
    parts = []
    for task, by_split in outcome.metrics.items():
        split = "test" if "test" in by_split else "dev"
        parts.append(f"{task if len(outcome.metrics) > 1 else outcome.main[task]} {outcome.score(task, split):.1f}")
    return ", ".join(parts)
