"""RESULTS.md, of all that stands in results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import bars, nearness
from benchmarks.facts import FACTS
from benchmarks.results import Row, figure
from benchmarks.sections.registry import SECTIONS

_HOW = """\
`make bench`, or `python -m benchmarks --only step,memory` for some sections. Every round runs every case of a section
once, in a random order; a factor is a case's time over its reference's *in the same round*. Given are medians over
rounds, with the smallest and largest value in brackets and the quartiles beside them. All figures, with their spread,
are in results.csv. all-MiniLM-L6-v2; sources are random adapters of bottleneck 24, for their values cost nothing.
"""

_GPU = """\
The same command measures on a GPU (`--device cuda`): it waits for the device around every timing and takes memory from
CUDA. **It was never run on one.**
"""

_ABOUT_BARS = """\
The bars were set for bf16 on a machine with two cores; each is judged in every format that was measured. Which of them
training uses here is said above.
"""


def write(folder: Path, rows: Sequence[Row], plots: Mapping[str, str]) -> Path:
    """Writes RESULTS.md.

    Args:
        folder: where.
        rows: all that was measured.
        plots: section to the name of its plot, in the folder.
    """
    parts = ["# Speed\n", _HOW, _machine(rows)]
    if not any(row.device.startswith("cuda") for row in rows):
        parts.append(_GPU)
    parts += ["## Bars\n", _ABOUT_BARS, bars.table(rows)]
    for name, section in SECTIONS.items():
        own = [row for row in rows if row.section == name]
        if own:
            parts += [f"## {section.title}\n", f"`--only {name}`. {section.text}\n"]
            parts += [f"![{section.title}]({plots[name]})\n"] if name in plots else []
            parts += [_table(own)]
    parts += ["## How near the limits\n", nearness.text(rows)]
    path = folder / "RESULTS.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _machine(rows: Sequence[Row]) -> str:
    """What was measured on, and when each section was."""
    known = [row.case for row in rows if row.section == FACTS]
    lines = [f"- {fact}" for fact in known]
    occasions: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        if row.section in SECTIONS:
            occasions.setdefault((row.date, row.commit[:10] or "unknown", row.device), {})[row.section] = None
    for (date, commit, device), sections in sorted(occasions.items()):
        lines.append(f"- measured on {date} at commit {commit}, {device}: {', '.join(sections)}")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> str:
    """A section's cases in Markdown, and its notes below."""
    notes = [row.case for row in rows if row.unit == "note"]
    lines = list(_lines([row for row in rows if row.unit != "note"]))
    head = ["| case | median | factor | quartiles | over | n |", "|---|---:|---:|---:|---|---:|"] if lines else []
    return "\n".join([*head, *lines, *([""] if lines and notes else []), *notes]) + "\n"


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    for case, own in cases.items():
        plain = next((row for row in own if row.unit != "x"), None)
        median = f"{plain} {plain.unit}" if plain else ""
        ratios = [row for row in own if row.unit == "x"]
        if plain and not ratios:
            yield f"| {case} | {median} | | {_quartiles(plain)} | | {plain.n} |"
        for index, row in enumerate(ratios):
            name, value = (case, median) if index == 0 else ("", "")
            yield f"| {name} | {value} | {row} | {_quartiles(row)} | {row.reference} | {row.n} |"


def _quartiles(row: Row) -> str:
    return f"{figure(row.lower)} to {figure(row.upper)}" if row.n > 1 else ""
