"""The registry of methods: name, stage, options, hyper-parameters, and how each builds its deltas.

A new method is one delta file and one entry in `REGISTRY`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from scalearn.deltas import Bottleneck, Constraint, FixedOmega, Omega, ScaledSources
from scalearn.errors import InputError, faults
from scalearn.sources import Source

Stage = Literal["single", "transfer"]
Protocol = Literal["default", "published"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=_Frozen)


class Recipe(_Frozen):
    """How long and how fast to train: AdamW, linear decay to 0, gradients clipped at 1."""

    learning_rate: float = Field(gt=0)
    """Of the deltas, or of the whole backbone in full fine-tuning."""
    head_learning_rate: float = Field(gt=0)
    """Of the head. The published protocol has one rate for both."""
    epochs: int = Field(30, gt=0)
    """At most so many passes over the training rows."""
    patience: int = Field(5, gt=0)
    """Stop after so many epochs without a better dev score."""
    batch_size: int = Field(32, gt=0)
    """Rows per step."""
    weight_decay: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the rate rises from 0."""
    backbone_dropout: bool = True
    """Whether the backbone's own dropout acts in training, as published; without it a CPU trains 1.5 times as fast."""
    select: Literal["loss", "metric"] = "loss"
    """The best checkpoint is the one of lowest dev loss (published) or of highest main dev metric."""


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some fields replaced.

    Raises:
        InputError: a field is unknown or out of range; all such fields are named.
    """
    return _validated(Recipe, {**recipe.model_dump(), **changes}, what="recipe")


def _validated(kind: type[_Model], values: Mapping[str, Any], *, what: str) -> _Model:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        valid = ", ".join(kind.model_fields) or "none"
        raise InputError(f"{what}: {faults(error)}; valid options are {valid}") from error


class Method(_Frozen):
    """What is trained on top of a pretrained backbone."""

    stage: ClassVar[Stage] = "single"
    """``single`` trains on one task alone, ``transfer`` combines frozen sources."""
    trains_backbone: ClassVar[bool] = False
    """Whether the backbone's own weights are trained."""

    @property
    def name(self) -> str:
        """The name of this method, with these options, in `REGISTRY`."""
        raise TypeError(f"{type(self).__name__} has no name: use one of {', '.join(REGISTRY)}")

    def build(self, *, width: int, layers: int, sources: Sequence[Source]) -> list[nn.Module]:
        """The deltas, one per layer, or none.

        Args:
            width: d of the backbone.
            layers: its number of layers.
            sources: those to combine; empty for single-task methods.
        """
        return []


class FullFineTuning(Method):
    """Every weight of the backbone is trained."""

    trains_backbone: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """``full``."""
        return "full"


class HeadOnly(Method):
    """A head on the frozen backbone: what any adapter has to beat."""

    @property
    def name(self) -> str:
        """``head``."""
        return "head"


class Adapter(Method):
    """A Pfeiffer bottleneck in every layer (`scalearn.deltas.Bottleneck`)."""

    reduction_factor: int = Field(16, gt=0)
    """d / r, the backbone's width over the bottleneck's."""
    bottleneck: int | None = Field(None, gt=0)
    """r itself, where it is not d / reduction_factor; a folded model has T * r."""

    @property
    def name(self) -> str:
        """``adapter``."""
        return "adapter"

    def build(self, *, width: int, layers: int, sources: Sequence[Source]) -> list[nn.Module]:
        """One fresh bottleneck per layer."""
        bottleneck = self.bottleneck or max(1, width // self.reduction_factor)
        return [Bottleneck(width=width, bottleneck=bottleneck) for _ in range(layers)]


class ScaLearn(Method):
    """Learned scaling of frozen sources (`scalearn.deltas.ScaledSources`)."""

    stage: ClassVar[Stage] = "transfer"

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

    def build(self, *, width: int, layers: int, sources: Sequence[Source]) -> list[nn.Module]:
        """The fused sources, scaled by an omega per layer or one for all."""

        def omega() -> Omega:
            return Omega(
                sources=len(sources),
                width=1 if self.uniform else width,
                init_scale=self.init_scale,
                dropout=self.omega_dropout,
                constraint=self.constraint,
            )

        omegas = [omega()] * layers if self.shared else [omega() for _ in range(layers)]
        per_layer = zip(*(source.bottlenecks() for source in sources), strict=True)
        return [ScaledSources(own, omega) for own, omega in zip(per_layer, omegas, strict=True)]


class Probing(Method):
    """Sources scaled by constants; only a head is trained (the paper's section 3)."""

    stage: ClassVar[Stage] = "transfer"

    omega: tuple[float, ...]
    """One constant per source, in the order of the shelf."""

    @property
    def name(self) -> str:
        """``probing``."""
        return "probing"

    def build(self, *, width: int, layers: int, sources: Sequence[Source]) -> list[nn.Module]:
        """The fused sources, scaled by the constants."""
        if len(self.omega) != len(sources):
            raise InputError(f"{len(self.omega)} coefficients for {len(sources)} sources: give one for each")
        per_layer = zip(*(source.bottlenecks() for source in sources), strict=True)
        return [ScaledSources(own, FixedOmega(self.omega)) for own in per_layer]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the registry."""

    method: Method
    """The method with the published options."""
    published: Recipe
    """The published hyper-parameters (REFERENCE: the paper's appendix and code)."""
    default: Recipe
    """What this library uses unless told otherwise."""


def _published(learning_rate: float, patience: int) -> Recipe:
    """The published protocol has one rate for deltas and head."""
    return Recipe(learning_rate=learning_rate, head_learning_rate=learning_rate, patience=patience)


def _default(learning_rate: float, head_learning_rate: float, *, backbone_dropout: bool = False) -> Recipe:
    return Recipe(
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        epochs=30,
        patience=10,  # an epoch of a small target is a few steps
        batch_size=16,
        backbone_dropout=backbone_dropout,
        select="metric",
    )


def _scaling(method: ScaLearn | Probing) -> Entry:
    # The published single rate of 6e-3 ruins the head on small data: omega wants a large rate, the head a small one.
    return Entry(method=method, published=_published(6e-3, 30), default=_default(6e-3, 3e-4))


REGISTRY: dict[str, Entry] = {
    "adapter": Entry(method=Adapter(), published=_published(3e-4, 5), default=_default(1e-3, 1e-3)),
    "full": Entry(
        method=FullFineTuning(), published=_published(2e-5, 5), default=_default(5e-5, 1e-3, backbone_dropout=True)
    ),
    "head": Entry(method=HeadOnly(), published=_published(3e-4, 5), default=_default(1e-3, 1e-3)),
    "scalearn": _scaling(ScaLearn()),
    "scalearn-uniform": _scaling(ScaLearn(uniform=True)),
    "scalearn++": _scaling(ScaLearn(shared=True)),
    "scalearn-uniform++": _scaling(ScaLearn(uniform=True, shared=True)),
    "probing": Entry(method=Probing(omega=(1.0,)), published=_published(3e-4, 5), default=_default(1e-3, 1e-3)),
}


def method_from_name(name: str, /, **options: Any) -> Method:
    """The method called `name` with its published options, but for those given.

    Raises:
        InputError: there is no such method, or an option is unknown or out of range; all such options are named.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"there is no method {name!r}{hint}; there are {', '.join(REGISTRY)}")
    base = REGISTRY[name].method
    return _validated(type(base), {**base.model_dump(), **options}, what=f"method {name!r}")


def recipe_for(method: Method, protocol: Protocol = "default") -> Recipe:
    """The hyper-parameters of a method under a protocol."""
    entry = REGISTRY[method.name]
    return entry.published if protocol == "published" else entry.default
