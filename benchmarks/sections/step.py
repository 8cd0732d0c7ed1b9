"""A training step over T sources, against that of the frozen backbone and of the literal layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.models import Reference
from benchmarks.results import Row
from scalearn.precision import Precision, attention_for

SHAPE = (32, 128)
SOURCES: Mapping[Precision, Sequence[int]] = {"bf16": (1, 2, 4, 8, 16, 32, 64), "fp32": (1, 8, 64)}
"""T in each number format; fewer in fp32, where a literal step at T = 64 takes some 15 s."""
FIRST_TOKEN = (8, 64)
"""T of the rows with first-token pooling."""


@dataclass(frozen=True, kw_only=True)
class StepCase(Case):
    """A training step, and the model that it trains."""

    model: nn.Module


def step(setting: Setting) -> list[Row]:
    """Forward, loss, backward and the gradients of omega and head; no optimizer, no backbone dropout. 32 x 128 tokens,
    mean pooling unless "first token" is said, omega dropout 0.3. "Ours" goes through the public `TransferModel`;
    "literal" is `benchmarks/literal.py` in transformers' own model. "Plain" is the frozen backbone with a head, whose
    gradient goes down to a vector of zeros that is added at the first site: exactly as deep as omega's, and the
    strictest reference. "Plain, to the embeddings" computes the gradient of every layer. Both formats have the
    attention that `scalearn.precision` chooses for them; "plain, sdpa" has torch's fused attention.
    """
    rows = []
    for number_format in SOURCES:
        cases = list(step_cases(number_format, setting.device))
        rows += interleaved("step", cases, setting)
    return rows


def step_cases(number_format: Precision, device: torch.device) -> Iterator[StepCase]:
    """The cases of `step` in one number format."""
    batch = models.tokens(*SHAPE, device)
    plain = f"{number_format}, plain"

    def case(name: str, model: nn.Module, *more: str, attention: str | None = None) -> StepCase:
        models.use_attention(model.to(device), training=True, precision=number_format, named=attention)
        return StepCase(
            name=f"{number_format}, {name}",
            run=models.training_step(model, batch, number_format),
            against=(plain, *more),
            model=model,
        )

    yield case("plain", plain_model())
    yield case("plain, to the embeddings", plain_model(deep=True))
    if attention_for(training=True, precision=number_format, device=device, lean=True) != "sdpa":
        yield case("plain, sdpa", plain_model(), attention="sdpa")
    for count in SOURCES[number_format]:
        own = f"{number_format}, ours, T = {count}"
        yield case(f"ours, T = {count}", models.ours("scalearn", device, count=count))
        if count in FIRST_TOKEN:
            yield case(f"ours, first token, T = {count}", models.ours("scalearn", device, count=count, pooling="first"))
        yield case(f"literal, T = {count}", Reference(models.literal_scaling(count)), own)


def plain_model(*, deep: bool = False) -> Reference:
    """The frozen backbone whose gradient goes down to the first site, or to the embeddings."""
    model = Reference()
    if deep:
        models.from_embeddings(model)
    else:
        models.from_first_site(model)
    return model
