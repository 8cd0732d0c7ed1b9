"""`scalearn run` and `report`: experiments as recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from scalearn.cli import options as o
from scalearn.errors import InputError

_console = Console(highlight=False)

Out = Annotated[Path | None, typer.Option("--out", help="A folder for the results; runs/NAME.")]
Keep = Annotated[
    Path | None,
    typer.Option(help="Where finished runs are kept; recipes that share it share their runs. OUT/runs."),
]
Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, for instance recipes/glue-transfer.yaml.")]


def run(
    recipe: Recipe,
    data: o.Data = None,
    out: Out = None,
    keep: Keep = None,
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
    from scalearn.training.checks import check_tracker

    planned = plan_of(read_recipe(recipe))
    away = [task for task in planned.asked.tasks if data is None and only_in_folders(task)]
    if away:
        raise InputError(f"{', '.join(away)}: not on the Hub, give a folder with --data (`scalearn tasks` lists them)")
    if workers and ray:
        raise InputError("--workers and --ray exclude one another: give either")
    check_tracker(report_to)
    device = o.device_named(device)
    folder = out or Path("runs") / planned.asked.name
    runs = open_folder(folder, planned.asked, kept=keep)
    settings = Settings(runs=runs, data=data, device=device, report_to=report_to, explain=planned.asked.explain)
    try:
        grid = launch(planned, settings, workers=workers, ray=ray, cpus=cpus, gpus=gpus, quiet=quiet)
    except KeyboardInterrupt:
        _console.print("stopped at once: the same command goes on from the last checkpoints")
        raise typer.Exit(130) from None
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


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What run wrote, runs/NAME; or a folder of such.")],
) -> None:
    """Write tables, figures and the page anew from the runs that are finished.

    Example: `scalearn report runs/small-targets`
    """
    from scalearn.experiments.report import write_report
    from scalearn.experiments.results import experiments_in

    chosen = experiments_in(folder)
    for one in chosen:
        found = write_report(one)
        if len(chosen) == 1:
            _console.print(escape((one / "report.md").read_text(encoding="utf-8")), soft_wrap=True)
        done, planned = len(found.outcomes), len(found.plan.runs)
        _console.print(
            escape(f"{done} of {planned} runs: {one / 'report.html'}, report.md, report.tex, CSV"), soft_wrap=True
        )
        for problem in found.damaged:
            _console.print(f"[bold red]damaged:[/] {escape(problem)}", soft_wrap=True)
