"""Which operators a training step spends its time in, before and after."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import models
from benchmarks.measure import Setting
from benchmarks.models import Reference
from benchmarks.results import Row, summary
from benchmarks.sections.step import SHAPE
from scalearn.precision import resolve

COUNT = 8
STEPS = 3
OPERATORS = 12


def operators(setting: Setting) -> list[Row]:
    """Operators by share of their own CPU time (on a GPU: GPU time) in three steps at T = 8, 32 x 128, after a first to
    warm up. Before: the literal layer, fp32, SDPA. After: ours, in the format of the rule. No backbone dropout.
    """
    device = setting.device
    batch = models.tokens(*SHAPE, device)
    before = Reference(models.literal_scaling(COUNT)).to(device)
    models.use_attention(before, training=True, precision="fp32", named="sdpa")
    after = models.ours("scalearn", device, count=COUNT)
    models.use_attention(after, training=True, precision="auto")
    steps = {
        "before": models.training_step(before, batch, "fp32"),
        f"after ({resolve('auto', device)})": models.training_step(after, batch, "auto"),
    }
    rows = []
    for name, step in setting.track(list(steps.items()), "profile"):
        step()
        for operator, share in _shares(step, device):
            rows.append(summary("profile", f"{name}: {operator}", [share], "%"))
    return rows


def _shares(step: models.Step, device: torch.device) -> list[tuple[str, float]]:
    """The operators that take most, each with its share in per cent."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(STEPS):
            step()
    own = {e.key: float(e.self_device_time_total if on_gpu else e.self_cpu_time_total) for e in profiler.key_averages()}
    most = sorted(own.items(), key=lambda item: -item[1])[:OPERATORS]
    return [(key, 100 * taken / sum(own.values())) for key, taken in most]
