"""`scalearn plan`: what a recipe expands to, what is done of it, and what the rest costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.cli.grid import Keep, Out, Recipe
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.experiments.plan import RunSpec
    from scalearn.experiments.results import Results

_console = Console(highlight=False)
_DONE, _FAILED, _LEFT = "●", "✗", "○"


def plan(
    recipe: Recipe,
    out: Out = None,
    keep: Keep = None,
    update: Annotated[bool, typer.Option("--update", help="Write the cost into the recipe's first lines.")] = False,
) -> None:
    """Say what a recipe expands to, what is done, and what the rest costs; offline, without data or weights.

    Example: `scalearn plan recipes/glue-transfer.yaml`
    """
    from scalearn.experiments.expansion import plan_of
    from scalearn.experiments.recipe_comment import update_head
    from scalearn.experiments.recipe_file import read_recipe
    from scalearn.experiments.results import Results, read_folder

    if update:
        update_head(recipe)
    planned = plan_of(read_recipe(recipe))
    folder = out or Path("runs") / planned.asked.name
    try:
        runs = keep or read_folder(folder)[1]
    except InputError:
        runs = folder / "runs"  # nothing was begun there
    found = Results.of(planned, runs)
    for backbone in planned.asked.backbones:
        if (sources := _sources(found, backbone)).row_count:
            _console.print(sources)
        _console.print(_targets(found, backbone))
    _console.print(f"Each mark is a seed: {_DONE} done, {_FAILED} failed, {_LEFT} left.\n")
    _console.print(_costs(found))
    _console.print(_times(found), soft_wrap=True)
    if planned.asked.explain:
        explainable = sum(run.explainable for run in planned.runs)
        _console.print(f"Explained (explain: true): {len(found.explanations):,} of {explainable:,} runs.")


def _sources(found: Results, backbone: str) -> Table:
    """The runs that others need, and how many do."""
    table = Table(title=f"{escape(backbone)}: sources, each trained once")
    for heading in ("source", "seeds", "needed by"):
        table.add_column(heading, justify="right" if heading == "needed by" else "left")
    runs = [run for run in found.plan.runs if run.backbone == backbone]
    needed = {need.id: need for run in runs for need in run.needs}
    groups: dict[str, list[RunSpec]] = {}
    for run in needed.values():
        groups.setdefault(run.without_seed, []).append(run)
    for title, group in groups.items():
        own = {run.id for run in group}
        users = sum(any(need.id in own for need in run.needs) for run in runs)
        table.add_row(escape(title), _marks(found, group), f"{users:,} run{'s' if users > 1 else ''}")
    return table


def _targets(found: Results, backbone: str) -> Table:
    """A row for each method and point, a column for each task."""
    table = Table(title=f"{escape(backbone)}: what tables show")
    table.add_column("method")
    cells = [cell for cell in found.plan.cells if cell.run.backbone == backbone]
    tasks = list(dict.fromkeys(" ".join(cell.run.tasks) for cell in cells))
    for task in tasks:
        table.add_column(escape(task), overflow="fold")
    for point, label in dict.fromkeys((cell.point, cell.label) for cell in cells):
        own = [cell.run for cell in cells if (cell.point, cell.label) == (point, label)]
        by_task = ([run for run in own if " ".join(run.tasks) == task] for task in tasks)
        title = label if point is None else f"{label}, {point.axis} {point.value:g}"
        table.add_row(escape(title), *(_marks(found, runs) for runs in by_task))
    return table


def _marks(found: Results, runs: Sequence[RunSpec]) -> str:
    """One for each run; beyond ten, how many of how many are done."""
    done = sum(run.id in found.found for run in runs)
    if len(runs) > 10:
        return f"{done:,} of {len(runs):,}"
    failed = [run.id in found.failures and run.id not in found.found for run in runs]
    marks = (
        _DONE if run.id in found.found else _FAILED if bad else _LEFT for run, bad in zip(runs, failed, strict=True)
    )
    return "".join(marks)


def _costs(found: Results) -> Table:
    """What all runs cost at most."""
    from scalearn.experiments.cost import total
    from scalearn.experiments.recipe_comment import expansion, rounded

    planned = found.plan
    only_sources = {run.id for run in planned.only_sources}
    table = Table(title=escape(f"{planned.asked.name}: {expansion(planned)}"))
    headings = ("backbone", "runs", "of them only sources", "done", "steps", "PFLOP", "GPU hours", "CPU core hours")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "backbone" else "right")
    groups = {name: [run for run in planned.runs if run.backbone == name] for name in planned.asked.backbones}
    if len(groups) > 1:
        groups["in all"] = list(planned.runs)
    for name, runs in groups.items():
        cost = total(runs, explain=planned.asked.explain)
        sources, done = (sum(run.id in ids for run in runs) for ids in (only_sources, found.found))
        rates = map(rounded, (cost.operations / 1e15, cost.gpu_hours, cost.core_hours))
        table.add_row(escape(name), f"{cost.runs:,}", f"{sources:,}", f"{done:,}", f"{cost.steps:,}", *rates)
    return table


def _times(found: Results) -> str:
    """What the costs are, and how long the rest takes by what was measured."""
    from scalearn.experiments.cost import CORE_RATE, GPU_RATE
    from scalearn.experiments.estimate import estimate
    from scalearn.experiments.live import duration

    bounds = (
        "All are upper bounds: no run stops early, every row is as long as its task allows. Hours are of an assumed "
        f"speed, not a measured one: {GPU_RATE / 1e12:g} TFLOP/s on a GPU (38 % of an A100's dense TF32 peak, 19 % of "
        f"its bf16 peak), or {CORE_RATE / 1e9:g} GFLOP/s on a CPU core."
    )
    measured, left = estimate(found), len(found.plan.runs) - len(found.found)
    if measured is None:
        return bounds
    if not left:
        return f"{bounds}\nAll runs are done: scalearn report shows them."
    return (
        f"{bounds}\nLeft: {left:,} runs, about {duration(measured.seconds)} one after the other, by what the "
        f"{measured.measured:,} finished ones took; N at a time a run takes longer than alone, the whole less long."
    )
