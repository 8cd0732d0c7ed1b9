"""Joint methods."""

from __future__ import annotations

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.results import Row
from benchmarks.sections.step import SHAPE, plain_model
from scalearn.methods import REGISTRY


def joint(setting: Setting) -> list[Row]:
    """A step of each joint method on a batch of one of two tasks, 32 x 128, in the format of the rule, against that of
    the frozen backbone as in `step`. Mean pooling; no optimizer, no backbone dropout. "full-m" trains every weight.
    """
    device = setting.device
    batch = models.tokens(*SHAPE, device)
    plain = plain_model().to(device)
    models.use_attention(plain, training=True, precision="auto")
    cases = [Case(name="plain", run=models.training_step(plain, batch, "auto"))]
    for name, entry in REGISTRY.items():
        if entry.method.stage == "joint":
            model = models.ours_joint(name, device)
            models.use_attention(model, training=True, precision="auto")
            step = models.training_step(model, batch, "auto", task="first")
            cases.append(Case(name=name, run=step, against=("plain",)))
    return interleaved("joint", cases, setting)
