"""Probing: how strongly should a source act? Constant coefficients over a grid, and a fresh head for each.

    out = LN(s + sum_t omega_t * adapter_t(z))      omega_t constant, from {0, .1, .3, .5, .7, .9, 1}

The experiment that motivated ScaLearn (Frohmann et al., Findings of ACL 2024, section 3): one source over the grid, or
two over its square. Stopped at any moment, a probe goes on where it stood (`scalearn.experiments.kept`).
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalearn import sites
from scalearn.backbones import MINILM, Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.experiments.draw import ALL_ROWS, Draw
from scalearn.experiments.kept import keep_run, key_of, place_of, read_run
from scalearn.methods import Probing, Protocol, Recipe, changed, recipe_for
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import train

GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""The published values of a coefficient."""


@dataclass(frozen=True, kw_only=True)
class ProbeRun:
    """A head trained at one point of the grid with one seed."""

    omega: tuple[float, ...]
    """The constant coefficient of each source."""
    seed: int
    rows: Mapping[str, int]
    """Split name to number of rows."""
    metrics: Mapping[str, Mapping[str, float]]
    """Split name to scores of the best checkpoint."""
    epochs: float
    seconds: float
    """Training and evaluation, with whatever else the machine was doing."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All runs of a probe, and what they are about."""

    task: str
    sources: tuple[str, ...]
    """One name or two, in the order of the coefficients."""
    grid: tuple[float, ...]
    metric: str
    """The task's main one."""
    runs: tuple[ProbeRun, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Where scores are from: ``dev``, and ``test`` where the task has one."""
        return tuple(split for split in ("dev", "test") if split in self.runs[0].metrics)

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len({run.seed for run in self.runs})

    def scores(self, omega: tuple[float, ...], split: str) -> list[float]:
        """The score of each seed at a point, in percent."""
        return [100 * run.metrics[split][self.metric] for run in self.runs if run.omega == omega]

    def means(self, split: str) -> np.ndarray:
        """Mean scores over seeds, (G,) for one source and (G, G) for two, the first source's coefficient down."""
        return self._over_grid(statistics.fmean, split)

    def spreads(self, split: str) -> np.ndarray:
        """Standard deviations over seeds, of the same shape; 0 for one seed."""
        return self._over_grid(lambda scores: statistics.stdev(scores) if len(scores) > 1 else 0.0, split)

    def _over_grid(self, reduce: Callable[[list[float]], float], split: str) -> np.ndarray:
        points = points_of(self.grid, sources=len(self.sources))
        values = [reduce(self.scores(omega, split)) for omega in points]
        return np.array(values).reshape((len(self.grid),) * len(self.sources))

    def caption(self) -> str:
        """What the scores are, in one line."""
        rows = " and ".join(f"{count:,} {split}" for split, count in self.runs[0].rows.items() if split != "test")
        tested = f", tested on {self.runs[0].rows['test']:,}" if "test" in self.splits else ""
        return f"{self.task}: {self.metric} (%), {rows} rows{tested}, {self.seeds} seed{'s' if self.seeds > 1 else ''}"


def points_of(grid: Sequence[float], *, sources: int) -> list[tuple[float, ...]]:
    """Every point of a grid over so many coefficients, the last one running fastest."""
    return list(itertools.product(grid, repeat=sources))


def probe(
    task: Task,
    *,
    sources: Shelf,
    seeds: Sequence[int],
    grid: Sequence[float] = GRID,
    backbone: str = MINILM,
    protocol: Protocol = "default",
    draw: Draw = ALL_ROWS,
    changes: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: bool = True,
    done: Callable[[ProbeRun], None] | None = None,
) -> Probe:
    """Trains a fresh head at every point of the grid with every seed.

    Args:
        task: the target, with ``train`` and ``dev`` rows.
        sources: one or two.
        seeds: of initialisation, batches, dropout, and of the draw of rows.
        grid: values of each coefficient, distinct; they are sorted.
        backbone: its name.
        protocol: see `scalearn.methods`.
        draw: of rows, anew for every seed; few-shot draws are trained by the few-shot recipe, but for small data.
        changes: hyper-parameters that replace the protocol's: fields of `Recipe`.
        folder: where finished runs are kept and found again; None keeps nothing.
        progress: show a progress bar.
        done: called with every run, finished now or found.

    Raises:
        InputError: there are no or more than two sources, they do not fit the backbone, or the grid is no grid.
    """
    if len(sources) not in (1, 2):
        raise InputError(
            f"a probe is of one source or two, not of {len(sources)} ({', '.join(sources.names) or 'none'}): name them "
            "(--sources mnli,rte); to combine more, train (scalearn transfer)"
        )
    values = checked_grid(grid)
    few_shot = draw.k is not None
    loaded = load_backbone(backbone)
    sources.check_fits(loaded)
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            drawn = draw.of(task, seed=seed)
            recipe = recipe_for(
                Probing(omega=(1.0,)),
                protocol,
                rows=len(drawn.splits["train"]),
                kind=task.kind,
                task=task.name,
                few_shot=few_shot,
            )
            recipe = changed(recipe, changes or {})
            rows = drawn.fingerprint()
            for omega in points_of(values, sources=len(sources)):
                key = key_of(
                    Probing(omega=omega),
                    recipe,
                    seed=seed,
                    task=rows,
                    backbone=(backbone, loaded.fingerprint),
                    sources=sources,
                    device=loaded.model.device,
                )
                path = place_of(folder or Path(scratch), key)
                run = _found(path)
                if run is None:
                    run = _trained(
                        loaded, task=drawn, omega=omega, sources=sources, seed=seed, recipe=recipe, progress=progress
                    )
                    keep_run(path, key, asdict(run))
                runs.append(run)
                if done is not None:
                    done(run)
    return Probe(task=task.name, sources=sources.names, grid=values, metric=task.main_metric, runs=tuple(runs))


def checked_grid(grid: Sequence[float]) -> tuple[float, ...]:
    """The grid in ascending order.

    Raises:
        InputError: it is empty, names a value twice, or one that is not finite.
    """
    if not grid or len(set(grid)) < len(grid) or not all(map(math.isfinite, grid)):
        given = ", ".join(f"{value:g}" for value in grid) or "nothing"
        raise InputError(f"grid {given}: give finite numbers, each once (--grid 0,0.5,1)")
    return tuple(sorted(map(float, grid)))


def _found(path: Path) -> ProbeRun | None:
    """The run that was kept here; None if there is none that this version can read."""
    kept = read_run(path)
    try:
        return None if kept is None else ProbeRun(**{**kept, "omega": tuple(kept["omega"])})
    except (KeyError, TypeError):
        return None


def _trained(
    backbone: Backbone,
    *,
    task: Task,
    omega: tuple[float, ...],
    sources: Shelf,
    seed: int,
    recipe: Recipe,
    progress: bool,
) -> ProbeRun:
    """Trains a head at one point with one seed; the backbone is left as it was."""
    try:
        model = TransferModel(backbone, task=task, method=Probing(omega=omega), sources=tuple(sources), seed=seed)
        result = train(model, recipe=recipe, seed=seed, progress=progress)
    finally:
        sites.detach(backbone.model)
    return ProbeRun(
        omega=omega,
        seed=seed,
        rows={split: len(rows) for split, rows in task.splits.items()},
        metrics=result.metrics,
        epochs=result.epochs,
        seconds=result.seconds,
    )
