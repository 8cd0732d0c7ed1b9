"""One run of a grid: found where it was done, trained where not, and kept with all that a reader asks of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import TrainerCallback

from scalearn.atomic import writable, write_text
from scalearn.backbones import chosen_backbone, load_backbone
from scalearn.cards import CARD
from scalearn.errors import InputError
from scalearn.experiments.draw import Draw
from scalearn.experiments.kept import key_of
from scalearn.experiments.machine import commit, gpu_memory, machine, peak_memory, start_measuring, versions
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import RunSpec, ShelfSource
from scalearn.experiments.sealed import DamagedError
from scalearn.experiments.store import HISTORY, PREDICTIONS, Place, forget_failure, keep_failure
from scalearn.explanation import explain
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe, Recipe
from scalearn.model import TransferModel
from scalearn.saved import DESCRIPTION, WEIGHTS
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task, load_task, unpublished_rows
from scalearn.training import JointResult, TrainResult, train, train_joint
from scalearn.training.callbacks import Meter, OmegaHistory, StopAtCheckpoint, Stopped
from scalearn.training.work import UnfinishedError

PROGRESS = "progress.json"
"""In the folder of a run under way: what `Meter` writes."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST = 1 << 20  # free bytes; with less, what failed failed for want of them


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs of a launch share; goes to other processes and machines."""

    runs: Path
    """The folder where runs are kept and found again; on a cluster one that all machines see."""
    data: Path | None = None
    """A folder laid out like the Hub's parquet repositories; None reads from the Hub."""
    device: str = "cpu"
    """That computes, ``cpu`` or ``cuda``."""
    report_to: str = "none"
    """For Trainer: see docs/tracking.md."""
    progress: bool = False
    """Show a bar for each run."""
    explain: bool = False
    """Also say what each source of a finished run did, of those where that can be said (`RunSpec.explainable`)."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of a run that was asked for."""

    outcome: Outcome | None = None
    found: bool = False
    """Whether it was done before."""
    failure: Failure | None = None
    stopped: bool = False
    """At a checkpoint, as it was asked to; with nothing else said, somebody else is at it."""

    @property
    def busy(self) -> bool:
        """Whether somebody else is at it."""
        return self.outcome is None and self.failure is None and not self.stopped


class Runner:
    """Does single runs.

    Args:
        settings: of the launch.
        loaded: told of every task once, with all its rows.
    """

    def __init__(self, settings: Settings, *, loaded: Callable[[Task], None] = lambda _: None) -> None:
        self.settings = settings
        self.device = torch.device(settings.device)
        self._told = loaded
        self._load_task = cache(self._load)
        self._drawn = cache(self._draw)
        self._fingerprint = cache(lambda backbone: load_backbone(backbone).fingerprint)
        self._shelf = cache(Shelf)
        self._made = lru_cache(maxsize=64)(Source.load)

    def attempt(self, run: RunSpec, stop: Callable[[], bool] = lambda: False) -> Report:
        """Does a run; a failure is recorded in the folder of runs, not raised.

        Args:
            run: of a plan.
            stop: whether to stop at the next step, with a checkpoint; asked after every step.

        Raises:
            InputError: the folder of runs cannot be written, for instance because the disk is full.
        """
        try:
            return self(run, stop)
        except Stopped:
            return Report(stopped=True)
        except Exception as error:
            if (reason := _no_room(error, self.settings.runs)) is not None:  # nor would there be for any other run
                raise InputError(
                    f"{self.settings.runs} cannot be written ({reason}): make room, and give the same command again"
                ) from error
            failure = Failure(error=_one_line(error), traceback=traceback.format_exc())
            with writable(self.settings.runs):
                keep_failure(self.settings.runs, run, failure)
            return Report(failure=failure)

    def __call__(self, run: RunSpec, stop: Callable[[], bool] = lambda: False) -> Report:
        """Does a run.

        Raises:
            InputError: something in it cannot be used, a source has no result yet, or its result is damaged.
            Stopped: it was asked to.
        """
        sources = [self._source(source) for source in run.sources]
        tasks, key = self._key(run, sources)
        place = Place.of(self.settings.runs, key)
        outcome = self._found(place)
        if outcome is not None and not self._unexplained(run, place):
            place.sweep()
            forget_failure(self.settings.runs, run)
            return Report(outcome=outcome, found=True)
        shelf = Shelf(sources) if sources else None
        with place.lock() as ours:
            if not ours:
                return Report()
            outcome = self._found(place)  # done while we asked for the lock
            found = outcome is not None
            outcome = outcome or self._train(run, tasks, shelf, place, key, stop)
            if self._unexplained(run, place):
                if stop():
                    raise Stopped
                self._explain(tasks[0], shelf, place)
        forget_failure(self.settings.runs, run)
        return Report(outcome=outcome, found=found)

    def _unexplained(self, run: RunSpec, place: Place) -> bool:
        """Whether it is still to be said what each source of a finished run did; what is damaged is said anew."""
        if not (self.settings.explain and run.explainable):
            return False
        try:
            return place.read_explanation() is None
        except DamagedError:
            return True

    def _explain(self, task: Task, sources: Shelf | None, place: Place) -> None:
        model = TransferModel.from_pretrained(place.folder, sources=sources).to(self.device)
        place.keep_explanation(explain(model, "dev", task=task))

    def _key(self, run: RunSpec, sources: Sequence[Source]) -> tuple[tuple[Task, ...], dict[str, Any]]:
        tasks, fingerprints = zip(*(self._rows(name, run.draw, run.seed) for name in run.tasks), strict=True)
        key = key_of(
            run.method,
            run.recipe,
            seed=run.seed,
            task=list(fingerprints),
            backbone=(run.backbone, self._fingerprint(run.backbone)),
            sources=sources,
            device=self.device,
        )
        return tasks, {**key, "id": run.id, "run": run.describe()}

    def _found(self, place: Place) -> Outcome | None:
        result = place.read_whole()
        return None if result is None else result.outcome

    def _train(
        self,
        run: RunSpec,
        tasks: tuple[Task, ...],
        sources: Shelf | None,
        place: Place,
        key: Mapping[str, Any],
        stop: Callable[[], bool],
    ) -> Outcome:
        start_measuring()
        meter = Meter(place.partial / PROGRESS, facts={"id": run.id, "run": run.describe()})
        watching: list[TrainerCallback] = [meter, StopAtCheckpoint(stop)]
        outcomes: list[Outcome] = []

        def finishing(folder: Path, result: TrainResult | JointResult) -> None:
            if isinstance(result, JointResult):
                metrics, logits = result.metrics, result.logits
            else:
                metrics, logits = {tasks[0].name: result.metrics}, {tasks[0].name: result.logits}
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if run.method.trains_backbone:  # the whole backbone, gigabytes over a grid: only its scores are kept
                for name in (WEIGHTS, DESCRIPTION, CARD):
                    (folder / name).unlink(missing_ok=True)
            predictions_of(tasks, logits).to_parquet(folder / PREDICTIONS, index=False)
            write_text(folder / HISTORY, json.dumps(result.history) + "\n")
            outcome = Outcome(
                rows={task.name: {split: len(rows) for split, rows in task.splits.items()} for task in tasks},
                unpublished={name: other for name in run.tasks if (other := self._unpublished(name))},
                metrics=metrics,
                main={task.name: task.main_metric for task in tasks},
                parameters=model.parameter_counts(),
                sources=[] if run.top_sources is None else [source.name for source in model.sources],
                best_step=result.best_step,
                steps=result.steps,
                seconds=meter.seconds,
                attempts=meter.attempts,
                tokens_per_second=meter.tokens_per_second,
                peak_memory=peak_memory(),
                gpu_memory=gpu_memory(),
                bytes=size,
                versions=dict(versions()),
                commit=commit(),
                machine=dict(machine()),
                finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
                model=place.name,
            )
            place.write_result(folder, outcome, key=key)
            outcomes.append(outcome)

        shared: dict[str, Any] = {
            "seed": run.seed,
            "progress": self.settings.progress,
            "report_to": self.settings.report_to,
            "finishing": finishing,
        }
        model: JointModel | TransferModel
        begin: Callable[..., object]
        with writable(self.settings.runs):
            self.settings.runs.mkdir(parents=True, exist_ok=True)
        if isinstance(run.recipe, JointRecipe):
            model = JointModel.from_backbone(run.backbone, tasks=tasks, method=run.method, seed=run.seed)
            model.to(self.device)
            begin = partial(train_joint, model, place.folder, recipe=run.recipe, callbacks=watching, **shared)
        else:
            assert isinstance(run.recipe, Recipe)
            (task,) = tasks
            model = TransferModel.from_backbone(
                chosen_backbone(run.backbone, device=self.device),  # before sources are ranked
                task=task,
                method=run.method,
                sources=sources,
                top_sources=run.top_sources,
                seed=run.seed,
            )
            model.to(self.device)
            if model.has_omega:
                watching.append(OmegaHistory(model))
            begin = partial(train, model, place.folder, recipe=run.recipe, callbacks=watching, **shared)
        try:
            begin()
        except UnfinishedError:  # of another version: the place is this run's alone
            begin(restart=True)
        (outcome,) = outcomes
        return outcome

    def _source(self, source: RunSpec | ShelfSource) -> Source:
        if isinstance(source, ShelfSource):
            return self._shelf(source.shelf)[source.name]
        _, key = self._key(source, [self._source(other) for other in source.sources])
        place = Place.of(self.settings.runs, key)
        if place.read() is None:  # not any result of it: that may be of other data
            raise InputError(f"the source {source} has no result: it failed, or is not done yet")
        return self._made(place.folder)

    def _load(self, name: str) -> Task:
        task = load_task(name, data=self.settings.data)
        self._told(task)
        return task

    def _unpublished(self, name: str) -> dict[str, list[int]]:
        return {split: list(counts) for split, counts in unpublished_rows(self._load_task(name)).items()}

    def _rows(self, name: str, draw: Draw, seed: int) -> tuple[Task, str]:
        return self._drawn(name, draw, seed if draw.by_seed else 0)

    def _draw(self, name: str, draw: Draw, seed: int) -> tuple[Task, str]:
        task = draw.of(self._load_task(name), seed=seed)
        return task, task.fingerprint()


def predictions_of(tasks: Sequence[Task], logits: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> pd.DataFrame:
    """A line for each row that was judged.

    Args:
        tasks: with the rows.
        logits: task to split to logits, (N, outputs) or (N, choices).

    Returns:
        ``task``, ``split``, ``row`` (from 0), ``label`` and ``prediction`` (names of classes or choices, several joined
        by semicolons; numbers), ``logits``.
    """
    lines = [
        line for task in tasks for split, values in logits[task.name].items() for line in _lines(task, split, values)
    ]
    return pd.DataFrame(lines, columns=["task", "split", "row", "label", "prediction", "logits"])


def _lines(task: Task, split: str, logits: NDArray[np.float32]) -> Iterator[tuple[Any, ...]]:
    labels, answers = task.splits[split]["label"][:], task.answers(logits)
    for row, (label, answer, values) in enumerate(zip(labels, answers, logits, strict=True)):
        yield task.name, split, row, _named(task, label), _named(task, answer), values


def _named(task: Task, value: Any) -> str:
    if task.kind == "regression":
        return f"{float(value):.6g}"
    if task.kind == "multi-label":
        return ";".join(name for name, present in zip(task.labels, value, strict=True) if present)
    return task.labels[int(value)]


def _no_room(error: BaseException | None, folder: Path) -> str | None:
    """Why nothing can be written, if that is what is behind an error; those who write tensors say it in words alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error.strerror
        for number in _NO_ROOM:
            if os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _LEAST:
            return os.strerror(errno.ENOSPC)
    return None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
