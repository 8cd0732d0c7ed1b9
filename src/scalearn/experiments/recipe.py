"""An experiment as a YAML recipe: what is asked, checked as a whole before anything is loaded.

    tasks x methods x seeds on each backbone, and where it is asked so at each number of few-shot rows, fraction of the
    training rows, or number of sources

`scalearn.experiments.recipe_file` reads one, `scalearn.experiments.expansion` says which runs it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from scalearn.experiments.probe import GRID, checked_grid
from scalearn.experiments.sizes import canonical
from scalearn.explanation import can_explain
from scalearn.methods import REGISTRY, Method, Protocol, changed, method_from_name
from scalearn.methods.base import Frozen
from scalearn.tasks.fewshot import FewShotProtocol


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Count = Annotated[int, Field(gt=0)]
TaskName = Annotated[str, BeforeValidator(lambda name: canonical(name) if isinstance(name, str) else name)]
Changes = Mapping[str, Any]


class MethodChoice(Frozen):
    """A method, with options that differ from the published ones."""

    name: str
    """In the registry."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of the method."""
    top_sources: Count | None = None
    """Of a transfer method: it combines so many sources only, or all if there are fewer, those that suit the rows of
    a run best before training (`scalearn.ranking`); None is all."""
    label: str = ""
    """What tables call it; by default its name and its options."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> MethodChoice:
        if self.name == "probing":
            raise ValueError("probing takes its coefficients from a grid: give the section 'probe' instead")
        if "stage" in self.options:
            raise ValueError("stage is no option: a method has one")
        stage = self.method.stage
        if self.top_sources is not None and stage != "transfer":
            raise ValueError(f"top_sources is for transfer methods, which combine sources; {self.name} does not")
        return self

    @property
    def method(self) -> Method:
        """The method with its options."""
        return method_from_name(self.name, **self.options)

    @property
    def shown(self) -> str:
        """What tables call it."""
        top = {} if self.top_sources is None else {"top_sources": self.top_sources}
        changed = {**self.options, **top}
        return self.label or ", ".join([self.name, *(f"{key} {value}" for key, value in changed.items())])


class Rows(Frozen):
    """Fewer rows than there are; rows of train and dev are drawn anew for every seed."""

    train: Count | None = None
    """At most so many; None takes all."""
    dev: Count | None = None
    """Likewise."""
    test: Count | None = None
    """The first so many of each test split, for a quick look: scores of capped test rows compare with no others."""
    train_fraction: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_listed)] = ()
    """Shares of the training rows, each of them a point of the experiment; the sources are trained on all rows."""


class Sources(Frozen):
    """What transfer methods combine: a source for each task but the target, and the target's own as the last one."""

    tasks: tuple[str, ...] = ()
    """Their tasks, in order; of a shelf the names of its sources, by default all."""
    shelf: str | None = None
    """A folder of sources, or builtin; None trains them as a part of the experiment, once for all that need them."""
    method: MethodChoice = Field(default_factory=lambda: MethodChoice(name="adapter"))
    """What they are trained with."""
    own: bool = True
    """Whether the target's own source is the last one, trained on the target's rows; else it has none."""
    seed: Literal["same", 0] = "same"
    """Of those trained here: ``same`` as the target's, so that the spread over seeds is that of both stages; or 0 for
    all, as published, so that a target of every seed has the same sources."""
    counts: tuple[Count, ...] = ()
    """Numbers of sources, each of them a point: the first of those in order, the own one among them as the last."""
    changes: Changes | None = None
    """Hyper-parameters that replace the protocol's when sources are trained; None takes the experiment's `changes`."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("shelf") or not isinstance(given.get("tasks"), list | tuple):
            return given
        return {**given, "tasks": [canonical(str(task)) for task in given["tasks"]]}

    @field_validator("method")
    @classmethod
    def _gives(cls, choice: MethodChoice) -> MethodChoice:
        if not choice.method.gives_source:
            valid = ", ".join(name for name, entry in REGISTRY.items() if entry.method.gives_source)
            raise ValueError(f"{choice.name} gives no source; valid are {valid}")
        return choice

    @field_validator("changes")
    @classmethod
    def _fit(cls, changes: Changes | None) -> Changes | None:
        return None if changes is None else _checked(changes, "adapter")


class FewShot(Frozen):
    """Few training rows: see `scalearn.tasks.fewshot`."""

    k: tuple[Count, ...] = Field(min_length=1)
    """Numbers of training rows, each of them a point."""
    protocol: FewShotProtocol = "true"
    """``paper``: the published draw; ``true``: k dev rows too, drawn anew for every seed."""

    @field_validator("protocol", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return "true" if value is True else value  # what YAML makes of the word true


class Probe(Frozen):
    """Sources scaled by constants, and a head trained at every point of a grid."""

    together: Annotated[tuple[Literal[1, 2], ...], BeforeValidator(_listed)] = (1,)
    """1: each source alone; 2: every pair."""
    grid: tuple[float, ...] = GRID
    """Values of each coefficient."""

    @field_validator("grid")
    @classmethod
    def _ascending(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        return checked_grid(grid)


class Experiment(Frozen):
    """What a recipe asks for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """Of its folder under runs/."""
    backbones: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(min_length=1)
    """``minilm``, folders or Hub ids; tables are made for each."""
    tasks: tuple[TaskName, ...] = Field(min_length=1)
    """Targets; a joint method learns them together."""
    methods: tuple[MethodChoice, ...] = ()
    """Of any stage, in the order of the tables' rows."""
    sources: Sources | None = None
    """For transfer methods and probing."""
    protocol: Protocol = "default"
    """Hyper-parameters: the library's, or the paper's (published)."""
    changes: Changes = Field(default_factory=dict)
    """Hyper-parameters that replace the protocol's: fields of `scalearn.methods.Recipe`."""
    joint_changes: Changes = Field(default_factory=dict)
    """Likewise for joint methods: fields of `scalearn.methods.JointRecipe`."""
    seeds: Mapping[str, Count] = Field(default_factory=lambda: {"default": 1})
    """How many, from 0: a number, or one by task, with a default for the others and for joint methods."""
    rows: Rows = Field(default_factory=Rows)
    """Fewer rows than there are."""
    few_shot: FewShot | None = None
    """Few training rows."""
    probe: Probe | None = None
    """Constant coefficients."""
    explain: bool = False
    """Also say what each source did, of every run that combines sources by coefficients (`scalearn.explanation`):
    2 T + 3 passes over its dev rows. It is no part of what makes a run: finished ones are explained, not trained anew.
    """

    @field_validator("seeds", mode="before")
    @classmethod
    def _by_task(cls, seeds: Any) -> Any:
        given = seeds if isinstance(seeds, Mapping) else {"default": seeds}
        return {name if name == "default" else canonical(str(name)): count for name, count in given.items()}

    @field_validator("changes")
    @classmethod
    def _fit(cls, changes: Changes) -> Changes:
        return _checked(changes, "adapter")

    @field_validator("joint_changes")
    @classmethod
    def _fit_joint(cls, changes: Changes) -> Changes:
        return _checked(changes, "adapter-m")

    @model_validator(mode="after")
    def _coherent(self) -> Experiment:
        if problems := list(_contradictions(self)):
            raise ValueError("; ".join(problems))
        return self

    def seeds_of(self, task: str | None) -> range:
        """The seeds of a task; of joint methods for None."""
        return range(self.seeds.get(task or "default", self.seeds["default"]))


def _contradictions(asked: Experiment) -> Iterator[str]:
    stages = {choice.method.stage for choice in asked.methods}
    labels = [choice.shown for choice in asked.methods]
    combines = "transfer" in stages or asked.probe is not None
    strangers = sorted(asked.seeds.keys() - {"default", *asked.tasks})
    alone = "single" in stages or combines
    rows, few = asked.rows, asked.few_shot
    axes = sum(map(bool, (few, rows.train_fraction, asked.sources and asked.sources.counts)))
    explainable = [choice for choice in asked.methods if can_explain(choice.method)]
    checks = {
        "there is nothing to run: give methods, or probe": asked.methods or asked.probe,
        "transfer methods and probing need sources: give tasks to train them on, or a shelf": asked.sources
        or not combines,
        "nothing here combines sources: leave them out, or give a transfer method": combines or not asked.sources,
        "joint methods learn at least two tasks: name more": "joint" not in stages or len(asked.tasks) > 1,
        "joint methods have no few_shot: put them in a recipe of their own": "joint" not in stages or not few,
        "joint_changes are for joint methods, of which there is none": "joint" in stages or not asked.joint_changes,
        "changes are for single-task and transfer methods (joint_changes for joint ones)": alone or not asked.changes,
        "a few_shot draw has its own rows: leave out rows.train, rows.dev and rows.train_fraction": not few
        or not (rows.train or rows.dev or rows.train_fraction),
        "rows.train and rows.train_fraction exclude one another: give either": not (rows.train and rows.train_fraction),
        "an experiment has one axis: give few_shot, rows.train_fraction or sources.counts": axes <= 1,
        "probing has no axis: leave out few_shot, rows.train_fraction and sources.counts": not asked.probe or not axes,
        "joint methods take all fractions alike: leave out rows.train_fraction": "joint" not in stages
        or not rows.train_fraction,
        f"seeds name {', '.join(strangers)}, which are no tasks here": not strangers,
        "explain is for methods with a coefficient for each source (scalearn, lorahub, uniform-average): give one, or "
        "leave it out": not asked.explain or explainable,
        "seeds by task need a default": "default" in asked.seeds,
    }
    yield from (message for message, holds in checks.items() if not holds)
    lists: dict[str, tuple[Any, ...]] = {"backbones": asked.backbones, "tasks": asked.tasks, "methods": tuple(labels)}
    if asked.sources is not None:
        lists["sources.tasks"], lists["sources.counts"] = asked.sources.tasks, asked.sources.counts
        if not asked.sources.shelf and len(asked.sources.tasks) < 1:
            yield "sources name neither tasks nor a shelf: give tasks to train them on, or shelf: builtin"
    lists["rows.train_fraction"] = rows.train_fraction
    if few is not None:
        lists["few_shot.k"] = few.k
    if asked.probe is not None:
        lists["probe.together"] = asked.probe.together
    for name, values in lists.items():
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            yield f"{name}: {', '.join(twice)} given twice; give each once (methods differ by their labels)"


def _checked(changes: Changes, method: str) -> Changes:
    changed(REGISTRY[method].large, changes)
    return changes
