"""Memory that a process keeps: counted in page faults, in a process of its own."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again() -> None:
    told = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout.split()
    given_back, kept = map(int, told)
    assert given_back > 10_000
    assert kept < 100


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from scalearn import allocation

    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocation.keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))  # musl
    assert allocation.keep_freed_memory() is False
