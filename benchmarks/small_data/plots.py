"""Plots of the comparison on small data: 7 inches wide, labelled directly, in colours that any eyes tell apart."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import isotonic_regression

from benchmarks.small_data.differences import comparable, difference, mean_over_draws, scores_of
from benchmarks.small_data.records import Record, ordered

WIDTH = 7.0
"""Inches; at 130 dots an inch, 910 pixels."""
AT = 100
"""Rows of the plots that show one number of rows."""
PAIR_ROWS = (16, 32, 100)
"""Rows of the plot of text pairs: with more there are few such targets, and no run of SetFit."""
PAIR_METHODS = ("setfit",)
"""Those that were run on text pairs alone."""
STYLES: Mapping[str, dict[str, Any]] = {
    "scalearn": {"color": "#d55e00", "marker": "o"},
    "adapter": {"color": "#0072b2", "marker": "s"},
    "full": {"color": "#56b4e9", "marker": "D"},
    "best-source": {"color": "#009e73", "marker": "^"},
    "adapterfusion": {"color": "#cc79a7", "marker": "v"},
    "setfit": {"color": "#e69f00", "marker": "P"},
    "head": {"color": "#777777", "marker": "X"},
}
"""The main methods: Okabe and Ito's colours, and markers for those who see none."""
OURS: Mapping[str, Any] = {"color": "#000000", "marker": "*"}
"""Of the method that is compared, where it is none of those."""
_OTHER: Mapping[str, Any] = {"color": "#777777", "marker": "."}


def draw(folder: Path, records: Sequence[Record], *, ours: str) -> list[str]:
    """Draws what can be drawn of the records; the names of the files in the folder."""
    figures = {
        "score-against-rows.png": score_against_rows(records, ours=ours),
        "score-against-rows-pairs.png": score_against_rows(records, ours=ours, rows=PAIR_ROWS, pairs=True),
        "score-against-parameters.png": score_against_parameters(records, ours=ours),
        "difference-to-adapter.png": difference_to_adapter(records),
    }
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        drawn_in_full = io.BytesIO()
        figure.savefig(drawn_in_full, dpi=130)
        Image.open(drawn_in_full).convert("RGB").quantize(128).save(folder / name, optimize=True)
    return list(drawn)


def score_against_rows(
    records: Sequence[Record], *, ours: str, rows: Sequence[int] = (), pairs: bool = False
) -> Figure | None:
    """A line for each main method; bars are 95 % over draws, of these same targets.

    Args:
        records: of all runs.
        ours: the method that is compared.
        rows: that are shown; all there are if none are given.
        pairs: show classification of two texts alone, as SetFit was run on no other.
    """
    methods = [ours, *(name for name in STYLES if name != ours and (pairs or name not in PAIR_METHODS))]
    if pairs:
        records = [record for record in records if record.pair and record.kind == "classification"]
    rows = sorted({record.k for record in records if not rows or record.k in rows})
    scores = comparable(scores_of(records), methods=methods, rows=rows, by_runs=True)
    if not scores:
        return None
    shown = [method for method in methods if any((k, method) in scores for k in rows)]
    figure, axes = _axes(4.6)
    ends: dict[str, tuple[float, float]] = {}
    for place, method in enumerate(shown):
        at = [k for k in rows if (k, method) in scores]
        found = [mean_over_draws(scores[k, method]) for k in at]
        aside = np.array(at) * 1.012 ** (place - (len(shown) - 1) / 2)  # so that bars do not hide each other
        reaches = [reach or 0.0 for _, reach in found]
        first = {"linewidth": 2.4, "zorder": 3} if method == ours else {"linewidth": 1.3}
        axes.errorbar(
            aside, [mean for mean, _ in found], reaches, markersize=6, elinewidth=1, **_style(method, ours), **first
        )
        ends[method] = (float(aside[-1]), found[-1][0])
    ticks = sorted({k for k, _ in scores})
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [str(k) for k in ticks])
    low, high = axes.get_ylim()
    right = ticks[-1] * 1.12
    whole = [method for method in ends if (ticks[-1], method) in scores]
    heights = dict(zip(whole, _apart([ends[method][1] for method in whole], (high - low) / 20), strict=True))
    for method, (x, y) in ends.items():
        where, height = (
            (right, heights[method]) if method in heights else (x, y)
        )  # a line that ends early is named there
        look = {
            "color": _style(method, ours)["color"],
            "fontsize": 10,
            "weight": "bold" if method == ours else "normal",
        }
        axes.plot([x * 1.02, where], [y, height], color=look["color"], linewidth=0.8, linestyle=":")
        halo = [withStroke(linewidth=2.5, foreground="white")]
        axes.annotate(
            method, (where, height), (7, 0), textcoords="offset points", va="center", path_effects=halo, **look
        )
    axes.set_xlim(ticks[0] * 0.9, right * (right / ticks[0] * 1.3) ** 0.27)
    axes.set_xlabel("training rows")
    targets = list(dict.fromkeys(target for runs in scores.values() for target, _ in runs))
    kind = "text-pair targets" if pairs else "targets"
    _titled(axes, f"Score against training rows, mean over {len(targets)} {kind}", _below(targets))
    return figure


def score_against_parameters(records: Sequence[Record], *, ours: str) -> Figure | None:
    """A point for each method at `AT` rows; bars are 95 % over draws, of these same targets."""
    own = [record for record in records if record.k == AT]
    scores = comparable(scores_of(own), methods=ordered(record.method for record in own), rows=[AT])
    if not scores:
        return None
    trained = {method: _trained(own, method) for _, method in scores}
    nothing = 0.5 * min([1.0, *(count for count in trained.values() if count)])
    figure, axes = _axes(4.8)
    points = {}
    for _, method in scores:
        mean, reach = mean_over_draws(scores[AT, method])
        points[method] = (trained[method] or nothing, mean)
        size = 12 if method == ours else 7
        axes.errorbar(
            *points[method], reach or 0.0, elinewidth=0.8, markersize=size, linestyle="", **_style(method, ours)
        )
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    powers = [10**power for power in range(1, 9) if 10**power < 4 * max(trained.values())]
    axes.set_xticks([nothing, *powers], ["0", *(EngFormatter(sep="")(power) for power in powers)])
    axes.set_xlim(nothing / 2, max(10.0, *trained.values()) * 4)
    axes.margins(y=0.1)
    axes.set_xlabel("trained parameters without the head")
    targets = list(dict.fromkeys(target for runs in scores.values() for target, _ in runs))
    title = f"Score against trained parameters at {AT} rows, mean over {len(targets)} targets"
    _titled(axes, title, _below(targets))
    _label(figure, axes, points, ours)
    return figure


def difference_to_adapter(records: Sequence[Record]) -> Figure | None:
    """Every method minus adapter on every target at `AT` rows, on the draws both have."""
    scores = scores_of(record for record in records if record.k == AT)
    if (AT, "adapter") not in scores:
        return None
    against = {
        method: difference(scores[AT, method], scores[AT, "adapter"])
        for method in ordered(method for _, method in scores)
        if method != "adapter"
    }
    rows = {method: found for method, found in against.items() if found is not None}
    if not rows:
        return None
    targets = sorted({target for found in rows.values() for target in found.by_target})
    table = np.array([[found.by_target.get(target, np.nan) for target in targets] for found in rows.values()])
    limit = max(1.0, float(np.nanquantile(np.abs(table), 0.9)))
    cells = np.column_stack([table, np.full(len(rows), np.nan), [found.mean for found in rows.values()]])
    figure, axes = _axes(1.6 + 0.3 * len(rows))
    axes.imshow(cells, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.65 * limit else "black"
            axes.text(
                column, row, f"{value:+.1f}".replace("-0.0", "+0.0"), ha="center", va="center", fontsize=9, color=colour
            )
        elif column != len(targets):
            axes.text(column, row, "no run", ha="center", va="center", fontsize=7, color="#777777")
    places = [*range(len(targets)), len(targets) + 1]
    axes.set_xticks(places, [*targets, "mean"], fontsize=9, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _titled(axes, f"Points above (blue) or below (red) the target's own adapter, {AT} rows")
    return figure


def _axes(height: float) -> tuple[Figure, Any]:
    """An empty figure, light whatever the reader's settings."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _titled(axes: Any, title: str, below: str = "") -> None:
    lines = textwrap.wrap(below, 112, break_on_hyphens=False)
    axes.set_title(title, loc="left", fontsize=11, pad=6 + 14 * len(lines))
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "linespacing": 1.3}
    axes.annotate("\n".join(lines), (0, 1), (0, 6), **place, fontsize=8.5, color="#555555").set_in_layout(False)


def _below(targets: Sequence[str]) -> str:
    return f"points, bars 95 % over draws of rows; {', '.join(sorted(targets))}"


def _style(method: str, ours: str) -> dict[str, Any]:
    if method in STYLES:
        return dict(STYLES[method])
    return dict(OURS if method == ours else _OTHER)


def _trained(records: Sequence[Record], method: str) -> float:
    return float(np.median([record.parameters for record in records if record.method == method]))


def _apart(wanted: Sequence[float], gap: float) -> NDArray[np.float64]:
    """The places nearest to those wanted, by least squares, that keep their order and are `gap` apart."""
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    placed = np.empty(len(wanted))
    placed[order] = isotonic_regression(np.array(wanted)[order] - steps).x + steps
    return placed


def _label(figure: Figure, axes: Any, points: Mapping[str, tuple[float, float]], ours: str) -> None:
    """Writes each name beside its point, in the nearest of some places where nothing else is."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # what was measured stays where it is
    frame = axes.get_window_extent(canvas.get_renderer())
    pixels = dict(zip(points, axes.transData.transform(list(points.values())), strict=True))
    taken = [
        Bbox.from_extents(x - 5, y - 9, x + 5, y + 9) for x, y in pixels.values()
    ]  # points, and most of their bars
    for method in [ours, *(name for name in points if name != ours)]:
        if method not in points:
            continue
        look = {"fontsize": 8.5, "va": "center", "weight": "bold" if method == ours else "normal"}
        measured = axes.text(0, 0, method, **look).get_window_extent(canvas.get_renderer())
        axes.texts[-1].remove()
        (x, y), width, height = pixels[method], measured.width, measured.height
        boxes: dict[tuple[float, float], Bbox] = {
            (across, up): Bbox.from_bounds(x + across, y + up - height / 2, width, height)
            for far in (0, 16, 30, 45, 60, 75, 90)
            for up in (far, -far)
            for across in (10, -10 - width, *((-width / 2,) if far else ()))
        }
        free = [
            place
            for place, box in boxes.items()
            if frame.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if not any(box.overlaps(other) for other in taken)
        ]
        place = free[0] if free else (10, 0)
        taken.append(boxes[place])
        colour = _style(method, ours)["color"]
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3} if place[1] else None
        offset = tuple(72 / figure.dpi * value for value in place)
        axes.annotate(method, points[method], offset, textcoords="offset points", color=colour, arrowprops=line, **look)
