"""An epoch over lengths as GLUE has them: the published protocol, the library's, and the steps between."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from benchmarks import glue_like, models
from benchmarks.glue_like import Batching, Epoch
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.models import Reference
from benchmarks.results import Row, note
from scalearn.methods import recipe_for
from scalearn.model import TransferModel
from scalearn.precision import Precision, resolve
from scalearn.training.trainer import optimizer_for

COUNT = 8
PUBLISHED = "published protocol"
WITH_DROPOUT, WITHOUT_DROPOUT = "ours, backbone dropout", "ours, no backbone dropout"


def epoch(setting: Setting) -> list[Row]:
    """ScaLearn over T = 8 sources, an epoch of 4,096 rows in batches of 32: forward, loss, backward, clipping, AdamW.
    Lengths are lognormal, mean 39, deviation 24, cut at 4 and 128. "Published protocol" is the literal layer in
    transformers' own model with torch's dropout, padded to 128, fp32, SDPA, the first token pooled. Each "+" adds one
    thing to the line above it; up to the rule of precision with transformers' own model and attention, from then on
    with the library's. Of batches padded to 128, which all cost the same, two are timed, times 64; of the
    others every eighth by padded length, times 8. Factors are the published protocol's time over the case's.
    """
    own = _Epochs(setting)
    fused = partial(models.fused_scaling, COUNT)
    library = partial(models.ours, "scalearn", setting.device, count=COUNT)
    cases = [
        own.reference(PUBLISHED, models.literal_scaling(COUNT), "padded"),
        own.reference("+ fused layer", fused(), "padded"),
        own.reference("+ length buckets", fused(), "buckets"),
        own.reference("+ format and attention of the rule", fused(), "buckets", precision="auto"),
        own.library("+ cheap dropout", library(backbone_dropout=True)),
        own.library(f"+ first token's shortcut = {WITH_DROPOUT}", library(backbone_dropout=True, pooling="first")),
        own.library("+ batches of 2,048 tokens", library(backbone_dropout=True, pooling="first"), "tokens"),
        own.library(f"{WITHOUT_DROPOUT}, mean pooling", library()),
        own.library(WITHOUT_DROPOUT, library(pooling="first")),
    ]
    return own.measured("epoch", cases)


def stage_one(setting: Setting) -> list[Row]:
    """The same epoch, training an adapter from the start instead of omega. "Published protocol": transformers' own
    model with torch's dropout, padded to 128, fp32, SDPA.
    """
    own = _Epochs(setting)
    library = partial(models.ours, "adapter", setting.device)
    cases = [
        own.reference(PUBLISHED, models.fresh_bottlenecks(), "padded"),
        own.library(f"{WITH_DROPOUT}, mean pooling", library(backbone_dropout=True)),
        own.library(WITH_DROPOUT, library(backbone_dropout=True, pooling="first")),
        own.library(f"{WITHOUT_DROPOUT}, mean pooling", library()),
        own.library(WITHOUT_DROPOUT, library(pooling="first")),
    ]
    return own.measured("stage_one", cases)


class _Epochs:
    """Cases that are epochs over the same rows."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.rows = glue_like.rows(seed=setting.seed)

    def reference(
        self, name: str, deltas: list[nn.Module], batching: Batching, *, precision: Precision = "fp32"
    ) -> Case:
        """In transformers' own model, with its dropout and SDPA unless the rule is asked."""
        model = Reference(deltas, pooling="first", backbone_dropout=True).to(self.setting.device)
        named = "sdpa" if precision == "fp32" else None
        models.use_attention(model, training=True, precision=precision, named=named)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        return self._case(name, model, optimizer, batching, precision)

    def library(self, name: str, model: TransferModel, batching: Batching = "buckets") -> Case:
        """As `scalearn.training.train` computes it."""
        models.use_attention(model, training=True, precision="auto")
        return self._case(name, model, optimizer_for(model, recipe_for(model.method)), batching, "auto")

    def _case(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batching: Batching,
        precision: Precision,
    ) -> Case:
        batches, parts = glue_like.batches(self.rows, batching, seed=self.setting.seed)
        return Case(name=name, run=Epoch(model, batches, optimizer, precision=precision), parts=parts)

    def measured(self, section: str, cases: list[Case]) -> list[Row]:
        """Seconds, and the factors of the published protocol over each."""
        others = tuple(case.name for case in cases if case.name != PUBLISHED)
        compared = [replace(case, against=others) if case.name == PUBLISHED else case for case in cases]
        rows = interleaved(section, compared, self.setting)
        lengths = [len(row["input_ids"]) for row in self.rows]
        drawn = f"{len(lengths)} rows, {sum(lengths) / len(lengths):.1f} tokens on average"
        return [*rows, note(section, f"{drawn}; the rule chooses {resolve('auto', self.setting.device)} here.")]
