"""`scalearn similarity`: how alike are the texts of tasks and of the shelf's sources?"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scalearn.atomic import refuse_existing, write_text
from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from scalearn.shelf import Shelf
    from scalearn.sources import Source
    from scalearn.tasks import Task

_console = Console(highlight=False)


def similarity(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="TASK...", help="Tasks by name; none compares the sources.")
    ] = None,
    data: o.Data = None,
    train_file: o.TrainFile = None,
    text: o.TextColumns = "text",
    label: o.LabelColumn = "label",
    kind: o.TaskKind = None,
    choices: o.Choices = None,
    separator: o.Separator = None,
    name: o.Name = None,
    shelf: Annotated[
        str | None, typer.Option(help="A folder of sources; else builtin, the shelf that ships.", show_default=False)
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option("--update", metavar="SHELF", help="As --shelf, and store the embeddings that its sources lack."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for similarity.csv, heatmap.svg and heatmap.png.")] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Mean cosine similarity between the training texts of tasks and sources, as AdapterSoup weighs sources by it.

    Texts are embedded by all-MiniLM-L6-v2, at most 2,000 rows of a task. A data set's similarity to itself is below 1:
    it is the mean over all pairs of its rows.

    Examples: `scalearn similarity --train-file reviews.csv`,
    `scalearn similarity rte mrpc --data glue/ --update shelf/ --out runs/similarity`
    """
    from scalearn.similarity import embed_task
    from scalearn.sources import BUILTIN

    if update is not None and shelf is not None:
        raise InputError(f"--update {update} names the shelf, and so does --shelf {shelf}: leave one out")
    if str(update) == BUILTIN:
        raise InputError("--update writes into the shelf: give a folder of your own, not the one that ships")
    if out is not None:
        refuse_existing(out / "similarity.csv", overwrite=overwrite)
    loaded = o.load_shelf(shelf or str(update or BUILTIN))
    own = None
    if train_file is not None:
        own = o.load_target(
            None, None, train_file=train_file, text=text, label=label, kind=kind, choices=choices,
            separator=separator, called=name,
        )  # fmt: skip
    given = {task.name: task for task in (*(_known(name, data) for name in tasks or ()), *([own] if own else []))}
    if update is not None:
        loaded = _updated(loaded, given, data=data)
    silent = [source.name for source in loaded if not source.embedding]
    if silent:
        print(
            f"note: left out {', '.join(silent)}, which have no embedding of their texts; --update SHELF stores it, "
            "given the rows (--data, or --train-file and --name)",
            file=sys.stderr,
        )
    embeddings = {name: embed_task(task) for name, task in given.items()}
    sources = {f"{source.name} (source)": source.embedding for source in loaded if source.embedding}
    if len(embeddings) + len(sources) < 2:
        if update is not None:
            return  # what was asked for is done
        raise InputError("there is nothing to compare with: name another task, or give a shelf with embeddings")
    _show({**embeddings, **sources}, columns=list(embeddings or sources), out=out)


def _known(name: str, data: Path | None) -> Task:
    from scalearn.tasks import load_task

    return load_task(name, data=data)


def _show(embeddings: Mapping[str, Sequence[float]], *, columns: Sequence[str], out: Path | None) -> None:
    """The table, a row per data set, the most similar first where there is but one column; and the files."""
    import numpy as np

    from scalearn.experiments.heatmap import score_map, write_figure
    from scalearn.similarity import similarity as between

    rows = list(embeddings)
    values = np.array([[between(embeddings[row], embeddings[column]) for column in columns] for row in rows])
    if len(columns) == 1:
        order = np.argsort(-values[:, 0], kind="stable")
        rows, values = [rows[index] for index in order], values[order]
    table = Table("", title="mean cosine similarity of texts")
    for column in columns:
        table.add_column(escape(column), justify="right")
    for row, numbers in zip(rows, values, strict=True):
        table.add_row(escape(row), *(f"{number:.3f}" for number in numbers))
    _console.print(table)
    if out is None:
        return
    write_text(out / "similarity.csv", _csv(rows, columns, values))
    title = "mean cosine similarity of texts (all-MiniLM-L6-v2)"
    figure = score_map(values, rows=rows, columns=columns, colour="cosine similarity", title=title, decimals=3)
    write_figure(figure, out / "heatmap")
    _console.print(f"the same as similarity.csv, heatmap.svg and heatmap.png in {escape(str(out))}")


def _csv(rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["", *columns])
    for row, numbers in zip(rows, values, strict=True):
        writer.writerow([row, *(f"{number:.6f}" for number in numbers)])
    return stream.getvalue()


def _updated(shelf: Shelf, given: Mapping[str, Task], *, data: Path | None) -> Shelf:
    """The shelf with the embeddings that its sources lacked, computed from the data of their tasks and stored."""
    from scalearn.shelf import Shelf
    from scalearn.similarity import embed_task
    from scalearn.tasks import task_names

    lacking = [source for source in shelf if not source.embedding]
    unknown = {source.name for source in lacking if source.task.get("name") not in (*given, *task_names())}
    if lacking and len(unknown) == len(lacking):
        raise InputError(
            f"no data is known for {', '.join(sorted(unknown))}: give the rows that a source was trained on with "
            "--train-file, and its task's name with --name"
        )
    renewed: dict[str, Source] = {}
    for source in lacking:
        if source.name not in unknown:
            name = str(source.task["name"])
            renewed[source.name] = source.store_embedding(embed_task(given.get(name) or _known(name, data)))
            _console.print(f"stored the embedding of {escape(source.name)} in {escape(source.location)}")
    if not lacking:
        _console.print("every source has an embedding already")
    return Shelf([renewed.get(source.name, source) for source in shelf])
