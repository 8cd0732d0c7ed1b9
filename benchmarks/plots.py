"""Plots of the sections, which can be told apart in grey too: by marker, line and hatching."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.results import Row
from benchmarks.sections.loss_curves import CURVES, WINDOW, read_curves, windows

PLOTS = "plots"
_STYLES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("ours", "bf16"): {"color": "#0b5394", "marker": "o", "linestyle": "-"},
    ("ours", "fp32"): {"color": "#6fa8dc", "marker": "o", "linestyle": "--"},
    ("literal", "bf16"): {"color": "#990000", "marker": "s", "linestyle": "-"},
    ("literal", "fp32"): {"color": "#e69138", "marker": "s", "linestyle": "--"},
}
"""What and number format to its line."""


def draw(folder: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Draws what can be drawn of the rows; section to the name of its plot in `folder`."""
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    drawn = {}
    for section, plot in _PLOTS.items():
        figure = plot([row for row in rows if row.section == section])
        if figure is not None:
            drawn[section] = f"{PLOTS}/{section}.png"
            figure.savefig(folder / drawn[section], dpi=120, metadata={"Software": ""})
    if (folder / CURVES).exists():
        drawn["loss_curves"] = f"{PLOTS}/loss_curves.png"
        curves = _curves(read_curves(folder / CURVES))
        curves.savefig(folder / drawn["loss_curves"], dpi=120, metadata={"Software": ""})
    return drawn


def _step(rows: Sequence[Row]) -> Figure | None:
    return _by_sources(rows, r"(fp32|bf16), (ours|literal), T = (\d+)", "plain", "time over the frozen backbone's")


def _memory(rows: Sequence[Row]) -> Figure | None:
    pattern = r"(fp32|bf16), (ours|literal), T = (\d+): peak"
    return _by_sources(rows, pattern, "plain: peak", "peak memory over the frozen backbone's")


def _by_sources(rows: Sequence[Row], pattern: str, reference: str, axis: str) -> Figure | None:
    """Ratios to a reference against the number of sources, with smallest and largest as bars."""
    lines: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for row in rows:
        match = re.fullmatch(pattern, row.case)
        if match and row.unit == "x" and row.reference.endswith(reference):
            lines.setdefault((match[2], match[1]), []).append((int(match[3]), row))
    if not lines:
        return None
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for (what, number_format), points in lines.items():
        at, own = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        middle = np.array([row.median for row in own])
        spread = [middle - [row.minimum for row in own], [row.maximum for row in own] - middle]
        style = _STYLES[what, number_format]
        axes.errorbar(at, middle, yerr=spread, label=f"{what}, {number_format}", capsize=2, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    counts = sorted({count for points in lines.values() for count, _ in points})
    axes.set_xticks(counts, [str(count) for count in counts])
    ticks = [1, 1.5, 2, 3, 5, 10, 20]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.set_xlabel("sources T")
    axes.set_ylabel(axis)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _seconds(rows: Sequence[Row]) -> Figure | None:
    """Seconds of each case as bars, in the order of the table."""
    own = [row for row in rows if row.unit == "s"][::-1]
    if not own:
        return None
    figure = Figure(figsize=(8, 0.8 + 0.36 * len(own)), layout="constrained")
    axes = figure.subplots()
    middle = np.array([row.median for row in own])
    spread = [middle - [row.minimum for row in own], [row.maximum for row in own] - middle]
    names = [row.case for row in own]
    bars = axes.barh(names, middle, xerr=spread, color="#9fc5e8", edgecolor="black", linewidth=0.6, capsize=2)
    for bar, name in zip(bars, names, strict=True):
        if name.startswith("ours") or "= ours" in name:
            bar.set(hatch="//", facecolor="#3d85c6")
    axes.bar_label(bars, fmt="%.1f s", padding=6, fontsize=8)
    axes.margins(x=0.12)
    axes.set_xlabel("seconds an epoch")
    return figure


def _curves(curves: Mapping[tuple[str, int], Sequence[float]]) -> Figure:
    """Mean losses over seeds with their standard deviation, by number format."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for number_format, style in (("fp32", _STYLES["literal", "fp32"]), ("bf16", _STYLES["ours", "bf16"])):
        own = np.stack([windows(curve) for (name, _), curve in curves.items() if name == number_format])
        at = WINDOW * (np.arange(own.shape[1]) + 0.5)
        mean, spread = own.mean(axis=0), own.std(axis=0, ddof=1)
        axes.plot(at, mean, label=f"{number_format}, {len(own)} seeds", markersize=4, **style)
        axes.fill_between(at, mean - spread, mean + spread, color=style["color"], alpha=0.2, linewidth=0)
    axes.set_xlabel("step")
    axes.set_ylabel(f"training loss, mean of {WINDOW} steps")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


_PLOTS: Mapping[str, Callable[[Sequence[Row]], Figure | None]] = {
    "step": _step,
    "memory": _memory,
    "epoch": _seconds,
    "stage_one": _seconds,
}
