"""Memory that a process keeps: counted in page faults, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

CODE = """
import resource, torch
from scalearn.allocation import keep_freed_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        tensors = [torch.ones(6_000_000) for _ in range(4)]  # 24 MB each
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(2)
given_back = faults(5)
assert keep_freed_memory()
assert keep_freed_memory()
faults(2)
print(given_back, faults(5))
"""

HOLES = """
import psutil, torch
from scalearn.allocation import give_back_freed_memory

resident = lambda: psutil.Process().memory_info().rss >> 20
before, kept = resident(), []
for _ in range(400):
    large = torch.ones(150_000)
    kept += [torch.ones(50) for _ in range(20)]
    del large
held = resident() - before
assert give_back_freed_memory()
print(held, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_holes_between_what_stays_are_given_back() -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_") and n != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", HOLES]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()
    held, stayed = map(int, told)
    assert held > 100
    assert stayed < 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
@pytest.mark.skipif(HUGE.exists() and "[always]" in HUGE.read_text(), reason="pages of 2 MB are too few to count")
def test_freed_memory_is_used_again() -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MALLOC_") and n != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", CODE]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()
    given_back, kept = map(int, told)
    assert given_back > 10_000
    assert kept < 100


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from scalearn import allocation

    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocation.keep_freed_memory() is False
    assert allocation.give_back_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))  # musl
    assert allocation.keep_freed_memory() is False
    assert allocation.give_back_freed_memory() is False
