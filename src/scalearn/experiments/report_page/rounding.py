"""Numbers as short as a reader needs them, and lists as long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def rounded(value: float | None, digits: int = 4) -> float | int | None:
    """To so many significant digits; None for what is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def thinned(items: Sequence[T], most: int, *, keep: int | None = None) -> list[T]:
    """At most so many of the items, evenly: the first and the last among them, and the one at `keep`."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    places = {round(step * last / (most - 1)) for step in range(most)}
    if keep is not None and keep not in places:
        nearest = min(places - {0, last}, key=lambda place: abs(place - keep), default=None)
        places = (places - {nearest}) | {keep}
    return [items[place] for place in sorted(places)]


def shown(value: Any) -> str:
    """A value of a configuration, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
