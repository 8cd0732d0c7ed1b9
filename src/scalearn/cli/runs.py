"""`scalearn runs`: what a folder of runs holds, by filters; and how to be rid of some."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.experiments.listing import Entry

_console = Console(highlight=False)


def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What run wrote, runs/NAME; or a folder of runs.")],
    state: Annotated[
        Literal["done", "running", "stopped", "failed", "damaged"] | None, typer.Option(help="Only those.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Only runs of this method.")] = None,
    task: Annotated[str | None, typer.Option(help="Only runs on this task.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only runs of this seed.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only runs on this backbone.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every file of every run with its hash.")] = False,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", metavar="RUN", help="Remove the run whose name begins so; `all` for all that are listed."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """List runs with what they gave, or remove some.

    Example: `scalearn runs runs/small-targets --state failed`
    """
    from scalearn.experiments.listing import entries

    found = [
        entry
        for entry in entries(_runs_of(folder), check=check)
        if state in (None, entry.state)
        and method in (None, entry.method)
        and (task is None or task in entry.tasks)
        and seed in (None, entry.seed)
        and backbone in (None, entry.backbone)
    ]
    if remove:
        _remove(found, remove, yes=yes)
        return
    _console.print(_table(found))
    for entry in found:
        if entry.problem:
            _console.print(f"{entry.name}: {escape(entry.problem)}", soft_wrap=True)
    if check and any(entry.state == "damaged" for entry in found):
        raise typer.Exit(1)


def _runs_of(folder: Path) -> Path:
    from scalearn.experiments.results import read_folder

    if (folder / "experiment.json").is_file():
        return read_folder(folder)[1]
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give one that `scalearn run` wrote, for instance runs/small-targets")
    return folder


def _table(found: list[Entry]) -> Table:
    table = Table(title=f"{len(found):,} run{'' if len(found) == 1 else 's'}")
    for heading in ("run", "state", "what", "score", "seconds", "finished"):
        table.add_column(
            heading, justify="right" if heading in ("score", "seconds") else "left", no_wrap=heading in ("run", "state")
        )
    for entry in found:
        seconds = "" if entry.seconds is None else f"{entry.seconds:.0f}"
        when = entry.finished[:16].replace("T", " ")
        table.add_row(entry.name, entry.state, escape(entry.title), escape(entry.score), seconds, when)
    return table


def _remove(found: list[Entry], names: list[str], *, yes: bool) -> None:
    unknown = [name for name in names if name != "all" and not any(entry.name.startswith(name) for entry in found)]
    if unknown:
        raise InputError(
            f"--remove {', '.join(unknown)}: no run here is called so; `scalearn runs FOLDER` lists those there are"
        )
    chosen = [entry for entry in found if "all" in names or any(entry.name.startswith(name) for name in names)]
    busy = [entry.name for entry in chosen if entry.state == "running"]
    if busy:
        raise InputError(f"{', '.join(busy)} is under way: stop its `scalearn run` first, or wait for it")
    if not chosen:
        _console.print("nothing to remove")
        return
    _console.print(_table(chosen))
    if not yes and not typer.confirm(f"remove {len(chosen)} run{'' if len(chosen) == 1 else 's'}?"):
        raise typer.Exit(1)
    for entry in chosen:
        for path in entry.paths:
            if path.is_dir():
                aside = path.with_name(
                    f".{path.name}.removed"
                )  # in one step, so that half a run is never taken for one
                path.rename(aside)
                shutil.rmtree(aside)
            else:
                path.unlink(missing_ok=True)
    _console.print(f"removed {len(chosen)}")
