"""One self-contained HTML page about a comparison: table, omega heat map, example predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from scalearn.atomic import write_text
from scalearn.experiments.compare import Row
from scalearn.experiments.heatmap import omega_heatmap
from scalearn.sources import Source
from scalearn.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test row and the model's answer."""

    texts: Mapping[str, str]
    """Column name to text."""
    truth: str
    answer: str
    probabilities: Mapping[str, float]

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.answer == self.truth


def write_page(
    path: Path,
    *,
    task: Task,
    rows: Sequence[Row],
    sources: Sequence[Source],
    omega: NDArray[np.floating],
    starts: Sequence[float],
    examples: Sequence[Example],
    peak_memory: float,
) -> None:
    """Writes the page.

    Args:
        path: of the HTML file; replaced if it exists.
        task: the target.
        rows: the table, a row per method, with test scores.
        sources: the shelf, in the order of omega's rows.
        omega: (T, L), mean over dimensions.
        starts: where the omega of each source began.
        examples: rows of the test split with answers.
        peak_memory: in GB.
    """
    environment = Environment(
        loader=PackageLoader("scalearn", "experiments"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html").render(
        task=task,
        counts={split: len(data) for split, data in task.splits.items()},
        rows=rows,
        best=max(row.test for row in rows if row.test is not None),
        sources=sources,
        begun=_begun([source.name for source in sources], starts),
        heatmap=Markup(
            omega_heatmap(
                omega, sources=[source.name for source in sources], start=starts[0] if len(set(starts)) == 1 else 0.0
            )
        ),
        examples=examples,
        peak_memory=peak_memory,
        version=metadata.version("scalearn"),
    )
    write_text(path, page)


def _begun(sources: Sequence[str], starts: Sequence[float]) -> str:
    """Where omega began, and what the colours of its picture say."""
    if len(set(starts)) == 1:
        return f"It started at {starts[0]:.3f} everywhere; blue has grown since, red has shrunk."
    own = ", ".join(f"{name} {start:.3f}" for name, start in zip(sources, starts, strict=True) if start)
    return f"It started where the rows told: {own}, the others at 0. Blue is above 0, red below."
