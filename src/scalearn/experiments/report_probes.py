"""What the probing runs of an experiment show: tables and heat maps, as `scalearn probe` writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from scalearn.experiments.plan import Cell, RunSpec
from scalearn.experiments.probe import Probe, ProbeRun
from scalearn.experiments.probe_report import write_probe
from scalearn.experiments.results import Results
from scalearn.experiments.tables import markdown_table
from scalearn.methods import Probing


def write_probes(found: Results, backbone: str, folder: Path) -> Iterator[str]:
    """Writes a folder for each target and source, or pair of sources, that is complete; yields a table for each target.

    A table has a row for each source, and its mean test score at each coefficient; pairs are named with their folders.
    """
    groups: dict[str, dict[tuple[str, ...], list[Cell]]] = {}
    for cell in found.plan.cells:
        if cell.run.backbone == backbone and isinstance(cell.run.method, Probing):
            (task,) = cell.run.tasks
            groups.setdefault(task, {}).setdefault(cell.run.source_names, []).append(cell)
    for task, by_sources in groups.items():
        rows, links = [], []
        for sources, cells in by_sources.items():
            if not all(cell.run.id in found.outcomes for cell in cells):
                continue
            probe = _probe(found, task, sources, cells)
            place = Path("probing", backbone.strip("/").replace("/", "-"), task, "+".join(sources))
            write_probe(probe, folder / place)
            links.append(f"[{' and '.join(sources)}]({place}/table.md)")
            if len(sources) == 1:
                rows.append([sources[0], *(f"{value:.1f}" for value in probe.means(probe.splits[-1]))])
        if links:
            headings = ["source", *(f"{value:g}" for value in probe.grid)]
            table = f"{markdown_table(headings, rows)}\n" if rows else ""
            title = f"## {backbone}: {task} by the coefficient of a source"
            yield f"{title}\n\n{table}With spread and pictures: {', '.join(links)}\n"


def _probe(found: Results, task: str, sources: tuple[str, ...], cells: list[Cell]) -> Probe:
    runs = []
    for cell in cells:
        assert isinstance(cell.run.method, Probing)
        outcome = found.outcomes[cell.run.id]
        runs.append(
            ProbeRun(
                omega=cell.run.method.omega,
                seed=cell.run.seed,
                rows=outcome.rows[task],
                metrics=outcome.metrics[task],
                epochs=outcome.steps / _steps_per_epoch(cell.run, outcome.rows[task]["train"]),
                seconds=outcome.seconds,
            )
        )
    grid = tuple(sorted({value for run in runs for value in run.omega}))
    metric = found.outcomes[cells[0].run.id].main[task]
    return Probe(task=task, sources=sources, grid=grid, metric=metric, runs=tuple(runs))


def _steps_per_epoch(run: RunSpec, rows: int) -> float:
    """Not a number under a budget of tokens: how many rows a batch then held is not among what is kept."""
    return math.nan if run.recipe.tokens_per_batch is not None else math.ceil(rows / run.recipe.batch_size)
