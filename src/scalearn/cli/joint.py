"""`scalearn joint`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from scalearn.cli import options as o
from scalearn.cli.groups import MethodOptions, method_options
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.joint import JointModel
    from scalearn.training import JointResult

_TRAINING = "Training"


def joint(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK TASK ...", help="Tasks by name, at least two.")],
    out: o.Out,
    method: Annotated[
        str, typer.Option(help="hyperformer++, hyperformer, adapter-m, propetl-m or full-m.")
    ] = "hyperformer++",
    option: MethodOptions = None,
    data: o.Data = None,
    train_rows: o.TrainRows = None,
    dev_rows: o.DevRows = None,
    max_length: o.MaxLength = None,
    backbone: o.BackboneName = "minilm",
    pooling: o.PoolingName = None,
    seed: o.Seed = 0,
    protocol: o.ProtocolName = "default",
    steps: Annotated[int | None, typer.Option(help="At most so many batches.", rich_help_panel=_TRAINING)] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Steps between evaluations of all tasks.", rich_help_panel=_TRAINING)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="A task is drawn in proportion to size^(1/temperature).", rich_help_panel=_TRAINING),
    ] = None,
    cap: Annotated[
        int | None, typer.Option(help="A task counts as no more rows than this.", rich_help_panel=_TRAINING)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many evaluations without a lower mean dev loss.", rich_help_panel=_TRAINING),
    ] = None,
    batch_size: o.BatchSize = None,
    tokens_per_batch: o.TokensPerBatch = None,
    learning_rate: o.Rate = None,
    head_learning_rate: o.HeadRate = None,
    mask_learning_rate: o.MaskRate = None,
    precision: o.PrecisionName = "auto",
    attention: o.AttentionName = "auto",
    device: o.Device = None,
    report_to: o.ReportTo = "none",
    overwrite: o.Overwrite = False,
    restart: o.Restart = False,
    quiet: o.Quiet = False,
) -> None:
    """Learn several tasks at once, each with a head of its own.

    Example: `scalearn joint rte mrpc cola stsb --data glue/ --method hyperformer++ --out runs/joint`
    """
    from scalearn.atomic import refuse_existing
    from scalearn.joint import JointModel
    from scalearn.methods import changed, joint_recipe_for, method_from_name
    from scalearn.training import train_joint

    refuse_existing(out, overwrite=overwrite)  # before minutes of loading, not after
    device = o.device_named(device)
    chosen = method_from_name(method, stage="joint", **method_options(option))
    changes = o.given(
        steps=steps,
        evaluate_every=evaluate_every,
        temperature=temperature,
        cap=cap,
        patience=patience,
        batch_size=batch_size,
        tokens_per_batch=tokens_per_batch,
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        mask_learning_rate=mask_learning_rate,
    )
    recipe = changed(joint_recipe_for(chosen, protocol), changes)
    if len(set(tasks)) < len(tasks) or len(tasks) < 2:
        raise InputError(f"tasks {', '.join(tasks)}: give at least two, each once")
    loaded = [
        o.load_target(name, data, train_file=None, max_length=max_length).take(
            train_rows=train_rows, dev_rows=dev_rows, seed=seed
        )
        for name in tasks
    ]
    model = JointModel.from_backbone(backbone, tasks=loaded, method=chosen, pooling=pooling, seed=seed)
    model.attention = attention
    model.to(device)
    try:
        result = train_joint(
            model,
            out,
            protocol=protocol,
            recipe=recipe,
            seed=seed,
            precision=precision,
            command=shlex.join(["scalearn", *sys.argv[1:]]),
            overwrite=overwrite,
            restart=restart,
            progress=not quiet,
            report_to=report_to,
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last evaluation", file=sys.stderr)
        raise
    _show(model, result)
    print(f"saved in {out}")


def _show(model: JointModel, result: JointResult) -> None:
    counts = model.parameter_counts()
    print(f"{model.method.name}: {counts['method']:,} trained parameters, {counts['total']:,} with the heads")
    table = Table("task", "metric", "dev", "test")
    for name, scores in result.metrics.items():
        metric = model.task(name).main_metric
        shown = [f"{100 * scores[split][metric]:.1f}" if split in scores else "" for split in ("dev", "test")]
        table.add_row(name, metric, *shown)
    Console(highlight=False).print(table)
    print(f"best of {result.steps} steps: {result.best_step}; {result.seconds:.0f} s")
