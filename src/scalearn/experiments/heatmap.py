"""Omega as a picture: sources x layers."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def omega_heatmap(omega: NDArray[np.floating], *, sources: Sequence[str], start: float) -> str:
    """An SVG drawing of omega for use inside a page; its text takes the colour of the page's text.

    Args:
        omega: (T, L), the mean over dimensions of each source's coefficients in each layer.
        sources: T names.
        start: where omega began; colours show how far it moved from there.
    """
    count, layers = omega.shape
    limit = float(np.abs(omega - start).max()) or 1.0
    figure = Figure(figsize=(1.6 + 0.8 * layers, 0.7 + 0.42 * count))
    axes = figure.subplots()
    image = axes.imshow(omega, cmap="RdBu", vmin=start - limit, vmax=start + limit, aspect="auto")
    axes.set_xticks(range(layers), [str(layer + 1) for layer in range(layers)])
    axes.set_yticks(range(count), list(sources))
    axes.set_xlabel("layer")
    for row, column in np.ndindex(count, layers):
        value = float(omega[row, column])
        ink = (
            "white" if abs(value - start) > 0.6 * limit else "#010101"
        )  # not pure black: that becomes the page's colour
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink, fontsize=9)
    figure.colorbar(image, ax=axes, pad=0.02).set_label("mean omega")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scalearn", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    drawing = buffer.getvalue()
    return (
        drawing[drawing.index("<svg") :].replace("#000000", "currentColor").replace("fill: black", "fill: currentColor")
    )
