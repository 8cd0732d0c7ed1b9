"""What the machine can do at most: matrix products, copies and random bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.measure import Case, Setting, interleaved
from benchmarks.results import Row
from scalearn.dropout import keep_mask

PRODUCTS = ((4096, 384, 384), (4096, 384, 1536), (4096, 1536, 384), (4096, 384, 192), (4096, 192, 384))
"""(rows, inner, columns): a map of attention, the two of the feed-forward layer, the two of fused sources at T = 8."""
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
COPIED = 2**26
"""Elements of float32 that are copied: 256 MB, far more than caches hold."""
DRAWN = 2**22
"""Elements for which random bits are drawn."""


def machine(setting: Setting) -> list[Row]:
    """What bounds a step: matrix products at its shapes (rows x inner x columns), a copy of 256 MB (bytes read and
    written), and the random bits of a dropout mask of 4 million elements (ns for each).
    """
    work = {case.name: (case, amount, unit) for case, amount, unit in _cases(setting)}
    seconds = interleaved("machine", [case for case, _, _ in work.values()], setting)
    return [_rate(row, *work[row.case][1:]) for row in seconds]


def _cases(setting: Setting) -> list[tuple[Case, float, str]]:
    """Each case, how much it does in one run, and the unit of its rate."""
    device = setting.device
    cases: list[tuple[Case, float, str]] = []
    for name, dtype in FORMATS.items():
        for rows, inner, columns in PRODUCTS:
            x = torch.randn(rows, inner, device=device, dtype=dtype)
            weight = torch.randn(columns, inner, device=device, dtype=dtype)
            case = Case(name=f"{name}, {rows} x {inner} x {columns}", run=_product(x, weight), repeats=10)
            cases.append((case, 2e-9 * rows * inner * columns, "GFlop/s"))
    source, target = (torch.ones(COPIED, device=device) for _ in range(2))
    copied = Case(name="copy", run=lambda: target.copy_(source), repeats=2)
    cases.append((copied, 2 * 4e-9 * COPIED, "GB/s"))
    drawn = torch.empty(DRAWN, device=device)
    cases.append((Case(name="random bits, torch", run=lambda: drawn.bernoulli_(0.9)), DRAWN / 1e9, "ns"))
    if device.type == "cpu":  # where the library draws its own
        cases.append((Case(name="random bits, ours", run=lambda: keep_mask((DRAWN,), 0.1)), DRAWN / 1e9, "ns"))
    return cases


def _product(x: Tensor, weight: Tensor) -> Callable[[], object]:
    return lambda: torch.nn.functional.linear(x, weight)


def _rate(row: Row, amount: float, unit: str) -> Row:
    """Seconds as work per second, or, in ns, as time per element."""
    if unit == "ns":
        return _scaled(row, lambda seconds: seconds / amount, unit)
    return _scaled(row, lambda seconds: amount / seconds, unit)


def _scaled(row: Row, change: Callable[[float], float], unit: str) -> Row:
    least, lower, upper, most = sorted(change(v) for v in (row.minimum, row.lower, row.upper, row.maximum))
    return replace(row, median=change(row.median), minimum=least, lower=lower, upper=upper, maximum=most, unit=unit)
