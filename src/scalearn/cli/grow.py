"""`scalearn grow`: transfer to targets in turn, each leaving its own source on the shelf for the next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.cli import options as o
from scalearn.cli.groups import MethodOptions, Target, grouped, method_options

if TYPE_CHECKING:
    from scalearn.experiments.growth import Grown
    from scalearn.tasks import Task

_console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What is to be learned: tasks that scalearn knows, or one of the user's own rows."""

    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK...", help="Tasks by name, in order (`scalearn tasks`); or --train-file."),
    ] = None
    data: o.Data = None
    train_file: o.TrainFile = None
    dev_file: o.DevFile = None
    test_file: o.TestFile = None
    text: o.TextColumns = None
    label: o.LabelColumn = None
    kind: o.TaskKind = None
    name: o.Name = None
    train_rows: o.TrainRows = None
    dev_rows: o.DevRows = None
    few_shot: o.FewShot = None

    def drawn(self, seed: int) -> list[Task]:
        """Each with as many rows as were asked for."""
        named: Sequence[str | None] = self.tasks or [None]
        return [
            Target(
                task=task,
                data=self.data,
                train_file=self.train_file,
                dev_file=self.dev_file,
                test_file=self.test_file,
                text=self.text,
                label=self.label,
                kind=self.kind,
                name=self.name,
                train_rows=self.train_rows,
                dev_rows=self.dev_rows,
                few_shot=self.few_shot,
            ).drawn(seed)
            for task in named
        ]


@grouped
def grow(
    shelf: Annotated[Path, typer.Argument(metavar="SHELF", help="A folder of sources that grows; a new one, too.")],
    out: Annotated[Path, typer.Option("--out", help="A folder for the transferred models, one for each target.")],
    targets: Targets,
    sources: Annotated[
        str | None, typer.Option("--sources", help="Sources to combine beside those of SHELF, for instance builtin.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Of the transfers: scalearn, scalearn-uniform, scalearn++, ...")
    ] = "scalearn",
    option: MethodOptions = None,
    backbone: o.BackboneName = "minilm",
    seed: o.Seed = 0,
    protocol: o.ProtocolName = "default",
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    quiet: o.Quiet = False,
) -> None:
    """Transfer to targets in turn, and put each target's own source on the shelf for the next ones.

    A target is transferred to from the shelf as it stands, never from its own data; then its own source is trained on
    the same rows and added. What is there already is not trained again: stopped, the same command goes on. What was
    made by another method, option, recipe, seed, or of other rows is refused, before anything is trained.

    Examples: `scalearn grow shelf/ rte cb copa --data glue/ --out runs`,
    `scalearn grow shelf/ --train-file reviews.csv --text review --label stars --sources builtin --out runs`
    """
    from scalearn.experiments.growth import grow as grow_shelf
    from scalearn.methods import method_from_name

    chosen = method_from_name(method, stage="transfer", **method_options(option))
    grown = grow_shelf(
        shelf,
        targets.drawn(seed),
        out=out,
        beside=None if sources is None else o.load_shelf(sources),
        method=chosen,
        backbone=backbone,
        protocol=protocol,
        few_shot=targets.few_shot is not None,
        changes=o.given(epochs=epochs, steps=steps, patience=patience, batch_size=batch_size),
        seed=seed,
        command=shlex.join(["scalearn", *sys.argv[1:]]),
        progress=not quiet,
        done=_tell,
    )
    _console.print(_table(grown, method=chosen.name))
    print(f"{len(grown)} own sources in {shelf}, transferred models in {out}")


def _tell(one: Grown) -> None:
    _console.print(f"{escape(one.task)}: {len(one.sources)} sources, {one.seconds:.0f} s")
    if one.idle:
        _console.print(
            "  no step of its own source scored higher on dev rows than the start: to others it adds next to nothing; "
            f"transfer --exclude {escape(one.task)} leaves it out",
            soft_wrap=True,
        )


def _table(grown: list[Grown], *, method: str) -> Table:
    table = Table("target", title=f"{method} / the target's own source")
    for heading in ("rows", "sources", "metric", "dev", "test"):
        table.add_column(heading, justify="right")
    for one in grown:
        pairs = [[one.score(scores, split) for scores in (one.transferred, one.own)] for split in ("dev", "test")]
        shown = [" / ".join("-" if score is None else f"{score:.1f}" for score in pair) for pair in pairs]
        table.add_row(escape(one.task), f"{one.rows:,}", str(len(one.sources)), one.metric, *shown)
    return table
