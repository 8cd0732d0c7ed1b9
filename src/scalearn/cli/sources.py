"""`scalearn sources`: what is on a shelf; `scalearn sources rank`: in which order it suits a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from scalearn.atomic import refuse_existing
from scalearn.cli import options as o
from scalearn.cli.groups import Target, grouped

if TYPE_CHECKING:
    from scalearn.ranking import Criterion, Ranking

_console = Console(highlight=False)


class _ListByDefault(TyperGroup):
    """What follows is for `list`, unless it begins with another command or asks for help."""

    default = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [self.default, *args])


sources = typer.Typer(
    cls=_ListByDefault,
    help="List a shelf, or rank it for a target.\n\n`scalearn sources [SHELF]` is short for `scalearn sources list "
    "[SHELF]`.\n\nExamples: `scalearn sources shelf/ --backbone roberta-base`,\n`scalearn sources rank --train-file "
    "reviews.csv --text review --label stars`",
)


@sources.command("list")
def list_sources(
    shelf: Annotated[str, typer.Argument(metavar="SHELF", help="A folder of sources, or builtin.")] = "builtin",
    backbone: o.BackboneName = "minilm",
) -> None:
    """List what is on a shelf and whether it fits a backbone.

    Example: `scalearn sources shelf/ --backbone roberta-base`
    """
    from scalearn.backbones import load_backbone

    loaded = load_backbone(backbone)
    table = Table("source", "task", "rows", "dev score", "method", "parameters", f"fits {backbone}")
    for source in o.load_shelf(shelf):
        metric = source.task.get("main_metric")
        score = source.metrics.get("dev", {}).get(metric)
        difference = source.backbone.difference(loaded)
        table.add_row(
            source.name,
            escape(str(source.task.get("name", "?"))),
            str(source.provenance.get("rows", {}).get("train", "?")),
            "?" if score is None else f"{metric} {100 * score:.1f}",
            source.method,
            f"{sum(tensor.numel() for tensor in source.tensors.values()):,}",
            "yes" if difference is None else f"no: it {difference}",
        )
    _console.print(table)


@sources.command("rank")
@grouped
def rank(
    target: Target,
    shelf: Annotated[str, typer.Option(help="A folder of sources, a place on the Hub, or builtin.")] = "builtin",
    only: o.Only = None,
    exclude: o.Exclude = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="The criteria to decide by, comma between: similarity, probe, logme, h-score, gradient. Several count "
            "by the mean of their ranks. Else all are shown, and probe, logme and h-score decide."
        ),
    ] = None,
    backbone: o.BackboneName = "minilm",
    pooling: o.PoolingName = None,
    sites: o.SitesPath = None,
    seed: o.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="A file for the table: .csv or .json.")] = None,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
) -> None:
    """Order a shelf for a target before any training, by the target's training rows alone.

    Of each criterion higher is better. similarity: of the texts. probe: what a linear model of the source's frozen
    features explains of rows held out. logme, h-score: the same question in closed form. gradient: how the loss falls
    as more of the source is let in. At most 128 rows are looked at.

    Example: `scalearn sources rank --train-file reviews.csv --text review --label stars --out ranking.csv`
    """
    from scalearn.backbones import load_backbone
    from scalearn.ranking import rank_sources
    from scalearn.ranking.ranking import checked_path

    if out is not None:
        refuse_existing(checked_path(out), overwrite=overwrite)
    task = target.drawn(seed)
    given = o.load_shelf(shelf, only=only, exclude=exclude)
    o.note_own_data(task, given)
    ranking = rank_sources(
        given,
        task=task,
        backbone=load_backbone(backbone, pooling=pooling, sites=sites),
        by=() if by is None else cast("tuple[Criterion, ...]", o.split_names(by)),
        seed=seed,
        progress=not quiet,
    )
    _show(ranking)
    if out is not None:
        ranking.write(out)
        _console.print(f"the table: {escape(str(out))}")


def _show(ranking: Ranking) -> None:
    from scalearn.ranking import DECIDING

    title = f"sources for {ranking.task}, best first by {', '.join(ranking.by)} ({ranking.rows} training rows)"
    table = Table("", "source", title=escape(title))
    table.add_column("mean rank", justify="right")
    for criterion in ranking.scores:
        table.add_column(criterion, justify="right")
    for row in ranking.table():
        cells = (f"{row[name]:.3f} ({row[f'{name}_rank']:g})" for name in ranking.scores)
        table.add_row(str(row["place"]), escape(row["source"]), f"{row['mean_rank']:.1f}", *cells)
    _console.print(table)
    for criterion, reason in ranking.skipped.items():
        _console.print(f"without {criterion}: {escape(reason)}")
    best = ranking.best(3)
    usual = set(ranking.by) == set(DECIDING)  # what --top-sources goes by
    option = f"--top-sources {len(best)}" if usual else f"--only {','.join(best)}"
    _console.print(f"recommended: {escape(', '.join(best))} ({escape(option)})")
    _console.print(f"{len(ranking.sources)} sources in {ranking.seconds:.0f} s")
