"""`scalearn tasks` and `scalearn data export`: what can be learned by name, and its data."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.tasks import Declaration

_console = Console(highlight=False)
data = typer.Typer(no_args_is_help=True, help="The data of tasks by name.")


def tasks(
    data: Annotated[
        Path | None, typer.Option("--data", help="Count the rows of this folder, laid out like the Hub's repositories.")
    ] = None,
) -> None:
    """List every task that has a name; with `--data DIR`, also whether its rows are there and are those published.

    The main metric chooses and compares; combined is the mean of all. A slash stands between the texts of a pair. Rows
    are those published: train (dev is a tenth of it, unless there is a dev split) and test.

    Example: `scalearn tasks --data DATA`
    """
    from scalearn.tasks import SUITES

    if data is not None and not data.is_dir():
        raise InputError(f"{data} is no folder: give one laid out like the Hub's repositories, or leave out --data")
    columns = "{:<24}  {:<15}  {:<9}  {:>6}  {:>7}  {:>6}  {}"
    here = "rows here" if data is not None else ""
    _console.print(columns.format("task", "kind", "metric", "tokens", "train", "test", here), style="bold")
    for suite in SUITES:
        place = f"Hub: {suite.repository}" if suite.repository else "not on the Hub: --data"
        _console.print(f"\n[bold]{suite.folder}/[/]: {place}")
        for declaration, following in zip_longest(suite.tasks, suite.tasks[1:]):
            facts = (
                declaration.kind,
                declaration.main_metric.removesuffix("_score"),
                declaration.max_length,
                f"{declaration.rows['train']:,}",
                f"{declaration.rows[declaration.tests[0][1]]:,}",
            )
            shown = columns.format(declaration.name, *facts, _rows_here(declaration, data)).rstrip()
            _console.print(shown, soft_wrap=True)
            if following is None or _described(following) != _described(declaration):
                _console.print(Padding(f"[dim]{escape(_described(declaration))}[/]", (0, 0, 0, 4)))
    _console.print(
        "\nA name may follow that of its suite: super_glue/copa, disaster_response/sectors. policy-claims ships with "
        "the package."
    )


@data.callback()
def about() -> None:
    """The data of tasks by name."""


@data.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="The folder to give as --data where there is no network.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TASK ...", help="Tasks by name; all that are on the Hub if none.")
    ] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Write tasks from the Hub as the folder that `--data` reads: one Parquet file a split.

    Example: `scalearn data export rte cb copa --out DATA`
    """
    from scalearn.tasks import SUITES, export_task

    chosen = names or [
        suite.full_name(declaration)
        for suite in SUITES
        if suite.repository is not None
        for declaration in suite.tasks[: 1 if suite.one_table else None]
    ]
    for number, name in enumerate(chosen, start=1):
        print(f"{number}/{len(chosen)} {name}: {export_task(name, out, overwrite=overwrite)}", flush=True)


def _described(declaration: Declaration) -> str:
    """Texts, labels and metrics in one line."""
    of_kind = {"regression": "a number", "multi-label": "any of the labels in the data"}
    labels = ", ".join(declaration.labels) or of_kind[declaration.kind]
    version = f"; version {declaration.version}" if declaration.version > 1 else ""
    texts = " / ".join((*declaration.text, *declaration.choices))
    return f"{texts}: {labels}; {', '.join(declaration.metrics)}{version}"


def _rows_here(declaration: Declaration, data: Path | None) -> str:
    from scalearn.tasks import MissingDataError, load_task, unpublished_rows

    if data is None:
        return ""
    try:
        other = unpublished_rows(load_task(declaration.name, data=data))
    except MissingDataError:
        return "none"
    except InputError as error:
        return f"unreadable: {escape(str(error))}"
    return ", ".join(f"{split} {here:,}" for split, (here, _) in other.items()) or "as published"
