"""Probing: how strongly should a source act? Constant coefficients over a grid, and a fresh head for each.

    out = LN(s + sum_t omega_t * adapter_t(z))      omega_t constant, from {0, .1, .3, .5, .7, .9, 1}

The experiment that motivated ScaLearn (Frohmann et al., Findings of ACL 2024, section 3): one source over the grid, or
two over its square. Every finished run is kept as one JSON file, so that a probe stopped at any moment goes on there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scalearn import sites
from scalearn.atomic import write_text
from scalearn.backbones import MINILM, Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.experiments.heatmap import score_line, score_map, write_figure
from scalearn.methods import Probing, Protocol, Recipe, changed, recipe_for
from scalearn.model import TransferModel
from scalearn.precision import resolve
from scalearn.sources import Shelf
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
    train_rows: int | None = None,
    dev_rows: int | None = None,
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
        train_rows: draw so many training rows, anew for every seed; None takes all.
        dev_rows: likewise for dev.
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
    recipe = changed(recipe_for(Probing(omega=(1.0,)), protocol, kind=task.kind), changes or {})
    loaded = load_backbone(backbone)
    sources.check_fits(loaded)
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            drawn = task.take(train_rows=train_rows, dev_rows=dev_rows, seed=seed)
            key = {
                "recipe": recipe.model_dump(),
                "seed": seed,
                "task": drawn.fingerprint(),
                "backbone": [loaded.fingerprint, loaded.pooling],
                "sources": [source.digest() for source in sources],
                "precision": resolve("auto", loaded.model.device),
                "version": metadata.version("scalearn"),
            }
            for omega in points_of(values, sources=len(sources)):
                path = (folder or Path(scratch)) / f"{_digest({**key, 'omega': omega})}.json"
                run = _found(path)
                if run is None:
                    run = _trained(
                        loaded, task=drawn, omega=omega, sources=sources, seed=seed, recipe=recipe, progress=progress
                    )
                    write_text(path, json.dumps({"key": {**key, "omega": omega}, "run": asdict(run)}, indent=2) + "\n")
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


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _found(path: Path) -> ProbeRun | None:
    """The run that was kept here; None if there is none, or it was cut short or is of another version."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["run"]
        return ProbeRun(**{**kept, "omega": tuple(kept["omega"])})
    except (OSError, ValueError, KeyError, TypeError):
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


def tables(found: Probe) -> dict[str, list[list[str]]]:
    """The scores by the table's title: headings, and then rows of cells, mean ± spread over seeds.

    A row is a coefficient of the (first) source. One source makes one table with a column per split, two make a table
    per split with a column per coefficient of the second.
    """
    names = [f"{value:g}" for value in found.grid]
    if len(found.sources) == 1:
        title = f"{' and '.join(found.splits)} {found.metric}"
        columns = np.stack([_cells(found, split) for split in found.splits], axis=1)
        return {title: [[f"omega of {found.sources[0]}", *found.splits], *_beside(names, columns)]}
    headings = ["omega of {} \\ of {}".format(*found.sources), *names]
    return {f"{split} {found.metric}": [headings, *_beside(names, _cells(found, split))] for split in found.splits}


def write_probe(found: Probe, folder: Path) -> None:
    """Writes ``table.md``, ``scores.csv`` and the picture ``heatmap.svg`` and ``.png`` into a folder.

    The picture is of the test scores, or of the dev scores of a task without test rows.
    """
    lines = [found.caption()]
    for title, (headings, *rows) in tables(found).items():
        lines += ["", f"{title}:", "", _line(headings), _line(["---", *["---:"] * (len(headings) - 1)])]
        lines += map(_line, rows)
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    write_text(folder / "scores.csv", _scores(found))
    write_figure(_picture(found, found.splits[-1]), folder / "heatmap")


def _picture(found: Probe, split: str) -> Figure:
    """A line for one source, a heat map for two."""
    means, spreads, score = found.means(split), found.spreads(split), f"{split} {found.metric} (%)"
    axes = [f"omega of {name}" for name in found.sources]
    if len(axes) == 1:
        return score_line(means, spread=spreads, at=found.grid, axis=axes[0], score_axis=score, title=found.caption())
    names = [f"{value:g}" for value in found.grid]
    return score_map(
        means,
        spread=spreads if found.seeds > 1 else None,
        rows=names,
        columns=names,
        row_axis=axes[0],
        column_axis=axes[1],
        colour=score,
        title=found.caption(),
    )


def _cells(found: Probe, split: str) -> NDArray[np.object_]:
    """Mean ± spread of every point as text, in the shape of the grid."""
    means, spreads = found.means(split), found.spreads(split)
    cells = np.empty(means.shape, dtype=object)
    for place, mean in np.ndenumerate(means):
        cells[place] = f"{mean:.1f} ± {spreads[place]:.1f}" if found.seeds > 1 else f"{mean:.1f}"
    return cells


def _beside(names: Sequence[str], cells: NDArray[np.object_]) -> list[list[str]]:
    return [[name, *row] for name, row in zip(names, cells.tolist(), strict=True)]


def _scores(found: Probe) -> str:
    """A line per run: coefficients, seed, and every score of every split."""
    first = found.runs[0].metrics
    scores = [(split, name) for split in first for name in first[split]]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    omegas = [f"omega of {name}" for name in found.sources]
    writer.writerow([*omegas, "seed", *(" ".join(score) for score in scores), "epochs", "seconds"])
    for run in found.runs:
        values = [f"{run.metrics[split][name]:.6f}" for split, name in scores]
        writer.writerow([*run.omega, run.seed, *values, f"{run.epochs:g}", f"{run.seconds:.1f}"])
    return stream.getvalue()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
