"""Sources are stored once, however many models of this process combine them.

A fused delta holds its sources as buffers. They are frozen, so those of another model that combines the same sources
can stand in for them. Moving a model (`.to`) and copying it (`copy.deepcopy`) give it buffers of its own, as ever.
"""

from __future__ import annotations

from threading import Lock
from typing import TypeVar
from weakref import WeakSet

from torch import Tensor, equal, nn

_Delta = TypeVar("_Delta", bound=nn.Module)

_living: WeakSet[nn.Module] = WeakSet()
_lock = Lock()


def share(delta: _Delta) -> _Delta:
    """The same delta, holding the buffers of one that lives already where all of them are equal, number by number.

    Args:
        delta: just built; its own buffers, not those of its parts, come from the sources.
    """
    own = dict(delta.named_buffers(recurse=False))
    with _lock:
        for other in _living:
            theirs = dict(other.named_buffers(recurse=False))
            if own.keys() == theirs.keys() and all(_same(own[name], theirs[name]) for name in own):
                for name, buffer in theirs.items():
                    setattr(delta, name, buffer)
                break
        _living.add(delta)
    return delta


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether one can stand in for the other; never what has no values, or no gradients (of inference mode)."""
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return not (one.is_meta or one.is_inference() or other.is_inference()) and equal(one, other)
