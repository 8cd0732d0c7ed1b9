"""What transfer methods share: their base class, and the step from sources to one fused delta per site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from torch import nn

from scalearn.deltas import (
    Bottleneck,
    FixedOmega,
    Lora,
    Omega,
    Rescaling,
    Scaled,
    ScaledLoras,
    ScaledRescalings,
    ScaledSources,
)
from scalearn.deltas.soup import average
from scalearn.errors import InputError
from scalearn.methods.base import Method
from scalearn.methods.sharing import share
from scalearn.sites import LAYER, Placement
from scalearn.sources import Source


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


def placements(sources: Sequence[Source], *, complete: bool = False) -> dict[str, list[Sequence[nn.Module]]]:
    """Site to the sources' deltas there: per layer, one of each source.

    Args:
        sources: all of one kind.
        complete: where sources on linear maps act at different ones, let each act at all of them: where it has nothing,
            by an update of zero (LoRA) or a scale of one (IA3).

    Raises:
        InputError: the sources are of different kinds, or do not act at the same sites.
    """
    built = [source.deltas() for source in sources]
    kinds = {type(delta) for placement in built for layers in placement.values() for delta in layers}
    completed = complete and len(kinds) == 1 and kinds <= {Lora, Rescaling}
    if len({frozenset(placement) for placement in built}) > 1 and not completed:
        where = "; ".join(
            f"{source.name!r} on {', '.join(sorted(placement))}"
            for source, placement in zip(sources, built, strict=True)
        )
        raise InputError(
            f"sources act at different places ({where}): combine only sources of one method with the same modules "
            "(--only, --exclude)"
        )
    if len(kinds) > 1:
        which = ", ".join(f"{source.name!r} is of {source.method}" for source in sources)
        raise InputError(f"sources of one kind can be combined, but {which}: leave some out (--only, --exclude)")

    def at(site: str) -> list[Sequence[nn.Module]]:
        known = next(placement[site] for placement in built if site in placement)
        own = [placement.get(site) or [cast(Lora | Rescaling, d).absent() for d in known] for placement in built]
        return list(zip(*own, strict=True))

    return {site: at(site) for site in dict.fromkeys(site for placement in built for site in placement)}


def scaled(sources: Sequence[Source], omega: Callable[[int], Omega | FixedOmega], *, shared: bool = False) -> Placement:
    """The sources scaled by omega and summed, at each of their sites.

    Args:
        sources: T of them; those on linear maps need not act on the same ones.
        omega: makes the coefficients of a site of so many outputs.
        shared: one omega for all layers of a site.
    """
    combined = {}
    for site, layers in placements(sources, complete=True).items():
        width = _outputs(layers[0][0])
        omegas = [omega(width)] * len(layers) if shared else [omega(width) for _ in layers]
        combined[site] = [share(_fused(own, one)) for own, one in zip(layers, omegas, strict=True)]
    return combined


def averaged(sources: Sequence[Source], weights: Sequence[float]) -> Placement:
    """One delta per site with the weighted average of the sources' weights.

    Raises:
        InputError: two sources are of unequal shape.
    """
    sizes = {source.name: source.size() for source in sources}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name!r} ({size})" for name, size in sizes.items())
        raise InputError(
            f"a soup averages weights, so its sources must be of one shape, but there are {found}: leave some out "
            "(--only, --exclude), or combine their outputs (scalearn, uniform-average)"
        )
    one = FixedOmega([1.0])
    return {
        site: [share(_fused([average(own, weights)], one)) for own in layers]
        for site, layers in placements(sources).items()
    }


def _fused(deltas: Sequence[nn.Module], omega: Omega | FixedOmega) -> Scaled:
    if isinstance(deltas[0], Lora):
        return ScaledLoras(cast(Sequence[Lora], deltas), omega)
    if isinstance(deltas[0], Rescaling):
        return ScaledRescalings(cast(Sequence[Rescaling], deltas), omega)
    return ScaledSources(cast(Sequence[Bottleneck], deltas), omega)


def _outputs(delta: nn.Module) -> int:
    if isinstance(delta, Rescaling):
        return delta.scale.shape[0]
    return int(cast(Bottleneck | Lora, delta).up.weight.shape[0])


def only_layers(sources: Sequence[Source], *, why: str) -> list[Sequence[Bottleneck]]:
    """Per layer, the bottlenecks of all sources.

    Raises:
        InputError: a source acts elsewhere than on layer outputs; `why` begins the message.
    """
    found = placements(sources)
    if set(found) != {LAYER}:
        raise InputError(f"{why}, but {sources[0].name!r} acts on {', '.join(found)}: give adapter sources")
    return [cast(Sequence[Bottleneck], layer) for layer in found[LAYER]]
