"""`scalearn plan`, `run` and `report`: experiments as recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.cli import options as o
from scalearn.errors import InputError

_console = Console(highlight=False)

Out = Annotated[Path | None, typer.Option("--out", help="A folder for the results; runs/NAME.")]
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
    out: Out = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Where finished runs are kept; recipes that share it share their runs. OUT/runs."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that do runs at a time; cores are divided.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="auto|ADDRESS", help="Do the runs as Ray tasks: on that cluster, or this machine."
        ),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs and threads of a Ray task.")] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of a Ray task on cuda; several share one by fractions.")
    ] = 1.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one.")] = None,
    report_to: o.ReportTo = "none",
    quiet: o.Quiet = False,
) -> None:
    """Do all runs of a recipe, and write the report. Stopped at any moment, the same command goes on.

    Ctrl-C stops at a checkpoint, twice at once. Several of these commands may share a folder: they share the runs.
    Exit code 1: some runs failed; 130: stopped. Example: `scalearn run recipes/glue-transfer-mini.yaml --data DIR`
    """
    from scalearn.cli.launch import launch
    from scalearn.experiments.expansion import plan_of
    from scalearn.experiments.outcome import Failure
    from scalearn.experiments.recipe_file import read_recipe
    from scalearn.experiments.report import write_report
    from scalearn.experiments.results import open_folder
    from scalearn.experiments.runner import Settings
    from scalearn.tasks import only_in_folders

    planned = plan_of(read_recipe(recipe))
    away = [task for task in planned.asked.tasks if data is None and only_in_folders(task)]
    if away:
        raise InputError(f"{', '.join(away)}: not on the Hub, give a folder with --data (`scalearn tasks` lists them)")
    if workers and ray:
        raise InputError("--workers and --ray exclude one another: give either")
    folder = out or Path("runs") / planned.asked.name
    runs = open_folder(folder, planned.asked, kept=keep)
    settings = Settings(runs=runs, data=data, device=_checked(device), report_to=report_to)
    grid = launch(planned, settings, workers=workers, ray=ray, cpus=cpus, gpus=gpus, quiet=quiet)
    write_report(folder)
    if len(grid.over) < len(planned.runs):
        _console.print(
            f"stopped with {len(grid.over)} of {len(planned.runs)} runs: the same command goes on; "
            f"report.html in {escape(str(folder))} shows what there is",
            soft_wrap=True,
        )
        raise typer.Exit(130)
    _console.print(f"report.html, report.md, report.tex and tables as CSV in {escape(str(folder))}", soft_wrap=True)
    if failed := sum(isinstance(result, Failure) for result in grid.over.values()):
        _console.print(
            f"{failed} of {len(planned.runs)} runs failed: report.md says why; the same command tries again",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def _checked(device: str | None) -> str:
    """The device that computes."""
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device {device}: give cpu{', or cuda' if torch.cuda.is_available() else ''}")
    return device


def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What run wrote: runs/NAME.")]) -> None:
    """Write report.md, runs.csv and the pictures anew from the runs that are finished.

    Example: `scalearn report runs/glue-transfer-mini`
    """
    from scalearn.experiments.report import write_report

    found = write_report(folder)
    _console.print(escape((folder / "report.md").read_text(encoding="utf-8")), soft_wrap=True)
    done, planned = len(found.outcomes), len(found.plan.runs)
    _console.print(f"{done} of {planned} runs; the same as report.md, with runs.csv, in {escape(str(folder))}")
