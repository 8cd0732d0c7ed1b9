"""Scores along an axis as lines: a panel for each task, a line for each method, its spread as a band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method on one task."""

    at: tuple[float, ...]
    """Places on the axis, ascending."""
    mean: tuple[float, ...]
    """Scores, one for each."""
    spread: tuple[float, ...]
    """Drawn above and below."""


def score_curves(panels: Mapping[str, Mapping[str, Line]], *, axis: str, score_axis: str, logarithmic: bool) -> Figure:
    """Draws the panels with one legend for all.

    Args:
        panels: title to lines by name; a name has one colour in all panels.
        axis: what the places are.
        score_axis: what the scores are.
        logarithmic: whether equal steps on the axis are equal factors.
    """
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    palette = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    colours = {name: to_hex(palette(index % palette.N)) for index, name in enumerate(names)}
    figure = Figure(figsize=(1.0 + 3.0 * columns, 1.0 + 2.6 * rows), layout="constrained")
    places = sorted({place for lines in panels.values() for line in lines.values() for place in line.at})
    axes_of = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, lines) in zip(axes_of.flat, panels.items(), strict=False):
        for name, line in lines.items():
            colour = colours[name]
            mean, spread = np.array(line.mean), np.array(line.spread)
            axes.plot(line.at, mean, marker="o", markersize=4, color=colour)
            axes.fill_between(line.at, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    for axes in axes_of.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(axis, fontsize=10)
    figure.supylabel(score_axis, fontsize=10)
    handles = [Line2D([], [], marker="o", markersize=4, color=colours[name]) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=min(columns + 1, len(names)), fontsize=9)
    return figure
