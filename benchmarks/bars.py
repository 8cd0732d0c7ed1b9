"""The bars of the plan, and what was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Row, figure
from benchmarks.sections.epochs import PUBLISHED, WITH_DROPOUT, WITHOUT_DROPOUT
from benchmarks.sections.memory import PER_SOURCE


@dataclass(frozen=True)
class Bar:
    """What is asked of one figure, in every number format that it was measured in."""

    what: str
    section: str
    case: str
    """How the name of the row's case ends."""
    reference: str
    """How that of its reference ends."""
    least: float | None = None
    most: float | None = None
    unit: str = "x"

    @property
    def asked(self) -> str:
        """In words."""
        return f"<= {self.most:g}" if self.least is None else f">= {self.least:g}"

    def met(self, value: float) -> bool:
        """Whether a figure meets it."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """Those that it judges."""
        return [
            row
            for row in rows
            if (row.section, row.unit) == (self.section, self.unit)
            and row.case.endswith(self.case)
            and row.reference.endswith(self.reference)
        ]


BARS = (
    Bar("training step over the frozen backbone's, T = 8", "step", "ours, T = 8", "plain", most=1.12),
    Bar("training step over the frozen backbone's, T = 64", "step", "ours, T = 64", "plain", most=1.5),
    Bar("literal step over ours, T = 8", "step", "literal, T = 8", "ours, T = 8", least=1.8),
    Bar("literal step over ours, T = 64", "step", "literal, T = 64", "ours, T = 64", least=9),
    Bar("peak memory of a step over the backbone's, T = 64", "memory", "ours, T = 64: peak", "plain: peak", most=1.3),
    Bar(
        "saved for backward per added source, literal over ours",
        "memory",
        f"literal: {PER_SOURCE}",
        f"ours: {PER_SOURCE}",
        least=15,
    ),
    Bar("epoch, published over ours with backbone dropout", "epoch", PUBLISHED, f"= {WITH_DROPOUT}", least=12),
    Bar("epoch, published over ours without it", "epoch", PUBLISHED, WITHOUT_DROPOUT, least=17),
    Bar(
        "inference, folded over plain, 32 x 128, first token",
        "inference",
        "32 x 128, first token, folded",
        "plain",
        most=1.05,
    ),
    Bar("inference, folded over plain, 32 x 128, mean", "inference", "32 x 128, mean, folded", "plain", most=1.15),
    Bar("AdapterFusion over ScaLearn, training step", "fusion", "training, AdapterFusion", "training, ScaLearn", 2),
    Bar("AdapterFusion over ScaLearn, inference", "fusion", "inference, AdapterFusion", "inference, ScaLearn", 3),
    Bar("stage one, published over ours with backbone dropout", "stage_one", PUBLISHED, WITH_DROPOUT, least=10),
    Bar("stage one, published over ours without it", "stage_one", PUBLISHED, WITHOUT_DROPOUT, least=10),
    Bar("scalearn --help, seconds", "start", "scalearn --help", "", most=0.5, unit="s"),
    Bar("scalearn predict of one row, cold, seconds", "start", "scalearn predict, one row", "", most=3, unit="s"),
)


def table(rows: Sequence[Row]) -> str:
    """Markdown: each bar, its figures by number format, and whether it is met."""
    lines = ["| what | bar | measured | met |", "|---|---|---|---|"]
    for bar in BARS:
        found = bar.rows(rows)
        if not found:
            lines.append(f"| {bar.what} | {bar.asked} | not measured | |")
        for row in found:
            short = 0.0 if bar.met(row.median) else abs(row.median / (bar.most or bar.least or 1) - 1)
            verdict = "yes" if not short else f"no, by {figure(100 * short)} %"
            lines.append(f"| {bar.what}{_format(row)} | {bar.asked} | {row} | {verdict} |")
    exact = "`tests/deltas`, `tests/test_benchmarks.py`"
    lines.append(f"| every fast path equals the slow one, float64 | <= 1e-12 | tested: {exact} | |")
    return "\n".join(lines) + "\n"


def _format(row: Row) -> str:
    first = row.case.partition(",")[0]
    return f", {first}" if first in ("fp32", "bf16") else ""
