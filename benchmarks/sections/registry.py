"""The sections by name, in the order of the report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Setting
from benchmarks.results import Row
from benchmarks.sections.allocation import allocation
from benchmarks.sections.dropout import dropout
from benchmarks.sections.epochs import epoch, stage_one
from benchmarks.sections.fixed import grid, start
from benchmarks.sections.frozen import below_first_site
from benchmarks.sections.fusion import fusion
from benchmarks.sections.inference import inference
from benchmarks.sections.joint import joint
from benchmarks.sections.limits import machine
from benchmarks.sections.loss_curves import loss_curves
from benchmarks.sections.memory import memory
from benchmarks.sections.operators import operators
from benchmarks.sections.precision import precision
from benchmarks.sections.step import step


@dataclass(frozen=True)
class Section:
    """One of what is measured."""

    title: str
    run: Callable[[Setting], list[Row]]

    @property
    def text(self) -> str:
        """What it measures and how: the function's docstring as one paragraph."""
        return " ".join((inspect.getdoc(self.run) or "").split())


SECTIONS: Mapping[str, Section] = {
    "step": Section("A training step", step),
    "memory": Section("Memory of a training step", memory),
    "profile": Section("Operators of a training step", operators),
    "epoch": Section("An epoch on GLUE-like lengths", epoch),
    "stage_one": Section("Stage one: an epoch of training an adapter", stage_one),
    "inference": Section("Inference", inference),
    "fusion": Section("AdapterFusion and ScaLearn", fusion),
    "joint": Section("Joint methods", joint),
    "dropout": Section("The backbone's dropout", dropout),
    "precision": Section("Number format and attention", precision),
    "loss_curves": Section("Losses in bf16 and fp32", loss_curves),
    "allocation": Section("Memory that a process keeps", allocation),
    "below_first_site": Section("Frozen work below the first site", below_first_site),
    "start": Section("Cold starts", start),
    "grid": Section("Several runs on one machine", grid),
    "machine": Section("What the machine can do", machine),
}
