"""`scalearn train` and `scalearn transfer`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalearn.cli import options as o

if TYPE_CHECKING:
    from scalearn.methods import Method
    from scalearn.sources import Shelf
    from scalearn.tasks import Task

_OMEGA = "Omega"


def train(
    out: o.Out,
    task: o.TaskName = None,
    method: Annotated[
        Literal["adapter", "full", "head"], typer.Option(help="An adapter, the whole backbone, or a head alone.")
    ] = "adapter",
    data: o.Data = None,
    train_file: o.TrainFile = None,
    dev_file: o.DevFile = None,
    test_file: o.TestFile = None,
    text: o.TextColumns = "text",
    label: o.LabelColumn = "label",
    kind: o.TaskKind = None,
    name: o.Name = None,
    max_length: o.MaxLength = None,
    train_rows: o.TrainRows = None,
    dev_rows: o.DevRows = None,
    backbone: o.BackboneName = "minilm",
    pooling: o.PoolingName = None,
    seed: o.Seed = 0,
    protocol: o.ProtocolName = "default",
    epochs: o.Epochs = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    learning_rate: o.Rate = None,
    head_learning_rate: o.HeadRate = None,
    precision: o.PrecisionName = "auto",
    report_to: o.ReportTo = "none",
    overwrite: o.Overwrite = False,
    restart: o.Restart = False,
    quiet: o.Quiet = False,
) -> None:
    """Stage one: train on one task alone. With the method adapter, the folder is a source for `transfer`.

    Example: `scalearn train rte --data glue/ --out shelf/rte`
    """
    from scalearn.methods import method_from_name

    target = o.load_target(
        task,
        data,
        train_file=train_file,
        dev_file=dev_file,
        test_file=test_file,
        text=text,
        label=label,
        kind=kind,
        called=name,
        max_length=max_length,
    )
    _learn(
        target.take(train_rows=train_rows, dev_rows=dev_rows, seed=seed),
        method_from_name(method),
        None,
        out,
        changes=o.given(
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
        ),
        build={"backbone": backbone, "pooling": pooling},
        protocol=protocol,
        seed=seed,
        precision=precision,
        report_to=report_to,
        overwrite=overwrite,
        restart=restart,
        progress=not quiet,
    )


def transfer(
    out: o.Out,
    task: o.TaskName = None,
    sources: o.ShelfName = "builtin",
    only: o.Only = None,
    exclude: o.Exclude = None,
    method: Annotated[
        Literal["scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"],
        typer.Option(help="A coefficient per source, dimension and layer; uniform: per source; ++: for all layers."),
    ] = "scalearn",
    data: o.Data = None,
    train_file: o.TrainFile = None,
    dev_file: o.DevFile = None,
    test_file: o.TestFile = None,
    text: o.TextColumns = "text",
    label: o.LabelColumn = "label",
    kind: o.TaskKind = None,
    name: o.Name = None,
    max_length: o.MaxLength = None,
    train_rows: o.TrainRows = None,
    dev_rows: o.DevRows = None,
    backbone: o.BackboneName = "minilm",
    pooling: o.PoolingName = None,
    include_sources: Annotated[
        bool, typer.Option("--include-sources", help="Copy the sources in: the folder is then all that is needed.")
    ] = False,
    dropout: Annotated[
        float | None, typer.Option(help="On omega; 0.3, or 0 for Uniform++ and constraints.", rich_help_panel=_OMEGA)
    ] = None,
    init_scale: Annotated[
        float | None, typer.Option(help="Omega starts at this over the number of sources; 2.", rich_help_panel=_OMEGA)
    ] = None,
    constraint: Annotated[
        Literal["none", "mean", "softmax"] | None, typer.Option(help="Over sources; none.", rich_help_panel=_OMEGA)
    ] = None,
    regularisation: Annotated[
        float | None, typer.Option(help="Lambda of the omega regulariser; 0.", rich_help_panel=_OMEGA)
    ] = None,
    seed: o.Seed = 0,
    protocol: o.ProtocolName = "default",
    epochs: o.Epochs = None,
    patience: o.Patience = None,
    batch_size: o.BatchSize = None,
    learning_rate: o.Rate = None,
    head_learning_rate: o.HeadRate = None,
    precision: o.PrecisionName = "auto",
    report_to: o.ReportTo = "none",
    overwrite: o.Overwrite = False,
    restart: o.Restart = False,
    quiet: o.Quiet = False,
) -> None:
    """Stage two: learn how strongly each source of a shelf acts on a new task.

    Example: `scalearn transfer --train-file reviews.csv --text review --label stars --out runs/reviews`
    """
    from scalearn.methods import method_from_name

    chosen = method_from_name(
        method,
        **o.given(dropout=dropout, init_scale=init_scale, constraint=constraint, regularisation=regularisation),
    )
    shelf = o.load_shelf(sources, only=only, exclude=exclude)
    target = o.load_target(
        task,
        data,
        train_file=train_file,
        dev_file=dev_file,
        test_file=test_file,
        text=text,
        label=label,
        kind=kind,
        called=name,
        max_length=max_length,
    )
    _learn(
        target.take(train_rows=train_rows, dev_rows=dev_rows, seed=seed),
        chosen,
        shelf,
        out,
        changes=o.given(
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
        ),
        build={"backbone": backbone, "pooling": pooling},
        protocol=protocol,
        seed=seed,
        precision=precision,
        report_to=report_to,
        overwrite=overwrite,
        restart=restart,
        progress=not quiet,
        include_sources=include_sources,
    )


def _learn(
    task: Task,
    method: Method,
    shelf: Shelf | None,
    out: Path,
    *,
    changes: dict[str, Any],
    build: dict[str, Any],
    protocol: Literal["default", "published"],
    seed: int,
    **how: Any,
) -> None:
    """Builds, trains, saves, and says what came of it."""
    from scalearn.atomic import refuse_existing
    from scalearn.methods import changed, recipe_for
    from scalearn.model import TransferModel
    from scalearn.training import train

    refuse_existing(out, overwrite=how["overwrite"])  # before minutes of loading, not after
    recipe = changed(recipe_for(method, protocol), changes)
    model = TransferModel.from_backbone(task=task, method=method, sources=shelf, seed=seed, **build)
    if shelf is not None:
        o.note_own_data(task, shelf)
    command = shlex.join(["scalearn", *sys.argv[1:]])
    try:
        result = train(model, out, protocol=protocol, recipe=recipe, seed=seed, command=command, **how)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last epoch", file=sys.stderr)
        raise
    counts = model.parameter_counts()
    print(f"{method.name} on {task.name}: {counts['method']:,} trained parameters, {counts['total']:,} with the head")
    for split, scores in result.metrics.items():
        print(f"  {split}: {o.percent(dict(scores), [*task.metrics, task.main_metric])}")
    print(f"  best of {result.epochs:.0f} epochs: {result.best_epoch:.0f}; {result.seconds:.0f} s")
    print(f"saved in {out}" + (" (a source)" if model.makes_source else ""))
