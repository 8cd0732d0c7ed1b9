"""What an experiment found so far: ``report.md``, every run in ``runs.csv``, and a picture where there is an axis.

Scores are percent on the test rows, mean ± standard deviation over n seeds; of a single run, with the standard error of
its test rows by bootstrap.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from scalearn.atomic import write_text
from scalearn.experiments.curves import Line, score_curves
from scalearn.experiments.heatmap import write_figure
from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import Axis, Cell, Point
from scalearn.experiments.report_probes import write_probes
from scalearn.experiments.results import Results
from scalearn.experiments.tables import markdown_table
from scalearn.methods import Probing

_PICTURES: Mapping[Axis, tuple[str, str, bool]] = MappingProxyType(
    {
        "k": ("few-shot", "training rows k", True),
        "train_fraction": ("train-fraction", "share of the training rows", False),
        "sources": ("sources", "number of sources", False),
    }
)
"""File, name of the axis, and whether it is logarithmic."""
_LAST = ("trained", "train_rows", "steps", "seconds")
"""The last columns of ``runs.csv``."""
_NONE = "-"
_LEGEND = (
    "Percent on the test rows: mean ± standard deviation (n seeds); of one seed, its bootstrap standard error (se)."
)


def write_report(folder: Path) -> Results:
    """Writes all files anew from the runs that are finished.

    Raises:
        InputError: the folder is not that of an experiment.
    """
    found = Results.read(folder)
    write_text(folder / "runs.csv", _all_scores(found))
    parts = [f"# {found.plan.asked.name}\n", _settings(found)]
    for backbone in found.plan.asked.backbones:
        parts += _tables(found, backbone)
        parts += _pictures(found, backbone, folder)
        parts += write_probes(found, backbone, folder)
    parts += [_rows_seen(found), _unfinished(found)]
    write_text(folder / "report.md", "\n".join(part for part in parts if part))
    return found


def score(outcomes: Sequence[Outcome], task: str, split: str) -> str:
    """The score of some seeds for people; a dash if there is none."""
    scores = [outcome.score(task, split) for outcome in outcomes if split in outcome.metrics[task]]
    if len(scores) > 1:
        return f"{statistics.fmean(scores):.1f} ± {statistics.stdev(scores):.1f} ({len(scores)})"
    if not scores:
        return _NONE
    error = outcomes[0].standard_error(task, split)
    return f"{scores[0]:.1f}" + ("" if error is None else f" (se {error:.1f})")


def _settings(found: Results) -> str:
    asked = found.plan.asked
    fields = {
        "protocol": asked.protocol,
        "changes": ", ".join(f"{key} {value}" for key, value in asked.changes.items()),
        "joint changes": ", ".join(f"{key} {value}" for key, value in asked.joint_changes.items()),
        "few-shot protocol": asked.few_shot.protocol if asked.few_shot else "",
        "seeds": ", ".join(f"{count} ({task})" for task, count in asked.seeds.items()),
    }
    lines = [f"- {name}: {value}" for name, value in fields.items() if value]
    lines.append(f"- runs finished: {len(found.outcomes):,} of {len(found.plan.runs):,}")
    return "\n".join([*lines, "", _LEGEND, ""])


def _tables(found: Results, backbone: str) -> Iterator[str]:
    groups = _groups(found, backbone)
    for point in dict.fromkeys(point for point, _ in groups):
        rows = {label: cells for (at, label), cells in groups.items() if at == point}
        outcomes = [found.outcomes[cell.run.id] for cells in rows.values() for cell in cells if _done(found, cell)]
        columns = _columns(found, outcomes)
        title = f"## {backbone}" + ("" if point is None else f", {point.axis} = {point.value:g}")
        headings = ["method", "trained", "mean", *(_heading(*column) for column in columns)]
        cells_of = [[label, *_row(found, cells, columns)] for label, cells in rows.items()]
        yield f"{title}\n\n{markdown_table(headings, cells_of)}"


def _row(found: Results, cells: list[Cell], columns: Sequence[tuple[str, str]]) -> list[str]:
    """Trained parameters, the mean over tasks, and the score of each column."""
    own = [found.outcomes[cell.run.id] for cell in cells if _done(found, cell)]
    trained = f"{max(outcome.parameters['method'] for outcome in own):,}" if own else _NONE
    by_task = {task: found.of(cells, task) for task in found.plan.asked.tasks}
    means = [statistics.fmean(one.score(task) for one in outcomes) for task, outcomes in by_task.items() if outcomes]
    mean = f"{statistics.fmean(means):.1f}" if len(means) == len(by_task) else _NONE
    return [trained, mean, *(score(by_task[task], task, split) for task, split in columns)]


def _columns(found: Results, outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Task and test split, the main one first."""
    columns = []
    for task in found.plan.asked.tasks:
        splits = {split for outcome in outcomes for split in outcome.metrics.get(task, ()) if split.startswith("test")}
        columns += [(task, split) for split in sorted(splits | {"test"})]
    return columns


def _heading(task: str, split: str) -> str:
    return task if split == "test" else f"{task} {split.removeprefix('test_')}"


def _groups(found: Results, backbone: str) -> dict[tuple[Point | None, str], list[Cell]]:
    """The cells of a backbone but those of probing, by table and row."""
    groups: dict[tuple[Point | None, str], list[Cell]] = {}
    for cell in found.plan.cells:
        if cell.run.backbone == backbone and not isinstance(cell.run.method, Probing):
            groups.setdefault((cell.point, cell.label), []).append(cell)
    return groups


def _done(found: Results, cell: Cell) -> bool:
    return cell.run.id in found.outcomes


def _pictures(found: Results, backbone: str, folder: Path) -> Iterator[str]:
    """A picture of the scores along the axis, if there is one with anything on it."""
    groups = {(point, label): cells for (point, label), cells in _groups(found, backbone).items() if point is not None}
    panels: dict[str, dict[str, Line]] = {}
    for task in found.plan.asked.tasks:
        for label in dict.fromkeys(label for _, label in groups):
            scores = {
                point.value: [outcome.score(task) for outcome in found.of(cells, task)]
                for (point, name), cells in groups.items()
                if name == label
            }
            at = sorted(value for value, own in scores.items() if own)
            if at:
                panels.setdefault(task, {})[label] = Line(
                    at=tuple(at),
                    mean=tuple(statistics.fmean(scores[value]) for value in at),
                    spread=tuple(statistics.stdev(scores[value]) if len(scores[value]) > 1 else 0.0 for value in at),
                )
    if not panels:
        return
    name, axis, logarithmic = _PICTURES[next(point.axis for point, _ in groups)]
    if len(found.plan.asked.backbones) > 1:
        name = f"{name}-{backbone.strip('/').replace('/', '-')}"
    figure = score_curves(panels, axis=axis, score_axis="test score (%)", logarithmic=logarithmic)
    write_figure(figure, folder / name)
    yield f"![{backbone}: test scores by {axis}]({name}.png)\n"


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
    if failed:
        parts += ["## Failed runs", "", *failed, ""]
    if found.open:
        parts += [f"{len(found.open):,} runs are not done yet: give the same command again.", ""]
    return "\n".join(parts)


def _all_scores(found: Results) -> str:
    """A line for each finished run and task."""
    splits = sorted({s for outcome in found.outcomes.values() for own in outcome.metrics.values() for s in own})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ("run", "backbone", "method", "options", "task", "seed", "k", "train_fraction", "sources", "metric")
    writer.writerow([*names, *(f"{split}{kind}" for split in splits for kind in ("", "_stderr")), *_LAST])
    for run in found.plan.runs:
        outcome = found.outcomes.get(run.id)
        for task in run.tasks if outcome is not None else ():
            assert outcome is not None
            method = [run.method.name, " ".join(f"{name}={value}" for name, value in run.options.items())]
            fields = [run.id, run.backbone, *method, task, run.seed, run.draw.k, run.draw.train_fraction]
            scores: list[object] = []
            for split in splits:
                there = split in outcome.metrics[task]
                scores += [outcome.score(task, split), outcome.standard_error(task, split)] if there else [None, None]
            rounded = [f"{value:.4f}" if isinstance(value, float) else value for value in scores]
            last = [outcome.parameters["method"], outcome.rows[task].get("train"), outcome.steps, outcome.seconds]
            writer.writerow([*fields, " ".join(run.source_names), outcome.main[task], *rounded, *last])
    return stream.getvalue()
