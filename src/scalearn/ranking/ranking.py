"""`rank_sources`: a shelf in the order in which its sources suit a target, before any training."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from scalearn.adapted import check_inputs
from scalearn.atomic import write_text
from scalearn.backbones import MINILM, Backbone, chosen_backbone
from scalearn.errors import InputError
from scalearn.ranking.criteria import DECIDING, Criterion, Scores, judged, ranks, together
from scalearn.ranking.evidence import TaskEvidence
from scalearn.shelf import Shelf
from scalearn.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What the criteria say of T sources."""

    task: str
    rows: int
    """Training rows that were looked at."""
    sources: tuple[str, ...]
    """Names, in the order of the shelf."""
    scores: Scores
    """By criterion, T numbers, higher is better: see `scalearn.ranking.criteria`."""
    by: tuple[Criterion, ...]
    """The criteria that decide about the order."""
    skipped: Mapping[Criterion, str]
    """Criteria that were not possible, with the reason."""
    seconds: float

    @property
    def mean_ranks(self) -> list[float]:
        """The mean of each source's ranks over the criteria that decide, in the order of the shelf; 1 is best."""
        return [-value for value in together({name: self.scores[name] for name in self.by})]

    @property
    def order(self) -> tuple[str, ...]:
        """Names, best first; of those that rank alike the earlier on the shelf."""
        means = self.mean_ranks
        return tuple(self.sources[index] for index in sorted(range(len(means)), key=means.__getitem__))

    def best(self, count: int) -> tuple[str, ...]:
        """The names of the `count` best, or of all if there are fewer; `Shelf.only` makes a shelf of them.

        Raises:
            InputError: it is below one.
        """
        if count < 1:
            raise InputError(f"the best {count} sources: ask for at least one (top_sources, --top-sources)")
        return self.order[:count]

    def table(self) -> list[dict[str, Any]]:
        """One row a source, best first: ``place``, ``source``, ``mean_rank`` and of each criterion score and rank."""
        by_criterion = {name: ranks(scores) for name, scores in self.scores.items()}
        rows = []
        for place, name in enumerate(self.order, start=1):
            index = self.sources.index(name)
            row: dict[str, Any] = {"place": place, "source": name, "mean_rank": round(self.mean_ranks[index], 4)}
            for criterion, scores in self.scores.items():
                row[criterion] = float(scores[index])
                row[f"{criterion}_rank"] = by_criterion[criterion][index]
            rows.append(row)
        return rows

    def write(self, path: str | Path) -> None:
        """Writes the table, as ``.csv`` or ``.json`` by suffix.

        Raises:
            InputError: the suffix is another.
        """
        path = checked_path(path)
        rows = self.table()
        if path.suffix == ".json":
            about = {"task": self.task, "rows": self.rows, "by": self.by, "skipped": self.skipped, "sources": rows}
            write_text(path, json.dumps(about, indent=2) + "\n")
            return
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, stream.getvalue())


def checked_path(path: str | Path) -> Path:
    """Where a ranking can be written.

    Raises:
        InputError: its suffix is neither ``.csv`` nor ``.json``.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".json"):
        raise InputError(f"{path}: a ranking is written as .csv or .json: give a name that ends so")
    return path


def rank_sources(
    shelf: Shelf,
    *,
    task: Task,
    backbone: str | Backbone = MINILM,
    by: Sequence[Criterion] = (),
    seed: int = 0,
    progress: bool = False,
) -> Ranking:
    """Ranks the sources of a shelf for a target, by its training rows, before any training.

    Args:
        shelf: whose sources fit the backbone.
        task: with training rows; at most `scalearn.ranking.evidence.RANKING_ROWS` of them are looked at.
        backbone: ``minilm``, a folder, a Hub id, or one loaded, which is left as it was.
        by: the criteria to decide by, several by the mean of their ranks; no others are computed then. By default
            all that are possible are computed, and `scalearn.ranking.criteria.DECIDING` decide.
        seed: of the draw of rows and of the folds.
        progress: show a progress bar.

    Raises:
        InputError: a source does not fit the backbone, the rows say nothing, or a criterion asked for is not possible.
    """
    started = time.perf_counter()
    backbone = chosen_backbone(backbone)
    check_inputs(backbone.model, task, name=backbone.name)
    shelf.check_fits(backbone)
    evidence = TaskEvidence(backbone, task=task, sources=tuple(shelf), seed=seed)
    found = ranked(evidence.for_ranking, by=by, progress=progress)
    return replace(found, seconds=time.perf_counter() - started)


def ranked(evidence: TaskEvidence, *, by: Sequence[Criterion] = (), progress: bool = False) -> Ranking:
    """Ranks the sources that there is evidence about, which keeps what was computed for who asks next.

    Args:
        evidence: of as many rows as a ranking looks at: `TaskEvidence.for_ranking`.
        by: see `rank_sources`.
        progress: see `rank_sources`.

    Raises:
        InputError: the rows say nothing, or a criterion asked for is not possible.
    """
    started = time.perf_counter()
    rows = evidence.row_count
    if set(DECIDING) & set(by) or not by:  # what takes the time, done here for the bar's sake
        console = Console(stderr=True)
        hidden = not (progress and console.is_terminal)
        for source in track(evidence.sources, "ranking", console=console, transient=True, disable=hidden):
            evidence.alone(source)
    scores, skipped = judged(evidence, by)
    return Ranking(
        task=evidence.task.name,
        rows=rows,
        sources=tuple(source.name for source in evidence.sources),
        scores=scores,
        by=tuple(by) or DECIDING,
        skipped=skipped,
        seconds=time.perf_counter() - started,
    )
