"""What a run was made by: machine, versions, commit, and the memory it took."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil
import torch

_PACKAGES = ("scalearn", "torch", "transformers", "accelerate", "datasets", "numpy", "scikit-learn", "safetensors")


@cache
def versions() -> Mapping[str, str]:
    """Of Python and the packages whose version can change a result."""
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in _PACKAGES}}


@cache
def commit() -> str | None:
    """The git commit of scalearn, with ``+`` if files differ from it; None where it does not run from a clone."""
    found = importlib.util.find_spec("scalearn")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or Path(top) / "src" / "scalearn" != package:  # a project that only has it installed
        return None
    head = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    return head and head + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        told = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() if told.returncode == 0 else None


def machine() -> Mapping[str, str | int | float]:
    """The machine, and how much of it this process may use."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "memory": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def start_measuring() -> None:
    """Forgets the most memory that was taken so far; where the system cannot (not Linux), it counts on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory() -> float:
    """The most resident memory of this process since `start_measuring`, GB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if platform.system() == "Darwin" else 2**20)  # macOS counts bytes, others kilobytes


def gpu_memory() -> float:
    """The most memory that was allocated on the GPU since `start_measuring`, GB; 0 without one."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
