"""Numbers on a grid as pictures: omega for a page, the scores of a probe and similarities for files.

The same numbers give the same bytes, so that a picture under version control changes only when its numbers do.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scalearn.atomic import write_bytes, write_text

_SVG = {"svg.fonttype": "none", "svg.hashsalt": "scalearn", "font.family": "sans-serif"}
_DARK, _LIGHT = "#010101", "white"  # not pure black: in a page that becomes the page's colour


def omega_heatmap(omega: NDArray[np.floating], *, sources: Sequence[str], start: float) -> str:
    """An SVG drawing of omega for use inside a page; its text takes the colour of the page's text.

    Args:
        omega: (T, L), the mean over dimensions of each source's coefficients in each layer.
        sources: T names.
        start: white; colours show how far omega is from there.
    """
    count, layers = omega.shape
    limit = float(np.abs(omega - start).max()) or 1.0
    figure = Figure(figsize=(1.6 + 0.8 * layers, 0.7 + 0.42 * count))
    axes = figure.subplots()
    image = axes.imshow(omega, cmap="RdBu", vmin=start - limit, vmax=start + limit, aspect="auto")
    axes.set_xticks(range(layers), [str(layer + 1) for layer in range(layers)])
    axes.set_yticks(range(count), list(sources))
    axes.set_xlabel("layer")
    inks = np.where(np.abs(omega - start) > 0.6 * limit, _LIGHT, _DARK)
    _annotate(axes, [[f"{value:.3f}" for value in row] for row in omega], inks)
    figure.colorbar(image, ax=axes, pad=0.02).set_label("mean omega")
    drawing = _svg(figure, transparent=True)
    return (
        drawing[drawing.index("<svg") :].replace("#000000", "currentColor").replace("fill: black", "fill: currentColor")
    )


def score_map(
    scores: NDArray[np.floating],
    *,
    spread: NDArray[np.floating] | None = None,
    rows: Sequence[str],
    columns: Sequence[str],
    row_axis: str = "",
    column_axis: str = "",
    colour: str,
    title: str,
    decimals: int = 1,
) -> Figure:
    """A table of scores as colours, each cell with its number.

    Args:
        scores: (R, C); NaN leaves a cell empty.
        spread: (R, C), written under each score.
        rows: R names, the first at the top.
        columns: C names.
        row_axis: what the rows are.
        column_axis: what the columns are.
        colour: what a score is, beside the scale of colours.
        title: over the picture.
        decimals: of the numbers in the cells.
    """
    figure = Figure(figsize=(2.4 + 0.8 * len(columns), 1.5 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    if max(map(len, columns)) > 6:
        axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(column_axis)
    axes.set_ylabel(row_axis)
    _title(figure, title)
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    inks = np.where(scores > low + 0.4 * (high - low), _DARK, _LIGHT) if high > low else np.full(scores.shape, _LIGHT)
    texts = [["" if np.isnan(value) else f"{value:.{decimals}f}" for value in row] for row in scores]
    if spread is not None:
        texts = [
            [text and f"{text}\n± {by:.{decimals}f}" for text, by in zip(*both, strict=True)]
            for both in zip(texts, spread, strict=True)
        ]
    _annotate(axes, texts, inks)
    figure.colorbar(image, ax=axes, pad=0.02).set_label(colour)
    return figure


def score_line(
    scores: NDArray[np.floating],
    *,
    spread: NDArray[np.floating],
    at: Sequence[float],
    axis: str,
    score_axis: str,
    title: str,
) -> Figure:
    """Scores along one coefficient, with their spread as error bars.

    Args:
        scores: (G,), one for each value of the coefficient.
        spread: (G,), drawn above and below.
        at: G values of the coefficient, ascending.
        axis: what the coefficient is.
        score_axis: what a score is.
        title: over the picture.
    """
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(at, scores, yerr=spread, marker="o", capsize=3)
    axes.set_xticks(list(at), [f"{value:g}" for value in at])
    axes.set_xlabel(axis)
    axes.set_ylabel(score_axis)
    _title(figure, title)
    axes.grid(alpha=0.3)
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Writes ``path.svg`` and ``path.png``, each as a whole or not at all.

    Args:
        figure: to be drawn.
        path: without a suffix.
    """
    write_text(path.with_name(f"{path.name}.svg"), _svg(figure))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_bytes(path.with_name(f"{path.name}.png"), buffer.getvalue())


def _title(figure: Figure, title: str) -> None:
    """In as many lines as the figure's width asks for."""
    figure.axes[0].set_title(textwrap.fill(title, int(12 * figure.get_figwidth()), break_on_hyphens=False), fontsize=9)


def _annotate(axes: Any, texts: Sequence[Sequence[str]], inks: NDArray[np.str_]) -> None:
    """Writes each text into its cell."""
    for row, cells in enumerate(texts):
        for column, text in enumerate(cells):
            axes.text(column, row, text, ha="center", va="center", color=str(inks[row, column]), fontsize=9)


def _svg(figure: Figure, **options: Any) -> str:
    tight: dict[str, Any] = {} if figure.get_layout_engine() else {"bbox_inches": "tight"}
    with matplotlib.rc_context(_SVG):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, **tight, **options)
    return buffer.getvalue()
