"""What a probe shows: tables, every score as CSV, and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scalearn.atomic import write_text
from scalearn.experiments.heatmap import score_line, score_map, write_figure
from scalearn.experiments.probe import Probe
from scalearn.experiments.tables import markdown_table


def tables(found: Probe) -> dict[str, list[list[str]]]:
    """The scores by the table's title: headings, and then rows of cells, mean ± spread over seeds.

    A row is a coefficient of the (first) source. One source makes one table with a column per split, two make a table
    per split with a column per coefficient of the second.
    """
    names = [f"{value:g}" for value in found.grid]
    if len(found.sources) == 1:
        title = f"{' and '.join(found.splits)} {found.metric}"
        columns = np.stack([_cells(found, split) for split in found.splits], axis=1)
        return {title: [[f"omega of {found.sources[0]}", *found.splits], *_beside(names, columns)]}
    headings = ["omega of {} \\ of {}".format(*found.sources), *names]
    return {f"{split} {found.metric}": [headings, *_beside(names, _cells(found, split))] for split in found.splits}


def write_probe(found: Probe, folder: Path) -> None:
    """Writes ``table.md``, ``scores.csv`` and the picture ``heatmap.svg`` and ``.png`` into a folder.

    The picture is of the test scores, or of the dev scores of a task without test rows.
    """
    lines = [found.caption()]
    for title, (headings, *rows) in tables(found).items():
        lines += ["", f"{title}:", "", markdown_table(headings, rows).rstrip()]
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    write_text(folder / "scores.csv", _scores(found))
    write_figure(_picture(found, found.splits[-1]), folder / "heatmap")


def _picture(found: Probe, split: str) -> Figure:
    """A line for one source, a heat map for two."""
    means, spreads, score = found.means(split), found.spreads(split), f"{split} {found.metric} (%)"
    axes = [f"omega of {name}" for name in found.sources]
    if len(axes) == 1:
        return score_line(means, spread=spreads, at=found.grid, axis=axes[0], score_axis=score, title=found.caption())
    names = [f"{value:g}" for value in found.grid]
    return score_map(
        means,
        spread=spreads if found.seeds > 1 else None,
        rows=names,
        columns=names,
        row_axis=axes[0],
        column_axis=axes[1],
        colour=score,
        title=found.caption(),
    )


def _cells(found: Probe, split: str) -> NDArray[np.object_]:
    """Mean ± spread of every point as text, in the shape of the grid."""
    means, spreads = found.means(split), found.spreads(split)
    cells = np.empty(means.shape, dtype=object)
    for place, mean in np.ndenumerate(means):
        cells[place] = f"{mean:.1f} ± {spreads[place]:.1f}" if found.seeds > 1 else f"{mean:.1f}"
    return cells


def _beside(names: Sequence[str], cells: NDArray[np.object_]) -> list[list[str]]:
    return [[name, *row] for name, row in zip(names, cells.tolist(), strict=True)]


def _scores(found: Probe) -> str:
    """A line per run: coefficients, seed, and every score of every split."""
    first = found.runs[0].metrics
    scores = [(split, name) for split in first for name in first[split]]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    omegas = [f"omega of {name}" for name in found.sources]
    writer.writerow([*omegas, "seed", *(" ".join(score) for score in scores), "epochs", "seconds"])
    for run in found.runs:
        values = [f"{run.metrics[split][name]:.6f}" for split, name in scores]
        writer.writerow([*run.omega, run.seed, *values, f"{run.epochs:g}", f"{run.seconds:.1f}"])
    return stream.getvalue()
