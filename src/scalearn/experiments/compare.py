"""Several methods and seeds on one target: the smallest honest experiment.

Stopped at any moment, a comparison goes on where it stood (`scalearn.experiments.kept`).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scalearn.backbones import MINILM, load_backbone
from scalearn.errors import InputError
from scalearn.experiments.draw import ALL_ROWS, Draw
from scalearn.experiments.kept import keep_run, key_of, place_of, read_run
from scalearn.experiments.machine import peak_memory
from scalearn.experiments.tables import markdown_table
from scalearn.methods import REGISTRY, Probing, Protocol, changed, method_from_name, recipe_for
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method trained with one seed."""

    method: str
    seed: int
    own: bool
    """Whether the target's own adapter was the last source, trained on the same rows with the same seed."""
    rows: Mapping[str, int]
    """Split name to number of rows."""
    parameters: Mapping[str, int]
    """`TransferModel.parameter_counts`."""
    metrics: Mapping[str, Mapping[str, float]]
    """Split name to scores of the best checkpoint."""
    epochs: float
    seconds: float
    """Choosing among sources, training and evaluation, with whatever else the machine was doing."""
    model: str
    """Its folder, beside the result."""
    peak_memory: float
    """Largest resident memory of this process so far, GB."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method over its seeds."""

    method: str
    own: bool
    seeds: int
    method_parameters: int
    head_parameters: int
    dev: float
    """Mean of the main metric on dev, in percent."""
    test: float
    """Mean of the main metric on test, in percent."""
    spread: float
    """Standard deviation of `test` over seeds, in points; 0 for one seed."""
    seconds: float
    """Median per run: on a shared machine a few runs take far longer."""


def compare(
    task: Task,
    *,
    methods: Sequence[str],
    seeds: Sequence[int],
    sources: Shelf,
    backbone: str = MINILM,
    protocol: Protocol = "default",
    draw: Draw = ALL_ROWS,
    own: bool = False,
    changes: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: bool = True,
    done: Callable[[Run], None] | None = None,
) -> list[Run]:
    """Trains every method with every seed on one target.

    Args:
        task: the target, with ``train``, ``dev`` and ``test`` rows.
        methods: names in the registry.
        seeds: of initialisation, batches, dropout, and of the draw of rows.
        sources: for the transfer methods.
        backbone: its name.
        protocol: see `scalearn.methods`.
        draw: of rows, anew for every seed; few-shot draws are trained by the few-shot recipe.
        own: add the target's own source, trained on the same rows with the same seed by the sources' method, as the
            last one.
        changes: hyper-parameters that replace the protocol's, for every method: fields of `Recipe`.
        folder: where finished runs and their models are kept and found again; None keeps nothing.
        progress: show a progress bar.
        done: called with every run, finished now or found.

    Raises:
        InputError: the task lacks a split.
    """
    for split in ("train", "dev", "test"):
        if split not in task.splits:
            raise InputError(f"task {task.name!r} has no {split} rows: a comparison needs train, dev and test")
    chosen = [method_from_name(name) for name in methods]
    if len(set(methods)) < len(methods):
        raise InputError(f"methods {', '.join(methods)}: name each once")
    for method in chosen:
        if isinstance(method, Probing):
            raise InputError("method 'probing' needs coefficients: use scalearn probe")
        if method.stage == "joint":
            raise InputError(f"method {method.name!r} learns several tasks at once: use scalearn joint")
    loaded = load_backbone(backbone)
    if any(method.stage == "transfer" for method in chosen):
        sources.check_fits(loaded)
    with tempfile.TemporaryDirectory() as scratch:
        folder = folder or Path(scratch)
        runs = []
        for seed in seeds:
            drawn = draw.of(task, seed=seed)
            one = partial(
                _run,
                drawn,
                seed=seed,
                folder=folder,
                backbone=backbone,
                fingerprint=loaded.fingerprint,
                protocol=protocol,
                few_shot=draw.k is not None,
                changes=changes or {},
                progress=progress,
            )
            shelf = sources
            if own:
                first = next(iter(sources))
                source = one(first.method, sources=None, options=first.options)
                shelf = Shelf([*sources, Source.load(folder / source.model)])
            for name in methods:
                transfers = method_from_name(name).stage == "transfer"
                run = one(name, sources=shelf if transfers else None, own=own and transfers)
                runs.append(run)
                if done is not None:
                    done(run)
    return runs


def _run(
    task: Task,
    name: str,
    *,
    sources: Shelf | None,
    seed: int,
    folder: Path,
    backbone: str,
    fingerprint: str,
    protocol: Protocol,
    few_shot: bool,
    changes: Mapping[str, Any],
    progress: bool,
    own: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Trains one method with one seed, or finds that it was done."""
    method = method_from_name(name, **(options or {}))
    recipe = changed(recipe_for(method, protocol, kind=task.kind, task=task.name, few_shot=few_shot), changes)
    key = key_of(
        method,
        recipe,
        seed=seed,
        task=task.fingerprint(),
        backbone=(backbone, fingerprint),
        sources=sources or (),
        device=torch.device("cpu"),
    )
    path = place_of(folder, key)
    if (kept := read_run(path)) is not None:
        try:
            return Run(**kept)
        except TypeError:  # of another version: not done
            pass
    started = time.perf_counter()
    model = TransferModel.from_backbone(backbone, task=task, method=method, sources=sources, seed=seed)
    result = train(model, path.with_suffix(""), recipe=recipe, seed=seed, name="own", overwrite=True, progress=progress)
    run = Run(
        method=name,
        seed=seed,
        own=own,
        rows={split: len(rows) for split, rows in task.splits.items()},
        parameters=model.parameter_counts(),
        metrics=result.metrics,
        epochs=result.epochs,
        seconds=time.perf_counter() - started,
        model=path.stem,
        peak_memory=peak_memory(),
    )
    keep_run(path, key, asdict(run))
    return run


def summarise(runs: Sequence[Run], *, main_metric: str) -> list[Row]:
    """One row per method, in the order of the runs."""
    groups: dict[tuple[str, bool], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, run.own), []).append(run)
    rows = []
    for (method, own), group in groups.items():
        tests = [100 * run.metrics["test"][main_metric] for run in group]
        rows.append(
            Row(
                method=method,
                own=own,
                seeds=len(group),
                method_parameters=group[0].parameters["method"],
                head_parameters=group[0].parameters["head"],
                dev=statistics.fmean(100 * run.metrics["dev"][main_metric] for run in group),
                test=statistics.fmean(tests),
                spread=statistics.stdev(tests) if len(tests) > 1 else 0.0,
                seconds=statistics.median(run.seconds for run in group),
            )
        )
    return rows


def markdown(rows: Sequence[Row], *, main_metric: str) -> str:
    """The rows as a Markdown table."""
    headings = (
        "method",
        "sources",
        "trained",
        "with head",
        f"dev {main_metric}",
        f"test {main_metric}",
        "seconds a run",
    )
    cells = []
    for row in rows:
        transfers = REGISTRY[row.method].method.stage == "transfer"
        sources = "" if not transfers else "shelf + own" if row.own else "shelf"
        total = row.method_parameters + row.head_parameters
        scores = (f"{row.dev:.1f}", f"{row.test:.1f} ± {row.spread:.1f}")
        cells.append((row.method, sources, f"{row.method_parameters:,}", f"{total:,}", *scores, f"{row.seconds:.0f}"))
    return markdown_table(headings, cells, names=2)
