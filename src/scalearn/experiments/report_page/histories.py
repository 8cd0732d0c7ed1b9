"""What happened during a run, thinned out for the page: losses, dev scores, and omega."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalearn.experiments.report_page.rounding import rounded, thinned

_POINTS = 24
"""The most that a curve has."""
_UNIT = 1e-4
"""Of omega in the page's numbers, which are whole: 0.2531 is 2531."""


def curves(history: Sequence[Mapping[str, Any]], main: Mapping[str, str]) -> dict[str, Any]:
    """Training loss, dev loss and dev scores by step.

    Args:
        history: Trainer's log.
        main: task to its main metric.
    """
    losses = thinned([entry for entry in history if _has(entry, "loss")], _POINTS)
    dev = thinned([entry for entry in history if _has(entry, "eval_loss")], _POINTS)
    alone = len(main) == 1
    names = {task: f"eval_{metric}" if alone else f"eval_{task}_{metric}" for task, metric in main.items()}
    return {
        "loss": [[entry["step"], rounded(entry["loss"])] for entry in losses],
        "dev_loss": [[entry["step"], rounded(entry["eval_loss"])] for entry in dev],
        "dev": {
            task: [[entry["step"], rounded(100 * entry[name])] for entry in dev if _has(entry, name)]
            for task, name in names.items()
        },
    }


@dataclass(frozen=True, kw_only=True)
class Omegas:
    """Omega over a run."""

    steps: Sequence[int]
    values: Sequence[np.ndarray]
    """(L, T), one for each step; (1, T) where all layers share it."""
    layers: int
    """L of the model."""
    kept: int
    """Place of the one that the kept model has."""

    @property
    def size(self) -> int:
        """Numbers in one of them."""
        return int(self.values[0].size)

    @property
    def sources(self) -> int:
        """How many it has coefficients of."""
        return int(self.values[0].shape[1])

    def data(self, most: int) -> dict[str, Any]:
        """For JSON, at most so many of them; each source after source, its layers in order."""
        places = thinned(range(len(self.steps)), most, keep=self.kept)
        return {
            "layers": self.layers,
            "shared": len(self.values[0]) < self.layers,
            "sources": self.sources,
            "steps": [self.steps[place] for place in places],
            "frames": [np.rint(self.values[place].T / _UNIT).astype(int).ravel().tolist() for place in places],
            "kept": places.index(self.kept),
            "of": len(self.steps),
        }


def omegas(history: Sequence[Mapping[str, Any]], *, best_step: int) -> Omegas | None:
    """Omega of every evaluation; None where the run has none."""
    by_step = {int(entry["step"]): np.asarray(entry["omega"], dtype=float) for entry in history if entry.get("omega")}
    values = [value for _, value in sorted(by_step.items())]
    if not values or any(v.ndim != 2 or v.shape != values[0].shape or not np.isfinite(v).all() for v in values):
        return None
    steps, layers = sorted(by_step), len(values[0])
    if layers > 1 and all(np.ptp(value, axis=0).max() == 0 for value in values):
        values = [value[:1] for value in values]
    kept = steps.index(best_step) if best_step in by_step else len(steps) - 1
    return Omegas(steps=steps, values=values, layers=layers, kept=kept)


def _has(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    return isinstance(value, int | float) and math.isfinite(value) and "step" in entry
