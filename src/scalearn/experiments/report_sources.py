"""What each source did, in the report: tables and warnings, and a picture for each method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from scalearn.experiments.heatmap import score_map, write_figure
from scalearn.experiments.source_effects import Explained
from scalearn.experiments.tables import markdown_table

_HEADINGS = ("target", "source", "share", "without it", "change", "alone", "verdict")
EFFECTS_LEGEND = """\
Percent on the dev rows, nothing trained anew. Without it: the score with the source's coefficients at 0; its change
against the whole model as mean ± standard deviation (n seeds), of one seed with the standard error (se) of the
difference by a paired bootstrap of the rows. Alone: the score with all other coefficients at 0. Share: of the norm of
what all sources add. Helps or hurts: the change is larger than its error, which is a low bar, and the dev rows chose
the checkpoint too: a source that hurts is one to leave out of a new run, to see.
"""


def sources_parts(groups: Sequence[Explained], folder: Path, *, backbone: str, suffix: str) -> Iterator[str]:
    """Writes the pictures, and yields the Markdown.

    Args:
        groups: of all backbones.
        folder: where to write.
        backbone: the one whose part this is.
        suffix: of the pictures' names.
    """
    own = [group for group in groups if group.backbone == backbone]
    if not own:
        return
    yield f"## {backbone}: what each source did\n\n{EFFECTS_LEGEND}"
    yield effects_warnings(own)
    by_method = itertools.groupby(
        sorted(own, key=lambda group: _order(own, group)), key=lambda group: (group.point, group.label)
    )
    for place, ((point, label), members) in enumerate(by_method, start=1):
        method = list(members)
        title = label if point is None else f"{label}, {point.axis} = {point.value:g}"
        yield f"### {title}: what each source did\n\n{effects_table(method)}"
        name = f"source-effects{suffix}-{place}"
        write_figure(_map(method, title=title), folder / name)
        yield f"![{title}: change of the dev score without a source]({name}.png)\n"


def effects_warnings(groups: Sequence[Explained]) -> str:
    """A line for each source that hurts in more than half of the seeds, or that there is none."""
    lines = [f"- **Negative transfer**: {warning}." for group in groups for warning in group.warnings]
    return "\n".join([*(lines or ["No source hurts in more than half of the seeds."]), ""])


def effects_table(method: Sequence[Explained]) -> str:
    """The scores with all and with no source, and a row for each target and source."""
    whole = "; ".join(f"{one.task} {one.metric} {one.score:.1f}, {one.bare:.1f} with no source" for one in method)
    table = markdown_table(_HEADINGS, [cells for group in method for cells in _cells(group)], names=2)
    return f"{whole}.\n\n{table}"


def _order(own: Sequence[Explained], group: Explained) -> int:
    """Where its method was first named."""
    return next(i for i, one in enumerate(own) if (one.point, one.label) == (group.point, group.label))


def _cells(group: Explained) -> Iterator[tuple[str, ...]]:
    for effect in group.effects:
        yield (
            group.task,
            effect.source,
            f"{effect.share:.1f} %",
            f"{effect.without:.1f}",
            f"{effect.difference:+.1f} {effect.error_text}",
            f"{effect.alone:.1f}",
            effect.verdict,
        )


def _map(method: Sequence[Explained], *, title: str) -> Figure:
    sources = list(dict.fromkeys(effect.source for group in method for effect in group.effects))
    changes = np.full((len(sources), len(method)), math.nan)
    for column, group in enumerate(method):
        for effect in group.effects:
            changes[sources.index(effect.source), column] = effect.difference
    return score_map(
        changes,
        rows=sources,
        columns=[group.task for group in method],
        row_axis="source",
        column_axis="target",
        colour="points",
        title=f"{title}: change of the dev score without a source",
    )
