"""The page put together: a template, its style and scripts, and the numbers that the scripts draw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from scalearn.atomic import write_text
from scalearn.experiments.method_costs import costs_of
from scalearn.experiments.report_page.overview import overview_of
from scalearn.experiments.report_page.runs import Runs
from scalearn.experiments.report_page.tables import tables_of
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board
from scalearn.experiments.source_effects import explained

_SCRIPTS = ("elements", "sorting", "plot", "scores", "ranks", "coefficients", "sources", "run", "page")
"""In the order in which they need each other."""
_NAMES = {
    "scores": "Scores",
    "parameters": "Parameters",
    "ranks": "Differences",
    "omega": "Omega",
    "transfer": "Transfer",
    "sources": "Sources",
    "probes": "Probes",
    "costs": "Cost",
    "runs": "Runs",
}
_AXES = {"k": "Few-shot", "train_fraction": "Fewer rows", "sources": "Number of sources"}


def write_report_page(path: Path, found: Results, boards: Sequence[Board]) -> None:
    """Writes the page.

    Args:
        path: of the HTML file; replaced if it exists.
        found: what is known of the runs.
        boards: the tables that are made of them.
    """
    environment = Environment(
        loader=PackageLoader("scalearn.experiments.report_page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    runs = Runs(found)
    tables = tables_of(found, boards)
    data = {**runs.data(), "boards": [table.data(runs.place) for table in tables]}
    text = environment.get_template("page.html").render(
        overview=overview_of(found),
        tables=tables,
        costs=costs_of(found),
        runs=runs.lines(),
        sections=_sections(data),
        effects=[warning for group in explained(found) for warning in group.warnings],
        inf=math.inf,
        data=_embedded(data),
        style=Markup(_asset("page.css")),
        script=Markup("\n".join(_asset(f"{name}.js") for name in _SCRIPTS)),
        version=metadata.version("scalearn"),
    )
    write_text(path, text)


def _sections(data: Mapping[str, Any]) -> dict[str, str]:
    """Those that the page has, by anchor, with their names in the navigation."""
    boards, runs = data["boards"], data["runs"]
    axes = [board["axis"] for board in boards if board["axis"]]
    there = {
        "scores": bool(boards),
        "parameters": any(len(board["lines"]) > 1 for board in boards),
        "curves": bool(axes),
        "ranks": any(board["ranks"] for board in boards),
        "omega": any("omega" in run for run in runs),
        "transfer": any("omega" in run for run in runs),
        "sources": any("explained" in run for run in runs),
        "probes": any("probe" in run for run in runs),
        "costs": any(run["state"] == "done" for run in runs),
        "runs": True,
    }
    names = {**_NAMES, "curves": _AXES[axes[0]] if axes else ""}
    return {anchor: names[anchor] for anchor, present in there.items() if present}


def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


def _embedded(data: Any) -> Markup:
    """JSON that no text in it can end."""
    told = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(told.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
