"""Transfer methods: frozen sources, combined for a target task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer
from torch import Tensor, nn

from scalearn import deltas as d
from scalearn.deltas import Constraint, FixedOmega, Omega, TopSources, shrink
from scalearn.errors import InputError
from scalearn.methods.base import Entry, Evidence, Method, Setting, default, published
from scalearn.methods.combine import averaged, only_layers, scaled
from scalearn.methods.sharing import share
from scalearn.methods.start import Init, at_best, by_rank
from scalearn.sites import LAYER, Placement


class Transfer(Method):
    """A method that combines sources."""

    stage: ClassVar = "transfer"
    scales_sources: ClassVar[bool] = False
    """Whether each source has coefficients of its own, so that one can be taken away."""

    def narrowed(self, kept: Sequence[int]) -> Transfer:
        """The method of a model that is left with these sources, its coefficients as they act (`scalearn.pruning`).

        Raises:
            InputError: there is nothing to prune.
        """
        raise InputError(
            f"method {self.name!r} has nothing to prune: scalearn (all variants), probing and lorahub have a "
            "coefficient for each source"
        )


_UNUSED: tuple[tuple[str, Any], ...] = (
    *(("l1", 0.0), ("keep", None), ("init", "paper"), ("starts", ())),
    ("starts", []),  # in JSON
)
"""Options of ScaLearn that its first version did not have, and what leaves them out."""


class ScaLearn(Transfer):
    """Learned scaling of frozen sources (`scalearn.deltas.ScaledSources`)."""

    reference: ClassVar[str] = "Frohmann et al., Findings of ACL 2024"
    scales_sources: ClassVar[bool] = True

    uniform: bool = False
    """One coefficient per source instead of one per source and dimension."""
    shared: bool = False
    """One omega for all layers: the "++" variants."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout on omega. None is the published choice: 0.3, but 0 for Uniform++ and under a constraint."""
    init_scale: float = 2.0
    """Omega starts at init_scale / T."""
    constraint: Constraint = "none"
    """``mean`` or ``softmax`` over sources, as in the paper's ablation."""
    regularisation: float = Field(0.0, ge=0)
    """Lambda, the factor of the omega regulariser in the loss."""
    l1: float = Field(0.0, ge=0)
    """After each step each coefficient shrinks towards 0 by l1 times the learning rate (`scalearn.deltas.sparsity`)."""
    keep: int | None = Field(None, gt=0)
    """Only so many sources act, in training too: those of largest mean |omega|; None is all."""
    init: Init = "paper"
    """Where omega starts: see `scalearn.methods.start`."""
    starts: tuple[float, ...] = ()
    """Under init ``rank`` and ``best`` the start of each source's omega; empty until the sources are ranked."""

    @field_validator("init")
    @classmethod
    def _alone_with_the_start(cls, given: Init, known: ValidationInfo) -> Init:
        if given in ("mean", "best") and (scale := known.data.get("init_scale", 2.0)) != 2.0:
            raise ValueError(
                f"{given!r} says where omega starts, and so does init_scale {scale}: leave out one of them"
            )
        if given in ("rank", "best") and known.data.get("constraint") == "softmax":
            raise ValueError(
                f"{given!r} is not for softmax, under which omega is no coefficient: leave out one of them"
            )
        return given

    @field_validator("starts")
    @classmethod
    def _of_a_ranking(cls, given: tuple[float, ...], known: ValidationInfo) -> tuple[float, ...]:
        if given and (init := known.data.get("init")) in ("paper", "mean"):
            raise ValueError(f"are for init 'rank' or 'best', not for {init!r}: leave out one of them")
        return given

    @field_validator("l1", "keep")
    @classmethod
    def _without_constraint(cls, given: float | None, known: ValidationInfo) -> float | None:
        if given and (constraint := known.data.get("constraint", "none")) != "none":
            raise ValueError(f"is for an omega without constraint, not under {constraint!r}: leave out one of them")
        return given

    @model_serializer(mode="wrap")
    def _without_the_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out later options that are not asked for: runs from before there were any are found by their names."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if (name, value) not in _UNUSED}

    @property
    def name(self) -> str:
        """``scalearn``, ``scalearn-uniform``, ``scalearn++`` or ``scalearn-uniform++``."""
        return "scalearn" + ("-uniform" if self.uniform else "") + ("++" if self.shared else "")

    @property
    def omega_dropout(self) -> float:
        """The dropout on omega with None resolved."""
        if self.dropout is not None:
            return self.dropout
        return 0.0 if (self.uniform and self.shared) or self.constraint != "none" else 0.3

    def prepare(self, evidence: Evidence) -> ScaLearn:
        """Ranks the sources where omega starts by rank."""
        if self.init not in ("rank", "best") or self.starts:
            return self
        scores = evidence.scores()
        starts = at_best(scores) if self.init == "best" else by_rank(scores, total=self.init_scale)
        return self.model_copy(update={"starts": starts})

    def build(self, setting: Setting) -> Placement:
        """The fused sources, scaled by an omega per layer or one for all."""

        count = len(setting.sources)
        placement = scaled(setting.sources, lambda outputs: self.omega(count, outputs), shared=self.shared)
        if self.keep is not None:
            TopSources(_learned(placed for layers in placement.values() for placed in layers), keep=self.keep)
        return placement

    def omega(self, sources: int, outputs: int) -> Omega:
        """Fresh coefficients for so many sources of a site of so many outputs.

        Raises:
            InputError: they start by rank, and the sources were not ranked, or others were.
        """
        if self.init in ("rank", "best") and len(self.starts) != sources:
            raise InputError(
                f"{self.name} has {len(self.starts)} starts for {sources} sources: give a task with training rows, so "
                f"that they can be ranked, or starts=..., or leave out init={self.init!r}"
            )
        return Omega(
            sources=sources,
            width=1 if self.uniform else outputs,
            init_scale=1.0 if self.init == "mean" else self.init_scale,
            starts=self.starts,
            dropout=self.omega_dropout,
            constraint=self.constraint,
        )

    def penalty(self, deltas: Sequence[nn.Module]) -> Tensor | float:
        """Lambda times the omega regulariser, summed over layers."""
        if not self.regularisation:
            return 0.0
        return self.regularisation * sum(omega.penalty() for omega in _learned(deltas))

    def after_step(self, deltas: Sequence[nn.Module]) -> Callable[[float], None] | None:
        """The proximal step of the L1 penalty."""
        if not self.l1:
            return None
        values = {id(omega): omega.values for omega in _learned(deltas)}.values()  # one that layers share, once

        def step(learning_rate: float) -> None:
            for own in values:
                shrink(own, self.l1 * learning_rate)

        return step

    def narrowed(self, kept: Sequence[int]) -> ScaLearn:
        """The same, of coefficients that act as they are."""
        starts = tuple(self.starts[t] for t in kept) if self.starts else ()
        changes = {"constraint": "none", "keep": None, "dropout": self.omega_dropout, "starts": starts}
        return self.model_copy(update=changes)


def _learned(deltas: Iterable[nn.Module]) -> list[Omega]:
    """The omega of each delta, those that layers share once for each layer."""
    return [delta.omega for delta in deltas if isinstance(delta, d.Scaled) and isinstance(delta.omega, Omega)]


class Probing(Transfer):
    """Sources scaled by constants; only a head is trained."""

    reference: ClassVar[str] = "Frohmann et al., Findings of ACL 2024, section 3"
    scales_sources: ClassVar[bool] = True

    omega: tuple[float, ...]
    """One constant per source, in the order of the shelf."""

    @property
    def name(self) -> str:
        """``probing``."""
        return "probing"

    def build(self, setting: Setting) -> Placement:
        """The fused sources, scaled by the constants."""
        if len(self.omega) != len(setting.sources):
            raise InputError(
                f"{len(self.omega)} coefficients for {len(setting.sources)} sources: give one for each (omega=...)"
            )
        return scaled(setting.sources, lambda _: FixedOmega(self.omega))

    def narrowed(self, kept: Sequence[int]) -> Probing:
        """The constants of these sources."""
        return self.model_copy(update={"omega": tuple(self.omega[t] for t in kept)})


class UniformAverage(Transfer):
    """The mean of all sources' outputs: a baseline that any claim must beat."""

    reference: ClassVar[str] = "baseline"
    scales_sources: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """``uniform-average``."""
        return "uniform-average"

    def build(self, setting: Setting) -> Placement:
        """The fused sources, each scaled by 1 / T."""
        count = len(setting.sources)
        return scaled(setting.sources, lambda _: FixedOmega([1 / count] * count))


class BestSource(Transfer):
    """The one source whose frozen features suit the target's training rows best: the other trivial baseline."""

    reference: ClassVar[str] = "baseline"

    chosen: int | None = Field(None, ge=0)
    """Its place on the shelf; None tries all."""

    @property
    def name(self) -> str:
        """``best-source``."""
        return "best-source"

    def prepare(self, evidence: Evidence) -> BestSource:
        """Tries one source at a time and keeps the one of lowest error."""
        if self.chosen is not None:
            return self
        errors = [evidence.error(alone) for alone in np.eye(evidence.count)]
        return BestSource(chosen=int(np.argmin(errors)))

    def build(self, setting: Setting) -> Placement:
        """That source alone."""
        if self.chosen is None or self.chosen >= len(setting.sources):
            raise InputError(
                f"best-source has chosen {self.chosen} of {len(setting.sources)} sources: give a task with training "
                "rows, so that it can choose, or chosen=..."
            )
        return scaled([setting.sources[self.chosen]], lambda _: FixedOmega([1.0]))


class LoraHub(Transfer):
    """One coefficient per source, found without gradients (COBYQA), then a head is trained.

    The search minimises the error of a linear model on the frozen features plus `regularisation` times the mean
    absolute coefficient, over coefficients in [-bound, bound], starting from 0, as LoraHub does with its own language
    model loss.
    """

    reference: ClassVar[str] = "after Huang et al., COLM 2024"
    scales_sources: ClassVar[bool] = True

    omega: tuple[float, ...] = ()
    """The coefficients; empty until they are searched."""
    evaluations: int = Field(40, gt=0)
    """How many settings of the coefficients may be tried."""
    bound: float = Field(1.5, ge=1e-3, le=100)
    """Largest absolute coefficient."""
    regularisation: float = Field(0.05, ge=0)
    """Weight of the mean absolute coefficient in what is minimised."""

    @property
    def name(self) -> str:
        """``lorahub``."""
        return "lorahub"

    def prepare(self, evidence: Evidence) -> LoraHub:
        """Searches the coefficients."""
        from scipy.optimize import minimize

        if self.omega:
            return self
        count = evidence.count
        tried: list[tuple[float, tuple[float, ...]]] = []

        def objective(omega: np.ndarray) -> float:
            value = evidence.error(omega) + self.regularisation * float(np.abs(omega).mean())
            tried.append((value, tuple(round(float(c), 6) for c in omega)))
            return value

        minimize(
            objective,
            np.zeros(count),
            method="COBYQA",
            bounds=[(-self.bound, self.bound)] * count,
            options={"maxfev": self.evaluations, "initial_tr_radius": self.bound / 3},
        )
        return self.model_copy(update={"omega": min(tried)[1]})

    def build(self, setting: Setting) -> Placement:
        """The fused sources, scaled by what was found."""
        if len(self.omega) != len(setting.sources):
            raise InputError(
                f"lorahub has {len(self.omega)} coefficients for {len(setting.sources)} sources: give a task with "
                "training rows, so that it can search them, or omega=..."
            )
        return scaled(setting.sources, lambda _: FixedOmega(self.omega))

    def narrowed(self, kept: Sequence[int]) -> LoraHub:
        """The coefficients of these sources."""
        return self.model_copy(update={"omega": tuple(self.omega[t] for t in kept)})


class AdapterSoup(Transfer):
    """The sources' weights, averaged by the similarity of their texts to the target's; only a head is trained."""

    reference: ClassVar[str] = "Chronopoulou et al., Findings of EACL 2023"

    top_k: int | None = Field(5, gt=0)
    """How many of the most similar sources enter; None is all."""
    include_target: bool = True
    """Whether a source that was trained on the target task itself may enter, as published."""
    weights: tuple[float, ...] = ()
    """One per source, at least 0; empty until they are computed from similarities, which sum to 1."""

    @property
    def name(self) -> str:
        """``adaptersoup``."""
        return "adaptersoup"

    def prepare(self, evidence: Evidence) -> AdapterSoup:
        """Weighs the sources by similarity."""
        if self.weights:
            return self
        similarities = np.array(evidence.similarities())
        allowed = np.array([self.include_target or not own for own in evidence.own()])
        return self.model_copy(update={"weights": soup_weights(similarities, allowed=allowed, top_k=self.top_k)})

    def build(self, setting: Setting) -> Placement:
        """The averaged adapter."""
        if len(self.weights) != len(setting.sources):
            raise InputError(
                f"adaptersoup has {len(self.weights)} weights for {len(setting.sources)} sources: give a task with "
                "training rows, so that similarities can be computed, or weights=..."
            )
        if not all(weight >= 0 for weight in self.weights) or not any(self.weights):
            raise InputError(f"adaptersoup has the weights {self.weights}: give at least one above 0, and none below")
        chosen = [(source, weight) for source, weight in zip(setting.sources, self.weights, strict=True) if weight]
        return averaged([source for source, _ in chosen], [weight for _, weight in chosen])


def soup_weights(similarities: np.ndarray, *, allowed: np.ndarray, top_k: int | None) -> tuple[float, ...]:
    """Similarities (T,) of the `top_k` most similar sources among those allowed, normalised to sum 1; 0 elsewhere.

    Raises:
        InputError: no source that is allowed is similar at all.
    """
    kept = np.where(allowed, np.maximum(similarities, 0.0), 0.0)
    if top_k is not None:
        kept[np.argsort(-kept, kind="stable")[top_k:]] = 0.0
    if not kept.any():
        raise InputError("no source's texts are similar to the target's: give other sources, or weights=...")
    return tuple(float(value) for value in kept / kept.sum())


class AdapterFusion(Transfer):
    """Attention over the sources' outputs in every layer (`scalearn.deltas.AdapterFusion`)."""

    reference: ClassVar[str] = "Pfeiffer et al., EACL 2021"

    value: bool = True
    """Whether there is a value matrix; the published variant without is called static."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """On the attention scores."""
    regularisation: float = Field(0.01, ge=0)
    """Weight of the value matrices' distance from the identity in the loss."""

    @property
    def name(self) -> str:
        """``adapterfusion``."""
        return "adapterfusion"

    def build(self, setting: Setting) -> Placement:
        """A fusion of all sources per layer."""
        layers = only_layers(setting.sources, why="AdapterFusion reads the outputs of bottlenecks")
        width = setting.shape.width
        fusions = (d.AdapterFusion(own, width=width, value=self.value, dropout=self.dropout) for own in layers)
        return {LAYER: [share(fusion) for fusion in fusions]}

    def penalty(self, deltas: Sequence[nn.Module]) -> Tensor | float:
        """The regulariser of the value matrices, summed over layers."""
        if not self.value or not self.regularisation:
            return 0.0
        parts = [delta.penalty() for delta in deltas if isinstance(delta, d.AdapterFusion)]
        return self.regularisation * torch.stack(parts).sum()


def _scaling(method: ScaLearn) -> Entry:
    # The published single rate of 6e-3 ruins the head on small data: omega wants a large rate, the head a small one.
    return Entry(method=method, published=published(6e-3, 30), default=default(6e-3, 3e-4))


def _head_only(method: Method) -> Entry:
    return Entry(method=method, published=published(3e-4), default=default(1e-3, 1e-3))


ENTRIES = (
    _scaling(ScaLearn()),
    _scaling(ScaLearn(uniform=True)),
    _scaling(ScaLearn(shared=True)),
    _scaling(ScaLearn(uniform=True, shared=True)),
    Entry(method=AdapterFusion(), published=published(5e-5), default=default(3e-4, 1e-3)),
    _head_only(AdapterSoup()),
    _head_only(LoraHub()),
    _head_only(BestSource()),
    _head_only(UniformAverage()),
    _head_only(Probing(omega=(1.0,))),
)
