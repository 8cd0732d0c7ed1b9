"""AdapterFusion against ScaLearn."""

from __future__ import annotations

from torch import nn

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.models import Reference
from benchmarks.results import Row
from benchmarks.sections.step import SHAPE
from scalearn.precision import resolve

COUNT = 8


def fusion(setting: Setting) -> list[Row]:
    """T = 8, 32 x 128, mean pooling, no backbone dropout. ScaLearn and AdapterFusion as the library computes them, and
    AdapterFusion as its equation is written, with (B, S, T, d) keys and values. A training step as in `step`; at
    inference the reference is ScaLearn folded. In the format of the rule.
    """
    number_format = resolve("auto", setting.device)
    batch = models.tokens(*SHAPE, setting.device)
    cases = []
    for what in ("training", "inference"):
        training = what == "training"
        scalearn = models.ours("scalearn", setting.device, count=COUNT)
        built: dict[str, nn.Module] = {
            "ScaLearn": scalearn if training else scalearn.fold(),
            "AdapterFusion": models.ours("adapterfusion", setting.device, count=COUNT),
            "literal AdapterFusion": Reference(models.literal_fusion(COUNT)).to(setting.device),
        }
        for name, model in built.items():
            models.use_attention(model, training=training, precision=number_format)
            run = (models.training_step if training else models.answers)(model, batch, number_format)
            reference = f"{number_format}, {what}, ScaLearn"
            cases.append(Case(name=f"{number_format}, {what}, {name}", run=run, against=(reference,)))
    return interleaved("fusion", cases, setting)
