"""Runs on disk: a folder for each, named by the hash of everything that can change its result.

    RUNS/<hash>/result.json           what it was, what it gave, and the SHA-256 of its other files
               /history.json          Trainer's log: losses and dev scores by evaluation, and omega where there is one
               /predictions.parquet   task, split, row, label, prediction, logits: of every dev and test row
               /scalearn.json ...     the model; README.md says how to load it
               /explanation.json      what each of its sources did, where that was asked for, with its own SHA-256
    RUNS/.<hash>.partial/             a run under way: its checkpoints, and progress.json
    RUNS/.<hash>.lock                 held by whoever is at it; gone when it is done
    RUNS/failed/<id>.json             why a run has no result

A finished folder takes its name in one rename, so a run is done when its folder is there. A lock that nobody holds and
a partial folder are what an interruption left: the next launch takes both up.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from scalearn.atomic import sweep, writable, write_text
from scalearn.cards import CARD
from scalearn.errors import InputError
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.sealed import DamagedError, digest, seal, unseal
from scalearn.explanation import Explanation

RESULT = "result.json"
HISTORY = "history.json"
PREDICTIONS = "predictions.parquet"
EXPLANATION = "explanation.json"


@dataclass(frozen=True)
class Place:
    """Where one run stands."""

    runs: Path
    """The folder of all runs."""
    name: str
    """A hash."""

    @classmethod
    def of(cls, runs: Path, key: Mapping[str, Any]) -> Place:
        """The place of the run with this key (`scalearn.experiments.kept.key_of`)."""
        return cls(runs, digest(key)[:16])

    @property
    def folder(self) -> Path:
        """Of the finished run."""
        return self.runs / self.name

    @property
    def partial(self) -> Path:
        """Of the run under way."""
        return self.runs / f".{self.name}.partial"

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Whether this run is ours alone for the length of the block: nobody else is at it."""
        with writable(self.runs):
            self.runs.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                yield False
                return
        try:
            yield True
        finally:
            if self.folder.is_dir():  # done: who still waits for the lock will look for the result first
                self._lock.unlink(missing_ok=True)
            lock.release()

    def busy(self) -> bool:
        """Whether somebody is at it."""
        with suppress(InputError):  # a folder that cannot be written: nobody can be at it
            if self._lock.exists():
                with self.lock() as ours:
                    return not ours
        return False

    def sweep(self) -> None:
        """Removes what an interruption after the end left: the lock, and what was not removed of the partial folder."""
        if not (self.folder.is_dir() and (self._lock.exists() or self.partial.exists())):
            return
        with suppress(InputError), self.lock() as ours:
            if ours:  # else somebody is just about to do so
                shutil.rmtree(self.partial, ignore_errors=True)

    def read(self) -> Result | None:
        """The finished run; None if there is none.

        Raises:
            DamagedError: there is one, but its result was cut short or changed.
        """
        if not self.folder.is_dir():
            return None
        path = self.folder / RESULT
        told = unseal(path, remedy=self.remedy)
        try:
            return Result(place=self, key=told["key"], outcome=Outcome(**told["outcome"]), files=told["files"])
        except (KeyError, TypeError) as error:
            raise DamagedError(f"{path} is of another version of scalearn ({error}): {self.remedy}") from error

    def read_whole(self) -> Result | None:
        """As `read`, with every file of the run compared with its hash.

        Raises:
            DamagedError: there is a run, but a file of it was cut short, changed or removed.
        """
        result = self.read()
        if result is not None:
            result.check()
        return result

    def write_result(self, into: Path, outcome: Outcome, *, key: Mapping[str, Any]) -> None:
        """Writes the result beside the other files of a run that is being put together.

        Args:
            into: holds all other files.
            outcome: of the run.
            key: everything that makes it this run.
        """
        files = {
            path.relative_to(into).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(into.rglob("*"))
            if path.is_file() and path.name not in (CARD, EXPLANATION) and "logs" not in path.relative_to(into).parts
        }
        seal(into / RESULT, {"key": dict(key), "outcome": asdict(outcome), "files": files})

    def read_explanation(self) -> Explanation | None:
        """What each source of the finished run did; None if nobody asked, or another version of scalearn wrote it.

        Raises:
            DamagedError: it was cut short or changed.
        """
        path = self.folder / EXPLANATION
        if not path.exists():
            return None
        told = unseal(path, remedy="remove it, and give the same `scalearn run` again")
        try:
            return Explanation.from_dict(told)
        except TypeError:
            return None

    def keep_explanation(self, found: Explanation) -> None:
        """Writes what each source of the finished run did."""
        seal(self.folder / EXPLANATION, found.as_dict())

    @property
    def _lock(self) -> Path:
        return self.runs / f".{self.name}.lock"

    @property
    def remedy(self) -> str:
        """What to do if it is damaged."""
        return f"restore it, or remove the run (`scalearn runs {self.runs} --remove {self.name}`) and run it again"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run, as it stands on disk."""

    place: Place
    key: Mapping[str, Any]
    """What made it this run; ``run`` is `RunSpec.describe`, ``id`` its `RunSpec.id`."""
    outcome: Outcome
    files: Mapping[str, str]
    """File to SHA-256."""

    def check(self) -> None:
        """Compares every file with its hash.

        Raises:
            DamagedError: one differs or is missing.
        """
        for name in self.files:
            self._bytes(name)

    def history(self) -> list[dict[str, Any]]:
        """Trainer's log; an entry with ``eval_loss`` has ``omega``, (L, T) means over dimensions, where there is one.

        Raises:
            DamagedError: it was changed.
        """
        entries: list[dict[str, Any]] = json.loads(self._bytes(HISTORY))
        return entries

    def predictions(self) -> pd.DataFrame:
        """A line for each dev and test row: ``task, split, row, label, prediction, logits``.

        Raises:
            DamagedError: it was changed.
        """
        self._bytes(PREDICTIONS)
        return pd.read_parquet(self.place.folder / PREDICTIONS)

    def _bytes(self, name: str) -> bytes:
        path = self.place.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror}): {self.place.remedy}") from error
        if hashlib.sha256(data).hexdigest() != self.files.get(name):
            raise DamagedError(f"{path} was changed after it was written (SHA-256 differs): {self.place.remedy}")
        return data


def places(runs: Path) -> list[Place]:
    """All finished runs of a folder."""
    if not runs.is_dir():
        return []
    return [Place(runs, path.parent.name) for path in sorted(runs.glob(f"*/{RESULT}"))]


def under_way(runs: Path) -> list[Place]:
    """All runs that were begun and are not done."""
    if not runs.is_dir():
        return []
    return [Place(runs, path.name[1:].removesuffix(".partial")) for path in sorted(runs.glob(".*.partial"))]


def read_failure(runs: Path, run: RunSpec) -> Failure | None:
    """Why a run has no result; None if it has not failed."""
    try:
        told = json.loads(_failed(runs, run).read_text(encoding="utf-8"))
        return Failure(error=told["error"], traceback=told["traceback"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_failure(runs: Path, run: RunSpec, failure: Failure) -> None:
    """Writes why a run has no result."""
    told = {**asdict(failure), "title": str(run), "run": run.describe()}
    write_text(_failed(runs, run), json.dumps(told, indent=2) + "\n")


def failures(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """All failures of a folder, with what failed: ``error``, ``traceback``, ``title``, and ``run`` as described."""
    found = []
    for path in sorted((runs / "failed").glob("*.json")):
        try:
            found.append((path, dict(json.loads(path.read_text(encoding="utf-8")))))
        except (OSError, ValueError):
            continue  # it is tried again, or was just forgotten
    return found


def forget_failure(runs: Path, run: RunSpec) -> None:
    """It has a result now."""
    path = _failed(runs, run)
    with suppress(OSError):  # in a folder that cannot be written
        sweep(path)
        path.unlink(missing_ok=True)


def _failed(runs: Path, run: RunSpec) -> Path:
    return runs / "failed" / f"{run.id}.json"
