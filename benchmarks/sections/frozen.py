"""How much of a training step is the same in every epoch."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.results import Row, summary
from scalearn.precision import autocast, resolve

COUNT = 8
SHAPES = ((32, 128), (32, 40))


def below_first_site(setting: Setting) -> list[Row]:
    """The part of the network below the first site (embeddings, first attention, first feed-forward layer) gives the
    same for a row in every epoch, where there is no backbone dropout. Its share of a training step (T = 8, mean
    pooling, format of the rule) is the most that keeping its output could save; reading it back costs the bytes below.
    """
    device = setting.device
    cases = []
    rows = []
    for shape in SHAPES:
        batch = models.tokens(*shape, device)
        name = f"{shape[0]} x {shape[1]}"
        model = models.ours("scalearn", device, count=COUNT)
        models.use_attention(model, training=True, precision="auto")
        step = Case(name=f"{name}, step", run=models.training_step(model, batch, "auto"))
        lowest = LowestLayer().to(device)
        models.use_attention(lowest, training=True, precision="auto")
        below = Case(name=f"{name}, below the first site", run=_forward(lowest, batch), against=(step.name,))
        cases += [step, below]
        bytes_each = 2 if resolve("auto", device) == "bf16" else 4
        width = lowest.backbone.config.hidden_size
        rows.append(summary("below_first_site", f"{name}, kept per row", [shape[1] * width * bytes_each / 1e3], "kB"))
    return [*interleaved("below_first_site", cases, setting), *rows]


class LowestLayer(nn.Module):
    """Embeddings and the first layer of the plain backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = models.backbone().model.eval()
        self.backbone_dropout = False
        self.backbone.encoder.layer = self.backbone.encoder.layer[:1]

    def forward(self, **batch: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, S, d) of tokens (B, S)."""
        hidden: torch.Tensor = self.backbone(**batch).last_hidden_state
        return hidden


def _forward(model: nn.Module, batch: models.Batch) -> models.Step:
    given = {key: value for key, value in batch.items() if key != "labels"}

    def run() -> None:
        with torch.no_grad(), autocast("auto", batch["input_ids"].device):
            model(**given)

    return run
