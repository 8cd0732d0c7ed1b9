"""`scalearn evaluate`, `scalearn predict` and `scalearn fold`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalearn.atomic import refuse_existing, write_text
from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.model import TransferModel


def evaluate(
    model: o.Model,
    split: Annotated[str | None, typer.Option(help="dev or test, of a task that scalearn knows; else test.")] = None,
    data: o.Data = None,
    file: Annotated[Path | None, typer.Option(help="Labelled rows of your own, with the columns of training.")] = None,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
) -> None:
    """Score a model on a split of its task, or on labelled rows of your own.

    Examples: `scalearn evaluate runs/rte --data glue/`, `scalearn evaluate runs/reviews --file held-out.csv`
    """
    from scalearn.tasks import load_task, task_names
    from scalearn.training import evaluate as score

    if file is not None and (split is not None or data is not None):
        raise InputError("--file stands for the rows to score: leave out --split and --data")
    loaded = _load(model, sources, backbone)
    if file is not None:
        task, split = loaded.task.with_file(file), "test"
    elif loaded.task.name in task_names() and (known := load_task(loaded.task.name, data=data)) == loaded.task:
        task, split = known, split or "test"
    else:
        raise InputError(
            f"{model} was trained on rows of your own ({loaded.task.name}): give labelled rows with --file"
        )
    scores = score(loaded, split, task=task, precision=precision)
    print(
        f"{model} on {split} ({len(task.splits[split])} rows): {o.percent(scores, [*task.metrics, task.main_metric])}"
    )


def predict(
    model: o.Model,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="One row: its text, its two texts, or a text and its choices. Or use --file."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Rows: CSV, TSV, JSONL or Parquet, with the text columns.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new CSV file for the answers; else they are printed.")] = None,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
    overwrite: o.Overwrite = False,
) -> None:
    """Answer rows of text: a label and a probability per class, as CSV.

    Examples: `scalearn predict runs/reviews "Never again."`,
    `scalearn predict runs/reviews --file new.csv --out answers.csv`
    """
    from scalearn.tasks import read_texts

    if bool(texts) == (file is not None):
        raise InputError("give either one row of text or --file with rows, not both")
    if out is not None:
        refuse_existing(out, overwrite=overwrite)
        if out.is_dir():
            raise InputError(f"{out} is a folder: give the name of a CSV file")
    loaded = _load(model, sources, backbone)
    columns = (*loaded.task.text, *loaded.task.choices)
    rows = [tuple(texts)] if texts else read_texts(file or Path(), text=columns)
    answers = loaded.predict(rows, precision=precision)
    header = ["label", *loaded.task.labels]
    table = [
        [
            a.label if not isinstance(a.label, tuple) else "; ".join(a.label),
            *(f"{p:.4f}" for p in a.probabilities.values()),
        ]
        for a in answers
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    if out is None:
        print(stream.getvalue(), end="")
    else:
        write_text(out, stream.getvalue())
        print(f"{len(answers)} answers in {out}")


def fold(
    model: o.Model,
    out: o.Out,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Turn sources and omega into one ordinary adapter per layer: same answers, no sources needed.

    Example: `scalearn fold runs/reviews --out runs/reviews-folded`
    """
    refuse_existing(out, overwrite=overwrite)
    folded = _load(model, sources, backbone).fold()
    folded.save_pretrained(out, overwrite=overwrite)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{folded.method.name} {dict(folded.method.model_dump())} saved in {out} ({size / 2**20:.1f} MB)")


def _load(model: Path, sources: str | None, backbone: str | None) -> TransferModel:
    from scalearn.model import TransferModel

    return TransferModel.from_pretrained(
        model, backbone=backbone, sources=None if sources is None else o.load_shelf(sources)
    )
