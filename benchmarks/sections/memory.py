"""What a training step holds at its peak, and what it keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import Setting
from benchmarks.results import Row, summary
from benchmarks.sections.step import SOURCES, step_cases

SLOPE = (8, 64)
"""Numbers of sources between which memory per added source is taken."""
PER_SOURCE = "saved per added source"


def memory(setting: Setting) -> list[Row]:
    """One step as above. "Peak" is the most that a step holds beyond model and batch: on a CPU the largest running sum
    of all that torch's allocator gave and took back (exact, the same in every run), on a GPU what CUDA counts. "Saved"
    is what autograd keeps for the backward pass: every storage once, without parameters and buffers. "Per added
    source" is the slope from T = 8 to T = 64.
    """
    rows = []
    for number_format in SOURCES:
        peaks, saved = {}, {}
        plain = f"{number_format}, plain"
        for case in setting.track(list(step_cases(number_format, setting.device)), f"memory, {number_format}"):
            peak, kept = memory_of(case.model, case.run, setting.device)
            peaks[case.name], saved[case.name] = peak / 1e6, kept / 1e6
        for name, most in peaks.items():
            rows.append(summary("memory", f"{name}: peak", [most], "MB"))
            rows.append(summary("memory", f"{name}: peak", [most / peaks[plain]], "x", reference=f"{plain}: peak"))
            rows.append(summary("memory", f"{name}: saved", [saved[name]], "MB"))
        slopes = {
            name: _slope([saved[f"{number_format}, {name}, T = {count}"] for count in SLOPE])
            for name in ("ours", "literal")
        }
        for name, slope in slopes.items():
            rows.append(summary("memory", f"{number_format}, {name}: {PER_SOURCE}", [slope], "MB"))
        ratio, own = [slopes["literal"] / slopes["ours"]], f"{number_format}, ours: {PER_SOURCE}"
        rows.append(summary("memory", f"{number_format}, literal: {PER_SOURCE}", ratio, "x", reference=own))
    return rows


def _slope(saved: list[float]) -> float:
    return (saved[1] - saved[0]) / (SLOPE[1] - SLOPE[0])


def memory_of(model: nn.Module, step: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Bytes that a step of a model holds at its peak beyond what was there before, and saves for its backward pass."""
    own = {_address(tensor) for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _address(tensor) not in own:  # addresses are not used anew while the graph holds its tensors
            saved[_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    model.zero_grad(set_to_none=True)  # what the step gives back was taken within it
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        peak = _peak_on_gpu(step, device) if device.type == "cuda" else _peak_on_cpu(step)
    return peak, sum(saved.values())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _peak_on_cpu(step: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None, "the profiler ran"
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(max(accumulate((event.nbytes() for event in events), initial=0)))


def _peak_on_gpu(step: Callable[[], object], device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before
