"""The runs of a plan, done one after the other in this process; stopped at any moment, the same call goes on.

A finished run is a JSON file that is written last; it holds everything that can change its result, and is done anew
where that has changed. A run that fails is recorded and does not stop the others; the next call tries it again.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch

from scalearn.atomic import writable
from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.experiments.cost import cost_of
from scalearn.experiments.draw import Draw
from scalearn.experiments.kept import key_of, place_of
from scalearn.experiments.outcome import Failure, Outcome, keep_failure, keep_outcome, read_outcome
from scalearn.experiments.plan import Plan, RunSpec, ShelfSource
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe, Recipe
from scalearn.model import TransferModel
from scalearn.sources import Shelf, Source
from scalearn.tasks import Task, load_task, unpublished_rows
from scalearn.training import train, train_joint


class Runner:
    """Does single runs: finds what was done, trains what was not.

    Args:
        folder: where results and models are kept and found again.
        data: a folder laid out like the Hub's parquet repositories; None reads from the Hub.
        device: that computes, ``cpu`` or ``cuda``.
        progress: show a bar for each run.
        loaded: told of every task once, with all its rows.
    """

    def __init__(
        self,
        folder: Path,
        *,
        data: Path | None = None,
        device: str = "cpu",
        progress: bool = True,
        loaded: Callable[[Task], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.device = torch.device(device)
        self.progress = progress
        self._data = data
        self._told = loaded
        self._done: dict[str, Outcome] = {}
        self._load_task = cache(self._load)
        self._drawn = cache(self._draw)
        self._fingerprint = cache(lambda backbone: load_backbone(backbone).fingerprint)
        self._shelf = cache(Shelf)
        self._made = lru_cache(maxsize=64)(Source.load)

    def __call__(self, run: RunSpec) -> tuple[Outcome, bool]:
        """The result of a run, and whether it was there already.

        Raises:
            InputError: something in it cannot be used, or a source has no result yet.
        """
        sources = [self._source(source) for source in run.sources]
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
        key["run"] = run.describe()
        kept = read_outcome(self.folder, run, key=key)
        if kept is not None and (self.folder / kept.model).is_dir():
            self._done[run.id] = kept
            return kept, True
        place = place_of(self.folder, key).with_suffix("")
        outcome = self._train(run, tasks, Shelf(sources) if sources else None, place)
        keep_outcome(self.folder, run, outcome, key=key)
        self._done[run.id] = outcome
        return outcome, False

    def _train(self, run: RunSpec, tasks: tuple[Task, ...], sources: Shelf | None, place: Path) -> Outcome:
        started = time.perf_counter()
        if isinstance(run.recipe, JointRecipe):
            joint = JointModel.from_backbone(run.backbone, tasks=tasks, method=run.method, seed=run.seed)
            joint.to(self.device)
            together = train_joint(
                joint, place, recipe=run.recipe, seed=run.seed, overwrite=True, progress=self.progress
            )
            metrics, steps, parameters = together.metrics, together.steps, joint.parameter_counts()
        else:
            assert isinstance(run.recipe, Recipe)
            (task,) = tasks
            model = TransferModel.from_backbone(
                run.backbone, task=task, method=run.method, sources=sources, seed=run.seed
            )
            model.to(self.device)
            alone = train(model, place, recipe=run.recipe, seed=run.seed, overwrite=True, progress=self.progress)
            metrics, steps, parameters = {task.name: alone.metrics}, alone.steps, model.parameter_counts()
        if run.method.trains_backbone:  # the whole backbone, gigabytes over a grid: only its scores are kept
            shutil.rmtree(place)
        return Outcome(
            rows={task.name: {split: len(rows) for split, rows in task.splits.items()} for task in tasks},
            unpublished={name: other for name in run.tasks if (other := self._unpublished(name))},
            metrics=metrics,
            main={task.name: task.main_metric for task in tasks},
            parameters=parameters,
            steps=steps,
            seconds=time.perf_counter() - started,
            model="" if run.method.trains_backbone else place.name,
        )

    def _source(self, source: RunSpec | ShelfSource) -> Source:
        if isinstance(source, ShelfSource):
            return self._shelf(source.shelf)[source.name]
        outcome = self._done.get(source.id)  # not what an earlier call left: that may be of other data
        if outcome is None:
            raise InputError(f"the source {source} has no result: it failed, or is not done yet")
        return self._made(self.folder / outcome.model)

    def _load(self, name: str) -> Task:
        task = load_task(name, data=self._data)
        self._told(task)
        return task

    def _unpublished(self, name: str) -> dict[str, list[int]]:
        return {split: list(counts) for split, counts in unpublished_rows(self._load_task(name)).items()}

    def _rows(self, name: str, draw: Draw, seed: int) -> tuple[Task, str]:
        return self._drawn(name, draw, seed if draw.by_seed else 0)

    def _draw(self, name: str, draw: Draw, seed: int) -> tuple[Task, str]:
        task = draw.of(self._load_task(name), seed=seed)
        return task, task.fingerprint()


@dataclass(frozen=True, kw_only=True)
class Step:
    """A run that is over, and how far the grid has come with it."""

    run: RunSpec
    result: Outcome | Failure
    found: bool
    """Whether it was done before."""
    position: int
    """From 1."""
    total: int
    seconds_left: float | None
    """An estimate, from the operations that the other runs cost at most; None before the first run."""


def run_grid(plan: Plan, do: Callable[[RunSpec], tuple[Outcome, bool]], *, folder: Path) -> Iterator[Step]:
    """Does all runs of a plan in order, and yields each when it is over.

    Args:
        plan: of an experiment.
        do: a `Runner`.
        folder: where failures are recorded.

    Raises:
        InputError: a failure cannot be recorded, for instance because the disk is full.
    """
    operations = [cost_of(run).operations for run in plan.runs]
    spent, done = 0.0, 0.0
    for position, run in enumerate(plan.runs, start=1):
        started = time.perf_counter()
        result: Outcome | Failure
        try:
            result, found = do(run)
        except Exception as error:
            result, found = Failure(error=_one_line(error), traceback=traceback.format_exc()), False
            with writable(folder):
                keep_failure(folder, run, result)
        if isinstance(result, Outcome) and not found:
            spent += time.perf_counter() - started
            done += operations[position - 1]
        left = sum(operations[position:])
        yield Step(
            run=run,
            result=result,
            found=found,
            position=position,
            total=len(plan.runs),
            seconds_left=left * spent / done if done else None,
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
