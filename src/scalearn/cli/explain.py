"""`scalearn explain` and `scalearn prune`: what each source of a model does, and a model without the idle ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.atomic import refuse_existing
from scalearn.cli import options as o
from scalearn.cli.groups import Rows, grouped
from scalearn.cli.use import load_model, uncollected

if TYPE_CHECKING:
    from scalearn.model import TransferModel
    from scalearn.precision import Precision
    from scalearn.tasks import Task

_console = Console(highlight=False)


@grouped
def explain(
    model: o.Model,
    rows: Rows,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder for the table, all numbers as JSON, and omega by layer as a picture."),
    ] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """What each source of a model does: its share, the score without it, with it alone, and whether it hurts.

    For scalearn (all variants), probing, lorahub and uniform-average. Nothing is trained anew.

    Examples: `scalearn explain runs/rte --data glue/`, `scalearn explain runs/reviews --file dev.csv --out explained`
    """
    rows.check()
    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    with uncollected():
        from scalearn.experiments.explained import HEADINGS, cells, title, warnings, write_explanation
        from scalearn.explanation import explain as explain_model

    loaded = _transferred(model, sources, backbone)
    target, split = rows.of(loaded.task, model=model, usual="dev")
    found = explain_model(loaded, split, task=target, precision=precision)
    found = found if rows.file is None else replace(found, split=rows.file.name)
    table = Table(HEADINGS[0], title=escape(title(found)))
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for effect in found.effects:
        table.add_row(*(escape(cell) for cell in cells(effect)))
    _console.print(table)
    for line in warnings(found):
        _console.print(f"[bold yellow]warning:[/] {escape(line)}", soft_wrap=True)
    if out is not None:
        write_explanation(found, out, overwrite=overwrite)
        print(f"the same as explanation.md, explanation.json, omega.png and omega.svg in {out}")


@grouped
def prune(
    model: o.Model,
    out: o.Out,
    rows: Rows,
    threshold: Annotated[
        float | None,
        typer.Option(help="Drop sources whose coefficients are all at most this share of the largest one; 0."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Instead, keep so many sources: those of the largest mean |omega|.")
    ] = None,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
    include_sources: Annotated[bool, typer.Option("--include-sources", help="Copy the sources that stay in.")] = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Drop the sources of a model that hardly act; with --data or --file, what that does to the score.

    Example: `scalearn prune runs/reviews --keep 3 --out runs/reviews-3 --file dev.csv`
    """
    rows.check()
    refuse_existing(out, overwrite=overwrite)
    loaded = _transferred(model, sources, backbone)
    target, split = rows.of(loaded.task, model=model, usual="dev") if rows.asked else (None, "")
    before = None if target is None else _scores(loaded, target, split, precision)
    found = loaded.strengths()
    loaded.prune(threshold=threshold, keep=keep)
    left = {source.name for source in loaded.sources}
    table = Table("source", title=escape(f"{loaded.method.name} on {loaded.task.name}"))
    for heading in ("mean |omega|", "largest |omega|", ""):
        table.add_column(heading, justify="right")
    for one in found:
        fate = "kept" if one.source in left else "dropped"
        table.add_row(escape(one.source), f"{one.mean:.4f}", f"{one.largest:.4f}", fate)
    _console.print(table)
    measured = {}
    if target is not None and before is not None:
        after = _scores(loaded, target, split, precision)
        measured = {} if rows.file is not None else {"metrics": {**loaded.facts.get("metrics", {}), split: after}}
        metric, name = target.main_metric, split if rows.file is None else rows.file.name
        was, now = 100 * before[metric], 100 * after[metric]
        print(f"{name} ({len(target.splits[split])} rows): {metric} {was:.1f} before, {now:.1f} now ({now - was:+.1f})")
    loaded.save_pretrained(out, include_sources=include_sources, overwrite=overwrite, extra=measured)
    print(f"{len(left)} of {len(found)} sources kept; saved in {out}")


def _transferred(model: Path, sources: str | None, backbone: str | None) -> TransferModel:
    """The model of a folder."""
    with uncollected():
        from scalearn.model import TransferModel

    loaded = load_model(model, None, sources, backbone)
    assert isinstance(loaded, TransferModel)  # without a task, nothing else is loaded
    return loaded


def _scores(model: TransferModel, task: Task, split: str, precision: Precision) -> dict[str, float]:
    from scalearn.training import evaluate

    return evaluate(model, split, task=task, precision=precision)
