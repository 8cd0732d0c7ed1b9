"""Every run for the page: a line of a list, and what the page of the run shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from scalearn.experiments.outcome import Outcome
from scalearn.experiments.plan import Cell, Point, RunSpec, ShelfSource
from scalearn.experiments.report_page.examples import examples
from scalearn.experiments.report_page.histories import Omegas, curves, omegas
from scalearn.experiments.report_page.rounding import rounded, shown
from scalearn.experiments.results import Results
from scalearn.experiments.store import HISTORY, PREDICTIONS, Result
from scalearn.explanation import Explanation
from scalearn.methods import Probing, ScaLearn

T = TypeVar("T")

_OMEGAS = 80_000
"""Numbers of omega that a page holds; more runs, layers or sources leave fewer moments of each run."""
_MOMENTS = 12
"""The most moments of a run."""


def point_title(point: Point | None) -> str:
    """Where on the experiment's axis, for people."""
    if point is None:
        return ""
    if point.axis == "train_fraction":
        return f"{100 * point.value:g} % of train"
    return f"k = {point.value:g}" if point.axis == "k" else f"{point.value:g} sources"


class Runs:
    """All runs of a plan in its order; reading what finished ones left happens once, here."""

    def __init__(self, found: Results) -> None:
        self.found = found
        self.place = {run.id: place for place, run in enumerate(found.plan.runs)}
        """Of a run in the page's list, by `RunSpec.id`."""
        self._cells: dict[str, Cell] = {}
        for cell in found.plan.cells:
            self._cells.setdefault(cell.run.id, cell)
        self._pool: dict[str, int] = {}
        self._omegas: dict[str, Omegas] = {}
        self._told = [self._tell(run) for run in found.plan.runs]
        self._add_omegas()

    def data(self) -> dict[str, Any]:
        """For JSON: the runs, and the values that they share."""
        return {"runs": self._told, "pool": [json.loads(text) for text in self._pool]}

    def lines(self) -> list[dict[str, Any]]:
        """For the table of all runs."""
        return [
            {
                **{name: told[name] for name in ("id", "label", "point", "state", "seed", "source")},
                "tasks": ", ".join(told["tasks"]),
                "score": self._score(run),
                "seconds": told.get("seconds"),
            }
            for run, told in zip(self.found.plan.runs, self._told, strict=True)
        ]

    def _score(self, run: RunSpec) -> float | None:
        outcome = self.found.outcomes.get(run.id)
        if outcome is None or len(run.tasks) > 1 or "test" not in outcome.metrics[run.tasks[0]]:
            return None
        return outcome.score(run.tasks[0])

    def _tell(self, run: RunSpec) -> dict[str, Any]:
        cell = self._cells.get(run.id)
        result, failure = self.found.found.get(run.id), self.found.failures.get(run.id)
        combined = _combined(run, result)
        told: dict[str, Any] = {
            "id": run.id,
            "title": str(run),
            "label": _label(run, cell),
            "source": cell is None,
            "point": point_title(cell.point if cell else None),
            "backbone": run.backbone,
            "tasks": list(run.tasks),
            "seed": run.seed,
            "sources": [
                self.place[one.id] if isinstance(one, RunSpec) else one.describe() for one in combined.values()
            ],
            "source_names": list(combined),
            "state": "done" if result else "failed" if failure else "open",
            "recipe": self._pooled(run.recipe.model_dump(mode="json")),
            "options": self._pooled(run.method.model_dump(mode="json")),
            "draw": self._pooled(run.draw.model_dump(mode="json", exclude_defaults=True)),
        }
        if isinstance(run.method, Probing) and len(run.sources) == 1:
            told["probe"] = run.method.omega[0]
        if (effects := self.found.explanations.get(run.id)) is not None:
            told["explained"] = _explained(effects)
        if failure is not None:
            told |= {"error": failure.error, "traceback": failure.traceback}
        return told | (self._finished(run, result) if result else {})

    def _finished(self, run: RunSpec, result: Result) -> dict[str, Any]:
        outcome = result.outcome
        kept: list[dict[str, Any]] = result.history() if HISTORY in result.files else []
        found = omegas(kept, best_step=outcome.best_step)
        if found is not None and found.sources == len(
            _combined(run, result)
        ):  # AdapterSoup's one average is of no source
            self._omegas[run.id] = found
        predictions = examples(result.predictions()) if PREDICTIONS in result.files else {}
        others = {name: value for name, value in result.key.items() if name not in ("id", "run", "method", "recipe")}
        return {
            "metrics": {
                task: {split: _metrics(scores) for split, scores in splits.items()}
                for task, splits in outcome.metrics.items()
            },
            "main": self._pooled(outcome.main),
            **_measured(outcome),
            "parameters": self._pooled(outcome.parameters),
            "rows": self._pooled(outcome.rows),
            "versions": self._pooled(outcome.versions),
            "machine": self._pooled(outcome.machine),
            "key": {name: self._pooled(value) for name, value in others.items()},
            "folder": result.place.name,
            **curves(kept, outcome.main),
            "examples": predictions,
        }

    def _add_omegas(self) -> None:
        total = sum(one.size for one in self._omegas.values())
        most = max(2, min(_MOMENTS, _OMEGAS // max(1, total)))
        for run in self.found.plan.runs:
            if (one := self._omegas.get(run.id)) is not None:
                start = _start(run, sources=one.sources)
                self._told[self.place[run.id]]["omega"] = {**one.data(most), "start": start}

    def _pooled(self, value: Any) -> int:
        """The place of a value among those that runs share."""
        return self._pool.setdefault(json.dumps(_legible(value)), len(self._pool))


def _label(run: RunSpec, cell: Cell | None) -> str:
    """What the tables call it, or what makes it differ from others of its method."""
    if isinstance(run.method, Probing):
        return f"probing of {', '.join(run.source_names)} at {', '.join(f'{value:g}' for value in run.method.omega)}"
    if cell is not None:
        return cell.label
    return " ".join([run.method.name, *(f"{name}={shown(value)}" for name, value in run.options.items())])


def _combined(run: RunSpec, result: Result | None) -> dict[str, RunSpec | ShelfSource]:
    """Its sources by name: those that were combined, once that is known."""
    named = dict(zip(run.source_names, run.sources, strict=True))
    chosen = result.outcome.sources if result is not None else ()
    return {name: named[name] for name in chosen} if chosen else named


def _start(run: RunSpec, *, sources: int) -> float | None:
    """Where omega began, by the method's options; None where it is not learned, or each source began elsewhere."""
    if not isinstance(run.method, ScaLearn) or run.method.init in ("rank", "best", "auto"):
        return None
    one = run.method.init == "mean" or run.method.constraint != "none"
    scale = 1.0 if one else run.method.init_scale
    return rounded(scale / sources)


def _explained(found: Explanation) -> dict[str, Any]:
    """Scores in percent."""
    return {
        "split": found.split,
        "rows": found.rows,
        "metric": found.metric,
        "score": rounded(100 * found.score),
        "error": rounded(100 * found.stderr, 2),
        "bare": rounded(100 * found.bare),
        "effects": [
            {
                "source": effect.source,
                "share": rounded(100 * effect.share, 3),
                "without": rounded(100 * effect.without),
                "change": rounded(100 * effect.difference, 3),
                "error": rounded(100 * effect.stderr, 2),
                "alone": rounded(100 * effect.alone),
                "verdict": effect.verdict,
            }
            for effect in found.effects
        ],
    }


def _metrics(scores: Mapping[str, float]) -> list[list[Any]]:
    """Name, value and standard error."""
    named = [name for name in scores if not name.endswith("_stderr")]
    return [[name, rounded(scores[name]), rounded(scores.get(f"{name}_stderr"), 2)] for name in named]


def _measured(outcome: Outcome) -> dict[str, Any]:
    return {
        "best_step": outcome.best_step,
        "steps": outcome.steps,
        "seconds": rounded(outcome.seconds, 3),
        "attempts": outcome.attempts,
        "tokens_per_second": rounded(outcome.tokens_per_second, 3),
        "peak_memory": rounded(outcome.peak_memory, 3),
        "gpu_memory": rounded(outcome.gpu_memory, 3),
        "bytes": outcome.bytes,
        "commit": outcome.commit,
        "finished": outcome.finished[:19],
    }


def _legible(value: Any) -> Any:
    """Mappings as they are, all other values as people read them."""
    if isinstance(value, Mapping):
        return {str(name): _legible(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
        return [_legible(one) for one in value]
    return value if isinstance(value, str) else shown(value)
