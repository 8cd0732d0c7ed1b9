"""What a target consists of beside the backbone and the sources, taken from a saved model.

Methods differ in where omega comes from: ScaLearn has learned it, probing, LoraHub, uniform-average and best-source
have constants. A plain head has none. Single-task adapters, folded models and soups are no combination of the sources'
outputs: they bring adapters of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from scalearn import sites
from scalearn.backbones import Backbone
from scalearn.combinable import deltas_from
from scalearn.deltas import Bottleneck, FixedOmega, Omega, ScaledSources, TopSources
from scalearn.errors import InputError
from scalearn.heads import Pooling
from scalearn.methods import AdapterSoup, BestSource, LoraHub, Method, Probing, ScaLearn, Setting, UniformAverage
from scalearn.saved import SavedModel
from scalearn.serving.mixture import Omegas
from scalearn.serving.storage import HEAD, HeadStorage, HeldHead
from scalearn.sites import LAYER, Shape
from scalearn.sources import Source
from scalearn.tasks import Task

SERVED = (
    "scalearn (all variants), probing, lorahub, uniform-average, best-source, adaptersoup, head, adapter, compacter++ "
    "and folded models"
)
_OWN = ("adapter", "compacter++")


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """One of many tasks that are served."""

    task: Task
    """Its description, without rows."""
    pooling: Pooling
    omegas: Omegas
    """Coefficients of all sources of the room, 0 for those it does not combine; empty without omega."""
    own: Sequence[Bottleneck]
    """Its own adapters, one per layer; or none."""
    head: HeldHead

    @property
    def width(self) -> int:
        """Of its omegas: 0 without, 1 for one coefficient per source, else more."""
        return max((omega.shape[-1] for omega in self.omegas.values()), default=0)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What all targets of one predictor share."""

    backbone: Backbone
    """With the sources attached."""
    sources: Sequence[Source]
    places: Mapping[str, Sequence[str]]
    """Site to the names of its modules in a `TransferModel`, layer by layer."""
    outputs: Mapping[str, int]
    """Site to the width of what the sources give there; of those sites where there are sources."""
    heads: HeadStorage
    shape: Shape = field(init=False)
    digests: Sequence[str] = field(init=False)
    """SHA-256 of the sources."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", Shape.of(self.backbone.model))
        object.__setattr__(self, "digests", [source.digest() for source in self.sources])

    @property
    def dtype(self) -> torch.dtype:
        """Of the backbone."""
        return cast(torch.dtype, self.backbone.model.dtype)

    def receive(self, saved: SavedModel, *, called: str) -> Target:
        """The target that a saved model is.

        Args:
            saved: what its folder holds.
            called: the folder or model, for messages.

        Raises:
            InputError: it was trained on another backbone or with other sources, its method cannot be served among
                others, or its tensors are not those of its method; everything wrong of one kind is named.
        """
        self._check_kind(saved, called=called)
        if difference := saved.backbone.difference(self.backbone):
            raise InputError(f"{called} {difference}: serve it over its own backbone")
        chosen = self._places_of(saved, called=called)
        tensors = dict(saved.state)
        head = {name: tensors.pop(f"head.{name}") for name in HEAD if f"head.{name}" in tensors}
        width, outputs = self.backbone.width, saved.task.outputs
        shapes = {"dense.weight": (width, width), "dense.bias": (width,)}
        shapes |= {"out.weight": (outputs, width), "out.bias": (outputs,)}
        _check_tensors(head, shapes, called=called, prefix="head.")
        if saved.method.name in _OWN:
            own, omegas = self._adapters(saved, tensors, called=called), {}
        else:
            own = self._soup(saved.method, chosen) if isinstance(saved.method, AdapterSoup) else ()
            omegas = {} if own else self._omegas(saved.method, chosen, tensors, called=called)
        with torch.no_grad():
            return Target(
                task=saved.task,
                pooling=saved.pooling,
                omegas={site: omega.to(self.backbone.model.device, self.dtype) for site, omega in omegas.items()},
                own=[adapter.to(self.backbone.model.device, self.dtype).requires_grad_(False) for adapter in own],
                head=self.heads.put(head),
            )

    def _check_kind(self, saved: SavedModel, *, called: str) -> None:
        method = saved.method
        fixed = isinstance(method, ScaLearn | Probing | LoraHub | UniformAverage | BestSource | AdapterSoup)
        if not fixed and method.name not in ("head", *_OWN):
            raise InputError(
                f"{called} is of method {method.name!r}, which cannot be served among others: {SERVED} can be; use "
                "TransferModel (scalearn predict) for the rest"
            )
        if saved.task.image is not None:
            raise InputError(f"{called} reads images, which are not served: use TransferModel (scalearn predict)")

    def _places_of(self, saved: SavedModel, *, called: str) -> list[int]:
        """Where the model's sources stand among those of the room."""
        here = {digest: index for index, digest in enumerate(self.digests)}
        others = [f"{own.name!r} ({own.sha256[:12]}...)" for own in saved.sources if own.sha256 not in here]
        if others:
            pairs = zip(self.sources, self.digests, strict=True)
            known = ", ".join(f"{source.name!r} ({digest[:12]}...)" for source, digest in pairs) or "none"
            raise InputError(
                f"{called} combines {', '.join(others)}, but the sources here are {known}: serve it over its own "
                "sources, or train it on these"
            )
        return [here[reference.sha256] for reference in saved.sources]

    def _omegas(
        self, method: Method, chosen: Sequence[int], tensors: Mapping[str, Tensor], *, called: str
    ) -> dict[str, Tensor]:
        """Site to (L, T, 1) or (L, T, outputs); tensors are checked to be those of the method and no others."""
        constants = _constants(method, len(chosen))
        learned = isinstance(method, ScaLearn)
        shapes: dict[str, tuple[int, ...]] = {}
        names: dict[str, list[str]] = {}
        for site, outputs in self.outputs.items() if learned else ():
            places = self.places[site][:1] if cast(ScaLearn, method).shared else self.places[site]
            names[site] = [f"{place}.delta.omega.values" for place in places]
            size = (len(chosen), 1 if cast(ScaLearn, method).uniform else outputs)
            shapes |= dict.fromkeys(names[site], size)
        _check_tensors(tensors, shapes, called=called)
        if not chosen:
            return {}
        found = {}
        learnt = _acting(tensors, cast(ScaLearn, method)) if learned else {}
        for site in self.outputs:
            if learned:
                acting = torch.stack([learnt[name] for name in names[site]])
            else:
                acting = FixedOmega(constants)().unsqueeze(0)
            omega = acting.new_zeros(self.backbone.layers, len(self.sources), acting.shape[-1])
            omega[:, list(chosen)] = acting
            found[site] = omega
        return found

    def _adapters(self, saved: SavedModel, tensors: Mapping[str, Tensor], *, called: str) -> Sequence[Bottleneck]:
        """The model's own adapters, by layer."""
        prefixes = {place: index for index, place in enumerate(self.places[LAYER])}
        renamed = {}
        for name, tensor in tensors.items():
            place, _, parameter = name.rpartition(".delta.")
            if (index := prefixes.get(place)) is not None:
                name = "rule" if parameter == "rule" else f"layers.{index}.{parameter}"
            renamed[name] = tensor
        _check_finite(tensors, called=called)
        options = saved.method.model_dump()
        try:
            built = deltas_from(
                renamed,
                method=saved.method.name,
                options=options,
                width=self.backbone.width,
                layers=self.backbone.layers,
            )
        except InputError as error:
            raise InputError(f"{called} {error}") from error
        return cast(Sequence[Bottleneck], built[LAYER])

    def _soup(self, method: AdapterSoup, chosen: Sequence[int]) -> Sequence[Bottleneck]:
        """The averaged adapters, by layer."""
        sources = [self.sources[index] for index in chosen]
        averaged = method.build(Setting(shape=self.shape, sources=sources))
        if set(averaged) != {LAYER}:
            raise InputError(f"a soup over LoRA sources cannot be served among others: {SERVED} can be")
        return [cast(ScaledSources, delta).fold() for delta in averaged[LAYER]]


def places_of(backbone: Backbone, names: Sequence[str]) -> dict[str, list[str]]:
    """Site to what a `TransferModel` calls its modules, layer by layer."""
    called = {module: f"backbone.{name}" for name, module in backbone.model.named_modules()}
    return {site: [called[module] for module in sites.find_sites(backbone.model, site)] for site in names}


def _constants(method: Method, count: int) -> Sequence[float]:
    """The coefficients of a method that learns none, one per source."""
    if isinstance(method, Probing | LoraHub):
        given = method.omega
        if len(given) != count:
            raise InputError(f"{method.name} has {len(given)} coefficients for {count} sources: train it anew")
        return given
    if isinstance(method, BestSource):
        if method.chosen is None or method.chosen >= count:
            raise InputError(f"best-source has chosen {method.chosen} of {count} sources: train it anew")
        return [float(index == method.chosen) for index in range(count)]
    return [1 / count] * count if isinstance(method, UniformAverage) else []


def _acting(learnt: Mapping[str, Tensor], method: ScaLearn) -> dict[str, Tensor]:
    """Each omega of a model as it acts in evaluation, (T, 1) or (T, outputs)."""
    omegas = {}
    for name, values in learnt.items():
        omegas[name] = Omega(sources=values.shape[0], width=values.shape[1], constraint=method.constraint)
        omegas[name].values = nn.Parameter(values, requires_grad=False)
    if method.keep is not None:
        TopSources(omegas.values(), keep=method.keep)
    return {name: omega.constrained() for name, omega in omegas.items()}


def _check_tensors(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, called: str, prefix: str = ""
) -> None:
    """Raises `InputError` that names every tensor that is missing, unknown, of another shape, or not finite."""
    faults = [f"{prefix}{name} is missing" for name in shapes.keys() - tensors.keys()]
    faults += [f"{prefix}{name} is unknown" for name in tensors.keys() - shapes.keys()]
    faults += [
        f"{prefix}{name} has shape {tuple(tensors[name].shape)}, expected {shapes[name]}"
        for name in shapes.keys() & tensors.keys()
        if tuple(tensors[name].shape) != shapes[name]
    ]
    if faults:
        raise InputError(f"{called} cannot be served: {'; '.join(sorted(faults))}; train it anew")
    _check_finite({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, called=called)


def _check_finite(tensors: Mapping[str, Tensor], *, called: str) -> None:
    # The sum of finite numbers is finite, but for overflow: a tenth of the time of looking at each.
    suspicious = [name for name, tensor in tensors.items() if not math.isfinite(float(tensor.sum()))]
    broken = [name for name in suspicious if not bool(tensors[name].isfinite().all())]
    if broken:
        raise InputError(f"{called} has numbers that are not finite in {', '.join(sorted(broken))}: train it anew")
