"""Score against trained parameters: what a method costs to keep, and what it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

_OFFSETS = (
    *((8, 0), (-8, 0), (0, 10), (0, -10), (10, 10), (-10, 10), (10, -10), (-10, -10)),
    *((0, 24), (0, -24), (14, 24), (-14, 24), (14, -24), (-14, -24), (0, 38), (0, -38), (20, 38), (20, -38)),
)
"""Where a name may stand from its point, in points; of those that are freest the first."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A method."""

    label: str
    trained: int
    """Parameters besides the head."""
    score: float
    """Percent."""
    spread: float
    """Drawn above and below."""


def efficiency_figure(marks: Sequence[Mark], *, score_axis: str) -> Figure:
    """Draws a point for each method; those that train nothing stand left of a line, at 0.

    Args:
        marks: at least one.
        score_axis: what a score is.
    """
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    exponents = [math.log10(mark.trained) for mark in marks if mark.trained > 0]
    low = math.floor(min(exponents, default=0))
    high = max([*exponents, low + 1])
    nothing = any(mark.trained == 0 for mark in marks)
    palette = matplotlib.colormaps["tab10" if len(marks) <= 10 else "tab20"]
    places = [math.log10(mark.trained) if mark.trained else low - 1.2 for mark in marks]
    for index, (mark, place) in enumerate(zip(marks, places, strict=True)):
        axes.errorbar(
            place, mark.score, yerr=mark.spread, marker="o", markersize=6, capsize=3, color=palette(index % palette.N)
        )
    axes.set_xlim(low - (2 if nothing else 0.3), high + 0.6)
    ticks: list[float] = list(range(low, math.floor(high) + 1))
    names = [f"$10^{{{tick}}}$" for tick in ticks]
    if nothing:
        axes.axvline(low - 0.5, color="#888888", linestyle=":", linewidth=1)
        ticks, names = [low - 1.2, *ticks], ["0", *names]
    axes.set_xticks(ticks, names)
    axes.margins(y=0.15)
    axes.set_xlabel("trained parameters besides the head")
    axes.set_ylabel(score_axis)
    axes.grid(alpha=0.3)
    canvas.draw()  # the constrained layout moves the axes, and with them every point
    figure.set_layout_engine("none")
    taken = [_around(axes, place, mark) for mark, place in zip(marks, places, strict=True)]
    if nothing:
        taken.append(_column(axes, low - 0.5))
    for number, (mark, place) in enumerate(zip(marks, places, strict=True)):
        line = {"arrowstyle": "-", "color": palette(number % palette.N), "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
        texts = [
            axes.annotate(
                mark.label,
                (place, mark.score),
                xytext=offset,
                textcoords="offset points",
                ha="center" if not offset[0] else "left" if offset[0] > 0 else "right",
                va="center" if not offset[1] else "bottom" if offset[1] > 0 else "top",
                fontsize=8.5,
                arrowprops=line,
            )
            for offset in _OFFSETS
        ]
        boxes = [_box(text, canvas) for text in texts]
        free = [_overlap(box, taken) + _outside(box, axes.bbox) for box in boxes]
        chosen = free.index(min(free))
        for index, text in enumerate(texts):
            if index != chosen:
                text.remove()
        taken.append(boxes[chosen])
    return figure


def _box(text: Annotation, canvas: FigureCanvasAgg) -> Bbox:
    """The box of a name without its line, pixels."""
    text.update_positions(canvas.get_renderer())
    return Text.get_window_extent(text, canvas.get_renderer()).padded(3)


def _around(axes: Axes, place: float, mark: Mark) -> Bbox:
    """The box of a point and its spread, pixels."""
    corners = axes.transData.transform([(place, mark.score - mark.spread), (place, mark.score + mark.spread)])
    return Bbox(corners).padded(4)


def _column(axes: Axes, place: float) -> Bbox:
    """The box of a vertical line, pixels."""
    ((middle, _),) = axes.transData.transform([(place, 0)])
    return Bbox.from_extents(middle - 1, axes.bbox.y0, middle + 1, axes.bbox.y1)


def _overlap(box: Bbox, taken: Sequence[Bbox]) -> float:
    """The area that a box shares with others, pixels."""
    shared = [Bbox.intersection(box, other) for other in taken]
    return sum(other.width * other.height for other in shared if other is not None)


def _outside(box: Bbox, axes: Bbox) -> float:
    """The area of a box that is not inside the axes, pixels."""
    return float(box.width * box.height) - _overlap(box, [axes])
