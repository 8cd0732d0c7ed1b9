"""What an experiment consists of: its runs, and what tables are made of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from scalearn.experiments.draw import Draw
from scalearn.experiments.recipe import Experiment
from scalearn.explanation import can_explain
from scalearn.methods import REGISTRY, Method, Optimisation, Probing

Axis = Literal["k", "train_fraction", "sources"]


class Point(NamedTuple):
    """Where on the experiment's axis a run stands."""

    axis: Axis
    value: float


@dataclass(frozen=True, kw_only=True)
class ShelfSource:
    """A source that was trained before."""

    shelf: str
    """A folder, or builtin."""
    name: str

    def describe(self) -> list[str]:
        """For JSON."""
        return [self.shelf, self.name]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSpec:
    """One training run; two are the same if their `id` is."""

    backbone: str
    method: Method
    recipe: Optimisation
    """Hyper-parameters."""
    tasks: tuple[str, ...]
    """One, or those of a joint method."""
    draw: Draw
    seed: int
    sources: tuple[RunSpec | ShelfSource, ...] = ()
    """Those that the method combines, in order."""
    top_sources: int | None = None
    """Only so many of them, chosen by the rows of the run: see `scalearn.ranking`."""

    @property
    def needs(self) -> tuple[RunSpec, ...]:
        """The runs that must be done before this one."""
        return tuple(source for source in self.sources if isinstance(source, RunSpec))

    @cached_property
    def id(self) -> str:
        """A hash of all that the recipe says about this run."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """All fields, for JSON; a run that is needed by its `id`.

        `top_sources` is left out where it is not asked for, so that runs of before it are found by their names.
        """
        top = {} if self.top_sources is None else {"top_sources": self.top_sources}
        return {
            "backbone": self.backbone,
            "method": [self.method.name, self.method.model_dump(mode="json")],
            "recipe": self.recipe.model_dump(mode="json"),
            "tasks": list(self.tasks),
            "draw": self.draw.model_dump(mode="json"),
            "seed": self.seed,
            "sources": [source.id if isinstance(source, RunSpec) else source.describe() for source in self.sources],
            **top,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of the method that are not the published ones, `top_sources` among them."""
        usual = REGISTRY[self.method.name].method.model_dump(mode="json")
        own = self.method.model_dump(mode="json")
        top = {} if self.top_sources is None else {"top_sources": self.top_sources}
        return {**{name: value for name, value in own.items() if value != usual.get(name)}, **top}

    @property
    def explainable(self) -> bool:
        """Whether it can be said what each of its sources did; of probing, its points say that."""
        return bool(self.sources) and can_explain(self.method) and not isinstance(self.method, Probing)

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of its sources, in order; under `top_sources` of all that are ranked."""
        return tuple(source.tasks[0] if isinstance(source, RunSpec) else source.name for source in self.sources)

    def __str__(self) -> str:
        """For people."""
        return f"{self.without_seed} seed {self.seed}"

    @property
    def without_seed(self) -> str:
        """What runs of other seeds have in common with this one, for people."""
        parts = [
            " ".join([self.method.name, *(f"{name}={value}" for name, value in self.options.items())]),
            *([f"of {', '.join(self.source_names)}"] if isinstance(self.method, Probing) else []),
            f"on {', '.join(self.tasks)} ({self.backbone})",
            *([f"k={self.draw.k}"] if self.draw.k else []),
            *([f"{100 * self.draw.train_fraction:g} % of train"] if self.draw.train_fraction else []),
        ]
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A run as a part of a table."""

    label: str
    """Of the row."""
    point: Point | None
    """Of the table, where there is one for each point of an axis."""
    run: RunSpec


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment expands to."""

    asked: Experiment
    runs: tuple[RunSpec, ...]
    """Each once, in an order in which they can be done."""
    cells: tuple[Cell, ...]
    """What tables are made of; sources that nobody asked a score of are none."""

    @property
    def only_sources(self) -> tuple[RunSpec, ...]:
        """The runs that are in no table."""
        shown = {cell.run.id for cell in self.cells}
        return tuple(run for run in self.runs if run.id not in shown)
