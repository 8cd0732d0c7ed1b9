"""Mean ranks as a critical-difference diagram (Demsar, JMLR 2006, figure 1): what is joined by a bar may be equal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from scalearn.experiments.statistics import Comparison

_STEP = 0.36
"""Height of a line of names, inches."""
_INK, _BAR = "#222222", "#c1440e"


def cliques(ranks: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """The largest groups of methods that do not differ, as first and last index.

    Args:
        ranks: ascending.
        critical_difference: up to which two ranks do not differ.
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(index for index, other in enumerate(ranks) if other - rank <= critical_difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def rank_diagram(found: Comparison) -> Figure:
    """Draws the mean ranks, the best on the left, above them the critical difference.

    Args:
        found: with a critical difference.
    """
    assert found.critical_difference is not None
    ordered = sorted(found.ranks.items(), key=lambda item: item[1])
    ranks = [rank for _, rank in ordered]
    groups = cliques(ranks, found.critical_difference)
    left = math.ceil(len(ordered) / 2)
    bars = 0.3 + 0.16 * len(groups)  # below the axis, before the first name
    depth = bars + _STEP * left
    longest = max(len(method) for method in found.methods)
    most, width = len(ordered), 5.0  # inches
    ruler = width * found.critical_difference / (most - 1)
    margin = max(0.075 * longest + 0.75, ruler - width + 0.2)  # inches on each side, for names
    figure = Figure(figsize=(width + 2 * margin, depth + 1.0), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-margin, width + margin)  # in inches, and so is the height: 0 is the axis of ranks
    axes.set_ylim(-depth - 0.1, 0.9)

    def place(rank: float) -> float:
        return width * (rank - 1) / (most - 1)

    axes.plot([0, width], [0, 0], color=_INK, linewidth=1.2, solid_capstyle="butt")
    for tick in range(1, most + 1):
        axes.plot([place(tick)] * 2, [0, 0.1], color=_INK, linewidth=1)
        axes.text(place(tick), 0.14, str(tick), ha="center", va="bottom", fontsize=9, color=_INK)
    axes.plot([0, ruler], [0.55] * 2, color=_BAR, linewidth=1.5, marker="|", markersize=8)
    axes.text(ruler / 2, 0.6, f"CD = {found.critical_difference:.2f}", ha="center", va="bottom", fontsize=9, color=_BAR)
    for index, (method, rank) in enumerate(ordered):
        on_left = index < left
        line = index if on_left else most - 1 - index
        height, edge = -bars - _STEP * (line + 0.5), 0.0 if on_left else width
        outer = min(edge, place(rank)) - 0.1 if on_left else max(edge, place(rank)) + 0.1
        axes.plot([place(rank), place(rank), outer], [0, height, height], color=_INK, linewidth=0.8)
        side, name = ("right", f"{method}  {rank:.2f}") if on_left else ("left", f"{rank:.2f}  {method}")
        axes.text(outer + (-0.06 if on_left else 0.06), height, name, ha=side, va="center", fontsize=9, color=_INK)
    for index, (first, last) in enumerate(groups):
        ends = [place(ranks[first]) - 0.06, place(ranks[last]) + 0.06]
        axes.plot(ends, [-0.16 - 0.16 * index] * 2, color=_BAR, linewidth=3.5, solid_capstyle="round")
    return figure
