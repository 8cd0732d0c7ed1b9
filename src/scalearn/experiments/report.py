"""What an experiment found so far, written anew each time from the runs that are finished.

FOLDER/report.md            all of it for reading, with the pictures *.png and *.svg beside it
       report.tex           the tables in the paper's layout
       report.html          all of it as one page, and a page for each run
       scores.csv, runs.csv a line for each cell of the tables, and for each run
       sources.csv          a line for each source of each explained run, where there is one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from scalearn.atomic import write_text
from scalearn.experiments.latex import latex_document
from scalearn.experiments.method_costs import costs_of
from scalearn.experiments.published import METRICS
from scalearn.experiments.report_csv import runs_csv, scores_csv, sources_csv
from scalearn.experiments.report_figures import write_curves, write_efficiency, write_ranks
from scalearn.experiments.report_page import write_report_page
from scalearn.experiments.report_probes import write_probes
from scalearn.experiments.report_sources import sources_parts
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board, boards
from scalearn.experiments.source_effects import explained
from scalearn.experiments.tables import NONE, board_table, board_title, comparison_parts, interval_table, markdown_table

_LEGEND = """\
Percent on the test rows: mean ± standard deviation (n seeds); of one seed, its bootstrap standard error (se). Bold only
where significantly above every other method of the column: on a task by paired t-tests over at least three common
seeds, for the mean by both tests of the comparison; Holm-corrected, p < 0.05.
"""
_SOURCE_SEEDS = {"same": "of the seed of their target", 0: "of seed 0 for all seeds of their targets, as published"}
_INTERVALS = "95 % intervals of these means over seeds (Student's t; three seeds have two degrees of freedom):\n"
_PAIRS = """\
Differences are means over tasks of means over the seeds that both have, in points; their 95 % intervals and p by a
paired bootstrap of tasks, and of seeds within them; Wilcoxon's signed ranks over tasks. Both p are Holm-corrected over
all pairs. Wins, ties and losses count pairs of task and seed. Before it is corrected Wilcoxon's p of n tasks cannot be
below 2^(1 - n), so a few tasks, or many methods, show little.
"""


def write_report(folder: Path) -> Results:
    """Writes all files.

    Raises:
        InputError: the folder is not that of an experiment.
    """
    found = Results.read(folder)
    made = boards(found)
    papers = _papers(found, made)
    stages = {cell.label: cell.run.method.stage for cell in found.plan.cells}
    write_text(folder / "runs.csv", runs_csv(found))
    write_text(folder / "scores.csv", scores_csv(made))
    sources = explained(found)
    if sources:
        write_text(folder / "sources.csv", sources_csv(sources))
    write_text(folder / "report.tex", latex_document(made, papers, stages=stages))
    parts = [f"# {found.plan.asked.name}\n", _settings(found)]
    for backbone in found.plan.asked.backbones:
        several = len(found.plan.asked.backbones) > 1
        suffix = f"-{backbone.strip('/').replace('/', '-')}" if several else ""
        own = [board for board in made if board.backbone == backbone]
        for board in own:
            parts += _board(board, folder, suffix=suffix)
        for board in (board for board in papers if board.backbone == backbone):
            parts.append(f"### {board_title(board)}, in the paper's metrics\n\n{board_table(board)}")
        if own:
            parts += write_curves(own, folder, suffix=suffix)
        parts += write_probes(found, backbone, folder)
        parts += sources_parts(sources, folder, backbone=backbone, suffix=suffix)
    parts += [_costs(found), _rows_seen(found), _unfinished(found)]
    write_text(folder / "report.md", "\n".join(part for part in parts if part))
    write_report_page(folder / "report.html", found, made)
    return found


def _papers(found: Results, made: Sequence[Board]) -> Sequence[Board]:
    """The boards in the paper's metrics, where that sets more of its scores beside ours."""
    others = boards(found, metrics=METRICS)
    return [other for board, other in zip(made, others, strict=True) if _published(other) > _published(board)]


def _published(board: Board) -> int:
    return sum(score.published is not None for line in board.lines for score in (line.mean, *line.cells.values()))


def _settings(found: Results) -> str:
    asked = found.plan.asked
    fields = {
        "protocol": asked.protocol,
        "changes": ", ".join(f"{key} {value}" for key, value in asked.changes.items()),
        "joint changes": ", ".join(f"{key} {value}" for key, value in asked.joint_changes.items()),
        "few-shot protocol": asked.few_shot.protocol if asked.few_shot else "",
        "seeds": ", ".join(f"{count} ({task})" for task, count in asked.seeds.items()),
        "explained": f"{len(found.explanations):,} of {sum(run.explainable for run in found.plan.runs):,} runs"
        if asked.explain
        else "",
        "sources": _SOURCE_SEEDS[asked.sources.seed] if asked.sources and not asked.sources.shelf else "",
    }
    lines = [f"- {name}: {value}" for name, value in fields.items() if value]
    lines.append(f"- runs finished: {len(found.outcomes):,} of {len(found.plan.runs):,}")
    return "\n".join([*lines, "", _LEGEND])


def _board(board: Board, folder: Path, *, suffix: str) -> Iterator[str]:
    """A table and what can be said about its differences."""
    title = board_title(board)
    yield f"## {title}\n\n{board_table(board)}"
    intervals = interval_table(board)
    if intervals is not None:
        yield f"{_INTERVALS}\n{intervals}"
    if board.point is not None:
        suffix += f"-{board.point.axis}-{board.point.value:g}"
    yield from write_efficiency(board, folder, suffix=suffix)
    if board.comparison is not None and board.comparison.pairs:
        yield f"### Comparison: {title}\n\n{_PAIRS}"
        yield from comparison_parts(board.comparison)
        yield from write_ranks(board, folder, suffix=suffix)


def _costs(found: Results) -> str:
    """What each method took."""
    rows = [
        [
            cost.label,
            f"{cost.runs:,}",
            f"{cost.trained:,}",
            f"{cost.steps:,.0f}",
            f"{cost.seconds:,.0f}" if cost.seconds >= 10 else f"{cost.seconds:.1f}",
            NONE if cost.tokens_per_second is None else f"{cost.tokens_per_second:,.0f}",
            f"{cost.memory:.2f}",
            *([f"{cost.gpu_memory:.2f}"] if _on_gpu(found) else []),
            f"{cost.megabytes:,.1f}" if cost.megabytes >= 1 else f"{cost.megabytes:.2g}",
        ]
        for cost in costs_of(found)
    ]
    if not rows:
        return ""
    headings = [
        *("method", "runs", "trained", "steps", "seconds", "tokens/s", "peak memory (GB)"),
        *(["peak GPU memory (GB)"] if _on_gpu(found) else []),
        "model (MB)",
    ]
    legend = "Trained parameters and memory: the most of a run; the others are medians over runs.\n"
    return f"## Cost\n\n{legend}\n{markdown_table(headings, rows)}"


def _on_gpu(found: Results) -> bool:
    return any(outcome.gpu_memory for outcome in found.outcomes.values())


def _rows_seen(found: Results) -> str:
    """How many rows of each task the runs saw, and which were capped."""
    asked, lines = found.plan.asked, []
    for task in asked.tasks:
        seen = {
            ", ".join(f"{count:,} {split}" for split, count in outcome.rows[task].items()): None
            for outcome in found.outcomes.values()
            if task in outcome.rows
        }
        if seen:
            lines.append(f"- {task}: {'; '.join(seen)}{_unlike_published(found, task)}")
    caps = {"train": asked.rows.train, "dev": asked.rows.dev, "test": asked.rows.test}
    capped = ", ".join(f"{cap:,} {split}" for split, cap in caps.items() if cap)
    notes = [f"Capped at {capped} rows."] if capped else []
    notes += ["Scores on capped test rows compare with no others."] if asked.rows.test else []
    return "\n".join(["## Rows", "", *([" ".join(notes), ""] if notes else []), *lines, ""]) if lines else ""


def _unlike_published(found: Results, task: str) -> str:
    """Where the data given is not the published one, and scores compare with no published ones."""
    others = [own for outcome in found.outcomes.values() if (own := outcome.unpublished.get(task))]
    counts = [f"{here:,} of {split} for {there:,}" for split, (here, there) in others[0].items()] if others else []
    return f" (**not the published data**: {', '.join(counts)} rows)" if counts else ""


def _unfinished(found: Results) -> str:
    failed = [f"- {run}: {found.failures[run.id].error}" for run in found.plan.runs if run.id in found.failures]
    parts = [f"**Take care**: {sentence}; do not compare them.\n" for sentence in found.mixed]
    if found.damaged:
        parts += ["## Damaged results", "", *(f"- {message}" for message in found.damaged), ""]
    if failed:
        parts += ["## Failed runs", "", *failed, ""]
    if found.open:
        parts += [f"{len(found.open):,} runs are not done yet: give the same command again.", ""]
    return "\n".join(parts)
