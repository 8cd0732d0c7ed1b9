"""What the backbone's dropout costs."""

from __future__ import annotations

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.models import Reference
from benchmarks.results import Row
from benchmarks.sections.step import SHAPE
from scalearn.model import TransferModel
from scalearn.precision import Precision, resolve

COUNT = 8
FP32: Precision = "fp32"


def dropout(setting: Setting) -> list[Row]:
    """A training step as in `step`, 32 x 128, mean pooling: without the backbone's dropout, with torch's in
    transformers' own model and attention, and as the library draws it. "Plain" is the frozen backbone; "T = 8" has
    ScaLearn's fused layer. In the format of the rule and, the backbone alone, in fp32.
    """
    device = setting.device
    batch = models.tokens(*SHAPE, device)
    rule = resolve("auto", device)
    cases = []
    for number_format in dict.fromkeys((rule, FP32)):
        built: dict[str, Reference | TransferModel] = {
            "plain, none": Reference(),
            "plain, torch's": Reference(backbone_dropout=True),
            "plain, ours": models.ours("head", device, backbone_dropout=True),
        }
        if number_format == rule:
            built |= {
                "T = 8, none": models.ours("scalearn", device, count=COUNT),
                "T = 8, torch's": Reference(models.fused_scaling(COUNT), backbone_dropout=True),
                "T = 8, ours": models.ours("scalearn", device, count=COUNT, backbone_dropout=True),
            }
        for name, model in built.items():
            if name.startswith("plain"):
                models.from_first_site(model)
            models.use_attention(model.to(device), training=True, precision=number_format)
            step = models.training_step(model, batch, number_format)
            against = (f"{number_format}, {name.split(', ')[0]}, none",)
            cases.append(Case(name=f"{number_format}, {name}", run=step, against=against))
    return interleaved("dropout", cases, setting)
