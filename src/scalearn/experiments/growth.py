"""A growing shelf: for each target in turn, transfer from the shelf as it stands, then its own source is added.

OUT/<target>/      the transferred model
SHELF/<target>/    the target's own source, trained from scratch on the same rows, by the method of the shelf

The own source is a fresh adapter, not the transferred model folded: that one is T * r wide, grows with every target,
and holds the other sources a second time. A target's own data never enter its transfer. Folders are whole or absent, so
what is there is not trained again, and what was interrupted goes on from its last checkpoint.

What was asked for stands beside what was made (``grown.json``): a model or a source that was made otherwise, by another
recipe, other options, rows or seed, is refused and not taken for what is asked for now. Which sources were combined is
no part of that, for the shelf has grown since; nor is a source asked about that `grow` did not make.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scalearn.backbones import MINILM
from scalearn.errors import InputError
from scalearn.experiments.grown import Asked, check_model, check_source
from scalearn.methods import Adapter, Method, Protocol, changed, method_from_name, recipe_for, resolved, suited
from scalearn.model import TransferModel
from scalearn.saved import DESCRIPTION, SavedModel
from scalearn.shelf import Shelf
from scalearn.sources import DESCRIPTION as SOURCE
from scalearn.sources import Source, check_name
from scalearn.tasks import Task
from scalearn.training import train
from scalearn.training.checks import check_rows

Scores = Mapping[str, Mapping[str, float]]
"""Split name to scores."""


@dataclass(frozen=True, kw_only=True)
class Grown:
    """One target."""

    task: str
    metric: str
    """Its main metric."""
    rows: int
    """Of training."""
    sources: tuple[str, ...]
    """Names of those that were combined; none where the shelf held no other."""
    transferred: Scores
    """Of the transferred model; empty without sources."""
    own: Scores
    """Of its own source."""
    idle: bool
    """Whether no step of training its own source scored higher on dev rows than the start: it adds next to nothing.

    The start is scored on small data only (`Recipe.head_start`); else it is False.
    """
    seconds: float
    """Of this call; what was found takes none."""

    def score(self, scores: Scores, split: str) -> float | None:
        """The main metric on a split, in percent; None where it was not measured."""
        value = scores.get(split, {}).get(self.metric)
        return None if value is None else 100 * value


def grow(
    shelf: Path,
    tasks: Sequence[Task],
    *,
    out: Path,
    beside: Shelf | None = None,
    method: Method | str = "scalearn",
    backbone: str = MINILM,
    protocol: Protocol = "default",
    few_shot: bool = False,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
    command: str | None = None,
    progress: bool = True,
    done: Callable[[Grown], None] = lambda grown: None,
) -> list[Grown]:
    """Transfers to several targets in turn, each from all that was learned before.

    Args:
        shelf: a folder of sources that grows; it may be empty, or not there yet.
        tasks: with ``train`` and ``dev`` rows.
        out: a folder for the transferred models.
        beside: sources that are combined too, but for those whose name the shelf has.
        method: of the transfers.
        backbone: its name.
        protocol: see `scalearn.methods`.
        few_shot: train by the recipes of few-shot.
        changes: hyper-parameters that replace the protocol's, of transfers and sources.
        seed: of everything.
        command: kept as provenance.
        progress: show a progress bar.
        done: called with every target, trained now or found.

    Raises:
        InputError: two targets have one name, or one cannot be trained on; shelf and out are one folder; or a model or
            source in its place was made otherwise.
    """
    method = method_from_name(method, stage="transfer") if isinstance(method, str) else method
    if (shelf / SOURCE).is_file():
        raise InputError(f"{shelf} is one source, not a shelf: give the folder that it stands in, {shelf.parent}")
    if shelf.resolve() == out.resolve():
        raise InputError(f"{shelf} would hold sources and transferred models: give another folder for these (--out)")
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"targets {', '.join(twice)} are named twice: name each once")
    for task in tasks:
        check_name(task.name)
        check_rows(task)

    def asked(method: Method, task: Task) -> Asked:
        rows = len(task.splits["train"])
        method = suited(method, protocol, rows=rows)
        recipe = recipe_for(method, protocol, rows=rows, kind=task.kind, task=task.name, few_shot=few_shot)
        return Asked.of(method, changed(recipe, changes or {}), task, seed=seed, backbone=backbone)

    for task in tasks:
        check_model(out / task.name, asked(method, task))
        check_source(shelf / task.name, partial(asked, task=task))
    grown = []
    for index, task in enumerate(tasks):
        started = time.perf_counter()
        sources = _standing(shelf, beside, task)

        def learn(method: Method, folder: Path, sources: Shelf | None, task: Task = task) -> None:
            told = asked(method, task)
            method = suited(method, protocol, rows=len(task.splits["train"]))
            model = TransferModel.from_backbone(backbone, task=task, method=method, sources=sources, seed=seed)
            train(
                model,
                folder,
                protocol=resolved(protocol, told.rows),
                recipe=told.recipe,
                seed=seed,
                command=command,
                progress=progress,
                finishing=lambda aside, _: told.keep(aside),
            )

        place = out / task.name
        there = (shelf / task.name / SOURCE).is_file()
        first = there and {source.name for source in sources} <= {*names[index + 1 :]}  # it was learned before these
        if sources and not first and not (place / DESCRIPTION).is_file():
            learn(method, place, Shelf(sources))
        transferred = _transferred(place)
        if not there:
            learn(_like(sources), shelf / task.name, None)
        own = Source.load(shelf / task.name)
        found = Grown(
            task=task.name,
            metric=task.main_metric,
            rows=len(task.splits["train"]),
            own=own.metrics,
            idle=own.provenance.get("best_epoch") == 0,
            **transferred,
            seconds=time.perf_counter() - started,
        )
        grown.append(found)
        done(found)
    return grown


def _standing(shelf: Path, beside: Shelf | None, task: Task) -> list[Source]:
    """The sources that stand on the shelf now and beside it, but for those of the target's own data."""
    there = any(not path.parent.name.startswith(".") for path in shelf.glob(f"*/{SOURCE}"))
    own = list(Shelf(shelf)) if there else []
    names = {source.name for source in own}
    every = [*(source for source in beside or () if source.name not in names), *own]
    return [source for source in every if task.name not in (source.name, source.task.get("name"))]


def _like(sources: Sequence[Source]) -> Method:
    """The method that trains a source that can be combined with these."""
    return method_from_name(sources[0].method, **sources[0].options) if sources else Adapter()


def _transferred(place: Path) -> dict[str, Any]:
    """What the transferred model combines and scores."""
    if not (place / DESCRIPTION).is_file():
        return {"sources": (), "transferred": {}}
    saved = SavedModel.read(place)
    return {
        "sources": tuple(source.name for source in saved.sources),
        "transferred": saved.facts.get("metrics", {}),
    }
