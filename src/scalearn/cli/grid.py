"""`scalearn plan`, `run` and `report`: experiments as recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.experiments.grid import Step
    from scalearn.experiments.outcome import Outcome

_console = Console(highlight=False)

Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, for instance recipes/glue-transfer.yaml.")]


def plan(
    recipe: Recipe,
    update: Annotated[bool, typer.Option("--update", help="Write the cost into the recipe's first lines.")] = False,
) -> None:
    """Say what a recipe expands to and what it costs at most; offline, without data or weights.

    Example: `scalearn plan recipes/glue-transfer.yaml`
    """
    from scalearn.experiments.cost import CORE_RATE, GPU_RATE, total
    from scalearn.experiments.expansion import plan_of
    from scalearn.experiments.recipe_comment import expansion, rounded, update_head
    from scalearn.experiments.recipe_file import read_recipe

    if update:
        update_head(recipe)
    planned = plan_of(read_recipe(recipe))
    only_sources = {run.id for run in planned.only_sources}
    table = Table(title=escape(f"{planned.asked.name}: {expansion(planned)}"))
    for heading in ("backbone", "runs", "of them only sources", "steps", "PFLOP", "GPU hours", "CPU core hours"):
        table.add_column(heading, justify="left" if heading == "backbone" else "right")
    groups = {name: [run for run in planned.runs if run.backbone == name] for name in planned.asked.backbones}
    if len(groups) > 1:
        groups["in all"] = list(planned.runs)
    for name, runs in groups.items():
        cost = total(runs)
        sources = sum(run.id in only_sources for run in runs)
        rates = map(rounded, (cost.operations / 1e15, cost.gpu_hours, cost.core_hours))
        table.add_row(escape(name), f"{cost.runs:,}", f"{sources:,}", f"{cost.steps:,}", *rates)
    _console.print(table)
    _console.print(
        "All are upper bounds: no run stops early, every row is as long as its task allows. Hours are of an assumed "
        f"speed, not a measured one: {GPU_RATE / 1e12:g} TFLOP/s on a GPU (38 % of an A100's dense TF32 peak, 19 % of "
        f"its bf16 peak), or {CORE_RATE / 1e9:g} GFLOP/s on a CPU core."
    )


def run(
    recipe: Recipe,
    data: o.Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="A folder for the results; runs/NAME.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Where finished runs are kept; recipes that share it share their runs. OUT/runs."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one.")] = None,
    quiet: o.Quiet = False,
) -> None:
    """Do all runs of a recipe, one after the other, and write the report. Stopped, the same command goes on.

    Exit code 1: some runs failed. Example: `scalearn run recipes/glue-transfer-mini.yaml --data DIR`
    """
    import torch

    from scalearn.experiments.expansion import plan_of
    from scalearn.experiments.grid import Runner, run_grid
    from scalearn.experiments.outcome import Failure
    from scalearn.experiments.recipe_file import read_recipe
    from scalearn.experiments.report import write_report
    from scalearn.experiments.results import only_one, open_folder
    from scalearn.tasks import only_in_folders

    planned = plan_of(read_recipe(recipe))
    away = [task for task in planned.asked.tasks if data is None and only_in_folders(task)]
    if away:
        raise InputError(f"{', '.join(away)}: not on the Hub, give a folder with --data (`scalearn tasks` lists them)")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device {device}: give cpu{', or cuda' if torch.cuda.is_available() else ''}")
    folder = out or Path("runs") / planned.asked.name
    kept = open_folder(folder, planned.asked, kept=keep)
    runner = Runner(kept, data=data, device=device, progress=not quiet, loaded=o.note_other_rows)
    failed = 0
    try:
        with only_one(kept):
            for step in run_grid(planned, runner, folder=kept):
                failed += isinstance(step.result, Failure)
                _console.print(escape(line(step)), soft_wrap=True)
    except KeyboardInterrupt:
        _console.print(
            f"\nstopped: the same command goes on; scalearn report {escape(str(folder))} shows what there is"
        )
        raise typer.Exit(130) from None
    write_report(folder)
    _console.print(f"report.md and runs.csv in {escape(str(folder))}")
    if failed:
        _console.print(f"{failed} of {len(planned.runs)} runs failed: report.md says why; the same command tries again")
        raise typer.Exit(1)


def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What run wrote: runs/NAME.")]) -> None:
    """Write report.md, runs.csv and the pictures anew from the runs that are finished.

    Example: `scalearn report runs/glue-transfer-mini`
    """
    from scalearn.experiments.report import write_report

    found = write_report(folder)
    _console.print(escape((folder / "report.md").read_text(encoding="utf-8")), soft_wrap=True)
    done, planned = len(found.outcomes), len(found.plan.runs)
    _console.print(f"{done} of {planned} runs; the same as report.md, with runs.csv, in {escape(str(folder))}")


def line(step: Step) -> str:
    """A finished run in one line."""
    from scalearn.experiments.outcome import Outcome

    width = len(str(step.total))
    parts = [f"{step.position:>{width}}/{step.total}", str(step.run)]
    if isinstance(step.result, Outcome):
        scores = {task: step.result.score(task, _split(step.result, task)) for task in step.run.tasks}
        named = [f"{task} " if len(scores) > 1 else f"{step.result.main[task]} " for task in scores]
        parts.append(", ".join(f"{name}{value:.1f}" for name, value in zip(named, scores.values(), strict=True)))
        parts.append("done before" if step.found else f"{step.result.seconds:.0f} s")
    else:
        parts.append(f"FAILED: {step.result.error}")
    if step.seconds_left is not None and step.position < step.total:
        parts.append(f"about {_duration(step.seconds_left)} left")
    return "  ".join(parts)


def _split(result: Outcome, task: str) -> str:
    return "test" if "test" in result.metrics[task] else "dev"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
