"""`scalearn methods` and `scalearn params`: what there is, and what it trains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from scalearn.atomic import refuse_existing, write_text
from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.methods import Method, Optimisation

_console = Console(highlight=False)
_STAGES = {
    "single": "learns one task",
    "joint": "learns several tasks at once",
    "transfer": "combines frozen sources for one task",
}

SourceCount = Annotated[
    int,
    # Not --sources, which names a shelf wherever else it stands.
    typer.Option("--tasks", "--sources-count", min=1, help="T: sources of transfer methods, tasks of joint ones."),
]
CountedBackbone = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="minilm, bert-base-uncased, roberta-base, xlm-roberta-base, a folder or a Hub id; no weights.",
    ),
]


def methods(
    stage: Annotated[
        Literal["single", "joint", "transfer"] | None, typer.Option(help="Only those of this stage.")
    ] = None,
    backbone: CountedBackbone = "minilm",
    sources: SourceCount = 8,
) -> None:
    """List every method: what it trains, its learning rates, what it is and where it was published.

    A learning rate is that of the deltas; the head's is named where it differs.

    Example: `scalearn methods --stage transfer`
    """
    from scalearn.experiments.counting import count_all
    from scalearn.methods import REGISTRY

    counts = count_all(backbone=backbone, sources=sources)
    columns = "{:<18}  {:>20}  {:<17}  {}"
    _console.print(f"trained parameters (+ mask scores) without heads: {escape(backbone)}, T = {sources}")
    _console.print(columns.format("method", "trained", "published rate", "small-data rate"), style="bold")
    for heading, meaning in _STAGES.items():
        if stage not in (None, heading):
            continue
        _console.print(f"\n[bold]{heading}[/]: {meaning}")
        for name, entry in REGISTRY.items():
            if entry.method.stage != heading:
                continue
            counted = counts[name]
            shown = (rates(recipe, counted) for recipe in (entry.published, entry.small or entry.large))
            _console.print(columns.format(name, _trained(counted), *shown))
            reference = f" ({entry.method.reference})" if entry.method.reference else ""
            about = described(entry.method) + reference
            _console.print(Padding(f"[dim]{escape(about)}[/]", (0, 0, 0, 4)))


def params(
    backbone: CountedBackbone = "minilm",
    sources: SourceCount = 8,
    out: Annotated[Path | None, typer.Option(help="Also write the table as Markdown to this new file.")] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Count what every method trains, without loading any weights.

    Example: `scalearn params --backbone roberta-base --tasks 8 --out params.md`
    """
    from scalearn.experiments.counting import count_all
    from scalearn.experiments.tables import markdown_table
    from scalearn.methods import REGISTRY

    if out is not None:
        refuse_existing(out, overwrite=overwrite)
        if out.is_dir():
            raise InputError(f"{out} is a folder: give the name of a Markdown file")
    title = f"trained parameters: {backbone}, T = {sources} (sources, or tasks of joint methods), heads of 2 labels"
    headings = ("method", "trained", "mask scores", "heads", "in all")
    table = Table(title=escape(title))
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    cells = []
    previous = None
    for name, counted in count_all(backbone=backbone, sources=sources).items():
        stage = REGISTRY[name].method.stage
        if previous not in (None, stage):
            table.add_section()
        previous = stage
        table.add_row(name, *_numbers(counted))
        cells.append((stage, name, *_numbers(counted)))
    _console.print(table)
    if out is not None:
        write_text(out, f"{title}\n\n{markdown_table(('stage', *headings), cells, names=2)}")
        _console.print(f"the table as Markdown: {escape(str(out))}")


def described(method: Method) -> str:
    """What a method is in one line: the first of its class's docstring, and the flags that are set."""
    line = (type(method).__doc__ or "").strip().splitlines()[0]
    line = re.sub(r" \(`[^`]*`\)", "", line).replace("`", "").rstrip(".")
    flags = [name for name, value in method.model_dump(exclude_defaults=True).items() if value is True]
    return f"{line}; {', '.join(flags)}" if flags else line


def rates(recipe: Optimisation, counted: Mapping[str, int] | None = None) -> str:
    """The learning rates of a recipe: of the deltas, of the head where it differs, of masks where there are any."""
    parts = [_rate(recipe.learning_rate)]
    if recipe.head_learning_rate != recipe.learning_rate:
        parts.append(f"head {_rate(recipe.head_learning_rate)}")
    if counted and counted["masks"] and recipe.mask_learning_rate is not None:
        parts.append(f"masks {_rate(recipe.mask_learning_rate)}")
    return ", ".join(parts)


def _rate(value: float) -> str:
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _trained(counted: Mapping[str, int] | None) -> str:
    if counted is None:
        return "does not fit"
    return f"{counted['method']:,}" + (f" + {counted['masks']:,}" if counted["masks"] else "")


def _numbers(counted: Mapping[str, int] | None) -> tuple[str, ...]:
    if counted is None:
        return ("does not fit", "", "", "")
    masks = f"{counted['masks']:,}" if counted["masks"] else ""
    return (f"{counted['method']:,}", masks, f"{counted['head']:,}", f"{counted['total']:,}")
