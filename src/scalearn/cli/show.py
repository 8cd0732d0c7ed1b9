"""`scalearn compare` and `scalearn demo`: tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.atomic import write_text
from scalearn.cli import options as o
from scalearn.cli.groups import Sources, Target, grouped

if TYPE_CHECKING:
    from scalearn.experiments import Row, Run

_console = Console(highlight=False)


@grouped
def compare(
    out: Annotated[Path, typer.Option("--out", help="A folder for the runs; finished runs found there are kept.")],
    target: Target,
    sources: Sources,
    methods: Annotated[
        str, typer.Option(help="Methods, comma between.")
    ] = "head,adapter,scalearn,scalearn-uniform,scalearn++,scalearn-uniform++",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    own: Annotated[
        bool, typer.Option("--own", help="Add the target's own source, trained on the same rows, as the last one.")
    ] = False,
    top_sources: Annotated[
        int | None,
        typer.Option(min=1, help="Transfer methods combine only so many sources, those that suit the rows best."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say what each source did: 2 T + 3 passes over a run's dev rows.")
    ] = False,
    backbone: o.BackboneName = "minilm",
    protocol: o.ProtocolName = "default",
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    evaluate_every: o.EvaluateEvery = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    quiet: o.Quiet = False,
) -> None:
    """Several methods and seeds on one target: a table with spread, and the model that dev rows prefer in OUT/best.

    Stopped, the same command goes on. Test rows need not be there; a dev score that was chosen by is too high. Of equal
    methods the one named first is best; what an earlier call left in OUT/best (with --own in OUT/best-own) is replaced.

    Example: `scalearn compare rte --data glue/ --train-rows 500 --exclude rte --out runs/rte-500`
    """
    from scalearn.experiments import compare as run_all
    from scalearn.experiments import markdown, summarise
    from scalearn.experiments.best import best_of, best_place, keep
    from scalearn.experiments.compare import explained_methods, sources_markdown

    task = target.whole()
    names = o.split_names(methods)
    shelf = sources.shelf(task)
    place = best_place(out, sources=shelf, own=own)
    runs = run_all(
        task,
        methods=names,
        seeds=range(seeds),
        sources=shelf,
        backbone=backbone,
        protocol=protocol,
        draw=target.draw(),
        own=own,
        top_sources=top_sources,
        explain=explain,
        changes=o.given(
            epochs=epochs,
            steps=steps,
            evaluate_every=evaluate_every,
            patience=patience,
            batch_size=batch_size,
        ),
        folder=out,
        progress=not quiet,
        done=_Counter(len(names) * seeds, metric=task.main_metric),
    )
    rows = summarise(runs, main_metric=task.main_metric)
    _console.print(_score_table(rows, title=task.name, metric=task.main_metric))
    table = out / ("table-own.md" if own else "table.md")
    write_text(table, markdown(rows, main_metric=task.main_metric))
    _console.print(f"the table as Markdown: {escape(str(table))}", soft_wrap=True)
    if explained := explained_methods(runs):
        for warning in (warning for method in explained for warning in method.warnings):
            _console.print(f"[bold yellow]warning:[/] {escape(warning)}", soft_wrap=True)
        write_text(out / "sources.md", sources_markdown(runs))
        _console.print(f"what each source did: {escape(str(out / 'sources.md'))}", soft_wrap=True)
    best = best_of(runs, main_metric=task.main_metric)
    keep(best, out, place)
    score = f"{100 * best.metrics['dev'][task.main_metric]:.1f}"
    told = score if "test" in best.metrics else f"{score}, too high, for it was chosen by these rows"
    _console.print(f"best on dev rows: {best.method}, seed {best.seed} ({told}): {escape(str(place))}", soft_wrap=True)


def demo(
    out: Annotated[Path, typer.Option(help="A folder for the runs and the page.")] = Path("demo"),
    quiet: o.Quiet = False,
) -> None:
    """Six methods, three seeds, a shelf and a target that ship: a table and a page, offline, in minutes."""
    from scalearn.experiments.demo import METHODS, METRIC, SEEDS, TASK
    from scalearn.experiments.demo import demo as run_demo

    rows = run_demo(out, progress=not quiet, done=_Counter(len(METHODS) * len(SEEDS), metric=METRIC))
    _console.print(_score_table(rows, title=TASK, metric=METRIC))
    _console.print(f"the page: {out / 'demo.html'}")


class _Counter:
    """Prints a line per finished run."""

    def __init__(self, total: int, *, metric: str) -> None:
        self.total = total
        self.metric = metric
        self.finished = 0

    def __call__(self, run: Run) -> None:
        self.finished += 1
        split = "test" if "test" in run.metrics else "dev"
        score = 100 * run.metrics[split][self.metric]
        _console.print(
            f"{self.finished:>3}/{self.total}  {run.method:<19} seed {run.seed}  {split} {self.metric} {score:.1f}  "
            f"{run.seconds:.0f} s"
        )


def _score_table(rows: Sequence[Row], *, title: str, metric: str) -> Table:
    from scalearn.experiments.compare import score_cells, score_headings

    table = Table("method", title=escape(title))
    for heading in ("trained", "with head", *score_headings(rows, main_metric=metric), "seconds a run"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.method,
            f"{row.method_parameters:,}",
            f"{row.method_parameters + row.head_parameters:,}",
            *score_cells(row),
            f"{row.seconds:.0f}",
        )
    return table
