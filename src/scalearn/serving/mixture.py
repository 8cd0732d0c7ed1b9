"""The mathematics of a batch whose rows belong to different targets.

For a row z of target n, over T sources that all targets share:

    delta_n(z) = sum_t omega_nt * (U_t f(D_t z + d_t) + u_t)

The hidden states f(D_t z + d_t) do not depend on n: one matrix product gives those of all rows. The rest depends on
the kind of omega.

    omega_n (T, 1)    the hidden states of source t are scaled by omega_nt; one product with the stacked U_t maps all
                      rows of all such targets
    omega_n (T, d)    the columns of the stacked U_t are scaled by omega_n; one product for each target
    none              the delta is 0, as under a plain head
    its own adapter   that adapter, one product for each target

Rows are in this order in a batch: none, own, (T, 1), (T, d); rows of one target that are computed together are
neighbours. A backbone call reads whose its rows are from a context variable, so that threads do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas import Bottleneck, ScaledLoras, ScaledSources
from scalearn.errors import InputError
from scalearn.sites import LAYER

Omegas = Mapping[str, Tensor]
"""Site to the coefficients of its layers, (L, T, 1) or (L, T, outputs)."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Whose the B rows of one batch are."""

    plain: int = 0
    """How many rows, the first ones, have no delta."""
    own: Sequence[tuple[int, Sequence[Bottleneck]]] = ()
    """Then, target by target, the number of its rows and its own adapters, one per layer."""
    uniform: Mapping[str, Tensor] | None = None
    """Then rows with a coefficient per source: site to (rows, L, T)."""
    wide: Sequence[tuple[int, Omegas]] = ()
    """Then, target by target, the number of its rows and its coefficients per source and dimension."""

    @property
    def count(self) -> int:
        """B."""
        several = sum(count for count, _ in (*self.own, *self.wide))
        return self.plain + several + (0 if self.uniform is None else len(next(iter(self.uniform.values()))))


class RowsApartError(RuntimeError):
    """Inside the backbone a batch is not row after row: which row is whose cannot be told."""


_rows: ContextVar[Mixture] = ContextVar("whose the rows of this thread's batch are")


@contextmanager
def rows(mixture: Mixture) -> Iterator[None]:
    """In this context, and this thread, the backbone computes a batch of such rows."""
    token = _rows.set(mixture)
    try:
        yield
    finally:
        _rows.reset(token)


class _Mixed(nn.Module):
    """What both kinds of site have in common.

    Args:
        sources: the frozen sources of one layer, fused; what omega they hold is not read.
        site: by which omegas are found.
        layer: its number.
    """

    def __init__(self, sources: ScaledSources | ScaledLoras | None, *, site: str, layer: int) -> None:
        super().__init__()
        self.sources = sources
        self.site = site
        self.layer = layer

    def mixed(self, z: Tensor) -> Tensor:
        """The deltas of B rows, (B, S, outputs), from (B, S, inputs)."""
        try:
            mixture = _rows.get()
        except LookupError:
            raise InputError("this backbone serves many targets: ask its MultiTaskPredictor, not itself") from None
        if len(z) != mixture.count:
            raise RowsApartError(f"{len(z)} rows arrive at its site {self.site!r} where the batch has {mixture.count}")
        done = mixture.plain
        parts = [self._nothing(z[:done])] if done else []
        for count, adapters in mixture.own:
            own = z[done : done + count]
            parts.append(adapters[self.layer](own) if self.site == LAYER else self._nothing(own))
            done += count
        if done < len(z):
            parts += self._combined(z[done:], mixture)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _combined(self, z: Tensor, mixture: Mixture) -> Iterator[Tensor]:
        """The deltas of rows with an omega, kind by kind."""
        if self.sources is None:
            yield self._nothing(z)
            return
        hidden = self.sources.hidden(z)  # (rows, S, T * r)
        done = 0
        if mixture.uniform is not None:
            omega = mixture.uniform[self.site][:, self.layer]  # (rows, T)
            done = len(omega)
            yield _uniform(self.sources, hidden[:done], omega)
        for count, omegas in mixture.wide:
            yield _wide(self.sources, hidden[done : done + count], omegas[self.site][self.layer])
            done += count

    def _nothing(self, z: Tensor) -> Tensor:
        up = None if self.sources is None else self.sources.up_weight
        return z.new_zeros(*z.shape[:-1], z.shape[-1] if up is None else up.shape[-1])


class MixedLayer(_Mixed):
    """At a layer's output: what is added to it, of each row by its target."""

    def forward(self, z: Tensor) -> Tensor:
        """Maps (B, S, d) to (B, S, d)."""
        return self.mixed(z)


class MixedLinear(_Mixed):
    """At a linear map: its output with the update of each row's target."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The new output (B, S, outputs), given the map's input x (B, S, inputs) and output y."""
        return y + self.mixed(x)


def _uniform(sources: ScaledSources | ScaledLoras, hidden: Tensor, omega: Tensor) -> Tensor:
    """From hidden states (rows, S, T * r) and coefficients (rows, T) to (rows, S, outputs)."""
    count, rank = sources.up_weight.shape[:2]
    scaled = (hidden.view(*hidden.shape[:-1], count, rank) * omega[:, None, :, None]).view(hidden.shape)
    mapped = scaled @ sources.up_weight.flatten(0, 1)
    if isinstance(sources, ScaledSources):
        mapped = mapped + (omega @ sources.up_bias).unsqueeze(1)
    return mapped


def _wide(sources: ScaledSources | ScaledLoras, hidden: Tensor, omega: Tensor) -> Tensor:
    """From hidden states (rows, S, T * r) of one target and its coefficients (T, outputs) to (rows, S, outputs)."""
    if isinstance(sources, ScaledSources):
        return F.linear(hidden, *sources.scaled_up(omega))
    return F.linear(hidden, sources.scaled_up(omega))
