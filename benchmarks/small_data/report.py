"""Tables and plots of the comparison on small data, from what its runs left.

    python -m benchmarks.small_data.report --runs OUT/runs [--docs docs]
    python -m benchmarks.small_data.report --csv benchmarks/small_data/results.csv [--docs docs]

or of both, where new runs were added to those of the CSV file (a run that both have is the folder's); it
writes results.csv, of all runs, and RESULTS.md, and with ``--docs`` the plots in ``small-data/`` and the tables of
``small-data.md`` between ``<!-- table: NAME -->`` and ``<!-- end -->``. What was not run is left out, and n is said.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.results import figure
from benchmarks.small_data.choice import AGAINST, CHOICES, chosen
from benchmarks.small_data.differences import Difference, Scores, difference, draws_of, means, scores_of
from benchmarks.small_data.plots import STYLES, draw
from benchmarks.small_data.records import FORMER, Record, csv_text, in_order, ordered, read_csv, read_runs
from benchmarks.small_data.targets import AFTER
from scalearn.atomic import write_text
from scalearn.errors import InputError
from scalearn.experiments.tables import NONE, markdown_table, p_text

ROWS = (16, 32, 100, 500)
"""Training rows of the comparison."""
PAGE = "small-data.md"
_MARK = re.compile(r"(<!-- table: (\S+) -->\n)(?:(?!<!-- ).)*?(^<!-- end -->)", re.M | re.S)
_ABOUT = """\
# Small data

`python -m benchmarks.small_data.report --csv benchmarks/small_data/results.csv` makes this page of the runs in
results.csv; docs/small-data.md says how they were made, and on what machine. Scores are points of each target's main
metric on its test rows. {runs:,} runs on {targets} targets that no default was chosen by: {names}. But
after runs on all but {after} the rule of where omega starts was changed; `scalearn-first-rule` is ScaLearn before that.
{development}"""
_DEVELOPMENT = "{runs:,} more are of targets that they were chosen by, in the last table only: {names}.\n"
_PAIRED = """\
{ours} minus each method, on the targets and draws that both have. 95 % is over data sets, by a hierarchical paired
bootstrap (data sets, then draws of each; 10,000 resamples) scaled to Student's t: with so few it is how they vary that
decides, not how many draws there are. The columns of one table (disaster-...) share their rows and are one data set.
p is Wilcoxon's over the means of data sets, not corrected for how many comparisons there are; of n it cannot be below
2^(1 - n).
"""
_CHOSEN = """\
Several methods are trained on the same rows, and the one with the higher dev score is kept, of equal ones one by
chance; then as above. It was looked at after the comparison had been run, so that it is no goal that was set before.
"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What the comparison was to show, said before it was run."""

    against: str
    rows: tuple[int, ...]
    least: float
    """Points that ours is to be above it, at least."""
    worst: bool = False
    """On the worst target, instead of in the mean."""
    above: bool = False
    """And the 95 % interval is to be above 0."""
    pairs: bool = False
    """On classification of two texts only."""

    def __str__(self) -> str:
        on = "worst target" if self.worst else "mean, text pairs" if self.pairs else "mean"
        return f"minus {self.against}, {on}: >= {self.least:g}" + (", interval above 0" if self.above else "")


BARS = (
    Bar(against="adapter", rows=(100, 500), least=5, above=True),
    Bar(against="adapterfusion", rows=(100, 500), least=0),
    Bar(against="best-source", rows=ROWS, least=-1, worst=True),
    Bar(against="setfit", rows=(16, 32), least=0, pairs=True),
)


def tables(records: Sequence[Record], *, ours: str) -> dict[str, str]:
    """All tables in Markdown, by name; those of a number of rows that was not run say so."""
    own = [record for record in records if not record.development]
    scores = scores_of(own)
    rows = sorted({*ROWS, *(record.k for record in own)})
    made = {
        "mean": mean_table(scores, rows),
        "development": mean_table(scores_of(record for record in records if record.development), rows),
        "bars": bars_table(own, ours=ours),
        "bars-before": bars_table([record for record in own if record.target not in AFTER], ours=ours),
        "bars-after": bars_table([record for record in own if record.target in AFTER], ours=ours),
        "cost": cost_table(own, rows),
        "chosen": chosen_table(own, rows),
    }
    for k in rows:
        made[f"targets-{k}"] = targets_table(scores, k, ours=ours)
    for k in rows:
        made[f"differences-{k}"] = differences_table(scores, k, ours=ours)
    return made


def mean_table(scores: Scores, rows: Sequence[int]) -> str:
    """The mean over targets of each method, with the targets and runs it is of."""

    def cell(k: int, method: str) -> str:
        if (k, method) not in scores:
            return NONE
        by_target = means(scores[k, method])
        mean = statistics.fmean(by_target.values())
        return f"{mean:.1f} ({len(by_target)}; {len(scores[k, method])})"

    cells = [[method, *(cell(k, method) for k in rows)] for method in ordered(method for _, method in scores)]
    return _table(["method", *(f"{k} rows" for k in rows)], cells)


def targets_table(scores: Scores, k: int, *, ours: str) -> str:
    """The main methods on each target: mean ± standard deviation over draws, and the draws where they are not all."""
    methods = [method for method in ordered([*STYLES, ours]) if (k, method) in scores]
    most = max((len(draws) for method in methods for draws in draws_of(scores[k, method]).values()), default=0)
    targets = sorted({target for method in methods for target, _ in scores[k, method]})

    def cell(draws: Sequence[float]) -> str:
        if not draws:
            return NONE
        spread = f" ± {statistics.stdev(draws):.1f}" if len(draws) > 1 else ""
        return f"{statistics.fmean(draws):.1f}{spread}" + (f" ({len(draws)})" if len(draws) < most else "")

    by_method = [draws_of(scores[k, method]) for method in methods]
    cells = [[target, *(cell(by_target.get(target, [])) for by_target in by_method)] for target in targets]
    return _table([f"{k} rows, {most} draws", *methods], cells)


def differences_table(scores: Scores, k: int, *, ours: str) -> str:
    """Ours minus each other method, on the runs that both have."""
    cells = []
    for method in ordered(method for at, method in scores if at == k and method != ours):
        found = difference(scores.get((k, ours), {}), scores[k, method])
        if found is not None:
            cells.append([method, *_difference(found), found.record, p_text(found.p), *_counts(found)])
    headings = [f"{ours}, {k} rows, minus", "mean", "95 %", "worst target", "won/tied/lost", "p", "targets", "runs"]
    return _table(headings, cells)


def bars_table(records: Sequence[Record], *, ours: str) -> str:
    """Each bar, what was measured and whether it is met; unrounded figures are judged."""
    cells = []
    for bar in BARS:
        scores = scores_of(
            record for record in records if not bar.pairs or (record.pair and record.kind == "classification")
        )
        for k in bar.rows:
            found = difference(scores.get((k, ours), {}), scores.get((k, bar.against), {}))
            if found is None:
                cells.append([str(bar), str(k), "not measured", NONE, NONE, NONE, NONE, NONE])
                continue
            measured = found.by_target[found.worst] if bar.worst else found.mean
            met = measured >= bar.least and (not bar.above or found.interval[0] > 0)
            cells.append([str(bar), str(k), *_difference(found, digits=2), *_counts(found), "yes" if met else "**no**"])
    return _table([f"{ours}", "rows", "mean", "95 %", "worst target", "targets", "runs", "met"], cells)


def chosen_table(records: Sequence[Record], rows: Sequence[int]) -> str:
    """What dev rows choose among several methods, minus single ones."""
    scores, cells = scores_of(records), []
    for title, methods in CHOICES.items():
        kept = chosen(records, methods)
        for k, other in itertools.product(rows, AGAINST):
            found = difference(kept.get(k, {}), scores.get((k, other), {}))
            if found is not None:
                cells.append(
                    [title, str(k), other, *_difference(found), found.record, p_text(found.p), *_counts(found)]
                )
    headings = ["kept", "rows", "minus", "mean", "95 %", "worst target", "won/tied/lost", "p", "targets", "runs"]
    return _table(headings, cells)


def cost_table(records: Sequence[Record], rows: Sequence[int]) -> str:
    """Trained parameters and seconds, medians over runs; and over adapter's, the median of ratios in the same cell."""
    by_method: dict[str, dict[tuple[str, int, int], Record]] = {}
    for record in records:
        by_method.setdefault(record.method, {})[record.target, record.k, record.draw] = record
    adapter = by_method.get("adapter", {})
    cells = []
    for method in ordered(by_method):
        own = by_method[method]
        both = [(record, adapter[cell]) for cell, record in own.items() if cell in adapter]
        smaller = [one.parameters / other.parameters for one, other in both if other.parameters]
        faster = [one.seconds / other.seconds for one, other in both if other.seconds]
        times = [[record.seconds for record in own.values() if record.k == k] for k in rows]
        cells.append(
            [
                method,
                f"{statistics.median(record.parameters for record in own.values()):,.0f}",
                f"{statistics.median(record.total for record in own.values()):,.0f}",
                f"{statistics.median(smaller):.2g}" if smaller else NONE,
                *(figure(statistics.median(seconds)) if seconds else NONE for seconds in times),
                f"{statistics.median(faster):.2f}" if faster else NONE,
                str(len(own)),
            ]
        )
    seconds = [f"s, {k} rows" for k in rows]
    return _table(["method", "trained", "with head", "/ adapter", *seconds, "time / adapter", "runs"], cells)


def results(records: Sequence[Record], made: Mapping[str, str], *, ours: str) -> str:
    """RESULTS.md."""
    own = [record for record in records if not record.development]
    others = [record for record in records if record.development]
    development = _DEVELOPMENT.format(runs=len(others), names=_targets(others)) if others else ""
    targets = len({record.target for record in own})
    parts = [
        _ABOUT.format(
            runs=len(own), targets=targets, after=", ".join(AFTER), names=_targets(own) or NONE, development=development
        )
    ]
    parts += [
        "## Bars\n",
        made["bars"],
        "Those that were run before the start of omega was changed:\n",
        made["bars-before"],
    ]
    parts += [f"{', '.join(AFTER)}, of which there was no run before:\n", made["bars-after"]]
    parts += [
        "## Mean over targets\n",
        "In brackets targets; runs. Means compare where they are of the same targets, as the differences below are.\n",
        made["mean"],
    ]
    parts += [f"## {ours} minus every other method\n", _PAIRED.format(ours=ours)]
    parts += [table for name, table in made.items() if name.startswith("differences-")]
    parts += ["## The one that dev rows prefer\n", _CHOSEN, made["chosen"]]
    parts += ["## Each target\n", "Mean ± standard deviation over draws, with their number where some are missing.\n"]
    parts += [table for name, table in made.items() if name.startswith("targets-")]
    parts += ["## Cost\n", "Medians over runs; ratios are taken run by run, of the same target, rows and draw.\n"]
    parts += [made["cost"]]
    if others:
        parts += ["## Targets that defaults were chosen by\n", made["development"]]
    return "\n".join(parts)


def filled(page: str, made: Mapping[str, str]) -> str:
    """A page with its tables written anew between their marks; all else stays.

    Raises:
        InputError: a mark names no table, or has no end.
    """
    marks = re.findall(r"<!-- table: (.*?) -->", page)
    if unknown := sorted(set(marks) - made.keys()):
        raise InputError(f"no table {', '.join(unknown)}: there are {', '.join(made)}")
    if len(_MARK.findall(page)) < len(marks):
        raise InputError("a table's mark has no <!-- end --> on a line of its own before the next mark: add it")
    return _MARK.sub(lambda mark: f"{mark[1]}\n{made[mark[2]]}\n{mark[3]}", page)


def report(records: Sequence[Record], *, ours: str, out: Path, docs: Path | None) -> list[Path]:
    """Writes everything; the files written.

    Raises:
        InputError: `ours` has no run, or the page's marks are wrong.
    """
    methods = ordered(record.method for record in records)
    if ours not in methods:
        raise InputError(f"no run of {ours}: --ours is one of {', '.join(methods)}")
    made = tables(records, ours=ours)
    page = docs / PAGE if docs is not None else None
    texts = {out / "results.csv": csv_text(records), out / "RESULTS.md": results(records, made, ours=ours)}
    if page is not None and page.is_file():
        texts[page] = filled(page.read_text(encoding="utf-8"), made)
    out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_text(path, text)
    drawn = []
    if docs is not None:
        own = [record for record in records if not record.development and record.method not in FORMER]
        drawn = [docs / "small-data" / name for name in draw(docs / "small-data", own, ours=ours)]
    return [*texts, *drawn]


def _table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return markdown_table(headings, cells) if cells else f"{headings[0]}: nothing was measured.\n"


def _difference(found: Difference, *, digits: int = 1) -> list[str]:
    """Mean, interval, and the worst target."""
    worst = f"{found.worst} {found.by_target[found.worst]:+.{digits}f}"
    low, high = found.interval
    bounds = f"{low:+.{digits}f} to {high:+.{digits}f}" if math.isfinite(low) else NONE
    return [f"{found.mean:+.{digits}f}", bounds, worst]


def _counts(found: Difference) -> list[str]:
    return [str(len(found.by_target)), str(found.runs)]


def _targets(records: Sequence[Record]) -> str:
    return ", ".join(target for target, _ in groupby(record.target for record in records))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder with a JSON file of each run")
    parser.add_argument("--csv", type=Path, help="a results.csv, instead of the runs or beside them")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="for results.csv and RESULTS.md")
    parser.add_argument("--docs", type=Path, help=f"for plots, and tables in {PAGE}")
    parser.add_argument("--ours", default="scalearn", help="the method that is compared with all others")
    given = parser.parse_args(arguments)
    try:
        if given.runs is None and given.csv is None:
            raise InputError("nothing to report: give --runs, --csv or both")
        known = read_csv(given.csv) if given.csv else []
        new = read_runs(given.runs) if given.runs else []
        records = in_order({record.cell: record for record in (*known, *new)}.values())
        for path in report(records, ours=given.ours, out=given.out, docs=given.docs):
            print(path)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
