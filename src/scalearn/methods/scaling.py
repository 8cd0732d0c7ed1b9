"""Sources whose outputs are scaled and summed: by coefficients that are learned, or by constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer
from torch import Tensor, nn

from scalearn.deltas import Constraint, FixedOmega, Omega, Scaled, TopSources, shrink
from scalearn.errors import InputError
from scalearn.methods.base import Evidence, Setting
from scalearn.methods.combine import Transfer, scaled
from scalearn.methods.start import Init, at_best, by_rank, by_rows
from scalearn.sites import Placement

_UNUSED: tuple[tuple[str, Any], ...] = (
    *(("l1", 0.0), ("keep", None), ("init", None), ("init", "paper"), ("starts", ())),
    ("starts", []),  # in JSON
)
"""Options of ScaLearn that its first version did not have, and what leaves them out."""


_FOUND = ("rank", "best", "auto")
"""What says where omega starts only once there are rows."""


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
    init: Init | None = None
    """Where omega starts: see `scalearn.methods.start`. None is `paper`, but `auto` on small data."""
    starts: tuple[float, ...] = ()
    """Under init ``rank``, ``best`` and ``auto`` the start of each source's omega; empty until it is found."""

    @field_validator("init")
    @classmethod
    def _alone_with_the_start(cls, given: Init | None, known: ValidationInfo) -> Init | None:
        if given in ("mean", "best") and (scale := known.data.get("init_scale", 2.0)) != 2.0:
            raise ValueError(
                f"{given!r} says where omega starts, and so does init_scale {scale}: leave out one of them"
            )
        if given == "auto" and (constraint := known.data.get("constraint", "none")) != "none":
            raise ValueError(
                f"'auto' is for an omega without constraint, not under {constraint!r}: leave out one of them"
            )
        if given == "auto" and known.data.get("keep") is not None:
            raise ValueError("'auto' looks at all sources, and keep at fewer: leave out one of them")
        if given in _FOUND and known.data.get("constraint") == "softmax":
            raise ValueError(
                f"{given!r} is not for softmax, under which omega is no coefficient: leave out one of them"
            )
        return given

    @field_validator("starts")
    @classmethod
    def _of_a_ranking(cls, given: tuple[float, ...], known: ValidationInfo) -> tuple[float, ...]:
        if given and (init := known.data.get("init")) not in _FOUND:
            raise ValueError(f"are for init 'rank', 'best' or 'auto', not for {init!r}: leave out one of them")
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
        """Finds the start where it depends on the rows."""
        if self.init not in _FOUND or self.starts:
            return self
        if self.init == "auto":
            starts = by_rows(evidence, total=self.init_scale)
        elif self.init == "best":
            starts = at_best(evidence.scores())
        else:
            starts = by_rank(evidence.scores(), total=self.init_scale)
        return self.model_copy(update={"starts": starts})

    def on_small_data(self) -> ScaLearn:
        """Starts where the rows say, unless something was said about the start."""
        told = self.init is not None or self.init_scale != 2.0 or self.constraint != "none" or self.keep is not None
        return self if told else self.model_copy(update={"init": "auto"})

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
        if self.init in _FOUND and len(self.starts) != sources:
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
    return [delta.omega for delta in deltas if isinstance(delta, Scaled) and isinstance(delta.omega, Omega)]


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
