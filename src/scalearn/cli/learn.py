"""`scalearn train` and `scalearn transfer`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalearn.cli import options as o
from scalearn.cli.groups import Sources, Target, Training, grouped, method_options

if TYPE_CHECKING:
    from scalearn.methods import Method


@dataclass(frozen=True, kw_only=True)
class Learning(Training):
    """How to train one model on this machine."""

    tokens_per_batch: o.TokensPerBatch = None
    attention: o.AttentionName = "auto"
    device: o.Device = None

    def changes(self) -> dict[str, Any]:
        """The hyper-parameters that were given."""
        return {**super().changes(), **o.given(tokens_per_batch=self.tokens_per_batch)}


@grouped
def train(
    out: o.Out,
    target: Target,
    training: Learning,
    method: Annotated[
        str, typer.Option(help="adapter, compacter++, lora (these make sources), propetl, ia3, full or head.")
    ] = "adapter",
) -> None:
    """Stage one: train on one task alone. With adapter, compacter++ or lora, the folder is a source for `transfer`.

    Example: `scalearn train rte --data glue/ --out shelf/rte`
    """
    from scalearn.methods import method_from_name

    chosen = method_from_name(method, stage="single", **method_options(training.option))
    _learn(target, chosen, None, out, training)


@grouped
def transfer(
    out: o.Out,
    target: Target,
    sources: Sources,
    training: Learning,
    method: Annotated[
        str,
        typer.Option(
            help="scalearn (a coefficient per source, dimension and layer; -uniform: per source; ++: for all layers), "
            "adapterfusion, adaptersoup, lorahub, best-source, uniform-average or probing."
        ),
    ] = "scalearn",
    top_sources: Annotated[
        int | None,
        typer.Option(min=1, help="Combine only so many sources, those that `scalearn sources rank` puts first."),
    ] = None,
    include_sources: Annotated[
        bool, typer.Option("--include-sources", help="Copy the sources in: the folder is then all that is needed.")
    ] = False,
) -> None:
    """Stage two: learn how to combine the sources of a shelf for a new task.

    Example: `scalearn transfer --train-file reviews.csv --text review --label stars --out runs/reviews`
    """
    from scalearn.methods import method_from_name

    chosen = method_from_name(method, stage="transfer", **method_options(training.option))
    _learn(target, chosen, sources, out, training, top_sources=top_sources, include_sources=include_sources)


def _learn(
    target: Target,
    method: Method,
    sources: Sources | None,
    out: Path,
    training: Learning,
    *,
    top_sources: int | None = None,
    **how: Any,
) -> None:
    """Builds, trains, saves, and says what came of it."""
    from scalearn.atomic import refuse_existing
    from scalearn.backbones import chosen_backbone
    from scalearn.methods import changed, recipe_for, resolved, suited
    from scalearn.model import TransferModel
    from scalearn.training import train

    refuse_existing(out, overwrite=training.overwrite)  # before minutes of loading, not after
    device = o.device_named(training.device)
    task = target.drawn(training.seed)
    shelf = None if sources is None else sources.shelf(task)
    few_shot = target.few_shot is not None
    rows = len(task.splits["train"])
    method = suited(method, training.protocol, rows=rows)
    recipe = recipe_for(method, training.protocol, rows=rows, kind=task.kind, task=task.name, few_shot=few_shot)
    recipe = changed(recipe, training.changes())
    backbone = chosen_backbone(  # on the device before sources are ranked
        training.backbone, pooling=training.pooling, sites=training.sites, device=device
    )
    model = TransferModel.from_backbone(
        backbone, task=task, method=method, sources=shelf, top_sources=top_sources, seed=training.seed
    )
    if top_sources is not None:
        print(f"the {len(model.sources)} sources that suit it best: {', '.join(one.name for one in model.sources)}")
    model.attention = training.attention
    model.to(device)
    command = shlex.join(["scalearn", *sys.argv[1:]])
    try:
        result = train(
            model,
            out,
            protocol=resolved(training.protocol, rows),
            recipe=recipe,
            seed=training.seed,
            command=command,
            **training.how(),
            **how,
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last evaluation", file=sys.stderr)
        raise
    counts = model.parameter_counts()
    print(f"{method.name} on {task.name}: {counts['method']:,} trained parameters, {counts['total']:,} with the head")
    for split, scores in result.metrics.items():
        print(f"  {split}: {o.percent(dict(scores), [*task.metrics, task.main_metric])}")
    best = f"best of {result.epochs:.0f} epochs: {result.best_epoch:.0f}"
    if recipe.steps is not None or recipe.evaluate_every is not None:
        best = f"best of {result.steps} steps: {result.best_step}"
    print(f"  {best}; {result.seconds:.0f} s")
    if result.best_step == 0:
        print("  no step scored higher on dev rows than the start, the head fitted to the rows: that start is kept")
        if model.makes_source:
            print("  as a source it adds next to nothing")
    print(f"saved in {out}" + (" (a source)" if model.makes_source else ""))
