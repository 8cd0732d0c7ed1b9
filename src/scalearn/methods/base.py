"""What a method is: options, what it builds on a backbone, and the hyper-parameters it is trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from torch import Tensor, nn

from scalearn.deltas import TaskSwitch
from scalearn.errors import InputError, faults
from scalearn.sites import Placement, Shape
from scalearn.sources import Source

Stage = Literal["single", "joint", "transfer"]


class Frozen(BaseModel):
    """A value: typed, immutable, refusing unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Model = TypeVar("_Model", bound=Frozen)


LATER: Mapping[str, Any] = {"tokens_per_batch": None, "head_start": "random", "balance_labels": False}
"""Fields that recipes did not have from the first, with the values that leave them unused."""


class Optimisation(Frozen):
    """AdamW with linear decay to 0, gradients clipped at 1: what the recipes of all stages share."""

    learning_rate: float = Field(gt=0)
    """Of the deltas, or of the whole backbone in full fine-tuning."""
    head_learning_rate: float = Field(gt=0)
    """Of the heads. The published protocol has one rate for both."""
    mask_learning_rate: float | None = Field(None, gt=0)
    """Of ProPETL's mask scores; None is `learning_rate`."""
    mask_weight_decay: float = Field(0.0, ge=0)
    """Of ProPETL's mask scores."""
    patience: int = Field(5, gt=0)
    """Stop after so many evaluations without a better dev score."""
    batch_size: int = Field(32, gt=0)
    """Rows per step."""
    tokens_per_batch: int | None = Field(None, ge=8)
    """At most so many tokens per step, padding included: rows times the padded length; None goes by `batch_size`."""
    weight_decay: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the rate rises from 0."""
    backbone_dropout: bool = True
    """Whether the backbone's own dropout acts in training, as published."""

    @model_serializer(mode="wrap")
    def _without_the_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out later fields that are not asked for: runs from before there were any are found by their names."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if (name, value) not in LATER.items()}


class Recipe(Optimisation):
    """How long and how fast to train on one task."""

    epochs: int = Field(30, gt=0)
    """At most so many passes over the training rows."""
    steps: int | None = Field(None, gt=0)
    """At most so many batches instead of `epochs`; None goes by `epochs`."""
    evaluate_every: int | None = Field(None, gt=0)
    """Steps between evaluations, and after the last step; None evaluates once an epoch."""
    select: Literal["loss", "metric"] = "loss"
    """The best checkpoint is the one of lowest dev loss (published) or of highest main dev metric."""
    head_start: Literal["random", "linear"] = "random"
    """Where the head starts: at random (published), or at a linear model of what it reads of the training rows, which
    is then a checkpoint that can be the best (`scalearn.training.head_start`)."""
    balance_labels: bool = False
    """Of rows with several labels: whether those with a label count as much together as those without. Else a model of
    few rows learns first that every label is rare, and gives none."""


class JointRecipe(Optimisation):
    """How long and how fast to train on several tasks at once; the best checkpoint has the lowest mean dev loss.

    `caps` and `unselective` may name tasks that a run does not have.
    """

    steps: int = Field(375_000, gt=0)
    """At most so many batches, of one task each."""
    evaluate_every: int = Field(7_500, gt=0)
    """Steps between evaluations of all tasks."""
    temperature: float = Field(1.0, gt=0)
    """A task is drawn in proportion to size^(1 / temperature)."""
    cap: int | None = Field(None, gt=0)
    """A task counts as no more rows than this when it is drawn; None is no cap."""
    caps: dict[str, PositiveInt] = Field(default_factory=dict)
    """A task counts as no more rows than this when it is drawn, by the task's name; beside `cap`."""
    unselective: tuple[str, ...] = ()
    """Names of tasks whose dev loss does not count in the mean that chooses the checkpoint."""

    def counted(self, task: str, rows: int) -> int:
        """Rows that a task of so many rows counts as when it is drawn."""
        return min(rows, self.cap or rows, self.caps.get(task, rows))


AnyRecipe = TypeVar("AnyRecipe", bound=Optimisation)


def changed(recipe: AnyRecipe, changes: Mapping[str, Any]) -> AnyRecipe:
    """The recipe with some fields replaced.

    Epochs also replace a number of steps, and a batch size a number of tokens per batch. Where many steps lie between
    evaluations, other steps leave the number of evaluations, and epochs have one each, unless that is given too.

    Raises:
        InputError: a field is unknown or out of range, all such fields are named; or two are given that exclude one
            another.
    """
    own = type(recipe).model_fields
    for replaced, by in (("steps", "epochs"), ("tokens_per_batch", "batch_size")):
        if by in changes and replaced in own and by in own:
            if changes.get(replaced) is not None:
                raise InputError(
                    f"{by} {changes[by]} and {replaced} {changes[replaced]} exclude one another: give either"
                )
            changes = {**changes, replaced: None}
    if isinstance(recipe, Recipe) and recipe.steps and recipe.evaluate_every and "evaluate_every" not in changes:
        if "epochs" in changes:
            changes = {**changes, "evaluate_every": None}
        elif isinstance(steps := changes.get("steps"), int) and steps > 0:  # as many evaluations as there were
            changes = {**changes, "evaluate_every": math.ceil(recipe.evaluate_every * steps / recipe.steps)}
    return validated(type(recipe), {**recipe.model_dump(), **changes}, what="recipe")


def validated(kind: type[_Model], values: Mapping[str, Any], *, what: str) -> _Model:
    """A `kind` with these values.

    Raises:
        InputError: a value is unknown or out of range; all such values are named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        valid = ", ".join(kind.model_fields) or "none"
        raise InputError(f"{what}: {faults(error)}; valid options are {valid}") from error


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method is built for."""

    shape: Shape
    """Of the backbone."""
    sources: Sequence[Source] = ()
    """Those to combine, in order; empty but for transfer methods."""
    switch: TaskSwitch | None = None
    """The tasks, and which of them is computed; only for joint methods."""

    @property
    def tasks(self) -> TaskSwitch:
        """The switch of a joint method."""
        if self.switch is None:
            raise InputError(
                "this method learns several tasks at once: give it at least two (scalearn joint TASK TASK)"
            )
        return self.switch


class Evidence(Protocol):
    """What a method may look at before it is built: see `scalearn.ranking.evidence`."""

    @property
    def count(self) -> int:
        """T, the number of sources."""

    @property
    def train_rows(self) -> int:
        """How many training rows the target has."""

    @property
    def tells_apart(self) -> bool:
        """Whether the rows that sources are ranked by differ in their labels; else there are no `scores`."""

    def error(self, omega: NDArray[np.float64]) -> float:
        """Cross-validated loss of a linear model on the features of training rows under omega (T,); lower is better."""

    def losses(self, omegas: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The same of each row under each omega, (omegas, rows)."""

    def similarities(self) -> list[float]:
        """Mean cosine similarity of the target's texts to each source's, T numbers."""

    def own(self) -> list[bool]:
        """Which of the T sources were trained on the target task itself."""

    def scores(self) -> list[float]:
        """How well each of the T sources suits the target (`scalearn.ranking`), T numbers; higher is better."""


class Method(Frozen):
    """What is trained on top of a pretrained backbone."""

    stage: ClassVar[Stage] = "single"
    """``single`` trains on one task, ``joint`` on several at once, ``transfer`` combines frozen sources."""
    trains_backbone: ClassVar[bool] = False
    """Whether the backbone's own weights are trained."""
    gives_source: ClassVar[bool] = False
    """Whether what was trained can be combined by transfer methods."""
    reference: ClassVar[str] = ""
    """Where it was published."""

    @property
    def name(self) -> str:
        """The name of this method, with these options, in the registry."""
        raise TypeError(f"{type(self).__name__} has no name: use one of scalearn.methods.REGISTRY")

    def prepare(self, evidence: Evidence) -> Method:
        """This method with the options that depend on the data filled in; called once, before `build`."""
        return self

    def build(self, setting: Setting) -> Placement:
        """The deltas by site; empty where nothing is added to the backbone."""
        return {}

    def penalty(self, deltas: Sequence[nn.Module]) -> Tensor | float:
        """What is added to the training loss."""
        return 0.0

    def on_small_data(self) -> Method:
        """This method with what suits a few training rows, where nothing else was asked for."""
        return self

    def after_step(self, deltas: Sequence[nn.Module]) -> Callable[[float], None] | None:
        """What is done after each step of the optimizer, given its learning rate; None is nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the registry."""

    method: Method
    """The method with the published options."""
    published: Optimisation
    """The published hyper-parameters (the paper's appendix and code)."""
    large: Optimisation
    """What this library uses for a few thousand rows and more, and of joint methods always."""
    small: Recipe | None = None
    """What it uses for fewer, but for how many steps (`scalearn.methods.small`); None for joint methods."""


def published(learning_rate: float, patience: int = 5, **others: Any) -> Recipe:
    """The published protocol has one rate for deltas and head."""
    return Recipe(learning_rate=learning_rate, head_learning_rate=learning_rate, patience=patience, **others)


def large(learning_rate: float, head_learning_rate: float, *, backbone_dropout: bool = False, **others: Any) -> Recipe:
    """What suits a few thousand rows on a CPU."""
    return Recipe(
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        epochs=30,
        patience=10,  # an epoch of a small target is a few steps
        batch_size=16,
        backbone_dropout=backbone_dropout,
        select="metric",
        **others,
    )


def small(
    learning_rate: float, head_learning_rate: float = 3e-4, *, backbone_dropout: bool = False, **others: Any
) -> Recipe:
    """What suits fewer rows than `scalearn.methods.small.ROWS`; how long is decided there."""
    return Recipe(
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        batch_size=16,
        patience=2,
        backbone_dropout=backbone_dropout,
        select="metric",
        head_start="linear",
        balance_labels=True,
        **others,
    )
