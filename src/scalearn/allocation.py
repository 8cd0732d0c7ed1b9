"""What the C library does with the memory that a training step gives back.

A step makes and frees the same tensors of megabytes each time. glibc gives much of that back to the system, which must
then hand out pages, and zero them, for the next step: 12,256 a step of MiniLM over 8 sources, 32 x 128 tokens, bf16,
4 % of its time (`python -m benchmarks --only allocation`: 2 cores, medians of 9 rounds).
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

# Names and numbers as in glibc's malloc.h, documented in mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 * 1024 * 1024
"""The highest that glibc takes for blocks that are mapped, and so unmapped, one by one."""


def keep_freed_memory() -> bool:
    """Makes glibc keep what tensors of up to 32 MB free for the next ones, until this process ends.

    Larger ones are mapped and unmapped each time, as ever. Calling it again changes nothing.

    Returns:
        Whether it could: elsewhere than under glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        trimmed: int = mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mapped: int = mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        return bool(trimmed and mapped)
    return False


def give_back_freed_memory() -> bool:
    """Makes glibc give back to the system all whole pages that nothing uses, also between those in use.

    Whoever takes up many things in turn, each by way of large tensors that are freed and small ones that stay, would
    else hold the holes: 0.4 MB for each target of `scalearn.serving` whose head went to a file.

    Returns:
        Whether it could: elsewhere than under glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        return True
    return False
