"""From a recipe to the runs that it asks for: each once, each after those whose sources it combines, seed after seed.

A source is a run like any other, trained once and shared by all targets that need it: of the target's seed, on all rows
that the recipe allows; or where the recipe says so of seed 0, as published. The target's own source comes last; where
the target's rows are drawn by seed it is trained on the very rows of the run, for it must not know more than the run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from scalearn.errors import InputError
from scalearn.experiments.draw import Draw
from scalearn.experiments.plan import Cell, Plan, Point, RunSpec, ShelfSource
from scalearn.experiments.probe import points_of
from scalearn.experiments.recipe import Experiment
from scalearn.experiments.sizes import size_of
from scalearn.methods import Method, Probing, changed, joint_recipe_for, recipe_for, suited
from scalearn.shelf import Shelf


def plan_of(asked: Experiment) -> Plan:
    """Expands an experiment.

    Raises:
        InputError: there are fewer sources than it asks for, or a shelf cannot be read.
    """
    expansion = _Expansion(asked)
    cells = tuple(expansion.cells())
    runs: dict[str, RunSpec] = {}
    for _, group in itertools.groupby(cells, key=lambda cell: cell.run.seed):
        own = list(group)
        for run in (*(need for cell in own for need in cell.run.needs), *(cell.run for cell in own)):
            runs.setdefault(run.id, run)
    return Plan(asked=asked, runs=tuple(runs.values()), cells=cells)


class _Expansion:
    """From an experiment to the cells of its tables."""

    def __init__(self, asked: Experiment) -> None:
        self.asked = asked
        self.source_names: tuple[str, ...] = ()
        if asked.sources is not None:
            self.source_names = asked.sources.tasks or Shelf(asked.sources.shelf or "").names

    def cells(self) -> Iterator[Cell]:
        """Seed by seed."""
        most = max(self.asked.seeds.values())
        for seed, backbone in itertools.product(range(most), self.asked.backbones):
            if seed in self.asked.seeds_of(None):
                yield from self._joint(backbone, seed)
            for task in self.asked.tasks:
                if seed in self.asked.seeds_of(task):
                    yield from self._alone(backbone, task, seed)
                    yield from self._probes(backbone, task, seed)

    def _joint(self, backbone: str, seed: int) -> Iterator[Cell]:
        for choice in self.asked.methods:
            if choice.method.stage != "joint":
                continue
            run = RunSpec(
                backbone=backbone,
                method=choice.method,
                recipe=changed(joint_recipe_for(choice.method, self.asked.protocol), self.asked.joint_changes),
                tasks=self.asked.tasks,
                draw=self._draw(None),
                seed=seed,
            )
            yield Cell(label=choice.shown, point=None, run=run)

    def _alone(self, backbone: str, task: str, seed: int) -> Iterator[Cell]:
        chosen = [choice for choice in self.asked.methods if choice.method.stage != "joint"]
        for point, choice in itertools.product(self._points(), chosen):
            draw = self._draw(point)
            sources: Sequence[RunSpec | ShelfSource] = ()
            if choice.method.stage == "transfer":
                sources = self._sources(backbone, task, seed, point=point)
            run = self._run(
                backbone,
                choice.method,
                task,
                draw=draw,
                seed=seed,
                sources=sources,
                top_sources=choice.top_sources,
            )
            yield Cell(label=choice.shown, point=point, run=run)

    def _probes(self, backbone: str, task: str, seed: int) -> Iterator[Cell]:
        probe = self.asked.probe
        if probe is None:
            return
        draw = self._draw(None)
        own = self.asked.sources is not None and self.asked.sources.own
        allowed = [name for name in self.source_names if own or name != task]
        for together in probe.together:
            for names in itertools.combinations(allowed, together):
                sources = [self._source(backbone, name, task=task, draw=draw, seed=seed) for name in names]
                for omega in points_of(probe.grid, sources=together):
                    method = Probing(omega=omega)
                    run = self._run(backbone, method, task, draw=draw, seed=seed, sources=sources)
                    yield Cell(label="probing", point=None, run=run)

    def _points(self) -> Sequence[Point | None]:
        if self.asked.few_shot is not None:
            return [Point("k", k) for k in self.asked.few_shot.k]
        if self.asked.rows.train_fraction:
            return [Point("train_fraction", share) for share in self.asked.rows.train_fraction]
        if self.asked.sources is not None and self.asked.sources.counts:
            return [Point("sources", count) for count in self.asked.sources.counts]
        return [None]

    def _draw(self, point: Point | None) -> Draw:
        rows, few = self.asked.rows, self.asked.few_shot
        caps = Draw(train=rows.train, dev=rows.dev, test=rows.test)
        if point is not None and point.axis == "k" and few is not None:
            return caps.model_copy(update={"k": int(point.value), "protocol": few.protocol})
        if point is not None and point.axis == "train_fraction" and point.value < 1:
            return caps.model_copy(update={"train_fraction": point.value})
        return caps

    def _sources(self, backbone: str, task: str, seed: int, *, point: Point | None) -> Sequence[RunSpec | ShelfSource]:
        sources = self.asked.sources
        assert sources is not None
        names = [name for name in self.source_names if name != task]
        names += [task] if sources.own else []
        if point is not None and point.axis == "sources":
            count = int(point.value)
            if count > len(names):
                raise InputError(f"sources.counts has {count}, but {task} has {len(names)} sources: give at most those")
            names = [*names[: count - 1], names[-1]] if sources.own else names[:count]
        if not names:
            raise InputError(f"target {task} has no source but its own, which is left out: name others (sources.tasks)")
        draw = self._draw(point)
        return [self._source(backbone, name, task=task, draw=draw, seed=seed) for name in names]

    def _source(self, backbone: str, name: str, *, task: str, draw: Draw, seed: int) -> RunSpec | ShelfSource:
        """A source for a target; the target's own is always trained here, on the rows of the run."""
        sources = self.asked.sources
        assert sources is not None
        if name == task:
            own_seed = seed if draw.by_seed or sources.seed == "same" else 0
            return self._run(backbone, sources.method.method, name, draw=draw, seed=own_seed, as_source=draw.k is None)
        if sources.shelf is not None:
            return ShelfSource(shelf=sources.shelf, name=name)
        own_seed = seed if sources.seed == "same" else 0
        return self._run(backbone, sources.method.method, name, draw=self._draw(None), seed=own_seed, as_source=True)

    def _run(
        self,
        backbone: str,
        method: Method,
        task: str,
        *,
        draw: Draw,
        seed: int,
        sources: Sequence[RunSpec | ShelfSource] = (),
        as_source: bool = False,
        top_sources: int | None = None,
    ) -> RunSpec:
        size, few_shot = draw.counted(size_of(task)), draw.k is not None
        method = suited(method, self.asked.protocol, rows=size.train)
        recipe = recipe_for(method, self.asked.protocol, rows=size.train, kind=size.kind, task=task, few_shot=few_shot)
        changes = self.asked.changes
        if as_source and self.asked.sources is not None and self.asked.sources.changes is not None:
            changes = self.asked.sources.changes
        return RunSpec(
            backbone=backbone,
            method=method,
            recipe=changed(recipe, changes),
            tasks=(task,),
            draw=draw,
            seed=seed,
            sources=tuple(sources),
            top_sources=top_sources,
        )
