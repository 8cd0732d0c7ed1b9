"""The machine that measures, in words."""

from __future__ import annotations

import torch

from benchmarks.results import Row, note
from scalearn.experiments.machine import machine, versions
from scalearn.precision import attention_for, bf16_advantage, resolve

FACTS = "facts"
"""The section of these rows, which every run replaces."""
EXTENSIONS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
PACKAGES = ("python", "torch", "transformers", "numpy")


def facts(device: torch.device) -> list[Row]:
    """Processor, threads, instruction sets, versions, and what the library's rule chooses."""
    own, known = machine(), versions()
    able = [name for name in EXTENSIONS if torch.cpu.get_capabilities().get(name)]
    lines = [
        f"{own['processor']}, {own['cores']} cores, {torch.get_num_threads()} threads, {own['memory']} GB",
        f"instruction sets: {', '.join(able) or 'none of ' + ', '.join(EXTENSIONS)}",
        ", ".join(f"{package} {known[package]}" for package in PACKAGES),
        f"the rule of `scalearn.precision` for {device.type}: {_rule(device)}",
    ]
    if device.type == "cpu":
        lines.append(f"bf16 products, by that rule's measure, are {bf16_advantage():.1f} times as fast as fp32")
    else:
        lines.insert(0, str(own["gpu"]))
    return [note(FACTS, line) for line in lines]


def device_name(device: torch.device) -> str:
    """The device, and the format that the rule chose in this process: ``cpu (AMD EPYC, 2 threads; rule: bf16)``."""
    own = machine()
    name = own["gpu"] if device.type == "cuda" else f"{own['processor']}, {torch.get_num_threads()} threads"
    return f"{device.type} ({name}; rule: {resolve('auto', device)})"


def _rule(device: torch.device) -> str:
    chosen = []
    for what in ("training", "inference"):
        attention = attention_for(training=what == "training", precision="auto", device=device, lean=True)
        chosen.append(f"{what} in {resolve('auto', device)} with {attention} attention")
    return ", ".join(chosen)
