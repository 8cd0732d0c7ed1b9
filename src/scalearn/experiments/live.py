"""What a launch is doing, as a table for the terminal: from the grid, and from what runs under way say on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scalearn.experiments.grid import Grid
from scalearn.experiments.outcome import Failure
from scalearn.experiments.runner import PROGRESS
from scalearn.experiments.store import under_way


def live_table(grid: Grid) -> RenderableType:
    """The runs under way with their progress, and how far the grid is.

    Args:
        grid: that is running.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    told = dict(_progress(grid.runs))
    for run in list(grid.running.values()):
        state = told.get(run.id, {})
        step, steps = state.get("step", 0), state.get("steps", 0)
        bar = ProgressBar(total=steps or 1, completed=step, width=20)
        table.add_row(Text(str(run)), bar, f"step {step:,} of {steps:,}" if steps else "starting")
    failed = sum(isinstance(result, Failure) for result in grid.over.values())
    parts = [f"{len(grid.over):,} of {len(grid.plan.runs):,} runs"]
    parts += [f"{len(grid.found):,} done before"] if grid.found else []
    parts += [f"{failed:,} failed"] if failed else []
    parts += [f"about {duration(left)} left"] if (left := grid.seconds_left) else []
    whole = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    whole.add_row(ProgressBar(total=len(grid.plan.runs), completed=len(grid.over), width=40), ", ".join(parts))
    return Group(table, whole)


def duration(seconds: float) -> str:
    """For people, in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _progress(runs: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What each run under way says, by its id; also those of other launches."""
    for place in under_way(runs):
        try:
            told = json.loads((place.partial / PROGRESS).read_text(encoding="utf-8"))
            yield str(told["id"]), told
        except (OSError, ValueError, KeyError, TypeError):
            continue  # just begun, or just over
