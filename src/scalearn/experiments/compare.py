"""Several methods and seeds on one target: the smallest honest experiment.

Stopped at any moment, a comparison goes on where it stood (`scalearn.experiments.kept`).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scalearn.backbones import MINILM, load_backbone
from scalearn.errors import InputError
from scalearn.experiments.draw import ALL_ROWS, Draw
from scalearn.experiments.kept import keep_run, key_of, place_of, read_run
from scalearn.experiments.machine import peak_memory
from scalearn.experiments.report_sources import EFFECTS_LEGEND, effects_table, effects_warnings
from scalearn.experiments.source_effects import Explained
from scalearn.experiments.tables import markdown_table
from scalearn.explanation import Explanation, can_explain
from scalearn.explanation import explain as explain_model
from scalearn.methods import REGISTRY, Probing, Protocol, changed, method_from_name, recipe_for, resolved, suited
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
    top_sources: int | None = None
    """How many of the shelf's sources were to be combined, those that suit the rows best; None is all."""
    explanation: Mapping[str, Any] | None = None
    """What each source did, `Explanation.as_dict`, where that was asked for."""


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
    test: float | None
    """Mean of the main metric on test, in percent; None without test rows."""
    spread: float
    """Standard deviation over seeds of `test`, or of `dev` without test rows, in points; 0 for one seed."""
    seconds: float
    """Median per run: on a shared machine a few runs take far longer."""
    top_sources: int | None = None
    """As in `Run`."""


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
    top_sources: int | None = None,
    explain: bool = False,
    changes: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: bool = True,
    done: Callable[[Run], None] | None = None,
) -> list[Run]:
    """Trains every method with every seed on one target.

    Args:
        task: the target, with ``train`` and ``dev`` rows, and with ``test`` rows if there are any.
        methods: names in the registry.
        seeds: of initialisation, batches, dropout, and of the draw of rows.
        sources: for the transfer methods.
        backbone: its name.
        protocol: see `scalearn.methods`.
        draw: of rows, anew for every seed; few-shot draws are trained by the few-shot recipe, but for small data.
        own: add the target's own source, trained on the same rows with the same seed by the sources' method, as the
            last one.
        top_sources: for the transfer methods, only so many of the sources, those that suit the drawn rows best.
        explain: also say what each source did, where a method has a coefficient for each: 2 T + 3 passes over the dev
            rows of a run. Runs that were kept without it are explained, not trained anew.
        changes: hyper-parameters that replace the protocol's, for every method: fields of `Recipe`.
        folder: where finished runs and their models are kept and found again; None keeps nothing.
        progress: show a progress bar.
        done: called with every run, finished now or found.

    Raises:
        InputError: the task lacks a split.
    """
    for split in ("train", "dev"):
        if split not in task.splits:
            raise InputError(f"task {task.name!r} has no {split} rows: a comparison needs train and dev")
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
                explain=explain,
                progress=progress,
            )
            shelf = sources
            if own:
                first = next(iter(sources))
                source = one(first.method, sources=None, options=first.options)
                shelf = Shelf([*sources, Source.load(folder / source.model)])
            for name in methods:
                transfers = method_from_name(name).stage == "transfer"
                given = {"sources": shelf, "own": own, "top_sources": top_sources} if transfers else {"sources": None}
                run = one(name, **given)
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
    explain: bool,
    progress: bool,
    own: bool = False,
    top_sources: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Trains one method with one seed, or finds that it was done."""
    rows = len(task.splits["train"])
    method = suited(method_from_name(name, **(options or {})), protocol, rows=rows)
    recipe = recipe_for(method, protocol, rows=rows, kind=task.kind, task=task.name, few_shot=few_shot)
    recipe = changed(recipe, changes)
    key = key_of(
        method,
        recipe,
        seed=seed,
        task=task.fingerprint(),
        backbone=(backbone, fingerprint),
        sources=sources or (),
        device=torch.device("cpu"),
    )
    if top_sources is not None:  # left out else, so that runs of before it are found
        key["top_sources"] = top_sources
    path = place_of(folder, key)
    explain = explain and can_explain(method)
    if (run := _kept(path)) is not None:
        if explain and run.explanation is None:
            model = TransferModel.from_pretrained(path.with_suffix(""), sources=sources)
            run = replace(run, explanation=explain_model(model, "dev", task=task).as_dict())
            keep_run(path, key, asdict(run))
        return run
    started = time.perf_counter()
    model = TransferModel.from_backbone(
        backbone, task=task, method=method, sources=sources, top_sources=top_sources, seed=seed
    )
    result = train(
        model,
        path.with_suffix(""),
        protocol=resolved(protocol, rows),
        recipe=recipe,
        seed=seed,
        name="own",
        overwrite=True,
        progress=progress,
    )
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
        top_sources=top_sources,
        explanation=explain_model(model, "dev").as_dict() if explain else None,
    )
    keep_run(path, key, asdict(run))
    return run


def _kept(path: Path) -> Run | None:
    """The finished run; None if there is none, or one of another version."""
    kept = read_run(path)
    try:
        return None if kept is None else Run(**kept)
    except TypeError:
        return None


def summarise(runs: Sequence[Run], *, main_metric: str) -> list[Row]:
    """One row per method, in the order of the runs."""
    groups: dict[tuple[str, bool, int | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, run.own, run.top_sources), []).append(run)
    rows = []
    for (method, own, top_sources), group in groups.items():
        devs = [100 * run.metrics["dev"][main_metric] for run in group]
        tests = [100 * run.metrics["test"][main_metric] for run in group if "test" in run.metrics]
        rows.append(
            Row(
                method=method,
                own=own,
                seeds=len(group),
                method_parameters=group[0].parameters["method"],
                head_parameters=group[0].parameters["head"],
                dev=statistics.fmean(devs),
                test=statistics.fmean(tests) if tests else None,
                spread=statistics.stdev(tests or devs) if len(group) > 1 else 0.0,
                seconds=statistics.median(run.seconds for run in group),
                top_sources=top_sources,
            )
        )
    return rows


def score_headings(rows: Sequence[Row], *, main_metric: str) -> list[str]:
    """The headings of `score_cells`."""
    return [f"{split} {main_metric}" for split in ("dev", "test") if split == "dev" or rows[0].test is not None]


def score_cells(row: Row) -> list[str]:
    """Dev and, where it has one, test score, the last with its spread."""
    scores = [row.dev] if row.test is None else [row.dev, row.test]
    return [*(f"{score:.1f}" for score in scores[:-1]), f"{scores[-1]:.1f} ± {row.spread:.1f}"]


def markdown(rows: Sequence[Row], *, main_metric: str) -> str:
    """The rows as a Markdown table."""
    scores = score_headings(rows, main_metric=main_metric)
    headings = ("method", "sources", "trained", "with head", *scores, "seconds a run")
    cells = []
    for row in rows:
        transfers = REGISTRY[row.method].method.stage == "transfer"
        sources = "" if not transfers else "shelf + own" if row.own else "shelf"
        sources = sources if row.top_sources is None else f"best {row.top_sources} of {sources}"
        total = row.method_parameters + row.head_parameters
        counts = (f"{row.method_parameters:,}", f"{total:,}")
        cells.append((row.method, sources, *counts, *score_cells(row), f"{row.seconds:.0f}"))
    return markdown_table(headings, cells, names=2)


def explained_methods(runs: Sequence[Run]) -> list[Explained]:
    """What each source did, of every method of which a run was explained."""
    by_method: dict[str, dict[int, Explanation]] = {}
    for run in runs:
        if run.explanation is not None:
            by_method.setdefault(run.method, {})[run.seed] = Explanation.from_dict(run.explanation)
    return [
        Explained(backbone="", point=None, label=method, task=next(iter(by_seed.values())).task, by_seed=by_seed)
        for method, by_seed in by_method.items()
    ]


def sources_markdown(runs: Sequence[Run]) -> str:
    """What each source did, of all methods of which a run was explained, as a page of Markdown."""
    methods = explained_methods(runs)
    parts = [f"## {method.label}: what each source did\n\n{effects_table([method])}" for method in methods]
    return "\n".join([EFFECTS_LEGEND, effects_warnings(methods), *parts])
