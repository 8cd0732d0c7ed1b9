"""An explanation (`scalearn.explanation`) for reading.

FOLDER/explanation.json    all of it
       explanation.md      the table, what hurts, the picture
       omega.png, .svg     mean omega by source and layer
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scalearn.atomic import new_folder, write_text
from scalearn.experiments.heatmap import score_map, write_figure
from scalearn.experiments.tables import markdown_table
from scalearn.explanation import Effect, Explanation

HEADINGS = ("source", "mean |omega|", "share", "without it", "change ± se", "alone", "verdict")
_LEGEND = """\
Share: of the norm of what the sources add, mean over layers. Without it: the score with its coefficients at 0; the
change of that against the whole model, with its standard error by a paired bootstrap of the rows. Alone: the score with
all other coefficients at 0. Nothing was trained anew.
"""


def title(found: Explanation) -> str:
    """What was explained, and its score."""
    score = f"{found.metric} {100 * found.score:.1f} (se {100 * found.stderr:.1f})"
    return f"{found.method} on {found.task}: {score} on {found.split}, {found.rows:,} rows; {_bare(found)}"


def _bare(found: Explanation) -> str:
    return f"{100 * found.bare:.1f} with no source"


def cells(effect: Effect) -> tuple[str, ...]:
    """One row of the table, under `HEADINGS`; scores in percent."""
    return (
        effect.source,
        f"{effect.mean_omega:.4f}",
        f"{100 * effect.share:.1f} %",
        f"{100 * effect.without:.1f}",
        f"{100 * effect.difference:+.1f} ± {100 * effect.stderr:.1f}",
        f"{100 * effect.alone:.1f}",
        effect.verdict,
    )


def warnings(found: Explanation) -> list[str]:
    """A line for each source that hurts."""
    return [
        f"{effect.source} hurts: without it {found.metric} rises by {100 * effect.difference:.1f} points "
        f"(se {100 * effect.stderr:.1f}); train anew without it (--exclude {effect.source}) and compare"
        for effect in found.hurting
    ]


def markdown(found: Explanation) -> str:
    """All of it but the picture."""
    table = markdown_table(HEADINGS, [cells(effect) for effect in found.effects], names=1)
    hurts: Sequence[str] = [f"- {line}" for line in warnings(found)] or ["No source hurts by more than that error."]
    return "\n".join([f"# {title(found)}\n", table, _LEGEND, *hurts, ""])


def write_explanation(found: Explanation, folder: Path, *, overwrite: bool = False) -> None:
    """Writes all files into a new folder.

    Args:
        found: what `scalearn.explanation.explain` gave.
        folder: must not exist, unless `overwrite`.
        overwrite: replace a folder that exists.
    """
    omega = np.array(found.omega).T  # (T, sites)
    figure = score_map(
        omega,
        rows=[effect.source for effect in found.effects],
        columns=found.layers,
        row_axis="source",
        column_axis="layer",
        colour="mean omega",
        title=f"{found.method} on {found.task}: mean omega over dimensions",
        decimals=2,
    )
    with new_folder(folder, overwrite=overwrite) as aside:
        write_figure(figure, aside / "omega")
        write_text(aside / "explanation.md", f"{markdown(found)}\n![Mean omega by source and layer](omega.png)\n")
        write_text(aside / "explanation.json", json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
