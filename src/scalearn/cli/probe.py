"""`scalearn probe`: how strongly should a source act?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.cli import options as o
from scalearn.cli.groups import Target, grouped
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.experiments.probe import ProbeRun

_console = Console(highlight=False)


@grouped
def probe(
    out: Annotated[Path, typer.Option("--out", help="A folder for the results; finished runs found there are kept.")],
    target: Target,
    sources: Annotated[str, typer.Option(help="The one or two sources to scale, comma between.")],
    shelf: Annotated[str, typer.Option(help="A folder that holds them, or builtin: the shelf that ships.")] = "builtin",
    grid: Annotated[str, typer.Option(help="Values of each coefficient, comma between.")] = "0,.1,.3,.5,.7,.9,1",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    backbone: o.BackboneName = "minilm",
    protocol: o.ProtocolName = "default",
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    evaluate_every: o.EvaluateEvery = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    quiet: o.Quiet = False,
) -> None:
    """Scale one or two sources by constants and train a head for each: scores over a grid. Stopped, it goes on.

    Example: `scalearn probe rte --data glue/ --train-rows 500 --sources mnli,qqp --out runs/probe`
    """
    from scalearn.experiments.probe import checked_grid, points_of
    from scalearn.experiments.probe import probe as run_all
    from scalearn.experiments.probe_report import tables, write_probe

    names = [name for name in o.split_names(sources) if name]
    if len(names) not in (1, 2):
        raise InputError(f"--sources {sources!r} names {len(names)}: name one source, or two with a comma between")
    values = checked_grid(_numbers(grid))
    task = target.whole()
    found = run_all(
        task,
        sources=o.load_shelf(shelf).only(names),
        seeds=range(seeds),
        grid=values,
        backbone=backbone,
        protocol=protocol,
        draw=target.draw(),
        changes=o.given(
            epochs=epochs,
            steps=steps,
            evaluate_every=evaluate_every,
            patience=patience,
            batch_size=batch_size,
        ),
        folder=out / "runs",
        progress=not quiet,
        done=_Counter(len(points_of(values, sources=len(names))) * seeds, metric=task.main_metric),
    )
    _console.print(escape(found.caption()))
    for title, (headings, *rows) in tables(found).items():
        shown = Table(title=escape(title))
        for heading in headings:
            shown.add_column(escape(heading), justify="right")
        for row in rows:
            shown.add_row(*row)
        _console.print(shown)
    write_probe(found, out)
    _console.print(f"the same as table.md, scores.csv, heatmap.svg and heatmap.png in {escape(str(out))}")


class _Counter:
    """Prints a line per finished run."""

    def __init__(self, total: int, *, metric: str) -> None:
        self.total = total
        self.metric = metric
        self.finished = 0

    def __call__(self, run: ProbeRun) -> None:
        self.finished += 1
        omega = ", ".join(f"{value:g}" for value in run.omega)
        split = "test" if "test" in run.metrics else "dev"
        score = 100 * run.metrics[split][self.metric]
        _console.print(
            f"{self.finished:>3}/{self.total}  omega {omega:<10} seed {run.seed}  {split} {self.metric} {score:.1f}  "
            f"{run.seconds:.0f} s"
        )


def _numbers(given: str) -> list[float]:
    try:
        return [float(value) for value in o.split_names(given)]
    except ValueError as error:
        raise InputError(f"--grid {given!r}: give numbers with commas between, for instance 0,0.5,1") from error
